"""The CUDA engine, every line that needs no CUDA: the same vectors as transformers', whatever makes it fast.

What stands for the device: attention's kernel text by text, a recorder that runs again, and a memory that is full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from farthing.engine import torch_model
from farthing.engine.folder.checkpoint import Pooling, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.quantized import quantized
from farthing.engine.torch.replica import Replica, Stream
from farthing.engine.torch.engine import TorchModel
from farthing.engine.network.weights import load_transformer
from farthing.errors import EngineError, InputError
from small_families import FAMILIES, MOST_DEVIATION, deviation, pooled, random_ids, reference_states
from varlen_kernel import varlen_2_10, varlen_2_13

CPU = torch.device("cpu")
POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "last_token")


def again(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record nothing: do the work anew each time, on the same memory."""
    return work


def replica(folder: Path, pooling: Pooling, **options: Any) -> Replica:
    checkpoint = replace(read_checkpoint(locate_model(str(folder))), pooling=pooling)
    return Replica(load_transformer(checkpoint), CPU, **options)


@pytest.mark.parametrize("kernel", [varlen_2_13, varlen_2_10])
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_without_padding(family: str, kernel: Any, family_folder: Callable[[str], Path]) -> None:
    states = reference_states(family_folder(family), random_ids())
    for pooling in POOLINGS:
        stream = Stream(replica(family_folder(family), pooling, kernel=kernel))
        assert deviation(stream.run(random_ids()), pooled(states, pooling)) <= MOST_DEVIATION


@pytest.mark.parametrize("family", ["qwen3", "qwen3 with windows", "gemma3_text causal"])
def test_a_shared_prefix_before_texts_without_padding(
    family: str, family_folder: Callable[[str], Path]
) -> None:
    prefix, *_ = random_ids(1)[3:]
    whole = [np.concatenate((prefix, one)) for one in random_ids()]
    theirs = pooled(reference_states(family_folder(family), whole), "last_token")
    for kernel in (varlen_2_13, None):
        ours = replica(family_folder(family), "last_token", kernel=kernel)
        past = {CPU: ours.keys_and_values(prefix)}
        assert deviation(Stream(ours).run(random_ids(), past), theirs) <= MOST_DEVIATION


@pytest.mark.parametrize("family", ["bert", "mpnet", "qwen3"])
def test_recorded_steps(family: str, family_folder: Callable[[str], Path]) -> None:
    """Filled up to a recorded size, recorded once, and the superfluous vectors dropped."""
    recordings = 0

    def counted(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        nonlocal recordings
        recordings += 1
        return work

    ours = Stream(replica(family_folder(family), "mean", record=counted))
    ids = random_ids()
    theirs = pooled(reference_states(family_folder(family), ids), "mean")
    found = np.concatenate([ours.run([one]).copy() for one in ids])
    assert deviation(found, theirs) <= MOST_DEVIATION
    # 1, 2, 3, 7 → 16 tokens; 16 → 32 with the filler; 31 → 32; 40 and 61 → 64.
    assert recordings == 3
    assert deviation(ours.run(ids[:4]), theirs[:4]) <= MOST_DEVIATION
    assert recordings == 4
    assert (
        deviation(ours.run(ids), theirs) <= MOST_DEVIATION
    )  # 161 tokens, of at most 80 a text where learned


def test_large_steps_are_not_recorded(family_folder: Callable[[str], Path]) -> None:
    def never(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise AssertionError

    ours = Stream(replica(family_folder("qwen3"), "mean", record=never))
    many = [np.full(3, 5, np.int32)] * 17
    assert np.ptp(ours.run(many), axis=0).max() < 1e-5
    assert ours.run([np.full(512, 5, np.int32)]).shape == (1, 60)


def test_compiled_layers_equal_eager_ones(family_folder: Callable[[str], Path]) -> None:
    """Traced whole, once for each kind of layer and not for each size."""
    from torch._dynamo.testing import CompileCounterWithBackend
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    states = reference_states(family_folder("gemma3_text causal"), random_ids())
    ours = replica(family_folder("gemma3_text causal"), "last_token")
    counter = CompileCounterWithBackend("eager")
    for layer in ours.model.layers:
        layer.compile(dynamic=True, backend=counter)
    stream = Stream(ours)
    theirs = pooled(states, "last_token")
    assert deviation(stream.run(random_ids()), theirs) <= MOST_DEVIATION
    compiled = counter.frame_count
    assert compiled <= 3  # global, local, and the last one, trimmed
    for count in range(2, 8):
        assert deviation(stream.run(random_ids()[:count]), theirs[:count]) <= 2 * MOST_DEVIATION
    assert counter.frame_count <= compiled + 3
    assert not counters["graph_break"]


class Full:
    """A replica whose memory takes so many tokens."""

    device = CPU

    def __init__(self, ours: Replica, tokens: int) -> None:
        self.ours, self.tokens, self.runs = ours, tokens, 0

    def run(self, texts: Any, staging: Any, past: Any) -> Any:
        self.runs += 1
        if sum(map(len, texts)) > self.tokens:
            raise torch.OutOfMemoryError("full")
        return self.ours.run(texts, staging, past)


def test_a_batch_that_does_not_fit_is_split(family_folder: Callable[[str], Path]) -> None:
    ours = replica(family_folder("bert"), "mean")
    full = Full(ours, 70)
    whole = Stream(ours).run(random_ids()).copy()
    parts = Stream(full).run(random_ids())  # type: ignore[arg-type]
    assert full.runs > 3
    assert deviation(parts, whole) <= MOST_DEVIATION
    with pytest.raises(EngineError, match=r"a text of 61 tokens does not fit into the memory of cpu"):
        Stream(Full(ours, 60)).run(random_ids())  # type: ignore[arg-type]


def test_a_checkpoint_on_two_devices(family_folder: Callable[[str], Path]) -> None:
    """Data-parallel: streams take devices in turn, and a prefix is on each of them."""
    checkpoint = replace(read_checkpoint(locate_model(str(family_folder("qwen3")))), pooling="last_token")
    model = TorchModel(checkpoint, "fp32", ["cpu", "cpu"])
    assert model.streams == 4
    past, computed = model.prefix(random_ids(1)[3])
    assert computed
    assert not model.prefix(random_ids(1)[3])[1]
    first, second = (model.stream().run(random_ids(), past).copy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    halves = TorchModel(checkpoint, "bf16", ["cpu"]).stream().run(random_ids())
    exact = model.stream().run(random_ids())
    assert deviation(halves, exact) < 0.1  # 8 bits of mantissa over three layers of random weights


def test_devices_and_dtypes_that_are_not_here(family_folder: Callable[[str], Path]) -> None:
    checkpoint = read_checkpoint(locate_model(str(family_folder("bert"))))
    with pytest.raises(InputError, match=r"device 'cuda:7': torch sees \d CUDA devices"):
        TorchModel(checkpoint, "bf16", ["cuda:7"])
    with pytest.raises(InputError, match="device 'teapot'"):
        TorchModel(checkpoint, "bf16", ["teapot"])
    with pytest.raises(InputError, match="dtype 'int8'"):
        TorchModel(checkpoint, "int8", ["cpu"])


def test_a_card_without_fp8_units_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_model, "runs_fp8", lambda _: False)
    torch_model.require_fp8(CPU)
    with pytest.raises(InputError, match="dtype fp8: cuda:0 has no FP8 units"):
        torch_model.require_fp8(torch.device("cuda", 0))


def test_quantized_layers_are_compiled_around_their_products(family_folder: Callable[[str], Path]) -> None:
    torch._dynamo.reset()
    plain = Stream(replica(family_folder("qwen3"), "last_token"))
    ours = replica(family_folder("qwen3"), "last_token")
    quantized(ours.model, "fp8")
    eager = Stream(ours).run(random_ids()).copy()
    assert MOST_DEVIATION < deviation(eager, plain.run(random_ids())) < 0.5
    compiled = Stream(Replica(ours.model, CPU, compiler="eager"))
    assert deviation(compiled.run(random_ids()), eager) <= MOST_DEVIATION
