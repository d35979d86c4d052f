"""The models under test: real shapes from the catalog, random weights, and engines of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from farthing.catalog.load import load_models
from farthing.catalog.lookups import find_model
from farthing.engine.contract import Ids
from farthing.engine.folder.checkpoint import Checkpoint, Pooling
from farthing.engine.network.weights import modules_of
from farthing.engine.torch.engine import Means, TorchEngine
from farthing.engine.torch.model import Model
from farthing.engine.torch.recorded import recorded_sizes
from farthing.engine.torch.staging import Staging
from farthing.theory.dtypes import Dtype
from farthing.theory.families.configs import shape_from_config
from farthing.theory.shapes import ModelShape
from gpu_parts.bench import Bench
from gpu_parts.device import Device, Work

DTYPE = torch.bfloat16
"""Of what is measured beside the engine."""

LARGE_PARAMETERS = 4e9
"""From here on a model's largest step is a quarter of the others': it is saturated long before."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model of the catalog and what it pools by."""

    catalog: str
    pooling: Pooling


MODELS: dict[str, Choice] = {
    "qwen3-8b": Choice("Qwen/Qwen3-Embedding-8B", "last_token"),
    "qwen3-0.6b": Choice("Qwen/Qwen3-Embedding-0.6B", "last_token"),
    "bge-m3": Choice("BAAI/bge-m3", "cls"),
    "bge-small": Choice("BAAI/bge-small-en-v1.5", "cls"),
    "modernbert-base": Choice("nomic-ai/modernbert-embed-base", "mean"),
}

_TOY = {
    "vocab_size": 223,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "max_position_embeddings": 98,
    "local_attention": 8,
}
"""What is made small in a family's config.json, where it is there at all."""


def config_of(choice: Choice, *, toy: bool) -> dict[str, Any]:
    """Return the config.json of a model, or of a tiny one of the same family."""
    known = find_model(load_models(), choice.catalog)
    assert known is not None, choice.catalog
    config = dict(known.config)
    return config | {key: value for key, value in _TOY.items() if key in config} if toy else config


def random_weights(shape: ModelShape, device: torch.device, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield random weights in float32, so that they are the same but for rounding in every dtype.

    Matrices are scaled by their inputs, so that activations keep their size through any number of layers; norms
    and biases are random too, so that none can be dropped unseen.
    """
    generator = torch.Generator(device).manual_seed(seed)
    for module, size, bias in modules_of(shape):
        for kind, sizes in (("weight", size), *((("bias", size[:1]),) if bias else ())):
            wide = torch.randn(sizes, generator=generator, device=device)
            if len(sizes) > 1:
                scale, centre = 1.0 if module.startswith("embeddings.") else sizes[1] ** -0.5, 0.0
            else:
                scale, centre = 0.1, 0.0 if kind == "bias" else 1.0
            yield f"{module}.{kind}", wide.mul_(scale).add_(centre)


def random_engine(
    shape: ModelShape,
    pooling: Pooling,
    device: torch.device,
    dtype: Dtype,
    *,
    seed: int = 0,
    means: Means | None = None,
) -> TorchEngine:
    """Return the engine of a model of random weights, warm."""
    checkpoint = Checkpoint(
        name=shape.family,
        folder=Path(),
        weights=(),
        commit="random",
        shape=shape,
        pooling=pooling,
        normalize=True,
        max_length=shape.max_positions,
        lowercase=False,
        prompts={},
        default_prompt=None,
    )
    named = random_weights(shape, device, seed)
    engine = TorchEngine(checkpoint, dtype, str(device), named=named, means=means)
    engine.warm("throughput")
    return engine


class Subject:
    """A model under test; its engines are made when first asked for and stay until `drop`."""

    def __init__(self, bench: Bench, name: str, *, toy: bool) -> None:
        self.name, self.choice = name, MODELS[name]
        self.config: Mapping[str, Any] = config_of(self.choice, toy=toy)
        self.shape = shape_from_config(self.config, self.choice.catalog)
        self.pooling: Pooling = self.choice.pooling
        self._bench = bench
        self._engines: dict[Dtype, TorchEngine] = {}

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest step."""
        most = self._bench.sizes.most_tokens
        return most // 4 if self.shape.total_parameters > LARGE_PARAMETERS else most

    @property
    def sequence(self) -> int:
        """Tokens of a text where texts are alike."""
        return min(self._bench.sizes.sequence, self.shape.max_positions)

    def new_engine(
        self, dtype: Dtype = "bf16", *, layers: int | None = None, means: Means | None = None
    ) -> TorchEngine:
        """Return an engine that nobody else has.

        Args:
            dtype: of the products.
            layers: how many of the model's first layers it has; None for all.
            means: what makes it fast; None for the engine's own choice.
        """
        shape = self.shape if layers is None else cut(self.shape, layers)
        device, seed = self._bench.device.torch, self._bench.seed
        return random_engine(shape, self.pooling, device, dtype, seed=seed, means=means)

    def engine(self, dtype: Dtype = "bf16") -> TorchEngine:
        """Return the engine as it comes, in bf16 or fp8."""
        if dtype not in self._engines:
            self._engines[dtype] = self.new_engine(dtype)
        return self._engines[dtype]

    def drop(self) -> None:
        """Let the engines go, with what was compiled and recorded for them, and free their memory."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
        release(self._bench.device)


def release(device: Device) -> None:
    """Free the memory of engines that nobody holds any more, and what was compiled for them."""
    torch._dynamo.reset()
    gc.collect()
    if device.cuda:
        torch.cuda.empty_cache()


def cut(shape: ModelShape, layers: int) -> ModelShape:
    """Return a shape of its first layers alone."""
    return replace(shape, layers=layers, attention_reach=shape.attention_reach[:layers])


def model_of(engine: TorchEngine) -> Model:
    """Return the network of an engine that is open, as it is written."""
    assert engine.model is not None
    return engine.model


def forward_work(bench: Bench, engine: TorchEngine, texts: Sequence[Ids]) -> Work:
    """Return a step whose input is already on the device and whose vectors stay there: the device's part of it.

    As small a step as the engine records as a CUDA graph is recorded here too, though not filled up.
    """
    # One text is compiled apart; a second one of a single token costs less than that.
    inputs = Staging(bench.device.torch).placed(texts, [1] if bench.device.cuda and len(texts) == 1 else [])
    padded = model_of(engine).kernel is None
    most = max(size.tokens for size in recorded_sizes(engine.shape, padded=padded))

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return engine.forward(*inputs)

    work()
    bench.device.finish()
    return bench.device.recorded(work) if sum(map(len, texts)) <= most else work
