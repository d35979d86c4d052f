"""What runs a checkpoint, whatever the device: an OpenVINO graph on the processor, or torch on graphics cards.

Knows names and types only, so that what calls either needs neither library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from farthing.engine.network.packing import Ids
from farthing.theory.devices import Dtype

Mode = Literal["throughput", "latency"]
"""What a stream is for: many texts, with a thread for each stream; or few, as soon as can be, on all threads."""

Vectors = npt.NDArray[np.float32]


class Steps(Protocol):
    """What runs a step: a stream of either model. It belongs to one thread at a time."""

    def run(self, texts: Sequence[Ids], past: Any = None) -> Vectors:
        """Return the vectors of one step, shape (batch, dimension), valid until the next.

        Args:
            texts: token ids of each text, int32 (tokens,), at least one token each.
            past: what `CompiledModel.prefix` gave for the tokens that all of them begin with, which are then left out
                of `texts`.

        Raises:
            EngineError: a vector is not finite, or a text does not fit into memory.
        """


class CompiledModel(Protocol):
    """A checkpoint ready to run; `openvino_model` and `torch_model` are the two.

    Attributes:
        devices: what it runs on: `cpu`, or cards as torch names them.
        dtype: of the matrix products.
        dimension: width of a vector.
        streams: steps side by side in the mode for throughput.
        vector_error: how far quantized vectors are from those of a wider dtype, as figures by name; None where
            nothing is quantized.
    """

    @property
    def devices(self) -> tuple[str, ...]: ...  # noqa: D102 - attributes, said above
    @property
    def dtype(self) -> Dtype: ...  # noqa: D102
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def streams(self) -> int: ...  # noqa: D102
    @property
    def vector_error(self) -> Mapping[str, float | str] | None: ...  # noqa: D102

    def stream(self, mode: Mode = "throughput") -> Steps:
        """Return a stream; each belongs to one thread at a time."""

    def prepare(self, mode: Mode) -> None:
        """Make a mode ready now, so that no job waits for it."""

    def grid_width(self, longest: int) -> int:
        """Return the places of a text's row in the grid that attention runs on; 0 where it runs on tokens alone.

        Args:
            longest: most tokens of a text of the step, those of a reused prefix left out.
        """

    def prefix(self, ids: Ids) -> tuple[Any, bool]:
        """Return what a stream takes as `past` for tokens that many texts begin with, and whether it was made now.

        Raises:
            InputError: the model attends both ways, or its pooling reads more than the last token.
        """
