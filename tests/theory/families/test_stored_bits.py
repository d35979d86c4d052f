"""Bits of a weight in quantized checkpoints, and the memory that published files take with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import ModelError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import operations
from farthing.theory.time.roofline import weight_bytes
from makers import QWEN3_06B

BASE: dict[str, Any] = {**QWEN3_06B, "vocab_size": 151936}


def _packed(bits: int, kind: str = "int", **more: Any) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": kind, "symmetric": True, **more}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}


CASES: dict[str, tuple[dict[str, Any], float]] = {
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4.156),
    "gptq of whole rows": ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 8),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 4.156),
    "awq, older": ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, 4.3125),
    "bitsandbytes in 4": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5),
    "bitsandbytes in 4, twice": ({"load_in_4bit": True, "bnb_4bit_use_double_quant": True}, 4.127),
    "bitsandbytes in 8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
    "int4 of compressed-tensors": (_packed(4, group_size=128, strategy="group"), 4.125),
    "int8 of compressed-tensors": (_packed(8, strategy="channel", group_size=None), 8),
    "fp8 of compressed-tensors": (_packed(8, "float", strategy="tensor"), 8),
    "nvfp4 of compressed-tensors": (_packed(4, "float", group_size=16), 4.5),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8.002),
    "fbgemm": ({"quant_method": "fbgemm_fp8"}, 8),
    "modelopt in fp8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, 8),
    "modelopt in nvfp4": ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, 4.5),
    "compressed-tensors, unnamed": ({"config_groups": _packed(4, group_size=128)["config_groups"]}, 4.125),
    "modelopt, unnamed": ({"quant_algo": "W4A16_AWQ", "group_size": 128}, 4.125),
    "modelopt, newer": ({**_packed(8), "quant_method": "modelopt"}, 8),
    "torchao in fp8": ({"quant_method": "torchao", "quant_type": "float8_weight_only"}, 8),
    "a method that names no type": ({"quant_method": "torchao", "bits": 4, "group_size": 128}, 4.156),
    "hqq": (
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
        4.5,
    ),
    "quanto": ({"quant_method": "quanto", "weights": "int8"}, 8),
    "torchao": ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, 8),
    "torchao, newer": (
        {
            "quant_method": "torchao",
            "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "group_size": 64}},
        },
        4.5,
    ),
    "mxfp4": ({"quant_method": "mxfp4"}, 4.25),
    "auto-round": ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, 4.156),
    "aqlm": (
        {"quant_method": "aqlm", "nbits_per_codebook": 16, "num_codebooks": 1, "in_group_size": 8},
        2,
    ),
    "eetq": ({"quant_method": "eetq"}, 8),
    "a method of tomorrow that says its bits": (
        {"quant_method": "new-one", "bits": 3, "group_size": 64},
        3.297,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_layers_take_the_bits_that_are_stored_and_the_tables_stay(name: str) -> None:
    settings, bits = CASES[name]
    shape = shape_from_config(BASE | {"quantization_config": settings}, "here")
    plain = shape_from_config(BASE, "here")
    assert shape.linear_bits == pytest.approx(bits, abs=1e-3)
    saved = plain.memory_bytes(2) - shape.memory_bytes(2)
    assert saved == pytest.approx(plain.linear_parameters * (16 - bits) / 8, rel=1e-3)
    read = [weight_bytes(operations(each, 1, 32, 2)) for each in (plain, shape)]
    assert read[0] - read[1] == pytest.approx(saved, rel=1e-6)


@pytest.mark.parametrize(("mode", "bits"), [("affine", 4.5), ("mxfp4", 4.25)])
def test_mlx_quantizes_the_tables_as_well(mode: str, bits: float) -> None:
    settings = {"group_size": 64, "bits": 4, "mode": mode}
    shape = shape_from_config(BASE | {"quantization": settings, "quantization_config": settings}, "here")
    assert (shape.linear_bits, shape.table_bits) == (bits, bits)
    assert shape.memory_bytes(2) == pytest.approx(shape.total_parameters * bits / 8, rel=1e-3)


def test_a_text_tower_is_quantized_as_the_whole_is() -> None:
    settings = {"quant_method": "awq", "bits": 4, "group_size": 128}
    text = BASE | {"model_type": "qwen3_vl_text"}
    config = {"model_type": "qwen3_vl", "text_config": text}
    outside = shape_from_config(config | {"quantization_config": settings}, "here")
    inside = shape_from_config(config | {"text_config": text | {"quantization_config": settings}}, "here")
    assert outside == inside
    assert outside.linear_bits == pytest.approx(4.156, abs=1e-3)


@given(bits=st.integers(1, 16), group=st.sampled_from([-1, 16, 32, 64, 128]), width=st.sampled_from([2, 4]))
def test_fewer_bits_never_take_more_memory(bits: int, group: int, width: int) -> None:
    shapes = [
        shape_from_config(BASE | {"quantization_config": {"bits": each, "group_size": group}}, "here")
        for each in (bits, bits + 1)
    ]
    assert shapes[0].memory_bytes(width) < shapes[1].memory_bytes(width)


@pytest.mark.parametrize(
    "settings", ["gptq", {"quant_method": "gptq", "bits": 0}, {"quant_method": "gptq", "bits": 99}]
)
def test_quantization_that_makes_no_sense(settings: object) -> None:
    with pytest.raises(ModelError, match=r"here: quantization_config"):
        shape_from_config(BASE | {"quantization_config": settings}, "here")


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"ignore": ["lm_head"]}, 0),
        ({"ignore": ["lm_head", "re:.*mlp.*"]}, 0.6),
        ({"ignore": ["re:*("]}, 0),
        ({"modules_to_not_convert": ["self_attn"]}, 0.4),
        ({"modules_to_not_convert": None}, 0),
        ({"modules_to_not_convert": ["visual", "model.layers.1"]}, 1 / 28),
        ({"llm_int8_skip_modules": ["model.layers.0.mlp", "model.layers.1.mlp.down_proj"]}, (0.6 + 0.2) / 28),
        ({"exclude_modules": ["model.layers.2*", "lm_head"]}, 9 / 28),
    ],
)
def test_matrices_that_are_left_out_stay_wide(settings: dict[str, Any], share: float) -> None:
    quantized = {"quant_method": "gptq", "bits": 4, "group_size": 128, **settings}
    shape = shape_from_config(BASE | {"quantization_config": quantized}, "here")
    assert shape.linear_bits == pytest.approx(4.15625 + share * (16 - 4.15625), rel=1e-6)
