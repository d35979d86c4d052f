"""Files of a model, here or on the Hugging Face hub, and one clear error when they cannot be had.

Knows how to read a JSON object and the header of a safetensors file, and how to ask the hub. Knows nothing of
what the files say.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from farthing.errors import MissingExtraError, ModelError, ModelUnavailableError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""Model used when none is named; `farthing fetch-model` puts it into the user's data directory."""

DEFAULT_NAMES = (DEFAULT_MODEL, "all-MiniLM-L6-v2")
"""What it is called."""

_FOLDER_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/model.safetensors")
"""What is fetched of a model: configurations, tokenizer, weights and their shards, and modules in folders of theirs.
The hub's client matches them with fnmatch, to which a `*` may hold slashes."""

_LEFT_PATTERNS = ("*/*/*", "consolidated*", "checkpoint-*", "onnx/*", "openvino/*", "original/*")
"""What is left of that: the same weights in other formats or of other times, often as many bytes again."""

_MOST_TEXT_BYTES = 4_000_000

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


def local_folder(model: str) -> Path | None:
    """Return the folder that a name stands for, None where it is none.

    The default model's names are never folders of the working directory: whoever leaves one there would speak in its
    name. A folder called like a model on the hub goes before it, with a warning.

    Raises:
        OSError, RuntimeError: the name is too long for a path, or there is no such user's home.
    """
    path = Path(model).expanduser()
    if model in DEFAULT_NAMES or not path.is_dir():
        return None
    if model.count("/") == 1 and not model.startswith((".", "/", "~")) and not model.endswith("/"):
        warnings.warn(
            f"{model}: this folder is used, not the hub's model of that name; write ./{model} to say so",
            stacklevel=2,
        )
    return path


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
        return json.loads(small_text(path))
    # ValueError: not JSON, not UTF-8, more digits than Python reads, too large; RecursionError: nested too deep.
    except (OSError, ValueError, RecursionError) as error:
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


def small_text(path: Path) -> str:
    """Return the text of a file that a person or a tool configures something with.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is no regular file, which could keep a reader waiting; it is above 4 MB, which JSON grows
            twentyfold in memory; it is not UTF-8; or there is a NUL in its name.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        content = file.read(_MOST_TEXT_BYTES + 1)
    if len(content) > _MOST_TEXT_BYTES:
        raise ValueError(f"it has more than {_MOST_TEXT_BYTES} bytes")
    return content.decode("utf-8").replace("\r\n", "\n")


def own_text(path: Path) -> str:
    """Return the text of a file that Farthing keeps for itself, which decides what it says and skips later.

    Raises:
        OSError, ValueError: as `small_text`; also where another user owns the file or its folder, or all may write.
    """
    for place in (path.parent, path):
        status = place.stat()
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & stat.S_IWOTH:
            raise ValueError("others may write it")
    return small_text(path)


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
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
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
        return _hub_file(model, "config.json")


def hub_file_if_there(model: str, file: str) -> Path | None:
    """Fetch a file of a model that it may lack, as `hub_config` does; None when it cannot be had."""
    try:
        with _hub_errors(model):
            return _hub_file(model, file)
    except (ModelError, ModelUnavailableError):
        return None


def _hub_file(model: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(model, file)
    return Path(cached if isinstance(cached, str) else hf_hub_download(model, file))


def hub_folder(model: str, revision: str | None = None, offline: bool = False) -> Path:
    """Return a model's folder in the hub's own cache, which is named after the commit.

    The hub is asked only for what the cache lacks. Its own settings hold: HF_TOKEN, HF_HOME, HF_ENDPOINT,
    HF_HUB_OFFLINE.

    Args:
        model: hub id.
        revision: commit, branch or tag; None for the one in the cache, else the newest.
        offline: never ask the hub.

    Raises:
        ModelError: the name cannot be a hub id.
        ModelUnavailableError: the hub is out of reach or has no such model or revision, or its cache
            cannot be written.
        MissingExtraError: huggingface-hub is not installed.
    """
    with _hub_errors(model if revision is None else f"{model} at {revision}"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        get = partial(
            snapshot_download,
            model,
            revision=revision,
            allow_patterns=list(_FOLDER_PATTERNS),
            ignore_patterns=list(_LEFT_PATTERNS),
        )
        with suppress(LocalEntryNotFoundError):
            cached = Path(get(local_files_only=True))
            if _is_whole(cached):
                return cached
        if offline:
            raise ModelUnavailableError(
                f"{model}: not on this machine, and the hub is not asked; leave out --offline, or copy the model here "
                "and give its folder with --model"
            )
        return Path(get())


def _is_whole(folder: Path) -> bool:
    """Say whether a snapshot holds a model, and not only the few files that `explain` asks for."""
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.is_file():
        weight_map = read_json_object(index).get("weight_map")
        files = {str(file) for file in weight_map.values()} if isinstance(weight_map, dict) else files
    if (folder / "modules.json").is_file():
        modules = read_json(folder / "modules.json")
        paths = (
            [row.get("path") for row in modules if isinstance(row, dict)] if isinstance(modules, list) else []
        )
        files |= {f"{path}/config.json" for path in paths if path and not str(path).endswith("_Normalize")}
    return all((folder / file).is_file() for file in {"config.json", "tokenizer.json", *files})


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
    except (ModelError, ModelUnavailableError):
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
