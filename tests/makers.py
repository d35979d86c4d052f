"""Makers of what many tests need: model shapes, a device, what was measured of it.

Every field has a value; a test names those that it is about.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from farthing.theory.devices import Calibration, DeviceSpec, ModelCalibration, StepTimes
from farthing.theory.families.configs import shape_from_config

MINILM_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
QWEN3_8B_CONFIG: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 151665,
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
}
TINY_BERT_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 100,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
}
MINILM = shape_from_config(MINILM_CONFIG, "MiniLM")
QWEN3_8B = shape_from_config(QWEN3_8B_CONFIG, "Qwen3")
TINY_BERT = shape_from_config(TINY_BERT_CONFIG, "tiny BERT")

_SPEC = DeviceSpec(
    device="d",
    name="D",
    peak_flops_per_s={"bf16": 1000e12, "fp8": 2000e12},
    achievable_flops_per_s={"bf16": 800e12},
    memory_bytes=80e9,
    bandwidth_bytes_per_s=4e12,
)
_CALIBRATION = Calibration(
    machine="two cores",
    device_type="cpu",
    versions={},
    measured_at="2026-11-21T00:00:00+00:00",
    dtype="fp32",
    peak_flops_per_s=180e9,
    peak_source="torch 2048³",
    bandwidth_bytes_per_s=20e9,
)
_MODEL_CALIBRATION = ModelCalibration(
    model="all-MiniLM-L6-v2",
    dtype="fp32",
    streams=2,
    step_times=StepTimes((16, 128), (128, 2048), ((0.02, 0.3), (0.03, 0.4))),
    new_shape_s=0.002,
    tokenization_s_per_token=1e-6,
    job_overhead_s=0.0,
    measured_at="2026-11-21T00:00:00+00:00",
)


QWEN3_06B: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 151669,
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "max_position_embeddings": 32768,
}
"""config.json of Qwen3-Embedding-0.6B, as far as its shape goes."""


def make_spec(**changes: Any) -> DeviceSpec:
    """Return the datasheet of a device of 1000 TFLOP/s (bf16), four fifths of them reached, and 4 TB/s."""
    return replace(_SPEC, **changes)


def make_calibration(**changes: Any) -> Calibration:
    """Return what was measured of a machine of two cores: 180 GFLOP/s (fp32) and 20 GB/s."""
    return replace(_CALIBRATION, **changes)


def make_model_calibration(**changes: Any) -> ModelCalibration:
    """Return the step times of MiniLM on that machine, on a grid of two lengths and two sizes."""
    return replace(_MODEL_CALIBRATION, **changes)
