"""Static models against model2vec, written down a second time, and against sentence-transformers' StaticEmbedding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import farthing
from farthing.engine.calibration.dtypes import choose_dtype
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.load import load_model
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import EngineError, InputError, ModelError
from ways import WAYS, lane_of

WIDTH = 24
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "b",
    "c",
    "##a",
    "##b",
    "##c",
    "river",
    "water",
    "lake",
    "##s",
]
TEXTS = [
    "river water",
    "a",
    "Lakes abc cab a",
    "river zzz water",
    "a b c " * 9,
    "a " + "abc" * 20,
    "bca é river",
]
KINDS = ("wordpiece", "wordlevel", "unigram", "bpe")

Array = npt.NDArray[Any]


def tokenizer_of(kind: str) -> Tokenizer:
    """Return a tokenizer that adds [CLS] and [SEP] where it is let."""
    vocabulary = {word: row for row, word in enumerate(WORDS)}
    model: Any
    if kind == "wordpiece":
        model = models.WordPiece(vocabulary, unk_token="[UNK]")
    elif kind == "wordlevel":
        model = models.WordLevel(vocabulary, unk_token="[UNK]")
    elif kind == "unigram":
        model = models.Unigram([(word, -float(row)) for row, word in enumerate(WORDS)], unk_id=1)
    else:
        model = models.BPE({word: row for row, word in enumerate(WORDS)}, [])
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


@dataclass(frozen=True)
class Model2Vec:
    """What a folder of model2vec holds."""

    kind: str = "wordpiece"
    dtype: str = "float32"
    merged: bool = False
    weighted: bool = False
    config: tuple[tuple[str, Any], ...] = (("model_type", "model2vec"), ("normalize", True))

    def save(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        generator = np.random.default_rng(4)
        rows = 5 if self.merged else len(WORDS)
        table = generator.normal(0, 30, (rows, WIDTH)).astype(self.dtype)
        tensors: dict[str, Array] = {"embeddings": table}
        if self.merged:
            tensors["mapping"] = generator.integers(0, rows, len(WORDS))
        if self.weighted:
            tensors["weights"] = generator.random(len(WORDS))
        save_file(tensors, folder / "model.safetensors")
        tokenizer_of(self.kind).save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps(dict(self.config)), encoding="utf-8")
        return folder

    def vectors(self, folder: Path, texts: list[str]) -> Array:
        """Return what `StaticModel.from_pretrained(folder).encode(texts)` gives. Source: model2vec 0.10."""
        from safetensors.numpy import load_file

        tensors, config = load_file(folder / "model.safetensors"), dict(self.config)
        most = config.get("max_length", 512)
        found = []
        for whole in texts:
            text, tokenizer = whole, tokenizer_of(self.kind)
            if most is not None:
                text = text[: most * int(np.median([len(word) for word in WORDS]))]
                tokenizer.enable_truncation(most)
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if self.kind != "bpe":
                ids = [one for one in ids if one != 1]
            rows = tensors["embeddings"][tensors["mapping"][ids] if self.merged else ids].astype(np.float64)
            if self.weighted:
                rows = rows * tensors["weights"][ids][:, None]
            mean = rows.mean(axis=0)
            found.append(mean / np.linalg.norm(mean) if config.get("normalize") else mean)
        return np.array(found)


FOLDERS: dict[str, Model2Vec] = {
    **{kind: Model2Vec(kind) for kind in KINDS},
    "float16": Model2Vec(dtype="float16"),
    "int8": Model2Vec(dtype="int8"),
    "float64": Model2Vec(dtype="float64"),
    "merged": Model2Vec(merged=True),
    "weighted": Model2Vec(weighted=True),
    "merged and weighted, int8": Model2Vec(merged=True, weighted=True, dtype="int8"),
    "not normalised": Model2Vec(config=(("model_type", "model2vec"),)),
    "before it had a type": Model2Vec(config=(("apply_pca", 256), ("normalize", True))),
    "short texts": Model2Vec(config=(("model_type", "model2vec"), ("max_length", 4))),
    "texts of any length": Model2Vec(config=(("model_type", "model2vec"), ("max_length", None))),
}


def assert_same(ours: Array, theirs: Array) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 2e-4 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("way", WAYS)
def test_model2vec(way: str, name: str, tmp_path: Path) -> None:
    """Together and alone."""
    folder = FOLDERS[name].save(tmp_path / "model")
    checkpoint = read_checkpoint(locate_model(str(folder)))
    ids, lane = TextTokenizer(checkpoint).encode(TEXTS).ids, lane_of(way, checkpoint)
    done, theirs = lane.run(ids), FOLDERS[name].vectors(folder, TEXTS)
    assert not done.failed
    assert done.work.executed_flops == 0
    assert_same(done.vectors, theirs)
    assert_same(np.concatenate([lane.run([one]).vectors for one in ids]), theirs)


@pytest.mark.parametrize("name", ["wordpiece", "short texts"])
def test_a_users_text(name: str, tmp_path: Path) -> None:
    folder = FOLDERS[name].save(tmp_path / "model")
    with farthing.Embedder(str(folder)) as embedder:
        assert_same(embedder.encode(TEXTS), FOLDERS[name].vectors(folder, TEXTS))


def test_texts_that_are_cut_are_counted_or_refused(tmp_path: Path) -> None:
    folder = FOLDERS["short texts"].save(tmp_path / "model")
    cut = TextTokenizer(read_checkpoint(locate_model(str(folder)))).encode(TEXTS).truncated
    assert cut == [False, False, True, True, True, True, True]
    with farthing.Embedder(str(folder), truncate=False) as embedder:
        with pytest.raises(InputError, match=r"text 1 has 60 characters"):
            embedder.encode(["a", "water" * 12])
        with pytest.raises(InputError, match=r"text 1 has 5 tokens"):
            embedder.encode(["river", "a b c a b"])


def test_no_dtype_is_measured_for_it(tmp_path: Path) -> None:
    """There is no product to be faster in bf16, and English may be all unknown."""
    model = load_model(str(FOLDERS["wordpiece"].save(tmp_path / "model")), dtype="auto")
    assert model.engine.dtype == "fp32"
    assert choose_dtype(model) is None


@pytest.mark.parametrize("text", ["", "   ", "zzz"])
@pytest.mark.usefixtures("_calibrated")
def test_a_text_without_a_known_token_fails_alone(text: str, tmp_path: Path) -> None:
    folder = FOLDERS["wordpiece"].save(tmp_path / "model")
    with farthing.Embedder(str(folder)) as embedder:
        with pytest.raises(EngineError, match="text 1 got no vector: it has no tokens"):
            embedder.encode(["river", text])
        result = embedder.embed(["river", text, "river"])
        assert sorted(result.failed) == [1]
        np.testing.assert_array_equal(result.vectors[[0, 2]], embedder.encode(["river", "river"]))


@pytest.fixture
def static_embedding(tmp_path: Path) -> Callable[..., tuple[Path, SentenceTransformer]]:
    """Return what saves a StaticEmbedding, with some modules behind it."""

    def save(
        *behind: Any, kind: str = "wordpiece", limit: int | None = None
    ) -> tuple[Path, SentenceTransformer]:
        tokenizer = tokenizer_of(kind)
        if limit is not None:
            tokenizer.enable_truncation(limit)
        table = np.random.default_rng(5).normal(0, 1, (len(WORDS), WIDTH)).astype(np.float32)
        model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, table), *behind], device="cpu")
        model.save(str(tmp_path / "static"))
        return tmp_path / "static", model

    return save


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("behind", ["nothing", "normalize", "dense"])
def test_static_embedding(
    behind: str, limit: int | None, static_embedding: Callable[..., tuple[Path, SentenceTransformer]]
) -> None:
    """Unknown tokens have a vector here, and nothing is cut but by tokenizer.json."""
    dense: list[Any] = [Dense(WIDTH, 10)] if behind == "dense" else []
    normalize = [Normalize()] if behind != "nothing" else []
    folder, model = static_embedding(*dense, *normalize, limit=limit)
    with farthing.Embedder(str(folder)) as embedder:
        assert_same(embedder.encode(TEXTS), model.encode(TEXTS))
        assert_same(embedder.encode(["zzz"]), model.encode(["zzz"]))


def test_an_older_folder_keeps_it_in_one_of_its_own(
    static_embedding: Callable[..., tuple[Path, SentenceTransformer]],
) -> None:
    folder, model = static_embedding(Normalize())
    place = folder / "0_StaticEmbedding"
    if not place.is_dir():
        place.mkdir()
        for file in ("model.safetensors", "tokenizer.json"):
            (folder / file).rename(place / file)
        rows = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        rows[0] |= {"path": "0_StaticEmbedding", "type": "sentence_transformers.models.StaticEmbedding"}
        (folder / "modules.json").write_text(json.dumps(rows), encoding="utf-8")
    with farthing.Embedder(str(folder)) as embedder:
        assert_same(embedder.encode(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mapping": np.full(len(WORDS), 99)}, "mapping"),
        ({"weights": np.ones(3)}, "weights"),
        ({"embeddings": np.full((len(WORDS), WIDTH), np.nan, np.float32)}, "finite"),
        ({"embeddings": np.ones(len(WORDS), np.float32)}, "two-dimensional"),
        ({"embeddings": np.ones((5, WIDTH), np.float32)}, "5 rows"),
    ],
)
def test_a_damaged_table_is_named(change: dict[str, Array], named: str, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folder = FOLDERS["wordpiece"].save(tmp_path / "model")
    save_file(load_file(folder / "model.safetensors") | change, folder / "model.safetensors")
    with pytest.raises(ModelError, match=named):
        farthing.Embedder(str(folder))


@pytest.fixture(scope="module")
def model2vec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose texts are cut soon."""
    return FOLDERS["short texts"].save(tmp_path_factory.mktemp("static") / "model")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("abcZ riverwats", min_size=1, max_size=40))
def test_any_text_is_read_as_model2vec_reads_it(model2vec_folder: Path, text: str) -> None:
    checkpoint = read_checkpoint(locate_model(str(model2vec_folder)))
    median = int(np.median([len(word) for word in WORDS]))
    tokenizer = tokenizer_of("wordpiece")
    tokenizer.enable_truncation(4)
    ids = [one for one in tokenizer.encode(text[: 4 * median], add_special_tokens=False).ids if one != 1]
    if ids:
        assert TextTokenizer(checkpoint).encode([text]).ids[0].tolist() == ids
