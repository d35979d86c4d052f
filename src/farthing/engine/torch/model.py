"""A network and its weights as functions of tensors."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from farthing.engine.network.transformer import Network, keys_and_values, vectors
from farthing.engine.torch.ops import TorchOps
from farthing.engine.torch.staging import Inputs
from farthing.engine.torch.varlen import Kernel
from farthing.engine.torch.weights import Weights


class Model(nn.Module):
    """A network that runs as it is written. A module so that torch.compile takes its numbers for fixed.

    Attributes:
        network: what is computed; its last layer is whole where the kernel has no way to trim it.
        weights: what it is computed with.
        kernel: of attention without padding; None for the padded grid.
    """

    def __init__(self, network: Network, weights: Weights, kernel: Kernel | None = None) -> None:
        super().__init__()
        # The kernel's queries end with the keys: a lone first one is only right where all see all.
        blind = network.shape.causal or network.shape.attention_reach[-1] is not None
        if kernel is not None and network.pooling == "cls" and blind:
            network = replace(network, trim=False)
        self.network, self.weights, self.kernel = network, weights, kernel

    def forward(self, ids: Tensor, bounds: Tensor, longest: int, past: Tensor | None = None) -> Tensor:
        """Return the vectors of a step, float32 (B, dimension).

        Args:
            ids: as in `Inputs`.
            bounds: as in `Inputs`.
            longest: as in `Inputs`.
            past: keys and values of a prefix, (layers, 2, P, KV heads, size); its tokens are not in `ids`.
        """
        ops = TorchOps(self.network.shape, self.weights, self.kernel, Inputs(ids, bounds, longest), past)
        return vectors(ops, self.network).float()

    def keys_and_values(self, inputs: Inputs) -> Tensor:
        """Return those of one text's tokens, (layers, 2, T, KV heads, size)."""
        ops = TorchOps(self.network.shape, self.weights, self.kernel, inputs)
        return torch.stack([torch.stack(pair) for pair in keys_and_values(ops, self.network.shape)])
