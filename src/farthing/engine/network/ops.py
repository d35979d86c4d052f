"""What the network is written in: some twenty operations, which torch and OpenVINO each have their own of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from farthing.engine.folder.head import DenseActivation, Pooling
from farthing.theory.shapes import Norm

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sight:
    """What a layer's queries see of the keys, and how their scores are scaled.

    Attributes:
        layer: whose keys and values of a prefix they see first.
        scale: factor of the scores.
        causal: whether a token sees only itself and those before it.
        reach: farthest token that is seen, in tokens; None for all.
        cap: what the scores are capped at, softly; None for nothing.
    """

    layer: int
    scale: float
    causal: bool
    reach: int | None
    cap: float | None


class Ops(Protocol[T]):
    """The operations, over one step of B texts with T tokens. Weights are named as `weights` names them."""

    @property
    def ids(self) -> T:
        """(T,)."""

    @property
    def positions(self) -> T:
        """(T,), place of each token in its text, a prefix counted."""

    def ranks(self, padding: int) -> T:
        """Return (T,), place of each token in its text from 1, padding ids not counted; they themselves have 0."""

    def embedded(self, name: str, rows: T) -> T:
        """Return rows of a table, (T, hidden)."""

    def first_row(self, name: str) -> T:
        """Return the first row of a table, (hidden,)."""

    def add(self, left: T, right: T) -> T:
        """Return the sum."""

    def multiply(self, left: T, right: T | float) -> T:
        """Return the product, element by element."""

    def linear(self, x: T, names: Sequence[str]) -> Sequence[T]:
        """Return the products of `x` with some weights that lie side by side, each with its bias if it has one."""

    def norm(self, x: T, name: str, kind: Norm, epsilon: float) -> T:
        """Return `x` with its last axis normalised."""

    def activated(self, x: T, kind: DenseActivation) -> T:
        """Return the activation of `x`."""

    def heads(self, x: T, count: int) -> T:
        """Return (T, count · size) as (T, count, size)."""

    def rotation(self, theta: float, size: int) -> tuple[T, T]:
        """Return cosines and sines of rotary positions, (T, 1, size / 2) each."""

    def rotated(self, heads: T, rotation: tuple[T, T]) -> T:
        """Return (T, heads, size) with its first channels rotated, in the order of halves."""

    def pooled_rows(self, pooling: Pooling) -> T:
        """Return the row of each text's first token (cls) or last token, (B,)."""

    def rows(self, x: T, rows: T) -> T:
        """Return some rows of `x`."""

    def attend(self, query: T, key: T, value: T, sight: Sight, kept: Pooling | None) -> T:
        """Return the mixed values of each query, (T, heads · size), or (B, heads · size).

        Args:
            query: (T, heads, size); where `kept` says so, of one token of each text, (B, heads, size).
            key: (T, KV heads, size).
            value: (T, KV heads, size).
            sight: who sees whom.
            kept: which token the queries are of; None for all.
        """

    def pooled(self, x: T, pooling: Pooling) -> T:
        """Return the pooled rows of each text, (B, hidden)."""

    def scaled_to_one(self, x: T) -> T:
        """Return `x` with its last axis of length one; zeros stay zeros."""
