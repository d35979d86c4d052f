"""The engine on the processor: what it compiles, when, and how; nothing is reported, nothing is of torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_cache_path

from farthing.engine.contract import Mode
from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.network.transformer import network_of
from farthing.engine.network.weights import weights_of
from farthing.engine.openvino.engine import OpenVinoEngine, in_file
from farthing.engine.openvino.ops import vector_graph
from farthing.engine.openvino.runtime import import_openvino, openvino_errors
from farthing.errors import EngineError, InputError

IN_A_PROCESS = """
import os, sys
def fork():
    raise SystemExit("openvino forked")
os.fork = fork
before = dict(os.environ)
from farthing.engine.load import load_model
model = load_model(sys.argv[1])
ids = model.tokenizer.encode(["the end of a story"]).ids
for mode in ("throughput", "latency"):
    assert not model.engine.lane(mode).run(ids).failed
assert dict(os.environ) == before, "the environment changed"
heavy = ("torch", "transformers", "sentence_transformers", "openvino_telemetry")
print([name for name in heavy if sys.modules.get(name)])
"""

IDS = [np.array([2, 5, 3], np.int32)]


@pytest.fixture(scope="module")
def checkpoint(tiny_bert: Path) -> Checkpoint:
    return read_checkpoint(locate_model(str(tiny_bert)))


def test_nothing_is_reported_and_no_torch_is_imported(tiny_bert: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(tiny_bert)],
        env={"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("dtype", ["fp16", "fp8", "int8", "float32"])
def test_a_dtype_that_the_engine_does_not_do(checkpoint: Checkpoint, dtype: str) -> None:
    with pytest.raises(InputError, match=f"{dtype}.* fp32 or bf16"):
        OpenVinoEngine(checkpoint, dtype)  # type: ignore[arg-type]


def test_bf16_where_there_are_no_units(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, _device: str, _name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(import_openvino(), "Core", Core)
    with pytest.raises(InputError, match="no bf16 units"):
        OpenVinoEngine(checkpoint, "bf16")


@pytest.mark.parametrize("threads", [0, -1, 4096])
def test_cores_that_are_not_there(checkpoint: Checkpoint, threads: int) -> None:
    with pytest.raises(InputError, match=f"threads {threads}: this process may use 1 to"):
        OpenVinoEngine(checkpoint, threads=threads)


@pytest.mark.parametrize("mode", ["throughput", "latency"])
def test_fp32_runs_in_fp32_on_the_cores_it_is_given(checkpoint: Checkpoint, mode: Mode) -> None:
    """OpenVINO's default would be bf16 where the processor has the units."""
    engine = OpenVinoEngine(checkpoint, threads=1)
    engine.warm(mode)
    compiled = engine._compiled[mode]
    assert engine.lanes == 1
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_a_mode_is_compiled_once_and_when_it_is_needed(checkpoint: Checkpoint) -> None:
    engine = OpenVinoEngine(checkpoint)
    assert engine._compiled == {}
    alone = engine.lane("latency").run(IDS)
    made = engine._compiled["latency"]
    engine.warm("latency")
    assert engine._compiled == {"latency": made}
    np.testing.assert_allclose(engine.lane().run(IDS).vectors, alone.vectors, atol=1e-6)
    assert set(engine._compiled) == {"latency", "throughput"}


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_inputs_of_a_graph(checkpoint: Checkpoint, dense: bool, prefix: bool) -> None:
    """A padded one takes no places: nothing is gathered between its layers but rows of embeddings."""
    graph = vector_graph(
        network_of(checkpoint), dict(weights_of(checkpoint)), "fp32", dense=dense, prefix=prefix
    )
    assert len(graph.inputs) == 4 + (not dense) + prefix
    names = [node.get_type_name() for node in graph.get_ops()]
    per_layer = 0 if dense else 4  # queries, keys and values to the grid, and what is mixed back
    per_layer += 4 * prefix  # a layer, and then keys or values
    assert names.count("MatMul") == 3 * 8 + (checkpoint.pooling == "mean" and not dense)
    fixed = sum(name == "Gather" for name in names) - 3 * per_layer
    assert 0 < fixed <= 8


def test_a_step_says_its_grid(checkpoint: Checkpoint) -> None:
    engine, texts = OpenVinoEngine(checkpoint), [np.arange(length, dtype=np.int32) for length in (3, 25)]
    ((_, packed),) = engine.lane().run(texts).passes
    assert (packed.grid, packed.dense, packed.filler) == (32, False, ())
    ((_, dense),) = engine.lane("latency").run(texts).passes
    assert (dense.grid, dense.dense, dense.filler) == (26, True, ())
    ((_, single),) = engine.lane().run([np.array([7], np.int32)]).passes
    assert (single.grid, single.filler) == (1, (1,))


def test_what_was_widened_lies_in_a_file() -> None:
    values = np.arange(2**19, dtype=np.float32)
    mapped = in_file(values)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, values)
    assert in_file(mapped) is mapped
    assert in_file(values[:9]).base is values


def test_graphs_of_an_older_version_are_removed(checkpoint: Checkpoint) -> None:
    old = user_cache_path("farthing") / "graphs" / "0123"
    old.mkdir(parents=True)
    (old / "model.bin").write_bytes(b"gigabytes")
    OpenVinoEngine(checkpoint)
    assert not old.parent.exists()


def test_what_the_library_says_is_our_error() -> None:
    with (
        pytest.raises(EngineError, match=r"a step failed in OpenVINO: no memory$"),
        openvino_errors("a step"),
    ):
        raise RuntimeError("Exception from src/inference:\nno memory\n\n")
    with pytest.raises(EngineError, match=r"^ours$"), openvino_errors("a step"):
        raise EngineError("ours")
