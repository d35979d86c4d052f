"""The compiled graph: converted once, loaded without torch, and never a vector that is not one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farthing.engine import graphs
from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.compiled import Mode
from farthing.engine.graphs import cached_graph
from farthing.engine.folder.locate import locate_model
from farthing.engine.openvino.engine import OpenVinoModel, grid_width
from farthing.errors import EngineError, InputError

VECTOR = """
import sys
from farthing.engine.model import load_model
model = load_model(sys.argv[1])
ids = model.tokenizer.encode(["the end of a story"]).ids
print(model.compiled.stream().run(ids).tolist())
print([name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def checkpoint(tiny_bert: Path) -> Checkpoint:
    return read_checkpoint(locate_model(str(tiny_bert)))


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the test a cache that holds no graph yet, and return the folder that graphs go into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "farthing" / "graphs"


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for conversion, which takes seconds, where only the files matter."""
    monkeypatch.setattr(graphs, "_convert", lambda _, path, _kind: path.write_text("a graph"))


def embed_in_a_process(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", VECTOR, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def finished(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()


@pytest.mark.usefixtures("no_conversion")
def test_a_graph_is_converted_once(checkpoint: Checkpoint, own_cache: Path) -> None:
    path = cached_graph(checkpoint)
    assert own_cache in path.parents
    before = path.stat().st_mtime_ns
    assert cached_graph(checkpoint) == path
    assert path.stat().st_mtime_ns == before
    assert [entry.name for entry in own_cache.iterdir()] == [path.parent.name]


@pytest.mark.usefixtures("no_conversion", "own_cache")
def test_other_weights_pooling_or_folder_are_another_graph(
    tiny_bert: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "copy"))
    copy = read_checkpoint(locate_model(str(folder)))
    paths = [cached_graph(checkpoint), cached_graph(copy)]
    paths.append(cached_graph(replace(checkpoint, pooling="cls")))
    paths.append(cached_graph(replace(checkpoint, normalize=False)))
    tensors = load_file(copy.weights[0])
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, copy.weights[0])
    paths.append(cached_graph(read_checkpoint(locate_model(str(folder)))))
    assert len(set(paths)) == len(paths)


def test_two_processes_convert_at_once_and_a_third_needs_no_torch(tiny_bert: Path, own_cache: Path) -> None:
    processes = [embed_in_a_process(tiny_bert) for _ in range(2)]
    (first, _), (second, _) = (finished(process) for process in processes)
    assert first == second
    (graph,) = own_cache.iterdir()
    assert sorted(path.name for path in graph.iterdir()) == ["model.bin", "model.xml"]
    warm, imported = finished(embed_in_a_process(tiny_bert))
    assert warm == first
    assert imported == "[]"


def test_the_slower_of_two_keeps_the_graph_of_the_faster(
    checkpoint: Checkpoint, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(converted: Checkpoint, path: Path, _kind: str) -> None:
        path.write_text("the slower")
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(graphs, "_convert", lambda _, other, _kind: other.write_text("the faster"))
            cached_graph(converted)

    monkeypatch.setattr(graphs, "_convert", overtaken)
    assert cached_graph(checkpoint).read_text() == "the faster"
    assert len(list(own_cache.iterdir())) == 1


def test_a_conversion_that_fails_leaves_nothing(
    checkpoint: Checkpoint, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Checkpoint, path: Path, _kind: str) -> None:
        path.write_text("half a graph")
        raise OSError("the disk is full")

    monkeypatch.setattr(graphs, "_convert", fail)
    with pytest.raises(OSError, match="full"):
        cached_graph(checkpoint)
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize("dtype", ["fp16", "fp8", "int8", "float32"])
def test_a_dtype_that_the_engine_does_not_do(checkpoint: Checkpoint, dtype: str) -> None:
    with pytest.raises(InputError, match=f"{dtype}.* fp32 or bf16"):
        OpenVinoModel(checkpoint, dtype)  # type: ignore[arg-type]


def test_bf16_where_there_are_no_units(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, _device: str, _name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(graphs.import_openvino(), "Core", Core)
    with pytest.raises(InputError, match="no bf16 units"):
        OpenVinoModel(checkpoint, "bf16")


@pytest.mark.parametrize(("mode", "streams"), [("throughput", 2), ("latency", 1)])
def test_fp32_runs_in_fp32(checkpoint: Checkpoint, mode: Mode, streams: int) -> None:
    """OpenVINO's default would be bf16 where the processor has the units."""
    model = OpenVinoModel(checkpoint, "fp32", streams=2)
    model.prepare(mode)
    compiled = model._compiled[mode].graph
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert compiled.get_property("NUM_STREAMS") == streams
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


def test_a_mode_is_compiled_once_and_when_it_is_needed(checkpoint: Checkpoint) -> None:
    model = OpenVinoModel(checkpoint)
    assert model._compiled == {}
    ids = [np.arange(5, dtype=np.int32)]
    alone = model.stream("latency").run(ids).copy()
    made = model._compiled["latency"]
    model.prepare("latency")
    assert model._compiled == {"latency": made}
    np.testing.assert_allclose(model.stream().run(ids), alone, atol=1e-6)
    assert set(model._compiled) == {"latency", "throughput"}


def test_a_vector_that_is_not_finite_is_an_error(tiny_bert: Path, own_cache: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    # Finite one by one, and their product is not.
    tensors["encoder.layer.2.intermediate.dense.weight"].fill_(3e38)
    save_file(tensors, folder / "model.safetensors")
    stream = OpenVinoModel(read_checkpoint(locate_model(str(folder)))).stream()
    with pytest.raises(EngineError, match="not finite"):
        stream.run([np.array([2, 5, 3], np.int32)])


def test_a_step_leaves_the_environment_as_it_was(checkpoint: Checkpoint) -> None:
    before = dict(os.environ)
    OpenVinoModel(checkpoint).stream().run([np.array([2, 5, 3], np.int32)])
    assert dict(os.environ) == before


@pytest.mark.parametrize("longest", [32, 27])
def test_padding_does_not_count(checkpoint: Checkpoint, longest: int) -> None:
    stream = OpenVinoModel(checkpoint).stream()
    ids = [np.arange(1, count + 1, dtype=np.int32) for count in (1, 8, longest)]
    padded = stream.run(ids).copy()
    assert padded.shape == (3, 36)
    assert padded.dtype == np.float32
    for row, one in zip(padded, ids, strict=True):
        np.testing.assert_allclose(stream.run([one])[0], row, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(padded, axis=1), 1, atol=1e-5)


def test_a_row_is_filled_up_where_it_is_half_way_there() -> None:
    assert [grid_width(longest) for longest in (1, 7, 8, 16, 17, 23, 24, 250)] == [
        1,
        7,
        16,
        16,
        17,
        23,
        32,
        256,
    ]


def test_streams_run_side_by_side(checkpoint: Checkpoint) -> None:
    model = OpenVinoModel(checkpoint, streams=2)
    generator = np.random.default_rng(0)
    jobs = [[generator.integers(0, 80, 20, np.int32) for _ in range(4)] for _ in range(2)]
    alone = [model.stream().run(ids).copy() for ids in jobs]
    wrong: list[int] = []

    def run(job: int) -> None:
        stream = model.stream()
        for _ in range(50):
            if not np.allclose(stream.run(jobs[job]), alone[job], atol=1e-6):
                wrong.append(job)

    threads = [threading.Thread(target=run, args=(job,)) for job in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_graph_keeps_full_precision(checkpoint: Checkpoint) -> None:
    """Weights on disk are as they were, not rounded to 16 bits."""
    size = cached_graph(checkpoint).with_suffix(".bin").stat().st_size
    assert (
        size
        >= sum(t.numel() for t in load_file(checkpoint.weights[0]).values()) * torch.float32.itemsize * 0.9
    )


def test_a_damaged_graph_is_made_again(make_bert: Callable[..., Path]) -> None:
    checkpoint = read_checkpoint(locate_model(str(make_bert(seed=11))))
    weights = cached_graph(checkpoint).with_suffix(".bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    OpenVinoModel(checkpoint)
    assert weights.read_bytes() == whole
