"""Live prices: what two libraries say, kept beside the catalog."""
