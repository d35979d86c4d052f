"""What it should cost: pure functions over frozen dataclasses, from the standard library alone."""
