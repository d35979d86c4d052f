"""The network run by torch, in three regions that may be compiled: before the layers, a layer, and behind them.

A layer is compiled once for all that differ in nothing but their weights: compiled as one, a network of 28 layers takes
minutes. Launching more calls is paid by steps that are too large to be recorded, and those are long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from farthing.engine.network.transformer import Network, after_layer, embedded, keys_and_values, read_out
from farthing.engine.torch.ops import Known, TorchOps
from farthing.engine.torch.staging import Inputs
from farthing.engine.torch.varlen import Kernel
from farthing.engine.torch.weights import Weights

Region = Callable[..., Tensor]


class _Region(nn.Module):
    """A part of a network. A module so that torch.compile takes its numbers for fixed, not for inputs."""

    def __init__(self, network: Network, kernel: Kernel | None) -> None:
        super().__init__()
        self.network, self.kernel = network, kernel


class _Start(_Region):
    def forward(self, weights: Weights, inputs: Inputs, past: Tensor | None) -> tuple[Tensor, Known]:
        """Return the embedded tokens, (T, hidden), and what is the same for all layers."""
        shape = self.network.shape
        ops = TorchOps(shape, weights, self.kernel, inputs, None if past is None else {0: past})
        x = embedded(ops, shape)
        ops.foresee(self.network)
        return x, ops.known


class _Layer(_Region):
    """The layers of one kind.

    Attributes:
        layer: the first of them, which the weights of all are called after.
    """

    def __init__(self, network: Network, kernel: Kernel | None, layer: int) -> None:
        super().__init__(network, kernel)
        self.layer = layer

    def forward(
        self, weights: Weights, x: Tensor, inputs: Inputs, past: Tensor | None, known: Known
    ) -> Tensor:
        """Return (T, hidden), or (B, hidden) of the tokens kept."""
        shape, behind = self.network.shape, None
        _fixed(x, None, shape.hidden)
        if past is not None:
            _fixed(past, 2, None, shape.kv_heads, shape.head_size)
            behind = {self.layer: past}
        ops = TorchOps(shape, weights, self.kernel, inputs, behind, known=known)
        return after_layer(ops, self.network, x, self.layer)


class _End(_Region):
    def forward(self, weights: Weights, x: Tensor, inputs: Inputs, left_out: int, known: Known) -> Tensor:
        """Return the vectors, float32 (B, dimension)."""
        shape = self.network.shape
        _fixed(x, None, shape.hidden)
        ops = TorchOps(shape, weights, self.kernel, inputs, left_out=left_out, known=known)
        return read_out(ops, self.network, x).float()


class Model:
    """A network that runs as it is written, or compiled.

    Attributes:
        network: what is computed; its last layer is whole where the kernel has no way to trim it.
        weights: what it is computed with; they stay as they are from here on.
        kernel: of attention without padding; None for the padded grid.
    """

    def __init__(self, network: Network, weights: Weights, kernel: Kernel | None = None) -> None:
        # The kernel's queries end with the keys: a lone first one is only right where all see all.
        if kernel is not None and network.pooling == "cls":
            blind = network.shape.causal or network.shape.attention_reach[-1] is not None
            network = replace(network, trim=network.trim and not blind)
        self.network, self.weights, self.kernel = network, weights, kernel
        first: dict[object, int] = {}
        kinds = [first.setdefault(_kind(network, layer), layer) for layer in range(network.shape.layers)]
        stored = network.shape.stored_layer
        own = (weights.of_layer(stored(layer), stored(kind)) for layer, kind in enumerate(kinds))
        self._layers = list(zip(kinds, own, strict=True))
        self._start: Callable[..., tuple[Tensor, Known]] = _Start(network, kernel)
        self._kinds: dict[int, Region] = {kind: _Layer(network, kernel, kind) for kind in first.values()}
        self._end: Region = _End(network, kernel)

    def compile(self, backend: str | Callable[..., Any]) -> None:
        """Have each region compiled when it first runs: one graph, for any number of tokens and texts.

        What would break it into several, or is compiled too often, is an error: torch would run it slowly, and say
        nothing.
        """

        def compiled(region: Any) -> Any:
            # torch counts what it compiles of a function for all models together: so each region has a copy of it.
            written = type(region).forward
            own = FunctionType(written.__code__.replace(), written.__globals__, "forward")
            return torch.compile(MethodType(own, region), fullgraph=True, dynamic=True, backend=backend)

        self._start, self._end = compiled(self._start), compiled(self._end)
        self._kinds = {kind: compiled(region) for kind, region in self._kinds.items()}

    def forward(
        self, ids: Tensor, bounds: Tensor, longest: int, past: Tensor | None = None, left_out: int = 0
    ) -> Tensor:
        """Return the vectors of a step, float32 (B, dimension).

        Args:
            ids: as in `Inputs`.
            bounds: as in `Inputs`.
            longest: as in `Inputs`.
            past: keys and values of a prefix, (layers, 2, P, KV heads, size); its tokens are not in `ids`.
            left_out: tokens at the start of each text that are not pooled.
        """
        inputs = Inputs(ids, bounds, longest)
        behind = [None] * len(self._layers) if past is None else past.unbind()
        x, known = self._start(self.weights, inputs, None if past is None else behind[0])
        for (kind, own), before in zip(self._layers, behind, strict=True):
            x = self._kinds[kind](own, x, inputs, before, known)
        return self._end(self.weights, x, inputs, left_out, known)

    def keys_and_values(self, inputs: Inputs) -> Tensor:
        """Return those of one text's tokens, (layers, 2, T, KV heads, size)."""
        ops = TorchOps(self.network.shape, self.weights, self.kernel, inputs)
        return torch.stack([torch.stack(pair) for pair in keys_and_values(ops, self.network.shape)])


def _kind(network: Network, layer: int) -> object:
    """Return what all layers share that differ in their weights alone."""
    shape = network.shape
    return shape.attention_reach[layer], network.kept(layer), layer == 0 and not shape.first_attention_norm


def _fixed(x: Tensor, *sizes: int | None) -> None:
    """Tell the compiler which sizes of a tensor never change; None for those that do."""
    for here, size in zip(x.shape, sizes, strict=True):
        if size is not None and here != size:
            raise ValueError(f"a tensor of shape {tuple(x.shape)} is none of {sizes}")
