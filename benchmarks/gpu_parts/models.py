"""The models under test: real shapes from the catalog, random weights, and the engine's replicas of them."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from farthing.catalog.load import load_models
from farthing.catalog.lookups import find_model
from farthing.engine.folder.checkpoint import Pooling
from farthing.engine.network.packing import Ids, packed
from farthing.engine.quantized import quantized
from farthing.engine.torch.recorded import TOKENS
from farthing.engine.torch.replica import Replica, prepared
from farthing.engine.torch.staging import Staging
from farthing.engine.network.transformer import Transformer
from farthing.theory.families.configs import shape_from_config
from farthing.theory.shapes import ModelShape
from gpu_parts.bench import Bench
from gpu_parts.device import Device, Work

DTYPE = torch.bfloat16

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


def random_transformer(
    shape: ModelShape, pooling: Pooling, device: torch.device, dtype: torch.dtype, seed: int
) -> Transformer:
    """Return a transformer of random weights, the same but for rounding in every dtype.

    Matrices are scaled by their inputs, so that activations keep their size through any number of layers; norms
    and biases are random too, so that none can be dropped unseen.
    """
    with torch.device("meta"):
        model = Transformer(shape, pooling, normalize=True).to(dtype)
    model = model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in model.named_parameters():
        wide = torch.randn(parameter.shape, generator=generator, device=device)
        if name.startswith("embeddings.") and wide.dim() > 1:
            scale, centre = 1.0, 0.0
        elif wide.dim() > 1:
            scale, centre = wide.shape[1] ** -0.5, 0.0
        else:
            scale, centre = 0.1, 0.0 if name.endswith("bias") else 1.0
        parameter.data.copy_(wide.mul_(scale).add_(centre))
    return model.eval().requires_grad_(False)


class Subject:
    """A model under test; its replicas are built when first asked for and stay until `drop`."""

    def __init__(self, bench: Bench, name: str, *, toy: bool) -> None:
        self.name, self.choice = name, MODELS[name]
        self.config: Mapping[str, Any] = config_of(self.choice, toy=toy)
        self.shape = shape_from_config(self.config, self.choice.catalog)
        self.pooling: Pooling = self.choice.pooling
        self._bench = bench
        self._replicas: dict[str, Replica] = {}

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest step."""
        most = self._bench.sizes.most_tokens
        return most // 4 if self.shape.total_parameters > LARGE_PARAMETERS else most

    @property
    def sequence(self) -> int:
        """Tokens of a text where texts are alike."""
        return min(self._bench.sizes.sequence, self.shape.max_positions)

    def transformer(self, dtype: torch.dtype = DTYPE, layers: int | None = None) -> Transformer:
        """Return the model itself, on the device; of its first layers alone if told so."""
        shape = self.shape if layers is None else cut(self.shape, layers)
        return random_transformer(shape, self.pooling, self._bench.device.torch, dtype, self._bench.seed)

    def replica(self, dtype: str = "bf16") -> Replica:
        """Return the replica as the engine runs it, in bf16 or fp8."""
        if dtype not in self._replicas:
            model = self.transformer()
            if dtype == "fp8":
                quantized(model, "fp8")
            self._replicas[dtype] = prepared(model, self._bench.device.torch, DTYPE)
        return self._replicas[dtype]

    def drop(self) -> None:
        """Forget the replicas, with what was compiled and recorded for them, and free their memory."""
        self._replicas.clear()
        release(self._bench.device)


def release(device: Device) -> None:
    """Free the memory of models that nobody holds any more, and what was compiled for them."""
    torch._dynamo.reset()  # models of one family share their code, and it is compiled for so many of them only
    gc.collect()
    if device.cuda:
        torch.cuda.empty_cache()


def cut(shape: ModelShape, layers: int) -> ModelShape:
    """Return a shape of its first layers alone."""
    return replace(shape, layers=layers, attention_reach=shape.attention_reach[:layers])


def forward_work(bench: Bench, replica: Replica, texts: Sequence[Ids]) -> Work:
    """Return a step whose input is already on the device and whose vectors stay there: the device's part of it.

    Sizes that the engine records as CUDA graphs are recorded here too.
    """
    arrays = Staging(replica.device).placed(packed(texts))

    def work() -> torch.Tensor:
        with torch.inference_mode():
            vectors: torch.Tensor = replica.model(*arrays)
        return vectors

    work()
    bench.device.finish()
    return bench.device.recorded(work) if sum(map(len, texts)) <= TOKENS[-1] else work
