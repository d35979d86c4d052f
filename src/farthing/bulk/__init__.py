"""Corpus jobs: read, embed, write, search; bounded memory whatever the input's size."""
