"""What this machine, and a model on it, can do: measured on random ids."""
