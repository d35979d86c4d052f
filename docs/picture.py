"""Draws docs/receipt.svg: the receipt of a real run of the demo's job on this machine.

Run: .venv/bin/python docs/picture.py
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from pathlib import Path

from rich.console import Console

from farthing import Embedder
from farthing.bulk.embed_file import embed_file
from farthing.bulk.reading import open_source
from farthing.cli.demo_texts import stdlib_docstrings
from farthing.cli.views.receipt_view import render_receipt


def main() -> None:
    """Embed the standard library's docstrings and save the receipt as a picture."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "stdlib.jsonl"
        corpus.write_text(
            "".join(json.dumps(one._asdict()) + "\n" for one in stdlib_docstrings()), encoding="utf-8"
        )
        source = open_source(str(corpus), id_field="id")
        receipt = embed_file(source, str(Path(folder) / "out.parquet"), Embedder(usd_per_hour=0.08))
    screen = Console(record=True, width=104, file=io.StringIO())
    render_receipt(receipt, screen)
    picture = Path(__file__).with_name("receipt.svg")
    drawn = screen.export_svg(title="farthing embed stdlib.jsonl -o stdlib.parquet --usd-per-hour 0.08")
    # The reader's own fonts: a picture in a README fetches nothing.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
    picture.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
