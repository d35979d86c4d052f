"""Gives a job's vectors the format that was asked for, part by part, so that memory does not grow with the job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt

from farthing.embedding.encode_options import require_whole
from farthing.embedding.formats import (
    VectorFormat,
    cut,
    ranges_of,
    require_precision,
    require_ranges,
    require_sample,
    unit,
)
from farthing.embedding.steps import EmbeddedTexts
from farthing.engine.folder.checkpoint import Checkpoint
from farthing.errors import InputError

RANGE_SAMPLE_TEXTS = 8192
"""Texts that the ranges of int8 and uint8 are taken from: the first of the job. As many as a window, so hardly
anything waits for them; of what comes later, 2 in 8,193 values lie outside if the order of the texts is random."""


class Formatter:
    """Cuts, scales and quantizes the vectors of one job.

    Attributes:
        format: what comes out; its ranges are known once the first part is out.
        sample_texts: texts that the ranges were taken from; 0 where they were given or none are needed.
        clipped: values so far that the format could not hold and that were clipped.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        precision: str = "float32",
        truncate_dim: int | None = None,
        *,
        normalize: bool = False,
        ranges: npt.ArrayLike | None = None,
    ) -> None:
        """Check what was asked for, before anything is computed.

        Args:
            checkpoint: the model: how wide its vectors are, and whether they have length one.
            precision: one of `farthing.engine.outputs.PRECISIONS`.
            truncate_dim: keep only the first dimensions; vectors that had length one get it back.
            normalize: scale vectors to length one, even if the model does not.
            ranges: (2, dimension) for int8 and uint8; None takes those of the job's first texts.

        Raises:
            InputError: an unknown precision, a dimension out of range, or ranges that cannot be.
        """
        if truncate_dim is not None:
            require_whole(truncate_dim, "truncate_dim")
        if truncate_dim is not None and not 0 < truncate_dim <= checkpoint.dimension:
            raise InputError(f"{truncate_dim} dimensions: must be 1 to {checkpoint.dimension}")
        dimension = truncate_dim or checkpoint.dimension
        self.format = VectorFormat(require_precision(precision), dimension)
        self.sample_texts = 0
        self.clipped = 0
        self._rescale = normalize and not checkpoint.normalize
        if dimension < checkpoint.dimension:
            self._rescale = normalize or checkpoint.normalize
        if ranges is not None:
            if not self.format.needs_ranges:
                raise InputError(f"precision {precision} has no ranges; leave them out, or use int8 or uint8")
            self.format = replace(self.format, ranges=require_ranges(ranges, dimension))

    @property
    def samples(self) -> bool:
        """Whether the ranges are to be taken from the first texts."""
        return self.format.needs_ranges and self.format.ranges is None

    def require_enough(self, texts: int) -> None:
        """Check, before anything is computed, that a job of so many texts can have its ranges; no texts need none.

        Raises:
            InputError: there is one text, and no ranges were given.
        """
        if self.samples and texts:
            require_sample(texts)

    def run(self, parts: Iterable[EmbeddedTexts]) -> Iterator[EmbeddedTexts]:
        """Yield the parts of a job in the format, in order.

        Raises:
            InputError: int8 or uint8 without ranges, and there is only one text.
        """
        scaled = map(self._scaled, parts)
        for part in self._with_ranges(scaled) if self.samples else scaled:
            self.clipped += self.format.outside(_good(part))
            yield EmbeddedTexts(self.format.quantized(part.vectors), part.tokens, part.failed)

    def joined(self, parts: Iterable[EmbeddedTexts]) -> EmbeddedTexts:
        """Return all parts of a job in the format, as one."""
        done = list(self.run(parts))
        if len(done) == 1:
            return done[0]
        if not done:
            empty = np.empty((0, self.format.width), self.format.value_type)
            return EmbeddedTexts(empty, np.empty(0, np.int32))
        starts = accumulate([0, *(len(part.tokens) for part in done)])
        return EmbeddedTexts(
            np.concatenate([part.vectors for part in done]),
            np.concatenate([part.tokens for part in done]),
            {
                start + row: error
                for start, part in zip(starts, done, strict=False)
                for row, error in part.failed.items()
            },
        )

    def _scaled(self, part: EmbeddedTexts) -> EmbeddedTexts:
        vectors = cut(part.vectors, self.format.dimension)
        return EmbeddedTexts(unit(vectors) if self._rescale else vectors, part.tokens, part.failed)

    def _with_ranges(self, parts: Iterator[EmbeddedTexts]) -> Iterator[EmbeddedTexts]:
        """Hold parts back until there are texts enough to take the ranges from, then yield all."""
        held: list[EmbeddedTexts] = []
        texts = 0
        while texts < RANGE_SAMPLE_TEXTS and (part := next(parts, None)) is not None:
            held.append(part)
            texts += len(part.tokens) - len(part.failed)
        if held:
            sample = np.concatenate(list(map(_good, held)))[:RANGE_SAMPLE_TEXTS]
            self.format = replace(self.format, ranges=ranges_of(sample))
            self.sample_texts = len(sample)
        return chain(held, parts)


def _good(part: EmbeddedTexts) -> npt.NDArray[np.float32]:
    """Return the vectors of the texts that have one."""
    return np.delete(part.vectors, list(part.failed), axis=0) if part.failed else part.vectors
