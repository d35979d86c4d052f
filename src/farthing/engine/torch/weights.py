"""A network's weights on a device of torch; those of products that read the same lie below each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.network.positions import BIASES, biases_by_distance
from farthing.theory.shapes import ModelShape

Named = Iterable[tuple[str, npt.NDArray[np.float32] | Tensor]]

_TOGETHER = {"query": "qkv", "key": "qkv", "value": "qkv", "gate": "gate_up", "up": "gate_up"}
"""What the products of a layer that read the same are called together."""


class Stack(nn.Module):
    """One weight, or several below each other, (rows, inputs) or (rows,), and the biases of all, (rows,), or none."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def product(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return (T, stop − start) from (T, inputs): the outputs of some rows."""
        bias = None if self.bias is None else self.bias[start:stop]
        return functional.linear(x.to(self.weight.dtype), self.weight[start:stop], bias)


class Weights(nn.Module):
    """The weights by our names.

    A module, though it computes nothing: so torch.compile takes the sizes of its tensors for fixed.

    Attributes:
        stacks: by the name of what they hold.
    """

    def __init__(self, stacks: dict[str, Stack], rows: dict[str, tuple[str, int, int]], dtype: torch.dtype):
        """Take them.

        Args:
            stacks: by the name of what they hold.
            rows: by the name of each weight, its stack and the rows there that it starts and ends at.
            dtype: of all but the matrices behind the pooling, which are float32.
        """
        super().__init__()
        self.stacks, self.dtype, self._rows = stacks, dtype, rows

    @classmethod
    def loaded(cls, shape: ModelShape, named: Named, device: torch.device, dtype: torch.dtype) -> Weights:
        """Copy weights to a device, one at a time.

        Args:
            shape: the model.
            named: as `network.weights.weights_of` yields them.
            device: where to.
            dtype: of all but the matrices behind the pooling, which stay float32.
        """
        stacks: dict[str, Stack] = {}
        spans: dict[str, tuple[str, int, int]] = {}
        table = None
        for together, parts in groupby(named, key=lambda one: _stack_name(one[0])):
            found: dict[str, list[Tensor]] = {"weight": [], "bias": []}
            rows = 0
            for name, values in parts:
                module, _, kind = name.rpartition(".")
                wide = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
                if name == BIASES:
                    table = wide.float().numpy(force=True)
                found[kind].append(wide.to(device, torch.float32 if module.startswith("dense.") else dtype))
                if kind == "weight":
                    spans[module] = together, rows, rows + len(wide)
                    rows += len(wide)
            bias = _joined(found["bias"]) if found["bias"] else None
            stacks[together] = Stack(_joined(found["weight"]), bias)
        biases = biases_by_distance(shape, table)
        if biases is not None:
            stacks["biases"] = Stack(torch.from_numpy(biases).to(device, dtype), None)
        return cls(stacks, spans, dtype)

    def of_layer(self, layer: int, called: int) -> Weights:
        """Return one layer's weights alone, called as if they were another layer's."""
        own, other = f"layers.{layer}.", f"layers.{called}."
        stacks = {other + n.removeprefix(own): stack for n, stack in self.stacks.items() if n.startswith(own)}
        rows = {
            other + name.removeprefix(own): (other + stack.removeprefix(own), start, stop)
            for name, (stack, start, stop) in self._rows.items()
            if name.startswith(own)
        }
        return Weights(stacks, rows, self.dtype)

    def of(self, name: str) -> Stack:
        """Return what lies alone under its name."""
        return self.stacks[name]

    @property
    def biases(self) -> Tensor | None:
        """As `biases_by_distance`."""
        return self.stacks["biases"].weight if "biases" in self.stacks else None

    def side_by_side(self, names: Sequence[str]) -> tuple[Stack, list[int]]:
        """Return the stack that weights lie in, one below the other, and the rows that they start and end at."""
        spans = [self._rows[name] for name in names]
        assert all(left[::2] == right[:2] for left, right in pairwise(spans)), (
            f"{names} do not lie side by side"
        )
        return self.stacks[spans[0][0]], [spans[0][1], *(stop for *_, stop in spans)]


def _stack_name(name: str) -> str:
    parent, _, part = name.rpartition(".")[0].rpartition(".")
    return f"{parent}.{_TOGETHER.get(part, part)}" if parent else part


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
