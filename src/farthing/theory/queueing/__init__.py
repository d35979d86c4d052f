"""Waiting: what texts wait for servers, exactly where a closed form exists, and how well it is known where not."""
