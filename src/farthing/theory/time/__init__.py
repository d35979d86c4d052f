"""How long a pass takes on a device: kernels, steps, where larger ones stop paying."""
