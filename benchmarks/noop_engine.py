"""An engine that computes nothing: what is measured or tested with it is all that stands around an engine."""

from collections.abc import Callable, Mapping, Sequence
from zlib import crc32

import numpy as np

from farthing.engine.contract import Ids, Lane, Mode, Ran
from farthing.errors import EngineError
from farthing.theory.dtypes import Dtype
from farthing.theory.shapes import ModelShape
from farthing.theory.work import WorkCounter


class NoopEngine:
    """As `contract.Engine`; vectors derive from a hash of the ids, and a step takes what `step_s` says of its texts."""

    device, lanes, step_tokens, dimension = "cpu", 2, 1024, 8
    dtype: Dtype = "fp32"
    vector_error: Mapping[str, float | str] | None = None
    now_s = 0.0

    def __init__(self, shape: ModelShape, step_s: Callable[[Sequence[int]], float] = lambda _: 0.0) -> None:
        self.shape, self._step_s, self._counter = shape, step_s, WorkCounter(shape, trim=False)

    def lane(self, mode: Mode = "throughput") -> Lane:  # noqa: D102 - as the contract says
        return Lane(self, self._counter, self.dimension, clock=lambda: self.now_s)

    def run(self, texts: Sequence[Ids], past: None, left_out: int = 0) -> Ran:  # noqa: D102
        if not self.lanes:
            raise EngineError("the model is closed; load it again")
        self.now_s += self._step_s(list(map(len, texts)))
        hashes = np.array([crc32(one.data) for one in texts], np.uint32)
        return Ran((hashes[:, None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15).astype(np.float32))

    def close(self) -> None:  # noqa: D102
        self.lanes = 0

    warm = keys_and_values = lambda self, _: None  # nothing to compile or to reuse
