"""What a model folder says, where it is, and what of it is refused. Loads no weights."""
