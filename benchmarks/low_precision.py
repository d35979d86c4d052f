"""What eight bits cost in quality: SciFact nDCG@10 and cosines to fp32, with FP8 and int8 emulated on the processor.

Emulated layers give the numbers that such units give, not their speed: no time is measured here.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from corpora import SHARED_SCIFACT
from farthing.engine.contract import Lane, Vectors
from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.text.tokenization import TextTokenizer
from farthing.engine.torch.engine import TorchEngine
from farthing.engine.torch.fp8 import quantize, vector_error
from farthing.engine.torch.model import Model
from farthing.engine.torch.weights import Weights
from farthing.scheduling.batching import batches_by_length
from farthing.theory.dtypes import Dtype
from int8 import quantize_int8
from results_file import save
from scifact_ndcg import ndcg_at_10

Quantize = Callable[[Weights], None]

BATCH_TOKENS = 2048
"""Small enough that activations stay in the processor's caches while they are quantized."""

SETTINGS: dict[str, tuple[Dtype, Quantize | None]] = {
    "fp32": ("fp32", None),
    "bf16": ("bf16", None),
    "fp8 linear layers, rest bf16": ("bf16", quantize),
    "fp8 linear layers, rest fp32": ("fp32", quantize),
    "int8 weights and activations, rest fp32": ("fp32", quantize_int8),
    "int8 weights, rest fp32": ("fp32", partial(quantize_int8, activations=False)),
}
"""dtype of what is not quantized, and what becomes of the layers' weights. The first is the reference of the others."""


def main() -> None:
    """Embed SciFact under every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="hub id or folder; the default model if not given")
    parser.add_argument(
        "--others",
        type=int,
        default=None,
        help="abstracts that no query asks for, a seeded sample; all if not given",
    )
    arguments = parser.parse_args()
    checkpoint = read_checkpoint(locate_model(arguments.model))
    with tempfile.TemporaryDirectory() as folder:
        documents = sample(Path(folder), arguments.others)
        rows = measured(checkpoint, Path(folder))
    figures = {
        "model": checkpoint.name,
        "documents": documents,
        "sampled": arguments.others is not None,
        "max_length_tokens": checkpoint.max_length,
        "settings": rows,
    }
    path = save("low-precision", figures)
    print(table(rows))
    print(path)


def sample(folder: Path, others: int | None, seed: int = 0) -> int:
    """Lay out SciFact with every abstract that a query asks for, and some of the others.

    Args:
        folder: where to.
        others: how many of the others; None for all.
        seed: of their choice.

    Returns:
        How many abstracts there are.
    """
    for name in ("queries.jsonl", "qrels_test.tsv"):
        (folder / name).symlink_to(SHARED_SCIFACT / name)
    with (folder / "qrels_test.tsv").open(encoding="utf-8") as file:
        wanted = {row[-2] for row in csv.reader(file, delimiter="\t")}
    lines = (SHARED_SCIFACT / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    if others is not None:
        names = [str(json.loads(line)["_id"]) for line in lines]
        rest = [row for row, name in enumerate(names) if name not in wanted]
        chosen = set(random.Random(seed).sample(rest, min(others, len(rest))))
        lines = [line for row, line in enumerate(lines) if names[row] in wanted or row in chosen]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def measured(checkpoint: Checkpoint, folder: Path) -> list[dict[str, Any]]:
    """Return nDCG@10 and the error of the vectors under each setting, the reference first."""
    tokenizer = TextTokenizer(checkpoint)
    rows: list[dict[str, Any]] = []
    reference: Vectors | None = None
    for name, (dtype, become) in SETTINGS.items():
        made: list[Vectors] = []
        ndcg = ndcg_at_10(folder, encoder(lane_of(checkpoint, dtype, become), tokenizer, made))
        vectors = np.concatenate(made)
        reference = vectors if reference is None else reference
        error = vector_error(reference, vectors, "fp32")
        kept = ndcg / (rows[0]["ndcg_at_10"] if rows else ndcg)
        rows.append({"setting": name, "ndcg_at_10": ndcg, "share_kept": kept, **asdict(error)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def lane_of(checkpoint: Checkpoint, dtype: Dtype, become: Quantize | None) -> Lane:
    """Return a lane of a model on the processor, its weights quantized if told so."""
    engine = TorchEngine(checkpoint, dtype, "cpu")
    written = engine.model
    assert written is not None
    if become is not None:
        become(written.weights)
        engine.model = Model(written.network, written.weights)  # which knows its weights from the start on
        engine.forward = engine.model.forward
    return engine.lane()


def encoder(lane: Lane, tokenizer: TextTokenizer, made: list[Vectors]) -> Callable[[list[str]], Vectors]:
    """Return what embeds texts, and puts the vectors of each call into `made` as well."""

    def encode(texts: list[str]) -> Vectors:
        tokenized = tokenizer.encode(texts)
        vectors: Vectors | None = None
        for batch in batches_by_length(tokenized.lengths, BATCH_TOKENS):
            done = lane.run([tokenized.ids[row] for row in batch.rows])
            for error in done.failed.values():
                raise error
            if vectors is None:
                vectors = np.empty((len(texts), done.vectors.shape[1]), np.float32)
            vectors[list(batch.rows)] = done.vectors
        assert vectors is not None
        made.append(vectors)
        return vectors

    return encode


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a markdown table."""
    lines = [
        "| setting | nDCG@10 | of fp32's | mean cosine to fp32 | least cosine |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['setting']} | {row['ndcg_at_10']:.5f} | {row['share_kept']:.2%} | {row['mean_cosine']:.5f} "
        f"| {row['least_cosine']:.5f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
