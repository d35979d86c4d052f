"""Headers of safetensors files, and the hub's failures: each is one line with its true reason."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import errors

from farthing.catalog import model_files
from farthing.catalog.model_files import (
    hub_config,
    hub_folder,
    hub_tensor_shapes,
    own_text,
    tensor_shapes,
)
from farthing.errors import FarthingError, ModelError, ModelUnavailableError

MODEL = "somebody/something"


def refusal(
    monkeypatch: pytest.MonkeyPatch, error: Exception, call: Callable[[str], Path], kind: type[FarthingError]
) -> str:
    """Return what is said when the hub's client raises `error`."""

    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(FarthingError) as caught:
        call(MODEL)
    assert type(caught.value) is kind
    assert MODEL in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("call", [hub_config, hub_folder])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[str], Path], number: int
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/the/cache")
    error = OSError(number, os.strerror(number))
    message = refusal(monkeypatch, error, call, ModelUnavailableError)
    for fragment in ("/the/cache", os.strerror(number), "HF_HOME"):
        assert fragment in message
    assert "out of reach" not in message


def test_a_repository_without_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    error = errors.EntryNotFoundError("404 Client Error.\nEntry Not Found for url: …")
    message = refusal(monkeypatch, error, hub_config, ModelError)
    assert "config.json" in message
    assert "out of reach" not in message


@pytest.mark.parametrize(
    "error",
    [
        errors.LocalEntryNotFoundError("nothing in the cache"),
        errors.OfflineModeIsEnabled("offline"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        OSError("of an HTTP library"),
        RuntimeError("anything else"),
    ],
    ids=repr,
)
def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert "out of reach" in refusal(monkeypatch, error, hub_folder, ModelUnavailableError)


def test_tensor_shapes_are_those_that_safetensors_writes(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    save_file(
        {"a": torch.zeros(3, 5), "b.c": torch.zeros(()), "d": torch.zeros(0, 2)}, file, {"format": "pt"}
    )
    assert tensor_shapes(file) == {"a": (3, 5), "b.c": (), "d": (0, 2)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 0),
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": {}}',
        struct.pack("<Q", 20) + json.dumps({"a": {"shape": 3}}).encode(),
        struct.pack("<Q", 2) + b"\xff\xff",
    ],
)
def test_a_damaged_header_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: is no safetensors file"):
        tensor_shapes(file)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        tensor_shapes(tmp_path / "model.safetensors")


def test_a_repository_without_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise errors.NotASafetensorsRepoError("none")

    monkeypatch.setattr("huggingface_hub.get_safetensors_metadata", fail)
    with pytest.raises(ModelError, match=f"{MODEL}: has no readable safetensors"):
        hub_tensor_shapes(MODEL)


def test_a_file_of_ours_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text("{}")
    path.chmod(0o600)
    assert own_text(path) == "{}"
    path.chmod(0o666)
    with pytest.raises(ValueError, match="others may write it"):
        own_text(path)


@pytest.mark.parametrize(
    ("missing", "whole"),
    [
        (None, True),
        ("config.json", False),
        ("tokenizer.json", False),
        ("b.safetensors", False),
        ("1_Pooling/config.json", False),
        ("2_Normalize", True),
    ],
)
def test_a_snapshot_is_whole_with_all_its_shards_and_modules(
    tmp_path: Path, missing: str | None, whole: bool
) -> None:
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Normalize"}, "damaged"]
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    files = {
        "config.json": "{}",
        "tokenizer.json": "{}",
        "a.safetensors": "",
        "b.safetensors": "",
        "1_Pooling/config.json": "{}",
        "model.safetensors.index.json": json.dumps(index),
        "modules.json": json.dumps(modules),
    }
    for name, text in files.items():
        if name != missing:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
    assert model_files._is_whole(tmp_path) == whole
