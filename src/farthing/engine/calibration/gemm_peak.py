"""This machine's best matrix product, over libraries and fixed shapes: the denominator of every MFU.

Run as a program in a process of its own, so that no other library's threads spin beside it. The peak is the
upper quartile of the repeats of the best library and shape, so that nobody can flatter an MFU by a weak
peak, and a single lucky repeat does not make it unreachable.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from farthing.engine.machine import available_cores
from farthing.engine.openvino.runtime import import_openvino
from farthing.errors import EngineError
from farthing.theory.dtypes import Dtype

SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (1024, 384, 1536), (1024, 1536, 384), (2048, 1024, 4096))
"""(M, K, N): squares, the default model's own, and a larger model's MLP."""

CARD_SHAPES = ((4096, 4096, 4096), (8192, 8192, 8192), (8192, 4096, 12288), (16384, 4096, 4096))
"""(M, K, N) on a graphics card: squares, and an 8B model's MLP and attention."""

_TURNS = 4
"""How often each library and shape has its turn, so that a quiet moment of the machine is not the peak of one."""

_PAUSE_S = 0.02
"""Pause before a turn, in which the threads of the library before stop waiting for more work."""

_TIMEOUT_S = 600.0
"""Most that the process may take beside the measuring itself."""

_CARD_REPEATS = 8
"""Products launched before a card is waited for, so that the launch is not measured."""


@dataclass(frozen=True, slots=True)
class GemmRate:
    """Rate of one library at one shape: upper quartile of its repeats, in FLOP/s."""

    library: str
    shape: tuple[int, int, int]
    flops_per_s: float

    @property
    def label(self) -> str:
        """Library and shape in one line."""
        return f"{self.library} {'×'.join(map(str, self.shape))}"


def measure_gemm_peak(
    dtype: Dtype = "fp32", seconds: float = 4.0, device: str = "cpu", cores: int | None = None
) -> list[GemmRate]:
    """Measure all libraries and shapes in a fresh process, best first.

    Args:
        dtype: fp32 or bf16; on a card fp16 and fp8 too.
        seconds: about how long to measure.
        device: `cpu`, or a card as torch names it.
        cores: of the processor; None for all that the process may use.

    Raises:
        EngineError: the process failed.
    """
    cores = cores or available_cores()
    asked = {"dtype": dtype, "seconds": seconds, "device": device, "cores": cores}
    command = [sys.executable, "-P", "-m", "farthing.engine.calibration.gemm_peak", json.dumps(asked)]
    # numpy's library reads its threads when it is loaded.
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(cores))
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S + seconds,
            env=os.environ | threads if device == "cpu" else None,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"measuring the matrix peak in {dtype} took more than {_TIMEOUT_S:.0f} s; free the machine and try again"
        ) from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(f"measuring the matrix peak in {dtype} ended with status {done.returncode}: {said}")
    return [
        GemmRate(row["library"], tuple(row["shape"]), row["flops_per_s"]) for row in json.loads(done.stdout)
    ]


def _measure(dtype: Dtype, seconds: float, device: str, cores: int) -> list[GemmRate]:
    products = list(_products(dtype, cores) if device == "cpu" else card_products(dtype, device, CARD_SHAPES))
    repeats: list[list[float]] = [[] for _ in products]
    for turn in range(_TURNS):
        for (_, shape, run, count), rates in zip(products, repeats, strict=True):
            time.sleep(_PAUSE_S)
            if not turn:
                run()
            end = time.perf_counter() + seconds / len(products) / _TURNS
            while len(rates) <= turn or time.perf_counter() < end:
                start = time.perf_counter()
                run()
                rates.append(2 * math.prod(shape) * count / (time.perf_counter() - start))
    found = [
        GemmRate(library, shape, statistics.quantiles(rates, n=4)[2])
        for (library, shape, *_), rates in zip(products, repeats, strict=True)
    ]
    return sorted(found, key=lambda rate: -rate.flops_per_s)


def _products(
    dtype: Dtype, cores: int
) -> Iterator[tuple[str, tuple[int, int, int], Callable[[], object], int]]:
    """Yield (library, shape, a call that does the products on so many cores, products in a call)."""
    generator = np.random.default_rng(0)
    for shape in SHAPES:
        rows, inner, columns = shape
        # Never zeros: they draw less power and run faster than real data.
        left = generator.standard_normal((rows, inner), np.float32)
        right = generator.standard_normal((inner, columns), np.float32)
        if dtype == "fp32":
            yield "numpy", shape, partial(np.matmul, left, right), 1
        with contextlib.suppress(ImportError):
            yield "torch", shape, _torch_product(left, right, dtype, cores), 1
        with contextlib.suppress(ImportError):
            for streams in {1, cores}:
                label = "openvino" if streams == 1 else f"openvino, {streams} streams"
                yield label, shape, _openvino_product(left, right, dtype, streams, cores), streams


def _torch_product(left: Any, right: Any, dtype: Dtype, cores: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(cores)
    kind = torch.float32 if dtype == "fp32" else torch.bfloat16
    a, b = torch.from_numpy(left).to(kind), torch.from_numpy(right).to(kind)
    return lambda: torch.mm(a, b)


def card_products(
    dtype: Dtype, device: str, shapes: Sequence[tuple[int, int, int]]
) -> Iterator[tuple[str, tuple[int, int, int], Callable[[], object], int]]:
    """Yield torch's products on a device, as `_products`; a call returns when they are done.

    Args:
        dtype: fp32 (without TF32), bf16, fp16 or fp8 (scaled by row).
        device: as torch names it.
        shapes: (M, K, N) of each.
    """
    import torch

    from farthing.engine.torch.fp8 import fp8_rows, scaled_product

    wide = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}[
        dtype
    ]
    generator = torch.Generator(device).manual_seed(0)
    for rows, inner, columns in shapes:
        left = torch.randn(rows, inner, device=device, generator=generator).to(wide)
        right = torch.randn(columns, inner, device=device, generator=generator).to(wide)
        product: Callable[[], object] = partial(torch.nn.functional.linear, left, right)
        if dtype == "fp8":
            (codes, scales), (weight, of_rows) = fp8_rows(left), fp8_rows(right)
            product = partial(scaled_product, codes, weight, scales, of_rows.t().contiguous(), None)

        def run(product: Callable[[], object] = product) -> None:
            for _ in range(_CARD_REPEATS):
                product()
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize(device)

        yield "torch", (rows, inner, columns), run, _CARD_REPEATS


def _openvino_product(left: Any, right: Any, dtype: Dtype, streams: int, cores: int) -> Callable[[], object]:
    openvino = import_openvino()
    ops = openvino.opset13

    parameter = ops.parameter(left.shape, np.float32)
    product = ops.matmul(parameter, ops.constant(right, shared_memory=True), False, False)
    compiled = openvino.Core().compile_model(
        openvino.Model([ops.result(product)], [parameter]),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32" if dtype == "fp32" else "bf16",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": cores,
        },
    )
    requests = [compiled.create_infer_request() for _ in range(streams)]
    for request in requests:
        request.set_input_tensor(openvino.Tensor(left, shared_memory=True))

    def run(_held: Any = left) -> None:  # OpenVINO reads the array but does not keep it alive
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    return run


if __name__ == "__main__":
    json.dump([asdict(rate) for rate in _measure(**json.loads(sys.argv[1]))], sys.stdout)
