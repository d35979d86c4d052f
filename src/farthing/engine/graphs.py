"""Graphs of the transformer for OpenVINO: converted once from our own module, cached on disk.

The cached graph makes later starts need neither torch nor transformers. Source of the choices:
docs/decisions/0001-cpu-engine.md.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from platformdirs import user_cache_path

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.network.packing import packed
from farthing.errors import MissingExtraError

Kind = Literal["vectors", "prefix"]
"""What a graph gives: the vectors of texts, or the keys and values of one text that others begin with."""

_CODE = (
    *("transformer", "attention", "grid", "grid_attention", "positions", "norms"),
    *("weights", "weight_names", "graphs"),
)
"""Modules that a graph is made by: a change in one of them makes another graph."""


def read_graph(core: Any, checkpoint: Checkpoint, kind: Kind = "vectors") -> Any:
    """Return a graph as OpenVINO reads it, converted first when none is cached.

    Args:
        core: openvino's Core.
        checkpoint: the model folder.
        kind: what the graph gives.

    Raises:
        UnsupportedModelError: the engine does not run this architecture.
        ModelError: the weights cannot be used.
    """
    try:
        path = cached_graph(checkpoint, kind)
    except OSError:  # a cache that cannot be written costs a conversion at each start, and nothing else
        with tempfile.TemporaryDirectory(prefix="farthing-") as folder:
            _convert(checkpoint, Path(folder) / "model.xml", kind)
            return core.read_model(Path(folder) / "model.xml")
    try:
        return core.read_model(path)
    except RuntimeError:  # damaged on disk: what can be made again is made again
        shutil.rmtree(path.parent, ignore_errors=True)
        return core.read_model(cached_graph(checkpoint, kind))


def cached_graph(checkpoint: Checkpoint, kind: Kind = "vectors") -> Path:
    """Return the path of the checkpoint's converted graph, converting it when there is none."""
    folder = user_cache_path("farthing") / "graphs" / _graph_key(checkpoint, kind)
    if not (folder / "model.xml").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".convert-"))
        try:
            _convert(checkpoint, scratch / "model.xml", kind)
            # Whoever is first wins; the graphs are the same.
            scratch.replace(folder)
        except OSError:
            if not (folder / "model.xml").is_file():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder / "model.xml"


def _convert(checkpoint: Checkpoint, path: Path, kind: Kind) -> None:
    try:
        _save_converted(checkpoint, path, kind)
    finally:
        gc.collect()  # the module and its trace hold each other, and with them the weights
        _return_free_memory()


def _save_converted(checkpoint: Checkpoint, path: Path, kind: Kind) -> None:
    openvino = import_openvino()
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "cpu", "converting a model") from error
    from farthing.engine.attention import Attention
    from farthing.engine.network.transformer import PrefixStates
    from farthing.engine.network.weights import load_transformer

    texts = [np.ones(3, np.int32), np.ones(2, np.int32)]
    example = [torch.from_numpy(array) for array in packed(texts if kind == "vectors" else texts[:1]).inputs]
    dynamic = [openvino.PartialShape([-1] * array.dim()) for array in example]
    shape, model = checkpoint.shape, load_transformer(checkpoint)
    for module in model.modules():
        if isinstance(module, Attention):
            module.take_apart()
    _move_to_file(model.embeddings.tokens, path.with_suffix(".embeddings"))
    _return_free_memory()
    if kind == "vectors" and checkpoint.reuses_prefixes:
        example.append(torch.zeros(shape.layers, 2, 4, shape.kv_width))
        dynamic.append(openvino.PartialShape([shape.layers, 2, -1, shape.kv_width]))
    with warnings.catch_warnings(), _no_usage_data():
        # Tracing is deprecated but converts in 1 s what torch.export needs 5 to 9 s for (decision 0001).
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(
            model if kind == "vectors" else PrefixStates(model), example_input=tuple(example), input=dynamic
        )
    openvino.save_model(graph, path, compress_to_fp16=False)


@contextmanager
def _no_usage_data() -> Iterator[None]:
    """Keep OpenVINO from reporting its use: it would fork a child that sends it over the network.

    It asks when it is imported and when it converts. It reports nothing in a CI job, and has no other switch that is
    not a file in the user's home.
    """
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before


def _move_to_file(table: Any, path: Path) -> None:
    """Let the largest tensor of a model, its embedding table, lie in a file that goes with it, not in memory.

    So the converter, which needs some of its own, stays below what the weights alone took a moment before.
    """
    import torch

    whole = table.weight.data
    mapped = torch.from_file(str(path), shared=True, size=whole.numel(), dtype=whole.dtype).view(whole.shape)
    path.unlink()  # its pages stay as long as the tensor
    table.weight.data = mapped.copy_(whole)


def _return_free_memory() -> None:
    """Give the system back what was freed: the C library keeps blocks of less than 32 MB for later otherwise."""
    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _graph_key(checkpoint: Checkpoint, kind: Kind) -> str:
    """Return a name that changes with the weights, the module's code and the converter."""
    digest = hashlib.sha256()
    for part in (
        kind,
        checkpoint.revision,
        *(f"{path.resolve()} {path.stat().st_mtime_ns}" for path in checkpoint.weights),
        repr((checkpoint.shape, checkpoint.pooling, checkpoint.normalize, checkpoint.dense)),
        version("openvino"),
        *(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in _CODE),
    ):
        digest.update(part.encode())
    return digest.hexdigest()[:24]


def import_openvino() -> Any:
    """Return the openvino module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with _no_usage_data():
            import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "cpu", "the engine") from error
    return openvino
