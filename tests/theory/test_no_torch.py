"""What it should cost is answered without torch, numpy or a file being read at import."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "openvino", "transformers", "huggingface_hub", "pyarrow")


@pytest.mark.parametrize(
    "module",
    [
        "farthing.theory.families.configs",
        "farthing.theory.flops",
        "farthing.theory.time.roofline",
        "farthing.theory.pricing",
        "farthing.planning.explanation",
        "farthing.planning.explain",
        "farthing.cli.views.explain_view",
    ],
)
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
