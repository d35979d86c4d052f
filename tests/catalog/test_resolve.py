"""From a model's name to its shape: folders, catalog names and hub ids, and one clear error for the rest."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog.resolve import resolve_model
from farthing.catalog.text_limit import TextLimit
from farthing.errors import ModelError, ModelUnavailableError, UnsupportedModelError
from makers import TINY_BERT_CONFIG

STATIC = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": 256, "apply_pca": 256}

MakeFolder = Callable[..., Path]


def safetensors(**shapes: tuple[int, ...]) -> bytes:
    """Return the beginning of a safetensors file with these tensors: all that is read of it."""
    header = {
        name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 0]} for name, shape in shapes.items()
    }
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    def make(config: object, weights: bytes | None = None) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(config))
        if weights is not None:
            (tmp_path / "model.safetensors").write_bytes(weights)
        return tmp_path

    return make


def test_a_folder_comes_before_the_catalog(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "BAAI" / "bge-m3"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(TINY_BERT_CONFIG))
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match=r"write ./BAAI/bge-m3"):
        found = resolve_model("BAAI/bge-m3")
    assert resolve_model("./BAAI/bge-m3") == found
    assert (found.name, found.shape.hidden) == (str(folder), 8)


def test_a_static_model_takes_the_size_of_its_table_from_its_weights(make_folder: MakeFolder) -> None:
    for config in (STATIC, {k: v for k, v in STATIC.items() if k != "model_type"}):
        folder = make_folder(config, safetensors(embeddings=(29528, 256)))
        assert resolve_model(str(folder)).shape.total_parameters == 29528 * 256


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (None, "cannot be read"),
        (b"", "no safetensors file"),
        (b"\xff" * 8, "no safetensors file"),
        (struct.pack("<Q", 4) + b"nope", "no safetensors file"),
        (safetensors(other=(2, 2)), "'embeddings'"),
        (safetensors(embeddings=(2,)), "two-dimensional"),
    ],
)
def test_a_static_model_without_its_table(make_folder: MakeFolder, weights: bytes | None, named: str) -> None:
    folder = make_folder(STATIC, weights)
    with pytest.raises(ModelError, match=named) as caught:
        resolve_model(str(folder))
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "error", "named"),
    [
        ([], ModelError, "no JSON object"),
        ({"model_type": "longt5"}, UnsupportedModelError, "'longt5'"),
        (TINY_BERT_CONFIG | {"hidden_size": -1}, ModelError, "hidden_size is -1"),
    ],
)
def test_bad_folders(make_folder: MakeFolder, config: object, error: type[ModelError], named: str) -> None:
    folder = make_folder(config)
    with pytest.raises(error, match=named) as caught:
        resolve_model(str(folder))
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, TextLimit(16, "16 positions")),
        (
            {"sentence_bert_config.json": {"max_seq_length": 8}},
            TextLimit(8, "sentence_bert_config.json: max_seq_length 8"),
        ),
        ({"sentence_bert_config.json": {"max_seq_length": 99}}, TextLimit(16, "16 positions")),
        (
            {
                "sentence_bert_config.json": {"max_seq_length": None},
                "tokenizer_config.json": {"model_max_length": 4},
            },
            TextLimit(4, "tokenizer_config.json: model_max_length 4"),
        ),
        ({"tokenizer_config.json": {"model_max_length": 1e30}}, TextLimit(16, "16 positions")),
    ],
)
def test_a_folder_states_where_texts_are_cut(
    make_folder: MakeFolder, files: dict[str, object], limit: TextLimit
) -> None:
    folder = make_folder(TINY_BERT_CONFIG)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    assert resolve_model(str(folder)).limit == limit


@pytest.mark.parametrize("bad", [0, -8, "8", 8.5, True])
def test_a_limit_that_is_none_is_named(make_folder: MakeFolder, bad: object) -> None:
    folder = make_folder(TINY_BERT_CONFIG)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": bad}))
    with pytest.raises(
        ModelError, match=r"sentence_bert_config\.json: max_seq_length is .*positive number of tokens"
    ):
        resolve_model(str(folder))


def test_a_static_model_has_no_use_for_its_tokenizers_limit(make_folder: MakeFolder) -> None:
    folder = make_folder(STATIC, safetensors(embeddings=(29528, 256)))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    found = resolve_model(str(folder))
    assert found.limit.tokens == found.shape.max_positions > 512


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("", "no model is named"),
        ("  ", "no model is named"),
        ("bge-m4", r"no such folder.*catalog's \d+ models, such as BAAI/bge-m3"),
        ("minilm-l6", r"such as .*all-MiniLM-L6-v2"),
        ("a/b/c", "no such folder"),
        ("./BAAI", "no such folder"),
        ("BAAI/", "no such folder"),
    ],
)
def test_names_that_are_nothing(
    model: str, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=named) as caught:
        resolve_model(model)
    assert len(str(caught.value)) < 300


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    with pytest.raises(ModelError, match="is a file; give the model's folder"):
        resolve_model(str(file))


def test_any_other_model_is_asked_of_the_hub(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def download(model: str, file: str) -> str:
        asked.append(f"{model} {file}")
        return str(make_folder(TINY_BERT_CONFIG) / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = resolve_model("org/model")
    assert (found.name, found.shape.hidden) == ("org/model", 8)
    assert asked == ["org/model config.json", "org/model sentence_bert_config.json"]


def test_a_model_of_the_hub_states_its_limit_where_it_has_one(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub: Any = importlib.import_module("huggingface_hub.errors")

    def download(_model: str, file: str) -> str:
        if not (make_folder(TINY_BERT_CONFIG) / file).exists():
            raise hub.EntryNotFoundError("404")
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert resolve_model("org/model").limit == TextLimit(16, "16 positions")
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    assert resolve_model("org/model").limit.tokens == 8


def test_a_static_model_of_the_hub(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    hub: Any = importlib.import_module("huggingface_hub.utils")
    table = hub.TensorInfo(dtype="F32", shape=[7, 256], data_offsets=(0, 7168))
    file = hub.SafetensorsFileMetadata(metadata={}, tensors={"embeddings": table})
    repo = hub.SafetensorsRepoMetadata(
        metadata=None, sharded=False, weight_map={}, files_metadata={"model.safetensors": file}
    )
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *_: str(make_folder(STATIC) / "config.json")
    )
    monkeypatch.setattr("huggingface_hub.get_safetensors_metadata", lambda _: repo)
    assert resolve_model("org/static").shape.total_parameters == 7 * 256


def test_a_hub_out_of_reach_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(
        ModelUnavailableError, match=r"org/model: .*out of reach.*HF_ENDPOINT.*folder"
    ) as caught:
        resolve_model("org/model")
    assert "\n" not in str(caught.value)


def test_the_module_that_modules_json_names_holds_the_transformer(tmp_path: Path) -> None:
    rows = [
        {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(rows))
    inner = tmp_path / "0_Transformer"
    inner.mkdir()
    (inner / "config.json").write_text(json.dumps(TINY_BERT_CONFIG))
    (inner / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    for outside in (None, "{}", '{"__version__": {"sentence_transformers": "2.0"}}'):
        if outside is not None:
            (tmp_path / "config.json").write_text(outside)
        found = resolve_model(str(tmp_path))
        assert (found.shape.hidden, found.limit.tokens) == (8, 8)


def test_a_static_module_takes_the_size_of_its_table_from_its_weights(tmp_path: Path) -> None:
    rows = [{"path": "0_StaticEmbedding", "type": "sentence_transformers.models.StaticEmbedding"}]
    (tmp_path / "modules.json").write_text(json.dumps(rows))
    unknown = resolve_model(str(tmp_path))
    assert (unknown.shape.layers, len(unknown.notes)) == (0, 1)
    assert unknown.notes[0].startswith("ASSUMED")
    inner = tmp_path / "0_StaticEmbedding"
    inner.mkdir()
    (inner / "model.safetensors").write_bytes(safetensors(**{"embedding.weight": (100, 16)}))
    known = resolve_model(str(tmp_path))
    assert (known.shape.total_parameters, known.notes) == (1600, ())


@pytest.mark.parametrize("place", ["../elsewhere", "/etc"])
def test_a_module_is_not_read_outside_its_model(tmp_path: Path, place: str) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"path": place, "type": "x.Transformer"}]))
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize("modules", [{}, [], ["Transformer"]])
def test_modules_that_are_none(tmp_path: Path, modules: object) -> None:
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="no list of modules"):
        resolve_model(str(tmp_path))


def test_an_adapter_of_the_hub_names_its_base_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub: Any = importlib.import_module("huggingface_hub.errors")
    (tmp_path / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "base_model_name_or_path": "org/base"}'
    )

    def download(_model: str, file: str) -> str:
        if not (tmp_path / file).exists():
            raise hub.EntryNotFoundError("404")
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(
        ModelError, match=r"org/adapter: adapter_config\.json: an adapter \(LORA\) of org/base"
    ):
        resolve_model("org/adapter")


@pytest.mark.parametrize(
    ("file", "content", "bits"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}, 4.156),
        (
            "quant_config.json",
            {"zero_point": True, "q_group_size": 64, "w_bit": 4, "version": "GEMM"},
            4.3125,
        ),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4", "group_size": 16}}, 4.5),
    ],
)
def test_quantization_in_a_file_of_its_own(
    make_folder: MakeFolder, file: str, content: object, bits: float
) -> None:
    folder = make_folder(TINY_BERT_CONFIG)
    (folder / file).write_text(json.dumps(content))
    found = resolve_model(str(folder))
    assert found.shape.linear_bits == pytest.approx(bits, abs=1e-3)
    assert "quantized" in found.notes[0]
