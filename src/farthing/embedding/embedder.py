"""Embedder: a model in Python, with sentence-transformers' `encode` and a receipt on demand."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import numpy as np
import numpy.typing as npt

from farthing.catalog.configuration import load_configuration
from farthing.embedding.cache import VectorCache
from farthing.embedding.encode_options import (
    EncodeOptions,
    as_asked,
    progress_bar,
    require_flag,
    require_possible,
    require_string,
    require_texts,
    require_whole,
)
from farthing.embedding.formats import Precision, Values, VectorFormat
from farthing.embedding.formatting import Formatter
from farthing.embedding.steps import EmbeddedTexts, StepPath
from farthing.engine.contract import Mode
from farthing.engine.folder.checkpoint import TruncationSide
from farthing.engine.load import EmbeddingModel, load_model
from farthing.errors import EngineError, InputError
from farthing.theory.dtypes import Dtype

if TYPE_CHECKING:
    from farthing.metering.receipt import Receipt

CHARACTERS_PER_TOKEN = 4
"""About what English has in WordPiece and BPE vocabularies; only says from where on texts count as truncated."""

CACHED_TEXTS = 10_000
"""Vectors kept across calls; 15 MB of 384 dimensions, 164 MB of 4,096."""


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """Vectors and what they cost.

    Attributes:
        vectors: (n, format.width) of type format.value_type, in the order of the texts.
        tokens: int32 (n,), tokens of each text.
        receipt: what the job did and what it cost.
        format: how the vectors are written: precision, dimension and ranges. `format.floats(vectors)` reads them.
        range_sample_texts: texts that the ranges were taken from, the first of the job; 0 where none were.
        clipped: values outside the ranges, which were clipped.
        failed: the error of each text that got no vector; its row of `vectors` is that of a vector of zeros.
    """

    vectors: Values
    tokens: npt.NDArray[np.int32]
    receipt: Receipt
    format: VectorFormat
    range_sample_texts: int
    clipped: int
    failed: Mapping[int, EngineError]


class Embedder:
    """A loaded embedding model; safe for threads.

    It is a context manager that closes it, and pickles and copies by its settings: whoever unpickles it loads the
    model anew, and so does a child of the process that made it, when it is first used there.

    Attributes:
        truncate: whether texts over the limit are cut, or refused.
        usd_per_hour: price of this machine; None when unknown.
        cache: vectors kept across calls, with its hits and misses.
        load_s: seconds that loading took.

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
        offline: bool = False,
        device: str = "local",
        dtype: Dtype | Literal["auto"] | None = None,
        max_length: int | None = None,
        truncation_side: TruncationSide | None = None,
        truncate: bool = True,
        trust_remote_code: bool = False,
        usd_per_hour: float | None = None,
        cache_texts: int = CACHED_TEXTS,
        mode: Mode | None = None,
        threads: int | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Find, read and compile a model.

        Args:
            model: hub id, folder, or None for all-MiniLM-L6-v2.
            revision: commit, branch or tag on the hub; None for the one in its cache, else the newest.
            offline: never ask the hub.
            device: `local` or `cpu` for the processor; `cuda` or `cuda:1` for a graphics card.
            dtype: fp32, or bf16 where the processor has the units; on cards also fp16 and fp8. `auto` for bf16 on a
                card; on a processor for the faster of fp32 and bf16, as measured there for this model, if its vectors
                stay those in fp32 (cosine ≥ 0.9999); before that was measured, bf16 where the processor has AMX. None
                for the one that is configured, else `auto`.
            max_length: most tokens of a text; None for the model's own limit.
            truncation_side: where longer texts lose tokens; None for the model's own side.
            truncate: whether texts over the limit are cut and counted; False refuses them before anything is computed.
            trust_remote_code: refused: code that comes with a model is never run.
            usd_per_hour: price of this machine, for receipts; None for the configuration's.
            cache_texts: vectors kept across calls, for texts that come again; 0 for none. Calls of more than a tenth
                as many texts pass it by.
            mode: `latency` runs calls of `encode` at once, each step on all cores; `throughput` many steps side by
                side, a core for each; None takes the one or the other by the call's texts. Each that is used holds the
                weights of the model's layers once more. `embed` is always for throughput.
            threads: cores of the processor to keep busy; None for all that this process may use: its affinity, less
                a container's quota.
            notify: called with a line of text before anything slow, such as a calibration. It is not pickled.

        Raises:
            InputError: an option cannot be used.
            ModelError: the model's folder cannot be used.
            ModelUnavailableError: the model is not here and cannot be had.
        """
        given = dict(locals())  # a copy: whoever debugs would change it
        self._settings = {name: given[name] for name in given if name not in ("self", "notify")}
        started = time.perf_counter()
        model = os.fspath(model) if isinstance(model, os.PathLike) else model
        for argument, text in (("model", model), ("revision", revision), ("dtype", dtype), ("mode", mode)):
            if text is not None:
                require_string(text, argument)
        require_string(device, "device")
        for argument, number in (
            ("max_length", max_length),
            ("threads", threads),
            ("cache_texts", cache_texts),
        ):
            if number is not None or argument == "cache_texts":
                require_whole(number, argument)
        require_flag(truncate, "truncate")
        require_flag(trust_remote_code, "trust_remote_code")
        if usd_per_hour is None:
            usd_per_hour = load_configuration().usd_per_hour
        elif isinstance(usd_per_hour, bool) or not (
            isinstance(usd_per_hour, Real) and 0 <= usd_per_hour < math.inf
        ):
            raise InputError(f"USD per hour is {usd_per_hour!r}: give a number of at least 0")
        if cache_texts < 0:
            raise InputError(f"cache_texts {cache_texts}: give the number of vectors to keep, or 0")
        self.truncate = truncate
        self.usd_per_hour = usd_per_hour
        self.cache = VectorCache(cache_texts)
        self._device, self._notify = device, notify
        loaded = load_model(
            model,
            revision=revision,
            offline=offline,
            device=device,
            dtype=dtype,
            max_length=max_length,
            truncation_side=truncation_side,
            threads=threads,
            trust_remote_code=trust_remote_code,
        )
        # Wherever it is loaded again, its vectors stay the same.
        self._settings["dtype"] = loaded.engine.dtype
        self._loaded, self._process = StepPath(loaded, mode), os.getpid()
        # The lanes' threads know nothing of this object: when it goes, they end.
        self._ending = weakref.finalize(self, self._loaded.lanes.close)
        self.load_s = time.perf_counter() - started

    def __reduce__(self) -> tuple[Callable[[], Embedder], tuple[()]]:
        """Pickle by settings."""
        return partial(type(self), **self._settings), ()

    def __enter__(self) -> Self:
        """Return the embedder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the threads and let go of the device; nothing can be embedded afterwards."""
        self._ending.detach()
        self._loaded.close()

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make it again, with the dtype that `auto` became; JSON can hold them."""
        plain = {
            name: os.fspath(one) if isinstance(one, os.PathLike) else one
            for name, one in self._settings.items()
        }
        return {name: int(one) if isinstance(one, np.integer) else one for name, one in plain.items()}

    def provenance(self) -> dict[str, str]:
        """Return what its vectors come from, prompts aside: two that differ in it may give different vectors."""
        checkpoint, tokenizer = self.model.checkpoint, self.model.tokenizer
        return {
            "model": checkpoint.name,
            "revision": checkpoint.revision,
            "pooling": checkpoint.pooling,
            "normalized": str(checkpoint.normalize).lower(),
            "dtype": self.model.engine.dtype,
            "max_length": str(self.max_length),
            "truncation_side": tokenizer.truncation_side,
        }

    @property
    def model(self) -> EmbeddingModel:
        """Its checkpoint, tokenizer and engine."""
        return self.path.model

    @property
    def path(self) -> StepPath:
        """The model's way from texts to vectors."""
        if os.getpid() != self._process:  # in a child, where the parent's threads are gone
            self.__init__(**self._settings, notify=self._notify)  # type: ignore[misc]
        return self._loaded

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self.model.engine.dimension

    @property
    def max_length(self) -> int:
        """Most tokens of a text; longer ones are truncated, or refused."""
        return self.model.tokenizer.max_length

    def encode(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Any = None,
        chunk_size: int | None = None,
        *,
        ranges: npt.ArrayLike | None = None,
        sentences: str | Sequence[str] | None = None,
    ) -> npt.NDArray[Any]:
        """Return vectors, with sentence-transformers' arguments.

        Args:
            inputs: one text, or several.
            prompt_name: name of one of the model's prompts to put before each text.
            prompt: a prompt to put before each text; wins over `prompt_name`.
            batch_size: ignored: the engine makes batches as large as pays.
            show_progress_bar: show one on stderr; None shows none.
            output_value: only `sentence_embedding`.
            precision: float32, float16, int8, uint8, binary or ubinary; see `VectorFormat`.
            convert_to_numpy: False gives a list of torch tensors.
            convert_to_tensor: give one torch tensor.
            device: the embedder's own, if any.
            normalize_embeddings: scale vectors to length one, even if the model does not.
            truncate_dim: keep only the first dimensions. Vectors that had length one get it back, which
                sentence-transformers leaves to the caller.
            pool: None: there are no pools of processes.
            chunk_size: ignored, as it is about pools.
            ranges: (2, dimension) of int8 and uint8; None takes those of the texts, of the first 8,192 at most.
                `embed` says which they were.
            sentences: `inputs`, as sentence-transformers before 6 calls them.

        Returns:
            (n, dimension), or (dimension,) for one text; an eighth as wide when binary.

        Raises:
            EngineError: a text, which it names, got no vector, or the embedder is closed.
            InputError: a text is not a string, or over the limit and `truncate` is off; the prompt is unknown, the
                dimension is out of range, or an argument asks for what is not to be had.
        """
        require_possible(output_value=output_value, device=device, own_device=self._device, pool=pool)
        given, argument = (sentences, "sentences") if inputs is None else (inputs, "inputs")
        if given is None:
            raise InputError("no texts to encode; give one, or a list")
        texts = require_texts([given] if isinstance(given, str) else given, argument)
        prefix = self.prefix(prompt_name, prompt)
        formatter = Formatter(
            self.model.checkpoint, precision, truncate_dim, normalize=normalize_embeddings, ranges=ranges
        )
        formatter.require_enough(len(texts))
        self._refuse_over_limit(texts, prefix)
        with progress_bar(len(texts)) if show_progress_bar else nullcontext() as on_step:
            run = self.path.call(texts, prompt=prefix, cache=self.cache.for_call(len(texts)), on_step=on_step)

            def whole(part: EmbeddedTexts) -> EmbeddedTexts:
                for row, error in run.totals.failed.items():
                    raise EngineError(f"text {row} got no vector: {error}") from error
                return part

            done = formatter.joined(map(whole, run))
        vectors = as_asked(
            done.vectors, convert_to_numpy=convert_to_numpy, convert_to_tensor=convert_to_tensor
        )
        return vectors[0] if isinstance(given, str) else vectors  # type: ignore[no-any-return]

    def encode_query(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[EncodeOptions],
    ) -> npt.NDArray[Any]:
        """Return vectors of questions: `encode` with the model's prompt `query`, or none where it has no such.

        `prompt_name` and `prompt` win over it, and the model's default prompt is not used.
        """
        if prompt is None and prompt_name is None:
            prompt = self.query_prompt
        return self.encode(inputs, prompt_name, prompt, **options)

    def encode_document(
        self,
        inputs: str | Sequence[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[EncodeOptions],
    ) -> npt.NDArray[Any]:
        """Return vectors of what is searched: `encode` with a prompt of the model for that, or none where it has none.

        It is the first that the model has of `document`, `passage` and `corpus`. `prompt_name` and `prompt` win over
        it, and the model's default prompt is not used.
        """
        if prompt is None and prompt_name is None:
            prompt = self.document_prompt
        return self.encode(inputs, prompt_name, prompt, **options)

    def embed(
        self,
        texts: Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        *,
        precision: Precision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.ArrayLike | None = None,
    ) -> EmbedResult:
        """Return vectors and the receipt of the job; calibrates this machine first if need be (about 15 s).

        The arguments are as in `encode`.

        Raises:
            InputError: as `encode`, or there are no texts.
        """
        # Imported here: those who only encode need not wait for it.
        from farthing.embedding.job import Job, Watch
        from farthing.embedding.scan import scan

        started = time.perf_counter()
        prefix = self.prefix(prompt_name, prompt)
        formatter = Formatter(
            self.model.checkpoint, precision, truncate_dim, normalize=normalize_embeddings, ranges=ranges
        )
        checked = require_texts(texts)
        if not checked:
            raise InputError("no texts to embed; give at least one")
        formatter.require_enough(len(checked))
        self._refuse_over_limit(checked, prefix)
        job = Job(
            self.path,
            scan(checked, cap=self.truncated_from),
            prompt=prefix,
            cache=self.cache.for_call(len(checked)),
            usd_per_hour=self.usd_per_hour,
            watch=Watch(notify=self._notify),
        )
        startup_s = time.perf_counter() - started
        done = formatter.joined(job.run(checked))
        return EmbedResult(
            done.vectors,
            done.tokens,
            job.settle(startup_s=startup_s + self.load_s),
            formatter.format,
            formatter.sample_texts,
            formatter.clipped,
            done.failed,
        )

    def _refuse_over_limit(self, texts: Sequence[str], prefix: str) -> None:
        if not self.truncate:
            named = ((f"text {row}", prefix + text) for row, text in enumerate(texts))
            self.model.tokenizer.refuse_longer(named)

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
            require_string(prompt, "prompt")
            return prompt
        if prompt_name is not None:
            require_string(prompt_name, "prompt_name")
        checkpoint = self.model.checkpoint
        name = prompt_name or checkpoint.default_prompt
        if name is None:
            return ""
        if name not in checkpoint.prompts:
            known = ", ".join(sorted(checkpoint.prompts)) or "none"
            raise InputError(f"prompt {name!r}: {checkpoint.name} has no such prompt; it has: {known}")
        return checkpoint.prompts[name]

    @property
    def query_prompt(self) -> str:
        """What `encode_query` puts before a question unless it is told."""
        return self._first_prompt("query")

    @property
    def document_prompt(self) -> str:
        """What `encode_document` puts before what is searched unless it is told."""
        return self._first_prompt("document", "passage", "corpus")

    def _first_prompt(self, *names: str) -> str:
        prompts = self.model.checkpoint.prompts
        return next((prompts[name] for name in names if name in prompts), "")
