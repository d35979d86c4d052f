"""The network on a card, by torch."""
