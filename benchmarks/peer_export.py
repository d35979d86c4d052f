"""Exports a model folder once: python peer_export.py BACKEND FROM TO, with the Python of the peer that needs it.

As sentence-transformers exports it when it loads a folder that has no such file.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Write the exported files of a backend, onnx or openvino, into a folder of its name in a folder."""
    backend, source, target = sys.argv[1:4]
    package: Any = import_module("sentence_transformers")
    model = package.SentenceTransformer(source, backend=backend, device="cpu")
    model[0].auto_model.save_pretrained(target)


if __name__ == "__main__":
    main()
