"""int8, emulated for a benchmark: exact sums, the whole range of codes, parts, and whole small models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from farthing.engine.torch.fp8 import vector_error
from farthing.engine.torch.weights import Stack
from int8 import Int8Stack, int8_rows, integer_product, quantize_int8
from low_precision import Quantize, lane_of
from small_families import family_folders, random_ids
from ways import checkpoint_of


@pytest.fixture(scope="module")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return family_folders(tmp_path_factory.mktemp("families"))


def random(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Rows of very different sizes, as activations are."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.exp2(torch.randint(-12, 9, (rows, 1), generator=generator).float())
    return torch.randn(rows, columns, generator=generator) * sizes


def test_the_largest_of_a_row_uses_the_whole_range() -> None:
    x = random(50, 40)
    codes, scales = int8_rows(x)
    assert (codes.int().abs().gather(1, x.abs().argmax(dim=1, keepdim=True)) == 127).all()
    assert ((codes.float() * scales - x).abs() <= 0.5001 * scales).all()
    powers = torch.exp2(torch.arange(-25.0, 25.0))[:, None]
    same, grown = int8_rows(x * powers)
    assert torch.equal(codes, same)
    assert torch.equal(scales * powers, grown)


def test_sums_are_exact() -> None:
    """At 3,000 inputs float32 sums of the same products are not."""
    x = 2 + random(6, 3000).sign() / 4
    source = Stack(3 + random(20, 3000, seed=1).sign(), random(1, 20, seed=2)[0])
    assert source.bias is not None
    codes, scales = int8_rows(x)
    rows, row_scales = int8_rows(source.weight)
    sums = codes.long() @ rows.long().t()
    assert int(sums.max()) > 2**24
    assert torch.equal(integer_product(codes, rows), sums.int())
    expected = sums.double() * scales.double() * row_scales.double().t() + source.bias.double()
    torch.testing.assert_close(Int8Stack(source).product(x, 0, 20).double(), expected, rtol=3e-7, atol=0)
    plain = Int8Stack(source, activations=False).product(x, 0, 20)
    torch.testing.assert_close(plain, x @ (rows * row_scales).t() + source.bias, rtol=1e-5, atol=1e-5)


def test_a_part_is_a_slice_of_the_whole() -> None:
    layer, x = Int8Stack(Stack(random(83, 60), random(1, 83)[0])), random(5, 60)
    for start, stop in ((0, 16), (7, 61), (82, 83)):
        torch.testing.assert_close(layer.product(x, start, stop), layer.product(x, 0, 83)[:, start:stop])


@pytest.mark.parametrize(
    ("family", "become", "least"),
    [
        ("bert", quantize_int8, 0.9999),
        ("bert", partial(quantize_int8, activations=False), 0.99994),
        ("qwen3", quantize_int8, 0.9994),
        ("qwen3", partial(quantize_int8, activations=False), 0.9995),
    ],
)
def test_small_models_deviate_a_little(
    family: str, become: Quantize, least: float, family_folder: Callable[[str], Path]
) -> None:
    """The bounds are twice as far from 1 as what was measured."""
    checkpoint = checkpoint_of(family_folder(family), "mean")
    exact, small = (lane_of(checkpoint, "fp32", one).run(random_ids()).vectors for one in (None, become))
    assert least < vector_error(exact, small, "fp32").least_cosine < 1 - 1e-6
