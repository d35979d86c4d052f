"""A model ready to run: its checkpoint, its tokenizer and what runs it on a device."""

from __future__ import annotations

from dataclasses import dataclass

from farthing.engine.torch.cards import card_names
from farthing.engine.folder.checkpoint import Checkpoint, TruncationSide, read_checkpoint
from farthing.engine.compiled import CompiledModel
from farthing.engine.folder.locate import locate_model
from farthing.engine.folder.refusals import refuse_remote_code
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import InputError
from farthing.theory.devices import Dtype

PROCESSOR = ("local", "cpu")
"""Names of this machine's processor."""


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
    compiled: CompiledModel


def load_model(
    model: str | None = None,
    *,
    revision: str | None = None,
    device: str = "local",
    dtype: Dtype | None = None,
    max_length: int | None = None,
    truncation_side: TruncationSide | None = None,
    trust_remote_code: bool = False,
) -> EmbeddingModel:
    """Find, read and compile a model.

    Args:
        model: hub id, folder, or None for the default model.
        revision: commit, branch or tag on the hub.
        device: `local` or `cpu` for this machine's processor; `cuda`, `cuda:1`, `cuda:0,1` or `cuda:all` for graphics
            cards, each of which then holds the whole model.
        dtype: dtype of the matrix products; None for fp32 on a processor and bf16 on cards.
        max_length: most tokens of a text; None for the model's own limit.
        truncation_side: where texts over the limit lose tokens; None for the model's own side.
        trust_remote_code: refused: code that comes with a model is never run.

    Raises:
        InputError: an unknown device or side, an unsupported dtype or a length out of range.
        ModelError: the folder cannot be used.
        ModelUnavailableError: the model is not here and cannot be had.
    """
    if device not in PROCESSOR and not device.startswith("cuda"):
        raise InputError(
            f"device {device!r}: the engine runs on {', '.join(PROCESSOR)} or cuda; `explain` prices others"
        )
    refuse_remote_code(trust_remote_code)
    checkpoint = read_checkpoint(locate_model(model, revision))
    tokenizer = TextTokenizer(checkpoint, max_length, truncation_side)
    return EmbeddingModel(checkpoint, tokenizer, _compiled(checkpoint, device, dtype))


def _compiled(checkpoint: Checkpoint, device: str, dtype: Dtype | None) -> CompiledModel:
    if device in PROCESSOR:
        from farthing.engine.openvino.engine import OpenVinoModel

        return OpenVinoModel(checkpoint, dtype or "fp32")
    cards = card_names(device)
    from farthing.engine.torch.engine import TorchModel

    return TorchModel(checkpoint, dtype or "bf16", cards)
