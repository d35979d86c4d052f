"""What is assumed of a model whose configuration does not say everything that its price depends on."""

from __future__ import annotations

from collections.abc import Mapping

from farthing.theory.families.configs import model_type_of
from farthing.theory.families.stored_bits import quantization_method, stored_bits
from farthing.theory.families.values import Config

_KNOWN = frozenset({"eurobert", "gte", "jina_embeddings_v3", "llama_bidirec", "nomic_bert", "nvembed", "new"})
"""Types whose families were written after the models' own code, or after transformers' class of the same name."""


ASSUMED = "ASSUMED"
"""How a note begins that a price should not be believed without."""


def assumptions(config: Config, source: str) -> tuple[str, ...]:
    """Return what is assumed of code that Farthing does not read, and of quantized weights."""
    notes = []
    code = code_of_its_own(config)
    if code is not None:
        notes.append(
            f"{ASSUMED}: {source} names code of its own (auto_map {code}), which Farthing does not know: priced as if "
            f"it were a plain {model_type_of(config)}; what that code adds, skips, shortens or attends to otherwise is "
            "not counted"
        )
    method = quantization_method(config, source)
    if method is not None:
        bits, table = stored_bits(config, source)
        where = "the layers" if table is None else "the layers and tables"
        kept = (
            f"{ASSUMED}: {source} is quantized ({method}) in a way that Farthing does not know: weights are priced "
            "in the dtype of the activations"
            if bits is None
            else f"quantized ({method}): {bits:.3g} bits per weight of {where}, "
            "scales among them; products run in the dtype shown"
        )
        notes.append(kept)
    return tuple(notes)


def code_of_its_own(config: Config) -> str | None:
    """Return which code a model brings that may not do what its type says, or None.

    Other code is known: JinaBERT's and MosaicBERT's with ALiBi, and that of jina-embeddings-v3, have settings that
    tell them from the family whose type they bear.
    """
    code = config.get("auto_map")
    named = code if isinstance(code, Mapping) else {}
    models = [f"{key}: {where}" for key, where in named.items() if key.startswith("AutoModel")]
    if not models or model_type_of(config) in _KNOWN:
        return None
    first = models[0]
    jina_bert = config.get("position_embedding_type") == "alibi" and "qk-post-norm" not in first
    jina_v3 = config.get("position_embedding_type") == "rotary" and "xlm-roberta-flash" in first
    mosaic = config.get("alibi_starting_size") is not None and "bert_layers" in first
    return None if jina_bert or jina_v3 or mosaic else first
