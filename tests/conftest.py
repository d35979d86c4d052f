"""What many tests share: real models on disk, a cache of their own, and data that may be absent."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from farthing.embedding.embedder import Embedder

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *"abcdefghijklmnopqrstuvwxyz0123456789.,:;!?-'",
    "the",
    "of",
    "and",
]
VOCABULARY = [*WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789")]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the tests directories of their own: nothing of the user's but the fetched models is read or changed."""
    from platformdirs import user_config_path, user_data_path

    models = user_data_path("farthing") / "models"
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    before = {name: os.environ.get(name) for name in names}
    for name in names:
        os.environ[name] = str(tmp_path_factory.mktemp(name.lower()))
    data = user_data_path("farthing", ensure_exists=True)
    if models.is_dir():
        (data / "models").symlink_to(models)
    # Tests compare with fp32 to the last digits, on whatever processor; those of the choice ask for auto by name.
    user_config_path("farthing", ensure_exists=True).joinpath("config.toml").write_text(
        '[local]\ndtype = "fp32"\n', encoding="utf-8"
    )
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Return the folder of the default model, which `make install` fetches."""
    from farthing.engine.folder.locate import default_model_folder

    folder = default_model_folder()
    if not (folder / "model.safetensors").is_file():
        pytest.fail(f"the default model is not in {folder}: run `make install` or `farthing fetch-model`")
    return folder


@pytest.fixture(scope="session")
def scifact() -> Path:
    """Return the folder of SciFact, or skip by name where the shared data is not laid out."""
    folder = SHARED_DATA / "scifact"
    if not folder.is_dir():
        pytest.skip(f"SciFact is missing: no folder {folder}")
    return folder


MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def make_bert(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Return a maker of small BERT folders, saved by transformers, with every parameter randomised.

    Biases and norms too: a fresh model's are 0 and 1, so a lost bias would go unnoticed.
    """

    def make(*, pooling: str = "mean", normalize: bool = True, seed: int = 0, **sizes: int | str) -> Path:
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(seed)
        shape: dict[str, Any] = {
            "vocab_size": len(VOCABULARY),
            "hidden_size": 36,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "intermediate_size": 52,
            "max_position_embeddings": 40,
            "type_vocab_size": 2,
        }
        model = BertModel(BertConfig(**{**shape, **sizes}), add_pooling_layer=False)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0, 0.3)
        folder = tmp_path_factory.mktemp("bert")
        model.save_pretrained(folder)
        write_tokenizer(folder)
        write_modules(folder, pooling, normalize)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_bert(make_bert: MakeModel) -> Path:
    """Return one small BERT with mean pooling that tests share and do not change."""
    return make_bert()


@pytest.fixture(scope="module")
def tiny(tiny_bert: Path) -> Iterator[Embedder]:
    """Return an embedder of the small BERT; it keeps no vectors, so that no test sees another's."""
    from farthing.embedding.embedder import Embedder

    with Embedder(str(tiny_bert), cache_texts=0) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def default(minilm: Path) -> Iterator[Embedder]:
    """Return an embedder of the default model; it keeps no vectors, either."""
    from farthing.embedding.embedder import Embedder

    with Embedder(cache_texts=0) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def prompted(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """Return an embedder with prompts, one of them the default, that does not normalise."""
    from farthing.embedding.embedder import Embedder

    folder = Path(shutil.copytree(tiny_bert, tmp_path_factory.mktemp("prompted") / "model"))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "of: ", "plain": ""}, "default_prompt_name": "query"})
    )
    with Embedder(str(folder), cache_texts=0) as embedder:
        yield embedder


@pytest.fixture
def _calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the measurements, which take seconds."""
    from farthing.theory.devices import StepTimes
    from makers import make_calibration, make_model_calibration

    def ensure(model: Any, _run_text: object, _notify: object) -> tuple[Any, Any]:
        measured = make_model_calibration(
            model=model.checkpoint.name,
            streams=model.engine.lanes,
            step_times=StepTimes((8, 64), (128, 1024), ((1e-4, 8e-4), (1e-4, 8e-4))),
            new_shape_s=0.0,
        )
        return make_calibration(machine="a machine", peak_flops_per_s=1e11), measured

    monkeypatch.setattr("farthing.embedding.job.ensure_calibrated", ensure)


def write_tokenizer(folder: Path) -> None:
    """Write a WordPiece tokenizer of letters, with the trap of MiniLM's: truncation and padding baked in."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(WordPiece({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_modules(folder: Path, pooling: str, normalize: bool) -> None:
    """Write sentence-transformers' files around a transformer."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": n, "name": str(n), "path": paths[n], "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    switches = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 36, **switches})
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 32, "do_lower_case": False})
    )
