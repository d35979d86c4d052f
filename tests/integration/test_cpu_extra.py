"""The extra `cpu` in an environment of its own: no torch in it, and every family runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from farthing import Embedder
from small_families import FAMILIES, save_family

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 600e6

RUN_ALL = """
import json, sys
from dataclasses import replace
from pathlib import Path
from farthing.catalog.calibrations import save_model_calibration
from farthing.cli.main import main
from farthing.engine.calibration.kept import kept_calibrations
from farthing.engine.load import load_model

machine, measured = kept_calibrations(load_model())
for folder in sys.argv[1:]:
    model = load_model(folder)
    # Step times of another model: nothing is predicted here, and measuring each would take minutes.
    save_model_calibration(replace(measured, model=model.checkpoint.name), machine, model.checkpoint.revision)
    code = main(["embed", "texts.txt", "-m", folder, "-o", f"{Path(folder).name}.parquet", "--json"])
    assert not code, (folder, code)
print([name for name in ("torch", "transformers", "safetensors") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a fresh environment with the extra."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*install, "--constraint", str(ROOT / "constraints.txt"), f"{ROOT}[cpu]"], check=True)
    return folder / "bin" / "python"


def test_it_is_small_and_has_no_torch(python: Path) -> None:
    packages = next((python.parents[1] / "lib").glob("python*/site-packages"))
    assert not (packages / "torch").exists()
    size = sum(file.lstat().st_size for file in packages.rglob("*") if file.is_file())
    assert size <= MOST_BYTES, f"{size / 1e6:.0f} MB"


def test_every_family_runs(python: Path, minilm: Path, tmp_path: Path) -> None:
    """MiniLM by the command itself; then the command over a small model of each, and the vectors are ours."""
    texts = ["a b c", "d", "e f g h a a"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    folders = []
    for name in FAMILIES:
        folder = save_family(name, tmp_path / name.replace(" ", "_"))
        _write_tokenizer(folder)
        folders.append(folder)

    def run(*command: object) -> str:
        environment = os.environ | {"PYTHONWARNINGS": "error"}
        done = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    receipt = json.loads(
        run(python.with_name("farthing"), "embed", "texts.txt", "-o", "minilm.parquet", "--json")
    )
    assert (receipt["texts"], receipt["failed"]) == (3, 0)
    assert run(python, "-c", RUN_ALL, *folders).splitlines()[-1] == "[]"
    for folder in folders:
        found = np.array(pq.read_table(tmp_path / f"{folder.name}.parquet").column("embedding").to_pylist())
        with Embedder(str(folder), cache_texts=0) as embedder:
            np.testing.assert_allclose(found, embedder.encode(texts), atol=2e-5)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    words = {letter: row for row, letter in enumerate("abcdefgh")}
    tokenizer = Tokenizer(WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
