"""FP8 layers: rounding against a reference of our own, shapes that fail, parts, and whole small models."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from farthing.engine.folder.checkpoint import Pooling
from farthing.engine.network.transformer import network_of
from farthing.engine.network.weights import weights_of
from farthing.engine.torch import fp8
from farthing.engine.torch.engine import Means, TorchEngine
from farthing.engine.torch.fp8 import (
    FP8_MOST,
    Fp8Stack,
    ProductShape,
    fp8_rows,
    quantize,
    scaled_product,
    vector_error,
)
from farthing.engine.torch.varlen import Kernel
from farthing.engine.torch.weights import Stack, Weights
from farthing.errors import EngineError
from farthing.theory.dtypes import Dtype
from small_families import MOST_DEVIATION, deviation, random_ids
from varlen_kernel import varlen_2_13
from ways import checkpoint_of

Doubles = npt.NDArray[np.float64]


def e4m3_values() -> Doubles:
    """Return all finite values that are not negative, by their code: 4 bits of exponent, 3 of mantissa, bias 7."""
    parts = [(code & 7 if code < 8 else 8 + (code & 7), max(code >> 3, 1) - 10) for code in range(127)]
    return np.array([float(mantissa) * 2.0**power for mantissa, power in parts])


def to_e4m3(values: npt.NDArray[np.floating]) -> Doubles:
    """Return the nearest of them, of two that are as near the one with the even code."""
    grid = e4m3_values()
    distance = np.abs(np.abs(values.astype(np.float64))[..., None] - grid)
    even_first = np.argsort(np.arange(127) % 2, kind="stable")
    nearest = even_first[np.argmin(distance[..., even_first], axis=-1)]
    rounded: Doubles = np.sign(values) * grid[nearest]
    return rounded


def random(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Rows of very different sizes, as activations are."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.exp2(torch.randint(-12, 9, (rows, 1), generator=generator).float())
    return torch.randn(rows, columns, generator=generator) * sizes


def stack_of(outputs: int, inputs: int, *, bias: bool = True) -> Stack:
    return Stack(random(outputs, inputs, seed=1), random(1, outputs, seed=2)[0] if bias else None)


def whole(stack: Stack, x: Tensor, outputs: int) -> Tensor:
    return stack.product(x, 0, outputs)


@pytest.fixture(autouse=True)
def _none_refused() -> Iterator[None]:
    before = set(fp8.REFUSED)
    yield
    fp8.REFUSED.clear()
    fp8.REFUSED.update(before)


def test_rounding_is_e4m3_to_nearest_even() -> None:
    grid = e4m3_values().astype(np.float32)
    middles = (grid[1:] + grid[:-1]) / 2  # exact: one bit more
    around = [np.nextafter(middles, np.float32(side)) for side in (0, np.inf)]
    generator = np.random.default_rng(0)
    spread = (generator.uniform(-1, 1, 2000) * 2.0 ** generator.uniform(-11, 8.8, 2000)).astype(np.float32)
    values = np.concatenate([grid, middles, *around, -middles, spread, [FP8_MOST]]).astype(np.float32)
    codes, scales = fp8_rows(torch.from_numpy(values)[None])
    assert scales.item() == 1  # the largest is 448
    np.testing.assert_array_equal(codes[0].float().numpy(), to_e4m3(values).astype(np.float32))


def test_the_largest_of_a_row_uses_the_whole_range() -> None:
    x = random(50, 40)
    largest = x.abs().argmax(dim=1, keepdim=True)
    codes, scales = fp8_rows(x)
    assert (codes.float().abs().gather(1, largest) == FP8_MOST).all()
    torch.testing.assert_close(codes.float() * scales, x, rtol=2**-4, atol=float(x.abs().max()) * 2**-18)


def test_a_scaled_row_has_the_same_codes() -> None:
    x = random(9, 33)
    powers = torch.exp2(torch.arange(-4.0, 5.0))[:, None]
    (codes, scales), (same, grown) = fp8_rows(x), fp8_rows(x * powers)
    assert torch.equal(codes.float(), same.float())
    assert torch.equal(scales * powers, grown)


def test_rows_of_zeros_and_rows_that_are_not_finite() -> None:
    weight, bias = random(32, 48, seed=1), random(1, 32, seed=2)[0]
    weight[5] = 0
    x = random(4, 48)
    x[0], x[1, 3], x[2, 7] = 0, torch.nan, torch.inf
    found = whole(Fp8Stack(Stack(weight, bias)), x, 32)
    assert torch.equal(found[0], bias)
    assert (found[3, 5] == bias[5]).all()
    assert found[3].isfinite().all()
    assert not found[1:3].isfinite().any()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("outputs", "inputs", "bias"), [(48, 64, True), (37, 61, True), (33, 1500, False)])
def test_fp8_is_the_product_of_rounded_values(
    native: bool, outputs: int, inputs: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against numpy in double: what is emulated, and torch's scaled product where it runs on processors."""
    source, x = stack_of(outputs, inputs, bias=bias), random(7, inputs)

    def rounded(rows: Tensor) -> Doubles:
        scales = (rows.abs().amax(dim=1, keepdim=True) / 448).numpy()
        return to_e4m3(rows.numpy() / scales) * scales.astype(np.float64)

    expected = rounded(x) @ rounded(source.weight).T
    size = np.abs(rounded(x)) @ np.abs(rounded(source.weight)).T
    added = np.zeros(outputs) if source.bias is None else source.bias.double().numpy()
    if native:
        monkeypatch.setattr(fp8, "runs_fp8", lambda _: True)
        monkeypatch.setattr(fp8, "scaled_product", lambda *given: scaled_product(*given).float())
    found = whole(Fp8Stack(source), x, outputs).numpy()
    if native and fp8.REFUSED:
        pytest.skip("this torch has no scaled product for this processor")
    half_a_step = 2**-8 if native else 0  # of bf16, which the bias and the result are rounded to
    most = half_a_step * (np.abs(expected + added) + np.abs(added)) + 1e-6 * (size + np.abs(added))
    assert (np.abs(found - expected - added) <= 1.01 * most).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_part_is_a_slice_of_the_whole(dtype: torch.dtype) -> None:
    source = stack_of(83, 60)
    assert source.bias is not None
    layer, x = Fp8Stack(Stack(source.weight.to(dtype), source.bias.to(dtype))), random(5, 60).to(dtype)
    all_of_it = whole(layer, x, 83)
    assert all_of_it.shape == (5, 83)
    assert all_of_it.dtype == dtype
    for start, stop in ((0, 83), (0, 16), (16, 48), (7, 61), (70, 83), (82, 83)):
        part = layer.product(x, start, stop)
        torch.testing.assert_close(part, all_of_it[:, start:stop], rtol=1e-6, atol=1e-6)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Stand in for FP8 units whose library has no kernel for few tokens of 96 inputs; return what it was asked for."""
    asked: list[tuple[int, ...]] = []

    def product(codes: Tensor, weight: Tensor, *_: Tensor | None) -> Tensor:
        asked.append((codes.shape[0], *weight.shape))
        if codes.shape[0] <= 256 and weight.shape[1] == 96:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
        return torch.full((codes.shape[0], weight.shape[0]), 7.0)

    monkeypatch.setattr(fp8, "runs_fp8", lambda _: True)
    monkeypatch.setattr(fp8, "scaled_product", product)
    return asked


def test_a_shape_without_a_kernel_runs_widened_and_is_tried_once(
    tried: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = Fp8Stack(stack_of(64, 90)), random(300, 90)
    with monkeypatch.context() as without:
        without.setattr(fp8, "runs_fp8", lambda _: False)
        plain = whole(layer, x, 64)
    for tokens in (200, 130, 256, 100):
        torch.testing.assert_close(whole(layer, x[:tokens], 64), plain[:tokens], rtol=1e-5, atol=1e-4)
    assert (whole(layer, x, 64) == 7).all()
    assert layer.product(x[:200], 0, 32).shape == (200, 32)
    assert tried == [(200, 64, 96), (100, 64, 96), (300, 64, 96), (200, 32, 96)]
    assert {ProductShape(128, 64, 96), ProductShape(256, 32, 96), ProductShape(256, 64, 96)} == fp8.REFUSED


def test_an_error_that_is_not_the_shapes_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(*_: Tensor | None) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fp8, "runs_fp8", lambda _: True)
    monkeypatch.setattr(fp8, "scaled_product", product)
    with pytest.raises(torch.OutOfMemoryError):
        whole(Fp8Stack(stack_of(32, 32)), random(3, 32), 32)
    assert not fp8.REFUSED


def engine_of(folder: Path, dtype: Dtype, pooling: Pooling = "mean", **means: Any) -> TorchEngine:
    return TorchEngine(checkpoint_of(folder, pooling), dtype, "cpu", means=Means(**means))


@pytest.mark.parametrize(("family", "least"), [("bert", 0.998), ("qwen3", 0.991)])
def test_small_models_deviate_a_little(
    family: str, least: float, family_folder: Callable[[str], Path]
) -> None:
    """The bounds are about twice as far from 1 as what was measured; the engine measures it too, against bf16."""
    exact, small = (engine_of(family_folder(family), dtype) for dtype in ("fp32", "fp8"))
    wide, found = (one.lane().run(random_ids()).vectors for one in (exact, small))
    assert least < vector_error(wide, found, "fp32").least_cosine < 1 - 1e-6
    assert small.vector_error is not None
    assert least - 0.001 < float(small.vector_error["least_cosine"]) < 1 - 1e-6


def test_a_trimmed_last_layer_gives_the_same_vectors(
    family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed = engine_of(family_folder("qwen3"), "fp8", "last_token").lane().run(random_ids())
    assert trimmed.work.trimmed_flops > 0
    monkeypatch.setattr(
        "farthing.engine.torch.engine.network_of",
        lambda checkpoint: replace(network_of(checkpoint), trim=False),
    )
    complete = engine_of(family_folder("qwen3"), "fp8", "last_token").lane().run(random_ids())
    # Sums in another order move an activation to the next code once in a while: far less than wrong rows would.
    assert deviation(trimmed.vectors, complete.vectors) <= 0.02


def test_products_do_not_break_the_compiled_graph(family_folder: Callable[[str], Path]) -> None:
    """And a shape that is refused after it was compiled runs widened."""
    torch._dynamo.reset()
    counter, folder = CompileCounterWithBackend("aot_eager"), family_folder("qwen3")
    plain = engine_of(folder, "fp8", kernel=Kernel(varlen_2_13)).lane().run(random_ids())
    lane = engine_of(folder, "fp8", kernel=Kernel(varlen_2_13), compiler=counter).lane()
    assert deviation(lane.run(random_ids()).vectors, plain.vectors) <= MOST_DEVIATION
    assert counter.frame_count == 3  # before the layers, all layers, behind them


def test_a_refused_shape_in_compiled_code(
    tried: list[tuple[int, ...]], family_folder: Callable[[str], Path]
) -> None:
    torch._dynamo.reset()
    layer = Fp8Stack(stack_of(96, 96))
    compiled = torch.compile(
        lambda x: layer.product(x, 0, 96), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    x = random(400, 96)
    for tokens in (300, 200, 20, 130, 256, 100):
        assert torch.equal(compiled(x[:tokens]), whole(layer, x[:tokens], 96))
    assert (compiled(x[:300]) == 7).all()
    assert not (compiled(x[:200]) == 7).any()


def test_only_products_of_layers_change_and_the_originals_are_let_go(
    family_folder: Callable[[str], Path],
) -> None:
    checkpoint = checkpoint_of(family_folder("qwen3"), "mean")
    weights = Weights.loaded(checkpoint.shape, weights_of(checkpoint), torch.device("cpu"), torch.bfloat16)
    stacks = weights.stacks
    originals = {name: weakref.ref(stack) for name, stack in stacks.items()}
    quantize(weights)
    gc.collect()
    parts = ("attention.qkv", "attention.output", "mlp.gate_up", "mlp.down")
    expected = {f"layers.{layer}.{part}" for layer in range(3) for part in parts}
    assert {name for name, stack in stacks.items() if isinstance(stack, Fp8Stack)} == expected
    assert {name for name, original in originals.items() if original() is None} == expected


def test_the_error_of_vectors() -> None:
    reference = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]], np.float32)
    found = np.array([[5.0, 0.0], [1.0, 1.0], [3.0, 4.0]], np.float32)
    error = vector_error(reference, found, "bf16")
    assert error.mean_cosine == pytest.approx((1 + 2**-0.5 + 0.6) / 3)
    assert error.least_cosine == pytest.approx(0.6)
    assert (error.texts, error.against) == (3, "bf16")
    for bad in (np.zeros((3, 2)), np.full((3, 2), np.nan), found[:2]):
        with pytest.raises(EngineError):
            vector_error(reference, bad, "bf16")
