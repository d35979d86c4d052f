"""The files of weights: one, shards, or one line that says what is wrong and how to get the right ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from farthing.engine.folder import files as folder_files
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.files import weights_sha256
from farthing.engine.folder.locate import locate_model
from farthing.engine.network.weights import weights_of
from farthing.errors import ModelError, UnsupportedModelError

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """Return a copy of the small BERT that a test may change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


@pytest.fixture
def sharded(folder: Path) -> Path:
    """Return the same model in shards, as transformers saves it."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    return folder


def refusal(folder: Path, kind: type[ModelError] = ModelError) -> str:
    with pytest.raises(ModelError) as caught:
        read_checkpoint(locate_model(str(folder)))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_shards_are_all_read(sharded: Path, tiny_bert: Path) -> None:
    checkpoint = read_checkpoint(locate_model(str(sharded)))
    assert len(checkpoint.weights) > 1
    assert list(checkpoint.weights) == sorted(sharded.glob("model-*.safetensors"))
    whole = dict(weights_of(read_checkpoint(locate_model(str(tiny_bert)))))
    for name, values in weights_of(checkpoint):
        np.testing.assert_array_equal(values, whole[name])


def test_one_file_goes_before_an_index(sharded: Path, tiny_bert: Path) -> None:
    """As in transformers."""
    shutil.copy(tiny_bert / "model.safetensors", sharded)
    assert read_checkpoint(locate_model(str(sharded))).weights == (sharded / "model.safetensors",)


def test_a_missing_shard_is_named(sharded: Path) -> None:
    gone = sorted(sharded.glob("model-*.safetensors"))[1]
    gone.unlink()
    assert str(gone) in refusal(sharded)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": ["a"]}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "../model.safetensors"}}',
        '{"weight_map": {"a": "/tmp/model.safetensors"}}',
        '{"weight_map": {"a": "pytorch_model.bin"}}',
    ],
)
def test_a_damaged_index_is_named(sharded: Path, index: str) -> None:
    (sharded / INDEX).write_text(index)
    assert INDEX in refusal(sharded)


def run_the_conversion(message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Do what the message says, in this process, and return the folder that it makes."""
    found = re.search(r"python -c (.+) makes a folder", message)
    assert found
    monkeypatch.chdir(folder)
    exec(shlex.split(found[1])[0], {})
    return folder / "converted"


@pytest.mark.filterwarnings("ignore")
def test_pickled_weights_are_refused_and_the_way_out_works(
    folder: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    message = refusal(folder, UnsupportedModelError)
    assert "pytorch_model.bin" in message
    converted = read_checkpoint(locate_model(str(run_the_conversion(message, folder, monkeypatch))))
    whole = dict(weights_of(read_checkpoint(locate_model(str(tiny_bert)))))
    for name, values in weights_of(converted):
        np.testing.assert_array_equal(values, whole[name])


@pytest.mark.filterwarnings("ignore")
def test_a_slow_tokenizer_is_refused_and_the_way_out_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    change = json.loads((folder / "config.json").read_text()) | {"vocab_size": len(vocabulary)}
    (folder / "config.json").write_text(json.dumps(change))
    message = refusal(folder, UnsupportedModelError)
    assert "vocab.txt" in message
    assert "tokenizer.json" in message
    converted = run_the_conversion(message, folder, monkeypatch)
    assert (converted / "tokenizer.json").is_file()
    assert read_checkpoint(locate_model(str(converted))).folder == converted


def test_the_hash_is_of_all_files_and_their_order(tmp_path: Path) -> None:
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    assert weights_sha256((one, two)) == hashlib.sha256(b"onetwo").hexdigest()
    assert weights_sha256((one,)) == hashlib.sha256(b"one").hexdigest()
    assert weights_sha256((two, one)) == hashlib.sha256(b"twoone").hexdigest()


def test_the_hash_is_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    first = weights_sha256((file,))
    with monkeypatch.context() as only_here:
        only_here.delattr(folder_files, "sha256_of")
        assert weights_sha256((file,)) == first
    before = file.stat()
    other = tmp_path / "other"
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)  # the same size and time
    assert weights_sha256((file,)) != first


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}'])
def test_a_damaged_memory_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    first = weights_sha256((file,))
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text(content)
    assert weights_sha256((file,)) == first


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert weights_sha256((file,)) == hashlib.sha256(b"one").hexdigest()
