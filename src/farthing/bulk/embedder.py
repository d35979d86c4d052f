"""Embedder: a model in Python, with sentence-transformers' `encode` and a receipt on demand."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farthing.bulk.job import Job
from farthing.bulk.records import Record
from farthing.bulk.scan import CHARACTERS_PER_TOKEN, scan
from farthing.catalog.configuration import load_configuration
from farthing.engine.calibration import Notify, ensure_calibrated
from farthing.engine.model import EmbeddingModel, load_model
from farthing.engine.pipeline import Pipeline
from farthing.errors import InputError
from farthing.metering.receipt import Receipt
from farthing.theory.devices import Dtype

DEFAULT_STEP_TOKENS = 1024
"""Positions in a step where nothing was calibrated; measured to saturate small models on CPUs."""

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """Vectors and what they cost.

    Attributes:
        vectors: float32 (n, dimension), in the order of the texts.
        tokens: int32 (n,), tokens of each text.
        receipt: what the job did and what it cost.
    """

    vectors: Vectors
    tokens: npt.NDArray[np.int32]
    receipt: Receipt


class Embedder:
    """A loaded embedding model.

    Example:
        >>> embedder = Embedder()  # doctest: +SKIP
        >>> embedder.encode(["a text", "another"]).shape  # doctest: +SKIP
        (2, 384)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        revision: str | None = None,
        device: str = "local",
        dtype: Dtype = "fp32",
        max_length: int | None = None,
        usd_per_hour: float | None = None,
        notify: Notify = lambda _: None,
    ) -> None:
        """Find, read and compile a model.

        Args:
            model: hub id, folder, or None for all-MiniLM-L6-v2.
            revision: commit, branch or tag on the hub.
            device: `local` or `cpu`.
            dtype: fp32, or bf16 where the processor has the units.
            max_length: most tokens of a text; None for the model's own limit.
            usd_per_hour: price of this machine, for receipts; None for the configuration's.
            notify: called with a line of text before anything slow, such as a calibration.

        Raises:
            InputError: an option cannot be used.
            ModelError: the model's folder cannot be used.
            ModelUnavailableError: the model is not here and cannot be had.
        """
        started = time.perf_counter()
        if usd_per_hour is None:
            usd_per_hour = load_configuration().usd_per_hour
        elif not 0 <= usd_per_hour < math.inf:
            raise InputError(f"USD per hour is {usd_per_hour}: give a number of at least 0")
        self.model: EmbeddingModel = load_model(
            model, revision=revision, device=device, dtype=dtype, max_length=max_length
        )
        self.usd_per_hour = usd_per_hour
        self._notify = notify
        self.load_s = time.perf_counter() - started

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self.model.compiled.dimension

    @property
    def max_length(self) -> int:
        """Most tokens of a text; longer ones are truncated."""
        return self.model.tokenizer.max_length

    def encode(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        *,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Vectors:
        """Return vectors, as sentence-transformers does.

        Args:
            sentences: one text, or several.
            prompt_name: name of one of the model's prompts to put before each text.
            prompt: a prompt to put before each text; wins over `prompt_name`.
            normalize_embeddings: scale vectors to length one, even if the model does not.
            truncate_dim: keep only the first dimensions. Vectors that had length one get it back, which
                sentence-transformers leaves to the caller.

        Returns:
            float32 (n, dimension), or (dimension,) for one text.

        Raises:
            InputError: a text is not a string, the prompt is unknown or the dimension is out of range.
        """
        texts = _checked([sentences] if isinstance(sentences, str) else sentences)
        prefix = self.prefix(prompt_name, prompt)
        if truncate_dim is not None and not 0 < truncate_dim <= self.dimension:
            raise InputError(f"truncate_dim {truncate_dim}: must be 1 to {self.dimension}")
        pipeline = Pipeline(self.model, DEFAULT_STEP_TOKENS)
        parts = [part.vectors for part in pipeline.run(prefix + text for text in texts)]
        vectors = self._finish(parts, normalize_embeddings, truncate_dim)
        return vectors[0] if isinstance(sentences, str) else vectors

    def embed(
        self, texts: Sequence[str], prompt_name: str | None = None, prompt: str | None = None
    ) -> EmbedResult:
        """Return vectors and the receipt of the job; calibrates this machine first if need be (about 15 s).

        Args:
            texts: the texts.
            prompt_name: name of one of the model's prompts to put before each text.
            prompt: a prompt to put before each text; wins over `prompt_name`.

        Raises:
            InputError: there are no texts, one is not a string, or the prompt is unknown.
        """
        started = time.perf_counter()
        prefix = self.prefix(prompt_name, prompt)
        prefixed = [prefix + text for text in _checked(texts)]
        if not prefixed:
            raise InputError("no texts to embed; give at least one")
        machine, measured = ensure_calibrated(self.model, self._notify)
        records = (Record(str(row), text) for row, text in enumerate(prefixed))
        held = scan(records, cap=self.truncated_from)
        job = Job(self.model, machine, measured, held, usd_per_hour=self.usd_per_hour)
        startup_s = time.perf_counter() - started
        parts = list(job.run(prefixed))
        vectors = np.concatenate([part.vectors for part in parts])
        tokens = np.concatenate([part.tokens for part in parts])
        return EmbedResult(vectors, tokens, job.settle(startup_s=startup_s + self.load_s))

    @property
    def truncated_from(self) -> int:
        """Characters past which a text is taken to be truncated, for predictions."""
        return self.max_length * CHARACTERS_PER_TOKEN

    def prefix(self, prompt_name: str | None = None, prompt: str | None = None) -> str:
        """Return what is put before each text: the prompt, the named one, or the model's default.

        Raises:
            InputError: the model has no prompt of that name.
        """
        if prompt is not None:
            return prompt
        checkpoint = self.model.checkpoint
        name = prompt_name or checkpoint.default_prompt
        if name is None:
            return ""
        if name not in checkpoint.prompts:
            known = ", ".join(sorted(checkpoint.prompts)) or "none"
            raise InputError(f"prompt {name!r}: {checkpoint.name} has no such prompt; it has: {known}")
        return checkpoint.prompts[name]

    def _finish(self, parts: list[Vectors], normalize: bool, truncate_dim: int | None) -> Vectors:
        vectors = np.concatenate(parts) if parts else np.empty((0, self.dimension), np.float32)
        if truncate_dim is not None:
            vectors = np.ascontiguousarray(vectors[:, :truncate_dim])
            normalize = normalize or self.model.checkpoint.normalize
        elif self.model.checkpoint.normalize:
            return vectors
        if normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors


def _checked(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise InputError("texts is one string; give a list of texts")
    checked = list(texts)
    for row, text in enumerate(checked):
        if not isinstance(text, str):
            raise InputError(f"text {row} is {type(text).__name__}, not str; convert it or leave it out")
        if not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise InputError(
                    f"text {row} holds half of a surrogate pair, which is no text; fix it or leave it out"
                ) from None
    return checked
