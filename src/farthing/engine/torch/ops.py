"""The network's operations on torch's tensors, over the packed tokens of one step, and the network run by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from farthing.engine.folder.head import DenseActivation, Pooling
from farthing.engine.network.ops import Sight
from farthing.engine.network.transformer import Network, rotary, sight_of
from farthing.engine.torch.staging import Inputs
from farthing.engine.torch.varlen import Kernel
from farthing.engine.torch.weights import Weights
from farthing.theory.shapes import ModelShape, Norm

MASKED = -1e9
"""Added to the score of a key that is not seen: far below any real score, and finite, so that no row becomes NaN."""


Known = dict[str, Tensor]
"""What is the same for all layers of a step, by what it is."""


class TorchOps:
    """The operations of one step. Attention runs on the tokens where there is a kernel for that, else on a padded grid.

    What is the same for several layers is worked out once.

    Attributes:
        known: that.
    """

    def __init__(
        self,
        shape: ModelShape,
        weights: Weights,
        kernel: Kernel | None,
        inputs: Inputs,
        past: Mapping[int, Tensor] | None = None,
        left_out: int = 0,
        known: Known | None = None,
    ) -> None:
        """Take a step.

        Args:
            shape: the model.
            weights: its weights.
            kernel: of attention without padding; None for the grid.
            inputs: the step.
            past: keys and values of a prefix of P tokens by layer, (2, P, KV heads, size) each; not all layers' where
                not all run here.
            left_out: tokens at the start of each text that are not pooled.
            known: what is known of the step already.
        """
        self._left_out = left_out
        self._shape, self._weights, self._kernel = shape, weights, kernel
        self.ids, self._bounds, self._longest = inputs
        self.known: Known = {} if known is None else known
        self._past = past
        self._prefix = 0 if past is None else next(iter(past.values())).shape[1]

    @property
    def positions(self) -> Tensor:
        return self._own + self._prefix

    @property
    def _owner(self) -> Tensor:
        """Which text each token is of, (T,)."""
        return self._once("owner", lambda: _owners(self._bounds, self._places()))

    @property
    def _own(self) -> Tensor:
        """Place of each token in its text, the prefix not counted, (T,)."""
        return self._once("own", lambda: self._places() - self._bounds[self._owner])

    def _places(self) -> Tensor:
        return torch.arange(self.ids.shape[0], dtype=torch.int32, device=self.ids.device)

    def foresee(self, network: Network) -> None:
        """Work out all that the layers will ask for."""
        for layer in range(network.shape.layers):
            turning = rotary(network.shape, layer)
            if turning is not None:
                self.rotation(*turning)
            if self._kernel is None:
                self._slots()
                self._mask(sight_of(network.shape, layer), network.kept(layer))
            elif self._past is not None:
                self._behind_prefix()
        _ = self._own  # which knows the owners

    def ranks(self, padding: int) -> Tensor:
        counted = (self.ids != padding).int()
        total = torch.cumsum(counted, 0, dtype=torch.int32)
        before = (total - counted)[self._bounds[:-1]]
        return (total - before[self._owner]) * counted

    def embedded(self, name: str, rows: Tensor) -> Tensor:
        return functional.embedding(rows, self._weights.of(name).weight)

    def first_row(self, name: str) -> Tensor:
        return self._weights.of(name).weight[0]

    def add(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right

    def multiply(self, left: Tensor, right: Tensor | float) -> Tensor:
        return left * right

    def linear(self, x: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        stack, bounds = self._weights.side_by_side(names)
        product = stack.product(x, bounds[0], bounds[-1])
        return torch.split(product, [stop - start for start, stop in pairwise(bounds)], dim=-1)

    def norm(self, x: Tensor, name: str, kind: Norm, epsilon: float) -> Tensor:
        stack = self._weights.of(name)
        if kind == "layer_norm":
            return functional.layer_norm(x, x.shape[-1:], stack.weight, stack.bias, epsilon)
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + epsilon)
        return (scaled * stack.weight.float()).to(x.dtype)

    def activated(self, x: Tensor, kind: DenseActivation) -> Tensor:
        if kind in ("gelu", "gelu_tanh"):
            return functional.gelu(x, approximate="none" if kind == "gelu" else "tanh")
        return {"relu": torch.relu, "silu": functional.silu, "tanh": torch.tanh}[kind](x)

    def heads(self, x: Tensor, count: int) -> Tensor:
        return x.reshape(-1, count, self._shape.head_size)

    def rotation(self, theta: float, size: int) -> tuple[Tensor, Tensor]:
        def angles() -> Tensor:
            channels = torch.arange(0, size, 2, device=self.ids.device, dtype=torch.float32)
            return self.positions.float()[:, None, None] * torch.pow(theta, -channels / size)

        name = "everywhere" if theta == self._shape.rotary_theta else "where attention is local"
        return self._once("cosines " + name, lambda: angles().cos()), self._once(
            "sines " + name, lambda: angles().sin()
        )

    def rotated(self, heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        cos, sin = rotation
        half = cos.shape[-1]
        left, right, rest = torch.split(heads, [half, half, heads.shape[-1] - 2 * half], dim=-1)
        turned = torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1).to(heads.dtype)
        return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned

    def pooled_rows(self, pooling: Pooling) -> Tensor:
        return self._bounds[:-1] if pooling == "cls" else self._bounds[1:] - 1

    def rows(self, x: Tensor, rows: Tensor) -> Tensor:
        return x[rows]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, sight: Sight, kept: Pooling | None) -> Tensor:
        if self._kernel is None:
            return self._attend_on_grid(query, key, value, sight, kept)
        bounds, longest = self._bounds, self._longest
        each = torch.arange(bounds.shape[0], dtype=torch.int32, device=bounds.device)
        key_bounds = bounds
        if self._past is not None:
            key_bounds = bounds + each * self._prefix
            key, value = (
                torch.cat((past, own))[self._behind_prefix()]
                for past, own in zip(self._past[sight.layer], (key, value), strict=True)
            )
        asked = (bounds, longest) if kept is None else (each, 1)
        mixed = self._kernel.mixed(
            query, key, value, sight, asked[0], key_bounds, asked[1], longest + self._prefix
        )
        return mixed.reshape(-1, self._shape.attention_width)

    def pooled(self, x: Tensor, pooling: Pooling) -> Tensor:
        """Return the pooled rows of each text, (B, hidden), in float32 whatever the dtype of `x`."""
        if pooling == "last_token" or (pooling == "cls" and not self._left_out):
            return self.rows(x, self.pooled_rows(pooling)).float()
        weight = self._own + 1 if pooling == "weighted_mean" else torch.ones_like(self._own)
        if self._left_out:
            behind = self._own - self._left_out
            weight = weight * ((behind == 0) if pooling == "cls" else (behind >= 0))
        wide = x.float() * weight[:, None]
        texts = self._bounds.shape[0] - 1
        summed = wide.new_zeros(texts, wide.shape[1]).index_add(0, self._owner, wide)
        if self._left_out:
            return summed / torch.zeros_like(summed[:, 0]).index_add(0, self._owner, weight.float())[:, None]
        count = self._bounds.diff()
        return summed / (count if pooling == "mean" else count * (count + 1) // 2)[:, None]

    def scaled_to_one(self, x: Tensor) -> Tensor:
        return functional.normalize(x.float(), dim=-1)

    def _once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self.known:
            self.known[name] = make()
        return self.known[name]

    def _behind_prefix(self) -> Tensor:
        """Return which rows of a prefix with all texts' own tokens behind it are each text's keys, (T + B · P,)."""

        def rows() -> Tensor:
            bounds, device = self._bounds, self._bounds.device
            each = torch.arange(bounds.shape[0], dtype=torch.int32, device=device)
            bounds_of_keys = bounds + each * self._prefix
            keys = self.ids.shape[0] + (bounds.shape[0] - 1) * self._prefix
            place = torch.arange(keys, dtype=torch.int32, device=device)
            owner = _owners(bounds_of_keys, place)
            inside = place - bounds_of_keys[owner]
            return torch.where(inside < self._prefix, inside, inside + bounds[owner])

        return self._once("keys", rows)

    def _attend_on_grid(
        self, query: Tensor, key: Tensor, value: Tensor, sight: Sight, kept: Pooling | None
    ) -> Tensor:
        groups, slots = query.shape[1] // key.shape[1], self._slots()
        queries = query[slots] if kept is None else query[:, None]
        keys, values = key[slots], value[slots]
        if self._past is not None:
            before = self._past[sight.layer][:, None].expand(-1, keys.shape[0], -1, -1, -1)
            keys, values = torch.cat((before[0], keys), dim=1), torch.cat((before[1], values), dim=1)
        queries = queries.transpose(1, 2)
        keys = keys.transpose(1, 2).repeat_interleave(groups, dim=1)
        values = values.transpose(1, 2).repeat_interleave(groups, dim=1)
        mask = self._mask(sight, kept).to(query.dtype)
        if sight.cap is None:
            mixed = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=sight.scale
            )
        else:
            scores = queries.float() @ keys.float().transpose(2, 3) * (sight.scale / sight.cap)
            weights = torch.softmax(scores.tanh() * sight.cap + mask, -1).to(values.dtype)
            mixed = weights @ values
        mixed = mixed.transpose(1, 2).reshape(-1, self._shape.attention_width)
        return mixed if kept is not None else mixed[self._owner * self._longest + self._own]

    def _slots(self) -> Tensor:
        """Return the token at each place of the grid, (B, S); any where there is none."""
        at = torch.arange(self._longest, device=self.ids.device)
        return self._once("slots", lambda: (self._bounds[:-1, None] + at).clamp(max=self.ids.shape[0] - 1))

    def _mask(self, sight: Sight, kept: Pooling | None) -> Tensor:
        """Return what is added to the scores, (B or 1, heads or 1, queries, keys)."""

        def mask() -> Tensor:
            prefix, device = self._prefix, self.ids.device
            keys = torch.arange(prefix + self._longest, device=device)
            asking = keys[None, prefix:] if kept is None else self.positions[self.pooled_rows(kept)][:, None]
            ahead = keys - asking[:, :, None]  # (B or 1, queries, keys)
            seen = keys < self._bounds.diff()[:, None, None] + prefix
            if sight.causal:
                seen = seen & (ahead <= 0)
            if sight.reach is not None:
                seen = seen & (ahead.abs() <= sight.reach)
            mask = torch.where(seen, 0.0, MASKED)[:, None].to(self._weights.dtype)
            biases = self._weights.biases
            if biases is None:
                return mask
            middle = biases.shape[0] // 2
            return mask + biases[(ahead + middle).clamp(0, 2 * middle)].permute(0, 3, 1, 2)

        return self._once(f"mask {sight.causal} {sight.reach} {kept}", mask)


def _owners(bounds: Tensor, place: Tensor) -> Tensor:
    """Return which text each place is of."""
    return torch.searchsorted(bounds, place, right=True) - 1
