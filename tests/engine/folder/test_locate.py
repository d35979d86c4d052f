"""Locating a model: a folder, the default one, or a hub that may be out of reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from farthing.catalog.model_files import DEFAULT_MODEL
from farthing.engine.folder.locate import (
    LocatedModel,
    default_model_folder,
    locate_model,
)
from farthing.engine.load import load_model
from farthing.errors import FarthingError, ModelError, ModelUnavailableError


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the test a data directory and a hub cache that are empty, and no hub."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    # Read when huggingface_hub is imported, which an earlier test may have done.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def refusal(model: str | None, kind: type[FarthingError] = ModelError, revision: str | None = None) -> str:
    with pytest.raises(FarthingError) as caught:
        locate_model(model, revision)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = LocatedModel(str(tiny_bert.resolve()), tiny_bert.resolve(), None)
    assert locate_model(str(tiny_bert)) == expected
    monkeypatch.chdir(tiny_bert.parent)
    assert locate_model(tiny_bert.name) == expected
    assert locate_model(f"./{tiny_bert.name}/") == expected


def test_a_folder_under_home(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_bert.parent))
    assert locate_model(f"~/{tiny_bert.name}").folder == tiny_bert.resolve()


@pytest.mark.parametrize("mark", ["config.json", "modules.json", "adapter_config.json"])
def test_a_folder_of_any_kind_of_model_is_one(tmp_path: Path, mark: str) -> None:
    """Which kind, and whether it runs, is for the checkpoint to say."""
    (tmp_path / mark).write_text("{}")
    assert locate_model(str(tmp_path)).folder == tmp_path.resolve()


def test_a_folder_without_config(tmp_path: Path) -> None:
    message = refusal(str(tmp_path))
    assert str(tmp_path) in message
    assert "config.json" in message


def test_a_file(tiny_bert: Path) -> None:
    assert "is a file" in refusal(str(tiny_bert / "config.json"))


@pytest.mark.parametrize(
    "name",
    [
        "./missing",
        "/missing",
        "missing/in/here",
        "~/missing",
        "~nobody-of-that-name/m",
        " ",
        "\t",
        "x" * 5000,
    ],
    ids=lambda name: repr(name[:20]),
)
def test_a_missing_folder(name: str, no_models: Path) -> None:
    message = refusal(name)
    assert "no such folder" in message
    assert DEFAULT_MODEL in message


@pytest.mark.parametrize("name", ["a b", "what?", "x" * 200, "nul\0"], ids=len)
def test_a_name_that_no_hub_has(name: str, no_models: Path) -> None:
    assert "hub id" in refusal(name)


@pytest.mark.parametrize("name", [None, DEFAULT_MODEL, "all-MiniLM-L6-v2"])
def test_the_default_model_is_found_by_each_of_its_names(name: str | None, minilm: Path) -> None:
    assert locate_model(name) == LocatedModel(DEFAULT_MODEL, minilm, None)
    assert minilm == default_model_folder()


@pytest.mark.parametrize("name", [None, DEFAULT_MODEL, "all-MiniLM-L6-v2"])
def test_the_default_model_that_was_not_fetched(name: str | None, no_models: Path) -> None:
    message = refusal(name, ModelUnavailableError)
    assert "farthing fetch-model" in message
    assert DEFAULT_MODEL in message


def test_another_revision_of_the_default_model_is_not_the_fetched_one(minilm: Path, no_models: Path) -> None:
    refusal(DEFAULT_MODEL, ModelUnavailableError, revision="main")


def test_a_hub_id_out_of_reach(no_models: Path) -> None:
    message = refusal("BAAI/bge-small-en-v1.5", ModelUnavailableError)
    assert "BAAI/bge-small-en-v1.5" in message
    assert "HF_ENDPOINT" in message
    assert "fetch-model" not in message


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    """Port 9 of this machine refuses at once; a process of its own, as the client reads it on import."""
    code = (
        "from farthing.engine.folder.locate import locate_model\n"
        "from farthing.errors import ModelUnavailableError\n"
        "try: locate_model(None)\n"
        "except ModelUnavailableError as error: print(error)\n"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "hub"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert "farthing fetch-model" in done.stdout
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_folder_called_like_a_model_of_the_hub_is_used_with_a_warning(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_bert, tmp_path / "maker" / "tiny")
    with pytest.warns(UserWarning, match="this folder is used"):
        assert locate_model("maker/tiny").folder == tmp_path / "maker" / "tiny"
    assert locate_model("./maker/tiny").folder == tmp_path / "maker" / "tiny"


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "all-MiniLM-L6-v2", None])
def test_no_folder_speaks_in_the_default_models_name(
    name: str | None, minilm: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for shadow in (DEFAULT_MODEL, "all-MiniLM-L6-v2"):
        shutil.copytree(tiny_bert, tmp_path / shadow)
    assert locate_model(name).folder == minilm


def test_a_default_folder_that_was_swapped_is_refused(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    shutil.copytree(tiny_bert, default_model_folder())
    with pytest.raises(ModelError, match="fetch-model --force"):
        load_model()
