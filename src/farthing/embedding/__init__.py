"""Texts in, vectors out, inside this process: the one step path under jobs, calls and servers."""
