"""A model ready to run: its checkpoint, its tokenizer, and the engine that runs it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from farthing.catalog.configuration import load_configuration
from farthing.engine.contract import Engine
from farthing.engine.folder.checkpoint import Checkpoint, TruncationSide, read_checkpoint
from farthing.engine.folder.fetch import require_official
from farthing.engine.folder.locate import default_model_folder, locate_model
from farthing.engine.folder.refusals import refuse_remote_code
from farthing.engine.machine import available_cores, library_versions, this_machine
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import InputError
from farthing.theory.dtypes import Dtype

if TYPE_CHECKING:
    from farthing.theory.devices import DtypeChoice

PROCESSOR_NAMES = ("local", "cpu")
"""Names of this machine's processor."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A loaded model.

    Attributes:
        checkpoint: what its folder says.
        tokenizer: texts to ids.
        engine: ids to vectors.
        automatic: whether its dtype was not asked for.
    """

    checkpoint: Checkpoint
    tokenizer: TextTokenizer
    engine: Engine
    automatic: bool = False


def load_model(
    model: str | None = None,
    *,
    revision: str | None = None,
    offline: bool = False,
    device: str = "local",
    dtype: Dtype | Literal["auto"] | None = None,
    max_length: int | None = None,
    truncation_side: TruncationSide | None = None,
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> EmbeddingModel:
    """Find, read and compile a model.

    Args:
        model: hub id, folder, or None for the default model.
        revision: commit, branch or tag on the hub.
        offline: never ask the hub: the model must be on this machine.
        device: `local` or `cpu` for this machine's processor; `cuda` or `cuda:1` for a graphics card.
        dtype: dtype of the matrix products; `auto` for bf16 on a card, and on a processor for the faster of fp32 and
            bf16 (`kept_choice`); None for the one that is configured, else `auto`.
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
    located = locate_model(model, revision, offline)
    if located.folder == default_model_folder():
        require_official(located.folder)
    checkpoint = read_checkpoint(located)
    tokenizer = TextTokenizer(checkpoint, max_length, truncation_side)
    asked = dtype or (load_configuration().dtype if device in PROCESSOR_NAMES else None) or "auto"
    if asked != "auto":
        return EmbeddingModel(checkpoint, tokenizer, _engine(checkpoint, device, asked, threads))
    fastest = _fastest(checkpoint, threads) if device in PROCESSOR_NAMES else "bf16"
    return EmbeddingModel(
        checkpoint, tokenizer, _engine(checkpoint, device, fastest, threads), automatic=True
    )


def kept_choice(checkpoint: Checkpoint, machine: str) -> DtypeChoice | None:
    """Return which dtype a processor runs a model in, or None where that was not measured as things are now.

    Args:
        checkpoint: the model.
        machine: identity of the processor, with the cores that are used.
    """
    from farthing.catalog.calibrations import load_dtype_choice

    choice = load_dtype_choice(checkpoint.name, machine)
    if choice is None or choice.versions != library_versions() or choice.revision != checkpoint.revision:
        return None
    return choice


def _fastest(checkpoint: Checkpoint, threads: int | None) -> Dtype:
    if not checkpoint.shape.layers:  # nothing is multiplied
        return "fp32"
    from farthing.catalog.calibrations import dtype_by_units

    machine = replace(this_machine(), cores=threads or available_cores()).identity
    choice = kept_choice(checkpoint, machine)
    return dtype_by_units(machine) if choice is None else choice.dtype


def _engine(checkpoint: Checkpoint, device: str, dtype: Dtype, threads: int | None) -> Engine:
    if device in PROCESSOR_NAMES:
        from farthing.engine.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(checkpoint, dtype, threads)
    from farthing.engine.torch.cards import card_name

    card = card_name(device)
    from farthing.engine.torch.engine import TorchEngine

    return TorchEngine(checkpoint, dtype, card)
