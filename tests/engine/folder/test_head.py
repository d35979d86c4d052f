"""What stands behind the transformer: read as sentence-transformers writes it, or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import LocatedModel
from farthing.engine.openvino.engine import OpenVinoEngine
from farthing.engine.text.tokenization import TextTokenizer
from farthing.engine.torch.engine import TorchEngine
from farthing.errors import ModelError, UnsupportedModelError

TEXTS = ["the end of a story, and more", "a", "abc 123!", "of the " * 12]
OLD = "sentence_transformers.models."


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """Return a copy of the small BERT that a test may change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def read(folder: Path) -> Checkpoint:
    return read_checkpoint(LocatedModel("tiny", folder, None))


def write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def write_modules(folder: Path, *modules: str, **dense: Any) -> None:
    """Write a modules.json with a folder for each module; a Dense takes 36 to 36 unless `dense` says more."""
    rows = []
    for index, module in enumerate(modules):
        kind = module.rsplit(".", 1)[-1]
        path = "1_Pooling" if kind == "Pooling" else f"{index}_{kind}" if index else ""
        rows.append({"idx": index, "name": str(index), "path": path, "type": module})
        if kind == "Dense":
            write(folder / path / "config.json", {"in_features": 36, "out_features": 36, **dense})
            (folder / path / "model.safetensors").write_bytes(b"")
    write(folder / "modules.json", rows)


def refusal(folder: Path, kind: type[ModelError] = ModelError) -> str:
    with pytest.raises(ModelError) as caught:
        read(folder)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_vectors_behind_all_modules_are_those_of_sentence_transformers(
    make_bert: Callable[..., Path], tmp_path: Path
) -> None:
    """Each pooling, each activation, biases or none; saved and run by sentence-transformers itself."""
    bert = make_bert(vocab_size=90)  # transformers adds a [MASK] to the tokenizer
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    nn = torch.nn
    heads: dict[str, tuple[list[tuple[nn.Module | None, bool]], bool]] = {
        "mean": ([(nn.Tanh(), True)], True),
        "cls": ([(nn.GELU(), True), (None, False)], True),
        "lasttoken": ([(nn.ReLU(), False), (nn.SiLU(), True)], False),
        "weightedmean": ([], True),
    }
    for pooling, (layers, normalize) in heads.items():
        torch.manual_seed(5)
        width = 36
        parts: list[nn.Module] = [modules.Transformer(str(bert)), modules.Pooling(width, pooling)]
        for activation, bias in layers:
            parts.append(modules.Dense(width, width - 5, bias, activation))
            width -= 5
        theirs = SentenceTransformer(
            modules=[*parts, *([modules.Normalize()] if normalize else [])], device="cpu"
        )
        folder = tmp_path / pooling
        theirs.save(str(folder), create_model_card=False)
        checkpoint = read(folder)
        assert (checkpoint.normalize, checkpoint.dimension, len(checkpoint.dense)) == (
            normalize,
            width,
            len(layers),
        )
        ids = TextTokenizer(checkpoint).encode(TEXTS).ids
        expected = theirs.encode(TEXTS)
        for engine in (OpenVinoEngine(checkpoint), TorchEngine(checkpoint, "fp32", "cpu")):
            ours = engine.lane().run(ids).vectors
            np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5, err_msg=pooling)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last_token"),
        ({"pooling_mode_weightedmean_tokens": True}, "weighted_mean"),
        ({"word_embedding_dimension": 36}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean", "pooling_mode_cls_token": True}, "mean"),
        ({"pooling_mode": ["lasttoken"]}, "last_token"),
        ({"pooling_mode": "weightedmean", "include_prompt": True}, "weighted_mean"),
    ],
)
def test_both_spellings_of_pooling(folder: Path, config: object, pooling: str) -> None:
    write(folder / "1_Pooling" / "config.json", config)
    assert read(folder).pooling == pooling


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "pooling_mode_cls_token + pooling_mode_mean_tokens",
        ),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode": ["cls", "mean"]}, "cls + mean"),
        ({"pooling_mode": []}, "pooling"),
        ({"pooling_mode": 3}, "3"),
        ({"pooling_mode": [["cls"]]}, "cls"),
    ],
)
def test_an_unsupported_pooling_is_named(folder: Path, config: object, named: str) -> None:
    write(folder / "1_Pooling" / "config.json", config)
    message = refusal(folder, UnsupportedModelError)
    assert named in message
    assert "1_Pooling" in message


def test_the_pooling_is_read_where_modules_json_says(folder: Path) -> None:
    (folder / "1_Pooling").rename(folder / "pool")
    assert "1_Pooling" in refusal(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "pool"
    write(folder / "modules.json", modules)
    assert read(folder).pooling == "mean"


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({}, "mean"),
        ({"architectures": ["BertModel"]}, "mean"),
        ({"architectures": ["QForCausalLM"]}, "last_token"),
        ({"architectures": ["QForCausalLM"], "is_causal": False}, "mean"),
    ],
)
def test_a_bare_transformer_gets_the_pooling_of_its_architecture(
    folder: Path, config: dict[str, object], pooling: str
) -> None:
    (folder / "modules.json").unlink()
    own = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**own, "architectures": None, **config})
    assert (read(folder).pooling, read(folder).normalize, read(folder).dense) == (pooling, False, ())


def test_dense_modules_chain(folder: Path) -> None:
    write_modules(folder, *(f"{OLD}{kind}" for kind in ("Transformer", "Pooling", "Dense", "Dense")))
    write(folder / "2_Dense" / "config.json", {"in_features": 36, "out_features": 48})
    message = refusal(folder)
    assert str(folder / "3_Dense" / "config.json") in message
    assert "in_features is 36" in message
    assert "48" in message
    write(folder / "3_Dense" / "config.json", {"in_features": 48, "out_features": 7, "bias": False})
    checkpoint = read(folder)
    assert [(one.inputs, one.outputs, one.bias, one.activation) for one in checkpoint.dense] == [
        (36, 48, True, "tanh"),  # sentence-transformers' default
        (48, 7, False, "tanh"),
    ]
    assert [one.weights.parent.name for one in checkpoint.dense] == ["2_Dense", "3_Dense"]
    assert (checkpoint.dimension, checkpoint.normalize) == (7, False)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"activation_function": "torch.nn.modules.activation.Sigmoid"}, "Sigmoid"),
        ({"activation_function": "my.Tanh"}, "my.Tanh"),
        ({"activation_function": None}, "None"),
        ({"use_residual": True}, "use_residual"),
        ({"module_input_name": "token_embeddings"}, "token_embeddings"),
        ({"module_output_name": "other"}, "other"),
    ],
)
def test_an_unsupported_dense_is_named(folder: Path, config: dict[str, object], named: str) -> None:
    write_modules(folder, *(f"{OLD}{kind}" for kind in ("Transformer", "Pooling", "Dense")), **config)
    message = refusal(folder, UnsupportedModelError)
    assert named in message
    assert "2_Dense" in message


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"in_features": None}, "in_features is None"),
        ({"out_features": 0}, "out_features is 0"),
        ({"bias": "yes"}, "bias is 'yes'"),
    ],
)
def test_a_damaged_dense_is_named(folder: Path, config: dict[str, object], named: str) -> None:
    write_modules(folder, *(f"{OLD}{kind}" for kind in ("Transformer", "Pooling", "Dense")), **config)
    assert named in refusal(folder)


def test_a_dense_without_weights_is_named(folder: Path) -> None:
    write_modules(folder, *(f"{OLD}{kind}" for kind in ("Transformer", "Pooling", "Dense")))
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    assert "2_Dense: has pytorch_model.bin" in refusal(folder, UnsupportedModelError)


@pytest.mark.parametrize(
    ("kinds", "problem"),
    [
        ("Transformer Pooling Normalize Dense", "Normalize comes before Dense"),
        ("Transformer Normalize Pooling", "Normalize comes before Pooling"),
        ("Transformer Pooling Pooling", "a second Pooling"),
        ("Transformer Pooling Transformer", "Transformer is module 2"),
        ("Transformer", "no Pooling"),
        ("", "no Pooling"),
        ("Transformer Pooling LayerNorm", "'LayerNorm'"),
        ("Transformer CNN Pooling", "'CNN'"),
        ("Transformer LSTM Pooling", "'LSTM'"),
        ("WordEmbeddings Pooling", "'WordEmbeddings'"),
        ("CLIPModel", "'CLIPModel'"),
        ("Router Normalize", "'Router'"),
        ("Asym", "'Asym'"),
    ],
)
def test_modules_and_orders_that_are_not_run(folder: Path, kinds: str, problem: str) -> None:
    write_modules(folder, *(f"{OLD}{kind}" for kind in kinds.split()))
    message = refusal(folder, UnsupportedModelError)
    assert problem in message
    assert "modules.json" in message


@pytest.mark.parametrize(
    "module", ["custom_st.Transformer", "Transformer", "", "sentence_transformersx.Pooling"]
)
def test_a_module_with_code_of_its_own_is_refused(folder: Path, module: str) -> None:
    write_modules(folder, f"{OLD}Transformer", f"{OLD}Pooling", module)
    assert f"{module!r} is code of its own" in refusal(folder, UnsupportedModelError)


def test_a_transformer_that_is_not_the_first_module_is_refused(folder: Path) -> None:
    rows = [{"type": f"{OLD}Transformer", "path": place} for place in ("", "1_Transformer")]
    write(folder / "modules.json", rows)
    assert "it must be the first" in refusal(folder, UnsupportedModelError)


def test_without_a_normalize_module_it_is_not_normalised(folder: Path) -> None:
    write_modules(folder, *(f"{OLD}{kind}" for kind in ("Transformer", "Pooling", "Dropout")))
    assert not read(folder).normalize


def test_a_normalize_of_token_vectors_is_refused(folder: Path) -> None:
    write(folder / "2_Normalize" / "config.json", {"module_input_name": "token_embeddings"})
    assert "token_embeddings" in refusal(folder, UnsupportedModelError)


@pytest.mark.parametrize("modules", ["[", "[1, 2]", '["Transformer"]', "{}", "3"])
def test_broken_modules_are_named(folder: Path, modules: str) -> None:
    write(folder / "modules.json", modules)
    assert "modules.json" in refusal(folder)


@pytest.mark.parametrize("path", ["../other", "/tmp/other", "a/../../other"])
def test_a_module_elsewhere_is_refused(folder: Path, path: str) -> None:
    write(folder / "modules.json", [{"type": f"{OLD}Transformer"}, {"type": f"{OLD}Pooling", "path": path}])
    assert repr(path) in refusal(folder)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"config_args": {"is_causal": False}}, "config_args: is_causal"),
        ({"model_kwargs": {"dtype": "bfloat16", "num_layers": 3}}, "model_kwargs: num_layers"),
        ({"processor_kwargs": {"do_lower_case": True}}, "do_lower_case"),
        ({"processing_kwargs": {"text": {"max_length": 8}}}, "processing_kwargs: text"),
        ({"model_args": ["x"]}, "model_args"),
        ({"query_length": 32}, "query_length"),
        ({"modality_config": {"image": {}}}, "modality_config"),
        ({"modality_config": {"text": {"method": "get_text_features"}}}, "modality_config"),
    ],
)
def test_settings_that_would_change_vectors_are_named(folder: Path, settings: object, named: str) -> None:
    write(folder / "sentence_bert_config.json", settings)
    message = refusal(folder, UnsupportedModelError)
    assert named in message
    assert "sentence_bert_config.json" in message


def test_settings_that_change_no_vector_are_read_over(folder: Path) -> None:
    settings = {
        "max_seq_length": 30,
        "model_args": {"torch_dtype": "auto"},
        "tokenizer_args": {"use_fast": True},
    }
    write(folder / "sentence_bert_config.json", {**settings, "config_args": None, "unpad_inputs": True})
    assert read(folder).max_length == 30


def test_a_static_table_is_the_first_module(folder: Path) -> None:
    write_modules(folder, f"{OLD}Transformer", f"{OLD}StaticEmbedding")
    assert "StaticEmbedding is module 1: it must be the first" in refusal(folder, UnsupportedModelError)


def test_a_dense_in_shards_is_refused(folder: Path) -> None:
    write_modules(folder, f"{OLD}Transformer", f"{OLD}Pooling", f"{OLD}Dense")
    place = folder / "2_Dense"
    (place / "model.safetensors").unlink()
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    write(place / "model.safetensors.index.json", {"weight_map": dict(zip("ab", files, strict=True))})
    for name in files:
        (place / name).write_bytes(b"")
    assert "a Dense module in 2 shards" in refusal(folder, UnsupportedModelError)
