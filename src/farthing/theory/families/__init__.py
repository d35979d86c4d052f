"""A Hugging Face config.json → ModelShape, one small function per family."""
