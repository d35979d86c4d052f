"""Which files of a model folder hold its weights and its tokenizer, and what to do where they are others."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from farthing.catalog.model_files import other_weights, own_text, read_json_object
from farthing.errors import ModelError, UnsupportedModelError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILE = "tokenizer.json"

_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_SLOW_TOKENIZERS = ("*.model", "vocab.txt", "vocab.json", "*.tiktoken")


def weight_files(folder: Path, name: str) -> tuple[Path, ...]:
    """Return the safetensors files of a folder: the one, or the shards that its index names, sorted.

    Args:
        folder: the model folder, or one of a module behind it.
        name: the model's folder or hub id, for the command that converts it.

    Raises:
        UnsupportedModelError: the weights are there, but not as safetensors.
        ModelError: there are none, a shard is missing or the index is damaged.
    """
    whole, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    if whole.is_file():
        return (whole,)
    if index.is_file():
        return _shards(index)
    pickled = next((file for file in _PICKLED if (folder / file).is_file()), None)
    if pickled is not None:
        raise UnsupportedModelError(
            f"{folder}: has {pickled} and no {WEIGHTS_FILE}; a pickle can run code when it is read, and Farthing "
            f"loads safetensors only: {conversion(name)}"
        )
    held = other_weights(folder)
    if held is not None:
        raise UnsupportedModelError(f"{folder}: {held}: {WEIGHTS_FILE} is missing; {conversion(name)}")
    raise ModelError(
        f"{folder}: {WEIGHTS_FILE} is missing; Farthing loads safetensors only. If the model has others: "
        f"{conversion(name)}"
    )


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the shards that an index names, sorted."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index}: has no weight_map; the file is damaged, fetch it again")
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not file.endswith(".safetensors") or Path(file).name != file:
            raise ModelError(
                f"{index}: puts tensor {tensor} into {file!r}: expected a safetensors file of this folder"
            )
    shards = tuple(index.parent / file for file in sorted(set(weight_map.values())))
    for shard in shards:
        if not shard.is_file():
            raise ModelError(
                f"{shard}: this shard is missing, though {INDEX_FILE} names it; fetch the model again"
            )
    return shards


def require_tokenizer(folder: Path, name: str) -> None:
    """See that a folder has a tokenizer.json.

    Args:
        folder: the model folder.
        name: the model's folder or hub id, for the command that converts it.

    Raises:
        UnsupportedModelError: there is another kind of tokenizer.
        ModelError: there is none.
    """
    if (folder / TOKENIZER_FILE).is_file():
        return
    others = sorted(file.name for pattern in _SLOW_TOKENIZERS for file in folder.glob(pattern))
    if others:
        raise UnsupportedModelError(
            f"{folder}: has {', '.join(others)} and no {TOKENIZER_FILE}, the only kind of tokenizer that Farthing "
            f"loads: {conversion(name)}"
        )
    raise ModelError(f"{folder}: {TOKENIZER_FILE} is missing; fetch the model again")


def conversion(name: str) -> str:
    """Return how to make safetensors and a tokenizer.json of a model that lacks them, as a phrase."""
    program = (
        "from sentence_transformers import SentenceTransformer as M; "
        f'M({json.dumps(name, ensure_ascii=False)}).save_pretrained("converted")'
    )
    return f"python -c {shlex.quote(program)} makes a folder with both"


def weights_sha256(files: Sequence[Path]) -> str:
    """Return the hexadecimal sha256 of the files, one after another.

    It is remembered in the user's cache for as long as the files have the same paths, inodes, sizes and times:
    hashing costs 0.15 s for 90 MB and half a minute for 15 GB, at every start.
    """
    paths = [str(file.resolve()) for file in files]
    seen = [[path, *_identity(file)] for path, file in zip(paths, files, strict=True)]
    place = hashlib.sha256("\n".join(paths).encode(errors="surrogateescape")).hexdigest()[:24]
    kept = user_cache_path("farthing") / "hashes" / f"{place}.json"
    try:
        known = json.loads(own_text(kept))
        if known["files"] == seen:
            return str(known["sha256"])
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ):  # not there yet, or damaged: made again
        pass
    found = sha256_of(*files)
    with suppress(OSError):  # a cache that cannot be written costs the time, and nothing else
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = kept.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"files": seen, "sha256": found}), encoding="utf-8")
        scratch.replace(kept)
    return found


def sha256_of(*files: Path) -> str:
    """Return the hexadecimal sha256 of files, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as source:
            hashlib.file_digest(source, lambda: digest)
    return digest.hexdigest()


def _identity(file: Path) -> tuple[int, ...]:
    """Return what changes when a file's content does."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
