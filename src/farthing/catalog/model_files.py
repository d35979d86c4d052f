"""Files of a model, here or on the Hugging Face hub, and one clear error when they cannot be had.

Knows how to read a JSON object and the header of a safetensors file, and how to ask the hub. Knows nothing of
what the files say.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from farthing.errors import MissingExtraError, ModelError, ModelUnavailableError

_FOLDER_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/model.safetensors")
"""What is fetched of a model: configurations, tokenizer, weights and their shards, and modules in folders of theirs.
The hub's client matches them with fnmatch, to which a `*` may hold slashes."""

_LEFT_PATTERNS = ("*/*/*", "consolidated*", "checkpoint-*", "onnx/*", "openvino/*", "original/*")
"""What is left of that: the same weights in other formats or of other times, often as many bytes again."""

_MOST_HEADER_BYTES = 100_000_000
"""The format's own limit. Source: the safetensors crate, MAX_HEADER_SIZE."""

_DISK_ERRORS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ENOTDIR,
        errno.EEXIST,
    }
)
"""What a disk says. The network's errors are OSErrors as well, with other numbers or none."""


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ModelError: the file cannot be read, is not JSON, or holds no object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return value


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        ModelError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from error


def other_weights(folder: Path) -> str | None:
    """Return that a folder's weights are in other formats only, as a phrase that names them, or None."""
    for kind, suffix in (("ONNX", ".onnx"), ("GGUF", ".gguf"), ("OpenVINO", ".xml"), ("TensorFlow", ".h5")):
        named = sorted(
            str(file.relative_to(folder))
            for file in [*folder.glob(f"*{suffix}"), *folder.glob(f"*/*{suffix}")]
        )
        if named:
            return f"holds weights as {kind} only ({named[0]}), which Farthing does not read"
    return None


def adapter_refusal(path: Path, model: str) -> str:
    """Return that a folder with this adapter_config.json is an adapter, which names its base model, and what to do.

    Raises:
        ModelError: the file cannot be read.
    """
    settings = read_json_object(path)
    base = settings.get("base_model_name_or_path") or "a model that it does not name"
    return (
        f"{model}: {path.name}: an adapter ({settings.get('peft_type', 'PEFT')}) of {base}, not a whole model: "
        "give that model, or merge it into that with peft's merge_and_unload and give the result"
    )


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a safetensors file, from its header alone.

    Raises:
        ModelError: the file cannot be read, or has no such header.

    Source: huggingface.co/docs/safetensors: 8 bytes of length, little-endian, then so much JSON.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _MOST_HEADER_BYTES:
                raise ModelError(f"{path}: is no safetensors file, or a damaged one")
            header = json.loads(file.read(length))
        return {
            name: tuple(int(size) for size in entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path}: is no safetensors file, or a damaged one") from error


def hub_tensor_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a model on the hub, without fetching the weights.

    Raises:
        ModelError: the name cannot be a hub id, or the model has no safetensors.
        ModelUnavailableError: the hub is out of reach or has no such model.
        MissingExtraError: huggingface-hub is not installed.
    """
    with _hub_errors(model):
        from huggingface_hub import get_safetensors_metadata
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        try:
            files = get_safetensors_metadata(model).files_metadata.values()
        except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
            raise ModelError(f"{model}: has no readable safetensors on the hub") from error
        return {name: tuple(tensor.shape) for file in files for name, tensor in file.tensors.items()}


def hub_config(model: str) -> Path:
    """Fetch a model's config.json into the hub's own cache and return its path.

    Raises:
        ModelError: the name cannot be a hub id, or that model has no config.json.
        ModelUnavailableError: the hub is out of reach or has no such model, or its cache cannot be written.
        MissingExtraError: huggingface-hub is not installed.
    """
    with _hub_errors(model):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(model, "config.json"))


def hub_file_if_there(model: str, file: str) -> Path | None:
    """Fetch a file of a model that it may lack, as `hub_config` does; None when it cannot be had."""
    try:
        with _hub_errors(model):
            from huggingface_hub import hf_hub_download

            return Path(hf_hub_download(model, file))
    except (ModelError, ModelUnavailableError):
        return None


def hub_folder(model: str, revision: str | None = None) -> Path:
    """Fetch a model into the hub's own cache and return its folder, which is named after the commit.

    The hub's own settings hold: HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE.

    Args:
        model: hub id.
        revision: commit, branch or tag; None for the newest.

    Raises:
        ModelError: the name cannot be a hub id.
        ModelUnavailableError: the hub is out of reach or has no such model or revision, or its cache
            cannot be written.
        MissingExtraError: huggingface-hub is not installed.
    """
    with _hub_errors(model if revision is None else f"{model} at {revision}"):
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=list(_FOLDER_PATTERNS),
                ignore_patterns=list(_LEFT_PATTERNS),
            )
        )


@contextmanager
def _hub_errors(model: str) -> Iterator[None]:
    """Turn what the hub's client raises into our errors, and keep its retry warnings off the screen."""
    import logging

    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
        from huggingface_hub.utils import logging as hub_logging
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "cpu", f"getting {model} from the hub") from error
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    except huggingface_hub.errors.HFValidationError as error:
        raise ModelError(f"{model}: neither a folder nor a hub id such as Qwen/Qwen3-Embedding-8B") from error
    except (
        huggingface_hub.errors.RepositoryNotFoundError,
        huggingface_hub.errors.RevisionNotFoundError,
    ) as error:
        raise ModelUnavailableError(
            f"{model}: not on the hub, or private; check the name, or set HF_TOKEN to a token that may read it"
        ) from error
    except ModelError:
        raise
    except Exception as error:  # the client raises its HTTP library's errors as they come
        absent, unasked = (
            huggingface_hub.errors.EntryNotFoundError,
            huggingface_hub.errors.LocalEntryNotFoundError,
        )
        if isinstance(error, absent) and not isinstance(error, unasked):
            raise ModelError(
                f"{model}: on the hub, but without a config.json; give a model in Hugging Face layout"
            ) from error
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise ModelUnavailableError(
                f"{model}: cannot be written to the hub's cache {huggingface_hub.constants.HF_HUB_CACHE} "
                f"({error.strerror}); make room there, or name another folder in HF_HOME"
            ) from error
        raise ModelUnavailableError(
            f"{model}: not on this machine, and the hub is out of reach; check the network and HF_ENDPOINT, or "
            "copy the model here and give its folder"
        ) from error
    finally:
        hub_logging.set_verbosity(verbosity)
