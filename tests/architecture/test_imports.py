"""What an import costs: `import farthing` loads nothing heavy, and a question of cost needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "openvino",
    "numpy",
    "pyarrow",
    "tokenizers",
    "safetensors",
    "transformers",
    "click",
    "rich",
)
ENGINE = ("torch", "openvino", "numpy", "pyarrow", "tokenizers", "safetensors", "transformers")


def loaded_after(code: str, names: tuple[str, ...]) -> str:
    """Run code in a fresh Python and return which of the modules it has loaded."""
    code = f"import sys\n{code}\nprint(*(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()[-1].strip()


def test_import_farthing_is_light() -> None:
    assert loaded_after("import farthing", HEAVY) == ""


@pytest.mark.parametrize(
    "code",
    [
        "import farthing; farthing.explain('Qwen/Qwen3-Embedding-8B')",
        "import farthing; farthing.explain('all-MiniLM-L6-v2', device='l4', length=128)",
        "from farthing import Explanation, FarthingError, Receipt",
        "import farthing.cli.main",
        "from farthing.cli.main import main; main(['explain', 'all-MiniLM-L6-v2', '--json'])",
        "from farthing.cli.main import main; main(['plan', 'bge-m3', '--rate', '5', '--json'])",
        "from farthing.cli.main import main; main(['prices', '--json'])",
        "from farthing.cli.main import main; main(['doctor', '--json'])",
        "from farthing.cli.main import main; main(['embed', '--help'])",
    ],
)
def test_a_question_of_cost_needs_no_engine(code: str) -> None:
    assert loaded_after(code, ENGINE) == ""


TRACED = (
    "farthing.planning.replay",
    "farthing.planning.asked.trace",
)
OF_A_CORPUS = ("farthing.planning.corpus",)
OF_A_SERVICE = ("farthing.planning.filling", "farthing.planning.asked.demand")
A_FILE = ("farthing.catalog.calibration_file",)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--rate", "5"], TRACED + OF_A_CORPUS + A_FILE),
        (["--corpus-tokens", "1e9", "--deadline", "8"], TRACED + OF_A_SERVICE + A_FILE),
    ],
)
def test_a_plan_waits_for_nothing_that_it_does_not_need(options: list[str], names: tuple[str, ...]) -> None:
    code = f"from farthing.cli.main import main; main(['plan', 'bge-m3', *{options!r}, '--json'])"
    assert loaded_after(code, names) == ""


def test_nothing_is_read_or_probed_at_import() -> None:
    """No file but Python's own modules is opened by importing every room that the base install has."""
    code = """
opened = []
sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)
import farthing, farthing.planning.explanation, farthing.catalog.load, farthing.planning.explain
import farthing.catalog.configuration, farthing.catalog.calibrations, farthing.metering.elsewhere
odd = [path for path in opened if not path.endswith((".py", ".pyc"))
       and not ".pyc." in path and not path.endswith((".so", ".cfg", ".pth"))]
print(odd)
"""
    done = subprocess.run(
        [sys.executable, "-c", "import sys" + code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
