"""The matrix peak: every library measured, best first; and a failure in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from farthing.engine.calibration import gemm_peak
from farthing.engine.calibration.gemm_peak import SHAPES, GemmRate, measure_gemm_peak
from farthing.errors import EngineError
from farthing.theory.dtypes import Dtype


def test_a_short_run() -> None:
    rates = measure_gemm_peak(seconds=0.2)
    assert {rate.library.partition(",")[0] for rate in rates} == {"openvino", "torch", "numpy"}
    assert {rate.shape for rate in rates} == set(SHAPES)
    values = [rate.flops_per_s for rate in rates]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0


def test_no_numpy_in_bf16() -> None:
    assert {library for library, *_ in gemm_peak._products("bf16", 2)} & {"numpy", "torch"} == {"torch"}


def test_a_label_names_library_and_shape() -> None:
    assert (
        GemmRate("openvino, 2 streams", (1024, 384, 1536), 1e11).label == "openvino, 2 streams 1024×384×1536"
    )


def test_a_process_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run

    def run(_command: list[str], **_options: bool) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "raise MemoryError('no room')"]
        return real(command, capture_output=True, text=True, check=False)

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(EngineError, match="no room") as caught:
        measure_gemm_peak()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_cards_products_are_those_of_torch(dtype: Dtype) -> None:
    """On the CPU, which stands for the card: each call does as many products as it says."""
    ((library, shape, run, count),) = gemm_peak.card_products(dtype, "cpu", [(32, 16, 48)])
    assert (library, shape) == ("torch", (32, 16, 48))
    with FlopCounterMode(display=False) as counted:
        run()
    assert counted.get_total_flops() == count * 2 * 32 * 16 * 48


def test_nothing_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("numpy", "json", "openvino"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    assert measure_gemm_peak(seconds=0.05)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_each_product_of_each_library_is_timed(dtype: Dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, on products so small that they take no time; a run of its own has the real ones."""
    monkeypatch.setattr(gemm_peak, "SHAPES", ((16, 8, 32), (8, 8, 8)))
    monkeypatch.setattr(gemm_peak, "_PAUSE_S", 0.0)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    try:
        rates = gemm_peak._measure(dtype, 0.02, "cpu", 2)
    except RuntimeError:  # OpenVINO, where the processor has no bf16
        assert dtype == "bf16"
        return
    libraries = ["numpy"] if dtype == "fp32" else []
    assert {rate.library for rate in rates} == {*libraries, "torch", "openvino", "openvino, 2 streams"}
    assert {rate.shape for rate in rates} == {(16, 8, 32), (8, 8, 8)}
    assert [rate.flops_per_s for rate in rates] == sorted((rate.flops_per_s for rate in rates), reverse=True)
