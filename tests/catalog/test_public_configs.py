"""Config files as people publish them (shared/data/configs/SOURCE.md): explained through the public names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import SHARED_DATA
from farthing.catalog.resolve import resolve_model
from farthing.errors import ModelError
from farthing.planning.explain import explain
from farthing.theory.flops import forward_flops

FILE = SHARED_DATA / "configs" / "configs.json"
FOLDERS: dict[str, dict[str, Any]] = json.loads(FILE.read_text()) if FILE.is_file() else {}

needs_configs = pytest.mark.skipif(
    not FOLDERS, reason=f"{FILE} is not there: real config files are not checked"
)
counted = pytest.mark.parametrize("name", [name for name in FOLDERS if "linear_parameters" in FOLDERS[name]])


def lay_out(name: str, folder: Path) -> str:
    for file, content in FOLDERS[name]["files"].items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    return str(folder)


@needs_configs
@counted
def test_parameters_and_flops_are_those_counted_by_hand(name: str, tmp_path: Path) -> None:
    model, known = lay_out(name, tmp_path), FOLDERS[name]
    explained, found = explain(model), resolve_model(model)
    assert explained.linear_parameters == pytest.approx(known["linear_parameters"], rel=0.005)
    if "flops_per_token_at_1024" in known:
        flops = forward_flops(found.shape, [1024]).total / 1024
        assert flops == pytest.approx(known["flops_per_token_at_1024"], rel=0.005)
        if found.limit.tokens >= 1024:
            assert explained.flops.per_token == pytest.approx(flops)


@needs_configs
def test_low_bit_weights_take_the_memory_of_the_published_files(tmp_path: Path) -> None:
    explained = explain(lay_out("mistral-7b-gptq4", tmp_path))
    assert explained.memory.needed_bytes == pytest.approx(4.16e9, rel=0.15)
    assert explained.weight_bytes_read < 3.8e9


@needs_configs
def test_code_of_its_own_is_never_priced_without_a_word(tmp_path: Path) -> None:
    first = explain(lay_out("jasper-600m", tmp_path)).notes[0]
    assert "JasperV2Encoder" in first
    assert "does not know" in first


@needs_configs
def test_the_module_that_modules_json_names_is_read(tmp_path: Path) -> None:
    model = lay_out("old-st-layout", tmp_path)
    found = resolve_model(model)
    assert (found.shape.family, found.limit.tokens) == ("distilbert", 128)


@needs_configs
def test_an_adapter_names_its_base_model(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"adapter \(LORA\) of models/Qwen2\.5-0\.5B-Instruct.*give that model"
    ):
        explain(lay_out("lora-adapter-bge", tmp_path))


@needs_configs
def test_a_static_model_is_explained_as_one(tmp_path: Path) -> None:
    explained = explain(lay_out("static-st", tmp_path))
    assert explained.flops.total == 0
    assert any("static model" in note for note in explained.notes)
    assert any("size is not known" in note for note in explained.notes)
