"""Text embeddings at the cost of compute: predict, run, bill and prove what a million tokens costs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farthing.embedding.embedder import Embedder, EmbedResult
    from farthing.errors import FarthingError
    from farthing.metering.receipt import Receipt
    from farthing.planning.answer import Plan
    from farthing.planning.corpus import CorpusPlan
    from farthing.planning.explain import explain
    from farthing.planning.explanation import Explanation
    from farthing.planning.plan import plan, plan_corpus

__all__ = [
    "CorpusPlan",
    "EmbedResult",
    "Embedder",
    "Explanation",
    "FarthingError",
    "Plan",
    "Receipt",
    "explain",
    "plan",
    "plan_corpus",
]

# Resolved when first asked for, so that `import farthing` stays light and the base needs no torch.
_HOMES = {
    "CorpusPlan": "farthing.planning.corpus",
    "EmbedResult": "farthing.embedding.embedder",
    "Embedder": "farthing.embedding.embedder",
    "Explanation": "farthing.planning.explanation",
    "FarthingError": "farthing.errors",
    "Plan": "farthing.planning.answer",
    "Receipt": "farthing.metering.receipt",
    "explain": "farthing.planning.explain",
    "plan": "farthing.planning.plan",
    "plan_corpus": "farthing.planning.plan",
}


def __getattr__(name: str) -> Any:
    """Return a public name from the room that it lives in."""
    if name in _HOMES:
        try:
            return getattr(importlib.import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            from farthing.errors import missing_extra

            raise missing_extra(error, f"farthing.{name}") or error from None
    raise AttributeError(f"module 'farthing' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
