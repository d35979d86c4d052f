"""Eight-bit layers: rounding against a reference of our own, shapes that fail, parts, and whole small models."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from farthing.engine.folder.checkpoint import Pooling, read_checkpoint
from farthing.engine.torch.fp8 import FP8_MOST, fp8_rows, int8_rows, integer_product, scaled_product
from farthing.engine.folder.locate import locate_model
from farthing.engine.network.packing import packed
from farthing.engine.quantized import (
    Fp8Linear,
    Int8Linear,
    Kind,
    ProductShape,
    QuantizedLinear,
    failed_shapes,
    quantized,
)
from farthing.engine.network.transformer import Transformer
from farthing.engine.torch.vector_error import vector_error
from farthing.engine.network.weights import load_transformer
from farthing.errors import EngineError, InputError
from small_families import deviation, random_ids, save_family

Doubles = npt.NDArray[np.float64]
Load = Callable[..., Transformer]


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


def linear(outputs: int, inputs: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
    layer.weight.copy_(random(outputs, inputs, seed=1))
    if bias:
        layer.bias.copy_(random(1, outputs, seed=2)[0])
    return layer


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
    codes, scales = int8_rows(x)
    assert (codes.int().abs().gather(1, largest) == 127).all()
    assert ((codes.float() * scales - x).abs() <= 0.5001 * scales).all()


@pytest.mark.parametrize("rows_of", [fp8_rows, int8_rows])
def test_a_scaled_row_has_the_same_codes(rows_of: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    x = random(9, 33)
    powers = torch.exp2(torch.arange(-4.0, 5.0))[:, None]
    (codes, scales), (same, grown) = rows_of(x), rows_of(x * powers)
    assert torch.equal(codes.float(), same.float())
    assert torch.equal(scales * powers, grown)


@pytest.mark.parametrize("kind", [Fp8Linear, Int8Linear])
def test_rows_of_zeros_and_rows_that_are_not_finite(kind: type[Fp8Linear | Int8Linear]) -> None:
    source = linear(32, 48)
    source.weight[5] = 0
    layer = kind(source)
    x = random(4, 48)
    x[0], x[1, 3], x[2, 7] = 0, torch.nan, torch.inf
    found = layer(x)
    assert torch.equal(found[0], source.bias)
    assert (found[3, 5] == source.bias[5]).all()
    assert found[3].isfinite().all()
    assert not found[1:3].isfinite().any()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("outputs", "inputs", "bias"), [(48, 64, True), (37, 61, True), (33, 1500, False)])
def test_fp8_is_the_product_of_rounded_values(native: bool, outputs: int, inputs: int, bias: bool) -> None:
    """Against numpy in double: what is emulated, and torch's scaled product where it runs on processors."""
    source, x = linear(outputs, inputs, bias=bias), random(7, inputs)

    def rounded(rows: Tensor) -> Doubles:
        scales = (rows.abs().amax(dim=1, keepdim=True) / 448).numpy()
        return to_e4m3(rows.numpy() / scales) * scales.astype(np.float64)

    expected = rounded(x) @ rounded(source.weight).T
    size = np.abs(rounded(x)) @ np.abs(rounded(source.weight)).T
    added = source.bias.double().numpy() if bias else np.zeros(outputs)
    layer = Fp8Linear(source, scaled_product if native else None)
    found = layer(x).numpy()
    if layer.failed:
        pytest.skip("this torch has no scaled product for this processor")
    half_a_step = 2**-8 if native else 0  # of bf16, which the bias and the result are rounded to
    most = half_a_step * (np.abs(expected + added) + np.abs(added)) + 1e-6 * (size + np.abs(added))
    assert (np.abs(found - expected - added) <= 1.01 * most).all()


def test_int8_sums_are_exact() -> None:
    """At 3,000 inputs float32 sums of the same products are not."""
    source = linear(20, 3000)
    x = 2 + random(6, 3000).sign() / 4
    source.weight.copy_(3 + source.weight.sign())
    layer = Int8Linear(source)
    codes, scales = int8_rows(x)
    rows, row_scales = int8_rows(source.weight)
    sums = codes.long() @ rows.long().t()
    assert int(sums.max()) > 2**24
    assert torch.equal(integer_product(codes, rows.float()), sums.int())
    expected = sums.double() * scales.double() * row_scales.double().t() + source.bias.double()
    torch.testing.assert_close(layer(x).double(), expected, rtol=3e-7, atol=0)
    plain = Int8Linear(source, activations=False)
    torch.testing.assert_close(plain(x), x @ (rows * row_scales).t() + source.bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [Fp8Linear, Int8Linear])
def test_a_part_is_a_slice_of_the_whole(kind: type[Fp8Linear | Int8Linear], dtype: torch.dtype) -> None:
    layer, x = kind(linear(83, 60).to(dtype)), random(5, 60).to(dtype)
    whole = layer(x)
    assert whole.shape == (5, 83)
    assert whole.dtype == dtype
    for start, stop in ((0, 83), (0, 16), (16, 48), (7, 61), (70, 83), (82, 83)):
        torch.testing.assert_close(layer.part(x, start, stop), whole[:, start:stop], rtol=1e-6, atol=1e-6)


def test_a_shape_without_a_kernel_runs_widened_and_is_tried_once() -> None:
    tried: list[tuple[int, int, int]] = []

    def product(codes: Tensor, weight: Tensor, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor:
        tried.append((codes.shape[0], *weight.shape))
        if codes.shape[0] <= 256 and weight.shape[1] == 96:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
        return torch.full((codes.shape[0], weight.shape[0]), 7.0)

    layer, plain = Fp8Linear(linear(64, 90), product), Fp8Linear(linear(64, 90))
    x = random(300, 90)
    for tokens in (200, 130, 256, 100):
        assert torch.equal(layer(x[:tokens]), plain(x[:tokens]))
    assert (layer(x) == 7).all()
    assert torch.equal(layer.part(x[:200], 0, 32), plain.part(x[:200], 0, 32))
    assert tried == [(200, 64, 96), (100, 64, 96), (300, 64, 96), (200, 32, 96)]
    failed = (ProductShape(128, 64, 96), ProductShape(256, 32, 96), ProductShape(256, 64, 96))
    assert failed_shapes(nn.ModuleDict({"up": layer, "down": plain})) == {"up": failed}
    assert not Fp8Linear(linear(64, 90), product).failed


def test_compiled_layers_fall_back_too() -> None:
    """One graph serves all sizes of step; what the product does is not in it."""

    def product(codes: Tensor, weight: Tensor, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor:
        if codes.shape[0] <= 256:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
        return torch.full((codes.shape[0], weight.shape[0]), 7.0)

    both = [linear(96, 64), linear(64, 96)]
    model = nn.Sequential(Fp8Linear(both[0], product), nn.ReLU(), Fp8Linear(both[1], product))
    plain = nn.Sequential(Fp8Linear(both[0]), nn.ReLU(), Fp8Linear(both[1]))
    graphs = 0

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Tensor]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    model.compile(dynamic=True, backend=backend)
    x = random(400, 64)
    once = 0
    for tokens in (200, 20, 130, 256, 100, 60, 3, 31):
        assert torch.equal(model(x[:tokens]), plain(x[:tokens]))
        once = once or graphs
    assert (model(x[:300]) == 7).all()
    assert graphs == once > 0


def test_an_error_that_is_not_the_shapes_is_raised() -> None:
    def product(*_: Tensor | None) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    layer = Fp8Linear(linear(32, 32), product)
    with pytest.raises(torch.OutOfMemoryError):
        layer(random(3, 32))
    assert not layer.failed


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Return a loader of small random models."""
    folders: dict[str, Path] = {}

    def model(family: str, pooling: Pooling = "mean", trimmed: bool = True) -> Transformer:
        if family not in folders:
            folders[family] = save_family(family, tmp_path_factory.mktemp("family"))
            (folders[family] / "tokenizer.json").touch()  # it must be there, and is not read
        checkpoint = read_checkpoint(locate_model(str(folders[family])))
        return load_transformer(replace(checkpoint, pooling=pooling), trimmed=trimmed)

    return model


def vectors(model: Transformer) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        found: npt.NDArray[np.float32] = model(*map(torch.from_numpy, packed(random_ids()).inputs)).numpy()
    return found


@pytest.mark.parametrize(
    ("family", "kind", "least"),
    [
        ("bert", "fp8", 0.9982),
        ("bert", "int8", 0.9999),
        ("bert", "int8_weights", 0.99994),
        ("qwen3", "fp8", 0.991),
        ("qwen3", "int8", 0.9994),
        ("qwen3", "int8_weights", 0.9995),
    ],
)
def test_small_models_deviate_a_little(family: str, kind: Kind, least: float, load: Load) -> None:
    """The bounds are twice as far from 1 as what was measured."""
    error = vector_error(vectors(load(family)), vectors(quantized(load(family), kind)), "fp32")
    assert least < error.least_cosine < 1 - 1e-6


def test_a_trimmed_last_layer_gives_the_same_vectors(load: Load) -> None:
    whole, trimmed = (quantized(load("qwen3", "last_token", kept), "fp8") for kept in (False, True))
    assert trimmed.trimmed
    # Sums in another order move an activation to the next code once in a while: far less than wrong rows would.
    assert deviation(vectors(trimmed), vectors(whole)) <= 0.02


def test_only_linear_layers_change_and_the_originals_are_let_go(load: Load) -> None:
    model = load("qwen3")
    originals = [
        weakref.ref(module.weight) for module in model.layers.modules() if isinstance(module, nn.Linear)
    ]
    assert quantized(model, "fp8", skip=["layers.0", "layers.2.mlp.down"]) is model
    gc.collect()
    assert sum(weight() is not None for weight in originals) == 4 + 1
    changed = {name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    parts = ("attention.qkv", "attention.output", "mlp.up", "mlp.down")
    expected = {f"layers.{layer}.{part}" for layer in (1, 2) for part in parts} - {"layers.2.mlp.down"}
    assert changed == expected
    with pytest.raises(InputError, match=r"skip 'layers\.1\.m'"):
        quantized(model, "fp8", skip=["layers.1.m"])


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
