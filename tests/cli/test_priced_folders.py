"""Folders that `explain` and `plan` price with a word of what they assume, and those that are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from farthing.cli.main import main
from makers import TINY_BERT_CONFIG

Run = Callable[..., tuple[int, str]]

PLAN = ("--rate", "5", "--lengths", "10", "--devices", "l4")
CORPUS = ("--corpus-tokens", "1e6", "--deadline", "3600", "--lengths", "10", "--devices", "l4")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out + said.err

    return ran


def notes(run: Run, command: Sequence[str]) -> list[str]:
    code, output = run(*command, "--json")
    assert code == 0, output
    answer: dict[str, Any] = json.loads(output)
    return list(answer["notes"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    return made


@pytest.mark.parametrize("command", [("explain",), ("plan", *PLAN), ("plan", *CORPUS)])
def test_code_of_a_models_own_is_said_first_wherever_it_is_priced(
    run: Run, folder: Path, command: Sequence[str]
) -> None:
    code = {"auto_map": {"AutoModel": "modeling_halving.HalvingBert"}}
    (folder / "config.json").write_text(json.dumps(TINY_BERT_CONFIG | code))
    asked = (command[0], str(folder), *command[1:])
    assert notes(run, asked)[0].startswith("ASSUMED")
    assert "modeling_halving.HalvingBert" in notes(run, asked)[0]
    shown = " ".join(run(*asked)[1].split())
    assert shown.startswith("ASSUMED")
    assert shown.count("modeling_halving.HalvingBert") == 1


@pytest.mark.parametrize("command", [("explain",), ("plan", *PLAN)])
def test_quantized_weights_are_said(run: Run, folder: Path, command: Sequence[str]) -> None:
    quantized = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    (folder / "config.json").write_text(json.dumps(TINY_BERT_CONFIG | quantized))
    assert any(
        "awq" in note and "4.16 bits" in note for note in notes(run, (command[0], str(folder), *command[1:]))
    )


@pytest.mark.parametrize(
    ("file", "kind"), [("model.onnx", "ONNX"), ("onnx/model.onnx", "ONNX"), ("qwen-Q4_K_M.gguf", "GGUF")]
)
def test_weights_in_other_formats_only_are_refused_by_name(
    run: Run, folder: Path, file: str, kind: str
) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(b"")
    (folder / "tokenizer.json").write_text("{}")
    (folder.parent / "texts.txt").write_text("a text\n")
    out = str(folder.parent / "out.parquet")
    asked = (
        ("explain", str(folder)),
        (
            "embed",
            str(folder.parent / "texts.txt"),
            "--model",
            str(folder),
            "-o",
            out,
        ),
    )
    for command in asked:
        code, output = run(*command)
        assert code != 0
        said = " ".join(output.split())
        assert kind in said
        assert file in said
        assert "made from" in said


@pytest.mark.parametrize("command", ["explain", "embed"])
def test_an_adapter_names_the_model_that_it_is_for(run: Run, folder: Path, command: str) -> None:
    settings = {"peft_type": "LORA", "base_model_name_or_path": "BAAI/bge-m3"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    texts = folder.parent / "texts.txt"
    texts.write_text("a text\n")
    out = str(folder.parent / "out.parquet")
    asked = (
        ("explain", str(folder))
        if command == "explain"
        else ("embed", str(texts), "-m", str(folder), "-o", out)
    )
    code, output = run(*asked)
    assert code != 0
    assert "BAAI/bge-m3" in output
