"""What is asked: rates, lengths and traces as people give them."""
