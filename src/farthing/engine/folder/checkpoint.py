"""What a model folder says: its shape, pooling, limits and prompts, read from its JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from farthing.catalog.model_files import read_json_object
from farthing.catalog.text_limit import folder_limit, transformer_file
from farthing.engine.folder.files import require_tokenizer, weight_files, weights_sha256
from farthing.engine.folder.head import DenseShape, Head, Pooling, read_head, transformer_folder
from farthing.engine.folder.locate import LocatedModel
from farthing.engine.folder.refusals import SETTINGS_FILE, refuse_architecture, refuse_other_kinds
from farthing.engine.folder.static import StaticTable, read_static
from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.configs import STATIC, shape_from_config
from farthing.theory.families.values import count, flag
from farthing.theory.shapes import ModelShape

__all__ = ["Checkpoint", "DenseShape", "Pooling", "TruncationSide", "read_checkpoint"]

TruncationSide = Literal["left", "right"]

_MODEL2VEC_LENGTH = 512
"""Tokens of a text where config.json says nothing. Source: model2vec 0.10, `DEFAULT_MAX_LENGTH`."""

_INSTRUCTORS = tuple(f"hkunlp/instructor-{size}" for size in ("base", "large", "xl"))
"""Models that leave prompts out of the pooling, though their files do not say so. Source: sentence-transformers 6.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model folder, read but not loaded.

    Attributes:
        name: what to call the model.
        folder: where its transformer and tokenizer are.
        weights: the safetensors files of the transformer: one, or the shards, sorted.
        commit: the hub's; None for a folder that is of no hub.
        shape: its transformer.
        pooling: how token vectors become one vector.
        pools_prompt: whether the tokens of a prompt are among them.
        dense: matrices behind the pooling, in order.
        normalize: whether the vector is scaled to length one.
        max_length: most tokens of a text, special tokens included; longer texts are truncated.
        truncation_side: where they lose tokens; None where tokenizer_config.json does not say.
        lowercase: whether texts are put in lower case first, whatever the tokenizer does.
        prompts: prefixes by name.
        default_prompt: name of the prompt used when none is named.
        static: the table of a static model, which has no layers; None for others.
    """

    name: str
    folder: Path
    weights: tuple[Path, ...]
    commit: str | None
    shape: ModelShape
    pooling: Pooling
    pools_prompt: bool = True
    dense: tuple[DenseShape, ...] = ()
    normalize: bool
    max_length: int
    truncation_side: TruncationSide | None = None
    lowercase: bool
    prompts: Mapping[str, str]
    default_prompt: str | None
    static: StaticTable | None = None

    @property
    def revision(self) -> str:
        """The hub's commit, or the sha256 of all weights, which are read for it once."""
        everything = (*self.weights, *(dense.weights for dense in self.dense))
        return self.commit or f"sha256:{weights_sha256(everything)}"

    @property
    def reuses_prefixes(self) -> bool:
        """Whether texts that begin with the same tokens can share their keys and values."""
        return self.shape.causal and self.pooling == "last_token"

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self.dense[-1].outputs if self.dense else self.shape.hidden

    @property
    def trimmable(self) -> bool:
        """Whether the pooling reads one token of each text, so that the last layer need not compute the others."""
        return self.pooling in ("cls", "last_token") and self.pools_prompt


def read_checkpoint(located: LocatedModel) -> Checkpoint:
    """Read a model folder.

    Raises:
        ModelError: a file is missing or says something that cannot be.
        UnsupportedModelError: a kind of model, an architecture, a pooling or a module that the engine does
            not run.
    """
    folder, name = located.folder, located.name
    refuse_other_kinds(folder)
    static = read_static(folder, name)
    if static is not None:
        return _static_checkpoint(located, static)
    inner = transformer_folder(folder)
    if inner != folder:
        refuse_other_kinds(inner)
    config = read_json_object(inner / "config.json")
    shape = shape_from_config(config, str(inner / "config.json"))
    refuse_architecture(name, inner, config, shape)
    weights = weight_files(inner, name)
    require_tokenizer(inner, name)
    head = read_head(folder, config, shape.hidden, name)
    limit = folder_limit(inner)
    prompts, default_prompt = _read_prompts(folder / SETTINGS_FILE)
    return Checkpoint(
        name=name,
        folder=inner,
        weights=weights,
        commit=located.revision,
        shape=shape,
        pooling=head.pooling,
        pools_prompt=head.pools_prompt and name not in _INSTRUCTORS,
        dense=head.dense,
        normalize=head.normalize,
        max_length=shape.max_positions if limit is None else min(limit.tokens, shape.max_positions),
        truncation_side=_truncation_side(inner / "tokenizer_config.json"),
        lowercase=bool(_read_optional(transformer_file(inner)).get("do_lower_case", False)),
        prompts=prompts,
        default_prompt=default_prompt,
    )


def _static_checkpoint(located: LocatedModel, static: StaticTable) -> Checkpoint:
    folder, source = located.folder, str(located.folder / "config.json")
    require_tokenizer(static.folder, located.name)
    rows, width = static.size()
    shape = shape_from_config({"model_type": STATIC, "vocab_size": rows, "hidden_dim": width}, source)
    limit = shape.max_positions
    if static.model2vec:
        config = read_json_object(folder / "config.json")
        head = Head(pooling="mean", normalize=flag(config, "normalize", source))
        if config.get("max_length", _MODEL2VEC_LENGTH) is not None:
            limit = count(config, "max_length", source, default=_MODEL2VEC_LENGTH, most=limit)
    else:
        head = read_head(folder, {}, width, located.name)
    prompts, default_prompt = _read_prompts(folder / SETTINGS_FILE)
    return Checkpoint(
        name=located.name,
        folder=folder,
        weights=(static.weights,),
        commit=located.revision,
        shape=shape,
        pooling=head.pooling,
        dense=head.dense,
        normalize=head.normalize,
        max_length=limit,
        truncation_side="right" if static.model2vec else None,
        lowercase=False,
        prompts=prompts,
        default_prompt=default_prompt,
        static=static,
    )


def _truncation_side(path: Path) -> TruncationSide | None:
    side = _read_optional(path).get("truncation_side")
    if side not in (None, "left", "right"):
        raise ModelError(f"{path}: truncation_side is {side!r}: expected left or right")
    return cast("TruncationSide | None", side)


def _read_prompts(path: Path) -> tuple[dict[str, str], str | None]:
    """Return the prompts by name, and the name of the default one; null is an empty prompt."""
    config = _read_optional(path)
    stated = config.get("prompts") or {}
    if not isinstance(stated, dict) or not all(isinstance(text, str | None) for text in stated.values()):
        raise ModelError(f"{path}: prompts are no strings by name")
    prompts = {prompt: text or "" for prompt, text in stated.items()}
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelError(
            f"{path}: default_prompt_name {default!r} is not among the prompts {sorted(prompts)}"
        )
    if config.get("truncate_dim") is not None:
        raise UnsupportedModelError(
            f"{path}: truncate_dim {config['truncate_dim']} is not supported here: take it out, and give it when "
            "you encode"
        )
    return prompts, default


def _read_optional(path: Path | None) -> dict[str, Any]:
    return read_json_object(path) if path is not None and path.is_file() else {}
