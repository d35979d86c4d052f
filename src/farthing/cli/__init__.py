"""Thin commands; rendering apart."""
