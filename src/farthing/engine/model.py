"""A model ready to run: its checkpoint, its tokenizer and its compiled graph."""

from __future__ import annotations

from dataclasses import dataclass

from farthing.engine.checkpoint import Checkpoint, TruncationSide, read_checkpoint
from farthing.engine.locate import locate_model
from farthing.engine.openvino_model import OpenVinoModel
from farthing.engine.refusals import refuse_remote_code
from farthing.engine.tokenization import TextTokenizer
from farthing.errors import InputError
from farthing.theory.devices import Dtype

DEVICES = ("local", "cpu")
"""Names of what the engine runs on today; both mean this machine's processor."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A loaded model.

    Attributes:
        checkpoint: what its folder says.
        tokenizer: texts to ids.
        compiled: ids to vectors.
    """

    checkpoint: Checkpoint
    tokenizer: TextTokenizer
    compiled: OpenVinoModel


def load_model(
    model: str | None = None,
    *,
    revision: str | None = None,
    device: str = "local",
    dtype: Dtype = "fp32",
    max_length: int | None = None,
    truncation_side: TruncationSide | None = None,
    trust_remote_code: bool = False,
) -> EmbeddingModel:
    """Find, read and compile a model.

    Args:
        model: hub id, folder, or None for the default model.
        revision: commit, branch or tag on the hub.
        device: `local` or `cpu`.
        dtype: dtype of the matrix products.
        max_length: most tokens of a text; None for the model's own limit.
        truncation_side: where texts over the limit lose tokens; None for the model's own side.
        trust_remote_code: refused: code that comes with a model is never run.

    Raises:
        InputError: an unknown device or side, an unsupported dtype or a length out of range.
        ModelError: the folder cannot be used.
        ModelUnavailableError: the model is not here and cannot be had.
    """
    if device not in DEVICES:
        raise InputError(
            f"device {device!r}: the engine runs on {' or '.join(DEVICES)}; `explain` prices others"
        )
    refuse_remote_code(trust_remote_code)
    checkpoint = read_checkpoint(locate_model(model, revision))
    tokenizer = TextTokenizer(checkpoint, max_length, truncation_side)
    compiled = OpenVinoModel(checkpoint, dtype)
    return EmbeddingModel(checkpoint, tokenizer, compiled)
