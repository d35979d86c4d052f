"""A model ready to run: its checkpoint, its tokenizer, and the engine that runs it."""

from __future__ import annotations

from dataclasses import dataclass

from farthing.engine.contract import Engine
from farthing.engine.folder.checkpoint import Checkpoint, TruncationSide, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.folder.refusals import refuse_remote_code
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import InputError
from farthing.theory.devices import Dtype

PROCESSOR_NAMES = ("local", "cpu")
"""Names of this machine's processor."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A loaded model.

    Attributes:
        checkpoint: what its folder says.
        tokenizer: texts to ids.
        engine: ids to vectors.
    """

    checkpoint: Checkpoint
    tokenizer: TextTokenizer
    engine: Engine


def load_model(
    model: str | None = None,
    *,
    revision: str | None = None,
    device: str = "local",
    dtype: Dtype | None = None,
    max_length: int | None = None,
    truncation_side: TruncationSide | None = None,
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> EmbeddingModel:
    """Find, read and compile a model.

    Args:
        model: hub id, folder, or None for the default model.
        revision: commit, branch or tag on the hub.
        device: `local` or `cpu` for this machine's processor; `cuda` or `cuda:1` for a graphics card.
        dtype: dtype of the matrix products; None for fp32 on a processor and bf16 on a card.
        max_length: most tokens of a text; None for the model's own limit.
        truncation_side: where texts over the limit lose tokens; None for the model's own side.
        threads: cores of the processor to keep busy; None for all that the process may use.
        trust_remote_code: refused: code that comes with a model is never run.

    Raises:
        InputError: an unknown device or side, an unsupported dtype or a length out of range.
        ModelError: the folder cannot be used.
        ModelUnavailableError: the model is not here and cannot be had.
    """
    if not isinstance(device, str) or not (device in PROCESSOR_NAMES or device.startswith("cuda")):
        raise InputError(
            f"device {device!r}: the engine runs on {', '.join(PROCESSOR_NAMES)} or cuda; `explain` prices others"
        )
    refuse_remote_code(trust_remote_code)
    checkpoint = read_checkpoint(locate_model(model, revision))
    tokenizer = TextTokenizer(checkpoint, max_length, truncation_side)
    return EmbeddingModel(checkpoint, tokenizer, _engine(checkpoint, device, dtype, threads))


def _engine(checkpoint: Checkpoint, device: str, dtype: Dtype | None, threads: int | None) -> Engine:
    if device in PROCESSOR_NAMES:
        from farthing.engine.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(checkpoint, dtype or "fp32", threads)
    from farthing.engine.torch.cards import card_name

    card = card_name(device)
    from farthing.engine.torch.engine import TorchEngine

    return TorchEngine(checkpoint, dtype or "bf16", card)
