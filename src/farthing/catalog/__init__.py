"""Dated facts: devices, rental prices, API prices and models, each row with value, unit, source and date."""
