"""An install of the base alone: cost questions work, and everything else says which extra it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` of a fresh environment that holds `farthing` without any extra."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    command += [
        "--disable-pip-version-check",
        "--constraint",
        str(REPOSITORY / "constraints.txt"),
        str(REPOSITORY),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(
    base: Path, *arguments: str, cwd: Path, program: str = "farthing"
) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return subprocess.run(
        [str(base / program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**environment, "PYTHONWARNINGS": "error"},
        timeout=60,
    )


def test_it_is_the_base_alone(base: Path, tmp_path: Path) -> None:
    heavy = ("torch", "openvino", "numpy", "pyarrow", "huggingface_hub")
    code = f"import importlib.util as u; print(*(name for name in {heavy!r} if u.find_spec(name)))"
    done = run(base, "-c", code, cwd=tmp_path, program="python")
    assert (done.returncode, done.stdout.strip()) == (0, "")


@pytest.mark.parametrize("model", ["Qwen/Qwen3-Embedding-8B", "all-MiniLM-L6-v2"])
def test_explain_works(base: Path, tmp_path: Path, model: str) -> None:
    done = run(base, "explain", model, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["model"].endswith(model)
    assert document["usd_per_million_tokens"]["at_100_percent"] > 0
    shown = run(base, "explain", model, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert model in shown.stdout


@pytest.mark.parametrize("arguments", [("plan", "Qwen/Qwen3-Embedding-8B", "--rate", "50"), ("prices",)])
def test_plan_and_prices_work(base: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(base, *arguments, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["apis"]
    shown = run(base, *arguments, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "h100-sxm" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("plan", "bge-m3", "--rate", "5", "--plot", "x.svg"), "report"),
        (("explain", "bge-m3", "--plot", "x.svg"), "report"),
        (("prices", "--refresh"), "live-prices"),
        (("serve",), "serve"),
    ],
)
def test_what_needs_an_extra_names_it(
    base: Path, tmp_path: Path, arguments: tuple[str, ...], extra: str
) -> None:
    done = run(base, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"farthing[{extra}]" in done.stderr


def test_explain_works_from_python(base: Path, tmp_path: Path) -> None:
    code = "import farthing; print(farthing.explain('Qwen/Qwen3-Embedding-8B', length=1024).flops.total)"
    done = run(base, "-c", code, cwd=tmp_path, program="python")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1e13


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "x.txt", "-o", "y.parquet"),
        ("search", "x.parquet", "why"),
        ("calibrate",),
        ("demo",),
        ("explain", "nobody/nothing"),
    ],
)
def test_what_needs_the_extra_says_so_in_one_line(
    base: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "x.txt").write_text("a text\n")
    done = run(base, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("farthing: ")
    assert done.stderr.count("\n") == 1
    assert "pip install 'farthing[cpu]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_python_says_so_too(base: Path, tmp_path: Path) -> None:
    code = "import farthing\ntry:\n    farthing.Embedder\nexcept farthing.FarthingError as error:\n    print(error)"
    done = run(base, "-c", code, cwd=tmp_path, program="python")
    assert done.returncode == 0, done.stderr
    assert "farthing.Embedder needs" in done.stdout
    assert "pip install 'farthing[cpu]'" in done.stdout


def test_doctor_works(base: Path, tmp_path: Path) -> None:
    done = run(base, "doctor", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["ready"] is False
    assert not any(report["packages"].values())
    shown = run(base, "doctor", cwd=tmp_path)
    assert shown.returncode == 0
    assert "no; run: pip install 'farthing[cpu]'" in shown.stdout


def test_bad_input_is_still_exit_code_2(base: Path, tmp_path: Path) -> None:
    done = run(base, "explain", "all-MiniLM-L6-v2", "--length", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "farthing: length is 0 and batch is 1: give whole numbers of at least 1\n"
    assert run(base, "embed", "x.txt", cwd=tmp_path).returncode == 2
