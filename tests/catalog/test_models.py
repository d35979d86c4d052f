"""The models that come along: each explains offline, and none of their shapes is made up.

The check is the parameter count that MTEB publishes (shared/data/mteb). It is rounded for some models, and counts
what stands behind the last layer for others; that part is named here, and computed.
"""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import pytest

from farthing.catalog.load import load_models
from farthing.catalog.lookups import find_model
from farthing.catalog.resolve import resolve_model
from farthing.errors import ModelError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.shapes import ModelShape

MTEB = Path(__file__).resolve().parents[3] / "shared" / "data" / "mteb"
MODELS = {model.name: model for model in load_models()}
SHAPES = {name: shape_from_config(model.config, name) for name, model in MODELS.items()}

models = pytest.mark.parametrize("name", MODELS)

NOT_IN_MTEB = {
    # model cards: "149M"
    "Alibaba-NLP/gte-modernbert-base": 149_000_000,
    "nomic-ai/modernbert-embed-base": 149_000_000,
}


STATED_DEFAULTS = {
    "activation_function",
    "global_attn_every_n_layers",
    "head_dim",
    "local_attention",
    "n_inner",
    "sliding_window",
}
"""Keys that rows state although the family's default says the same, for the reader."""


def behind_the_last_layer(name: str, shape: ModelShape) -> int:
    """Return the parameters that are published beside those of the shape."""
    h = shape.hidden
    if name == "google/embeddinggemma-300m":  # two Dense modules, to 3072 and back
        return 2 * h * 3072
    if (
        name == "nvidia/NV-Embed-v2"
    ):  # latent attention: 512 latents, 8 heads of h, a gated MLP of 4·h, its norms
        heads, inner = 8 * h, 4 * h
        return 512 * h + 4 * h * heads + h * 2 * inner + 2 * inner + inner * h + h + 4 * h
    pooler = h * h + h if shape.family in ("bert", "xlm-roberta", "mpnet") else 0
    if name == "jinaai/jina-embeddings-v3":  # adapters of rank 4 for five tasks: on each matrix and table
        m = shape.intermediate
        layer = (h + 3 * h) + 2 * h + 2 * (h + m)
        tables = shape.vocabulary + h + shape.token_types + h
        return pooler + 5 * 4 * (shape.layers * layer + tables + 2 * h)
    return pooler


def rounding(published: int) -> int:
    """Return how far off a count may be that ends in so many zeros: half of its last place, if it was rounded."""
    zeros = len(str(published)) - len(str(published).rstrip("0"))
    return 10**zeros // 2 if zeros >= 3 else 0


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, str]]:
    """Return MTEB's rows by model, or skip by name where the shared data is not laid out."""
    if not MTEB.is_dir():
        pytest.skip(f"MTEB is missing: no folder {MTEB}")
    rows: dict[str, dict[str, str]] = {}
    for file in sorted(MTEB.glob("*_models.csv")):
        with file.open(encoding="utf-8") as text:
            rows |= {row["model"]: row for row in csv.DictReader(text)}
    return rows


@models
def test_parameters_are_those_that_are_published(name: str, published: dict[str, dict[str, str]]) -> None:
    count = NOT_IN_MTEB.get(name) or int(float(published[name]["n_parameters"]))
    ours = SHAPES[name].total_parameters + behind_the_last_layer(name, SHAPES[name])
    assert abs(ours - count) <= rounding(count)


@models
def test_tables_and_limits_are_those_that_are_published(
    name: str, published: dict[str, dict[str, str]]
) -> None:
    if name in NOT_IN_MTEB:
        return
    row, shape = published[name], SHAPES[name]
    if row["n_embedding_parameters"]:
        table = int(float(row["n_embedding_parameters"]))
        assert abs(shape.vocabulary * shape.hidden - table) <= rounding(table)
    assert shape.max_positions + 2 >= float(row["max_tokens"]) or row["max_tokens"] == "inf"


def test_at_least_thirty_models_come_along() -> None:
    assert len(MODELS) >= 30


def test_most_counts_are_exact(published: dict[str, dict[str, str]]) -> None:
    """The rounding above could hide a wrong shape; more than half of the models have nothing to hide behind."""
    exact = [
        name
        for name, shape in SHAPES.items()
        if name in published
        and shape.total_parameters + behind_the_last_layer(name, shape)
        == int(float(published[name]["n_parameters"]))
    ]
    assert len(exact) > len(MODELS) / 2


@models
def test_each_is_sourced_dated_and_found_by_its_short_name(name: str) -> None:
    model = MODELS[name]
    assert model.source.strip()
    assert datetime.date(2025, 1, 1) < model.date
    assert find_model(load_models(), name.rpartition("/")[2].upper()) == model


def test_short_names_are_unique() -> None:
    names = [known.rpartition("/")[2].lower() for known in MODELS]
    names += [alias.lower() for model in MODELS.values() for alias in model.aliases]
    assert len(names) == len(set(names))


@models
def test_a_stated_limit_is_below_the_positions_and_counts(name: str) -> None:
    stated, limit = MODELS[name].max_seq_length, resolve_model(name).limit
    if stated is None:
        assert limit.tokens == SHAPES[name].max_positions
    else:
        assert limit.tokens == stated.value < SHAPES[name].max_positions
        assert "sentence_bert_config.json" in stated.source or "model_description.json" in stated.source


@models
def test_each_resolves_offline(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def asked(model: str) -> Path:
        raise AssertionError(f"the hub was asked for {model}")

    monkeypatch.setattr("farthing.catalog.resolve.hub_config", asked)
    monkeypatch.chdir(tmp_path)
    found = resolve_model(name)
    assert (found.name, found.shape) == (name, SHAPES[name])
    assert resolve_model(name.rpartition("/")[2].lower()) == found


@models
def test_no_key_is_there_that_its_family_does_not_read(name: str) -> None:
    """A key with no effect would be a figure that nothing checks: each must change the shape, or be refused."""
    config = dict(MODELS[name].config)
    for key in config:
        other = {k: v for k, v in config.items() if k != key}
        try:
            changed = shape_from_config(other, name) != SHAPES[name]
        except ModelError:  # missing, or no such family: read either way
            changed = True
        assert changed or key in STATED_DEFAULTS, f"{key} is the family's default, or not read"


def test_windows_and_directions() -> None:
    """What the parameter counts do not tell: who sees whom."""
    causal = {name for name, shape in SHAPES.items() if shape.causal}
    assert causal == {
        "Qwen/Qwen3-Embedding-0.6B",
        "Qwen/Qwen3-Embedding-4B",
        "Qwen/Qwen3-Embedding-8B",
        "intfloat/e5-mistral-7b-instruct",
        "jinaai/jina-embeddings-v5-text-small",
    }
    local = {name for name, shape in SHAPES.items() if any(shape.attention_reach)}
    assert local == {
        "Alibaba-NLP/gte-modernbert-base",
        "google/embeddinggemma-300m",
        "intfloat/e5-mistral-7b-instruct",
        "nomic-ai/modernbert-embed-base",
    }


def test_the_experts_of_nomic_embed_v2_leave_305_million_parameters_active() -> None:
    """Its model card: 475M parameters, 305M of them active."""
    shape = SHAPES["nomic-ai/nomic-embed-text-v2-moe"]
    idle = len(shape.expert_layers) * (shape.experts - shape.experts_per_token) * shape.expert_parameters
    assert round((shape.total_parameters - idle) / 1e6) == 305
