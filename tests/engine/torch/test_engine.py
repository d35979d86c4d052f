"""The engine of a card, every line that needs no card: compiled, recorded, refused, and full."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from farthing.engine.folder.checkpoint import Pooling
from farthing.engine.network.weights import modules_of, weights_of
from farthing.engine.torch import engine as engine_module
from farthing.engine.torch.engine import Means, TorchEngine
from farthing.engine.torch.recorded import cuda_graphs
from farthing.engine.torch.varlen import Kernel
from farthing.errors import EngineError, InputError
from small_families import MOST_DEVIATION, deviation, random_ids
from varlen_kernel import varlen_2_11, varlen_2_13
from ways import checkpoint_of, torch_on_grid


@pytest.fixture
def make(family_folder: Callable[[str], Path]) -> Callable[..., TorchEngine]:
    """Return what makes an engine of a family's small model."""

    def of(family: str, pooling: Pooling = "mean", dtype: Any = "fp32", **means: Any) -> TorchEngine:
        return TorchEngine(checkpoint_of(family_folder(family), pooling), dtype, "cpu", means=Means(**means))

    return of


@pytest.fixture(autouse=True)
def _compiled_anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("family", ["qwen3", "mistral"])
def test_a_kernel_that_does_not_group_heads(family: str, make: Callable[..., TorchEngine]) -> None:
    """As torch 2.11 has it."""
    plain = make(family, "last_token").lane().run(random_ids())
    ours = make(family, "last_token", kernel=Kernel(varlen_2_11)).lane().run(random_ids())
    assert deviation(ours.vectors, plain.vectors) <= MOST_DEVIATION


@pytest.mark.parametrize(
    ("family", "pooling", "kernel", "compiled"),
    [
        ("bert", "mean", True, 3),  # before the layers, a layer, behind them
        ("mpnet", "cls", False, 4),  # the last layer is trimmed
        (
            "gemma3_text causal",
            "last_token",
            True,
            9,
        ),  # local and global layers; all but the end behind a prefix too
        ("qwen3", "last_token", False, 7),
    ],
)
def test_all_is_compiled_before_the_first_text(
    family: str, pooling: Pooling, kernel: bool, compiled: int, make: Callable[..., TorchEngine]
) -> None:
    """One graph for each kind of layer and step, whatever its texts and tokens; vectors as of the network written."""
    counter = CompileCounterWithBackend("eager")
    mixing = Kernel(varlen_2_13) if kernel else None
    ours, plain = make(family, pooling, kernel=mixing, compiler=counter), make(family, pooling).lane()
    ours.warm("throughput")
    assert counter.frame_count == compiled
    lane, ids = ours.lane("latency"), random_ids()
    prefix = random_ids(3)[4][:11]
    steps = [ids, ids[:2], ids[3:4], ids[2:3] * 5, ids[:1], [np.full(70, 5, np.int32)] * 3]
    for texts in steps:
        for prompt in (None, prefix):
            behind = [one if prompt is None else np.concatenate((prompt, one))[:70] for one in texts]
            expected = plain.run(behind).vectors
            done = lane.run(behind, prompt)
            assert not done.failed
            np.testing.assert_allclose(done.vectors, expected, atol=1e-4)
    assert counter.frame_count == compiled


def test_each_engine_has_a_limit_of_its_own(make: Callable[..., TorchEngine]) -> None:
    """torch would count what it compiles for all of them, and then run them as they are written."""
    with torch._dynamo.config.patch(recompile_limit=1):
        for _ in range(3):
            assert not make("bert", compiler="eager").lane().run(random_ids()).failed


def test_what_is_compiled_too_often_fails_loudly(make: Callable[..., TorchEngine]) -> None:
    said = "compiling the model failed on cpu: FailOnRecompileLimitHit"
    with torch._dynamo.config.patch(recompile_limit=1), pytest.raises(EngineError, match=said):
        make("qwen3", "last_token", compiler="eager").lane()  # which has a second graph, for prefixes


def test_what_breaks_the_graph_fails_loudly(make: Callable[..., TorchEngine]) -> None:
    def breaks(query: Tensor, *_: Any, **_options: Any) -> Tensor:
        torch._dynamo.graph_break()
        return query

    with pytest.raises(EngineError, match="compiling the model failed on cpu"):
        make("bert", kernel=Kernel(breaks), compiler="eager").lane()


@pytest.mark.parametrize(
    ("family", "pooling"), [("bert", "mean"), ("mpnet", "mean"), ("qwen3", "last_token")]
)
def test_small_steps_are_recorded_before_the_first_text(
    family: str, pooling: Pooling, make: Callable[..., TorchEngine]
) -> None:
    """Replayed from the same memory, filled up, billed, and the superfluous vectors dropped."""
    recordings = 0

    def counted(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        nonlocal recordings
        recordings += 1
        return work

    ours = make(family, pooling, kernel=None if family == "mpnet" else Kernel(varlen_2_13), record=counted)
    ours.warm("latency")
    once, lane = recordings, ours.lane()
    plain = make(family, pooling).lane().run(random_ids()).vectors
    done = lane.run(random_ids())
    alone = [lane.run([one]) for one in random_ids()]
    assert recordings == once > 10
    assert deviation(done.vectors, plain) <= MOST_DEVIATION
    assert deviation(np.concatenate([one.vectors for one in alone]), plain) <= MOST_DEVIATION
    assert [sum(one.passes[0][1].filler) for one in alone] == [15, 14, 13, 9, 16, 1, 24, 3]
    assert done.work.padded_tokens == sum(done.passes[0][1].filler) == 256 - sum(map(len, random_ids()))
    many = [np.full(3, 5, np.int32)] * 300  # more than any recorded size has
    assert not lane.run(many).passes[0][1].filler


def full(ours: TorchEngine, most_tokens: int) -> None:
    """Let the engine's memory take so many tokens."""
    forward = ours.forward

    def limited(ids: Tensor, *rest: Any) -> Tensor:
        if len(ids) > most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(ids, *rest)

    ours.forward = limited


def test_a_step_that_does_not_fit_is_split(make: Callable[..., TorchEngine]) -> None:
    ours = make("bert")
    lane = ours.lane()
    whole = lane.run(random_ids())
    full(ours, 70)
    parts = lane.run(random_ids())
    assert not parts.failed
    assert len(parts.passes) > 3
    assert deviation(parts.vectors, whole.vectors) <= MOST_DEVIATION
    full(ours, 60)
    parts = lane.run(random_ids())
    assert {row: str(error)[:85] for row, error in parts.failed.items()} == {
        7: "a step of 1 texts, the longest of 61 tokens, does not fit into the memory of cpu; cut"
    }


def test_an_error_for_memory_holds_none_of_it(make: Callable[..., TorchEngine]) -> None:
    ours = make("bert")
    lane = ours.lane()
    full(ours, 1)
    error = lane.run(random_ids()[-1:]).failed[0]
    assert error.__cause__ is error.__context__ is None


def test_what_the_device_says_is_our_error(make: Callable[..., TorchEngine]) -> None:
    ours = make("qwen3", "last_token")
    lane = ours.lane()

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nand much more")

    ours.forward = broken
    done = lane.run(random_ids()[2:4])
    assert str(done.failed[1]) == (
        "a step of 1 texts, the longest of 7 tokens, failed on cpu: RuntimeError: CUDA error: an illegal memory access "
        "was encountered"
    )
    ours.model.keys_and_values = broken  # type: ignore[union-attr,method-assign]
    prompt = np.arange(10, 19, dtype=np.int32)
    done = lane.run([np.append(prompt, one).astype(np.int32) for one in (4, 5)], prompt)
    assert str(done.failed[0]).startswith("a prefix of 9 tokens failed on cpu: RuntimeError: CUDA error")


def test_dtypes_and_devices_that_are_not_here(family_folder: Callable[[str], Path]) -> None:
    checkpoint = checkpoint_of(family_folder("bert"), "mean")
    with pytest.raises(InputError, match=r"device 'cuda:7': torch sees \d CUDA cards"):
        TorchEngine(checkpoint, "bf16", "cuda:7")
    with pytest.raises(InputError, match="device 'teapot'"):
        TorchEngine(checkpoint, "bf16", "teapot")
    with pytest.raises(InputError, match="dtype 'int8'"):
        TorchEngine(checkpoint, "int8", "cpu")


def test_a_card_without_fp8_units_is_refused(
    family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "runs_fp8", lambda _: False)
    monkeypatch.setattr(engine_module, "card_name", lambda name: name)
    checkpoint = checkpoint_of(family_folder("bert"), "mean")
    with pytest.raises(InputError, match="dtype fp8: cuda:0 has no FP8 units"):
        TorchEngine(checkpoint, "fp8", "cuda:0")
    assert TorchEngine(checkpoint, "fp8", "cpu").vector_error  # emulated


@pytest.mark.parametrize("pooling", ["cls", "mean", "last_token", "weighted_mean"])
def test_from_the_pooling_on_it_is_float32(pooling: Pooling, family_folder: Callable[[str], Path]) -> None:
    checkpoint = checkpoint_of(family_folder("nomic_bert"), pooling, normalize=True)
    half = TorchEngine(checkpoint, "bf16", "cpu").lane().run(random_ids()).vectors
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    exact = torch_on_grid(checkpoint).lane().run(random_ids()).vectors
    assert MOST_DEVIATION < deviation(half, exact) < 0.2


class Card:
    """What of torch.cuda an engine uses, and in which order; it runs on the processor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.captures: list[dict[str, Any]] = []
        ours = self

        class Graph:
            def replay(self) -> None:
                ours.calls.append("replay")

        class Capture:
            def __init__(self, _: Graph, **options: Any) -> None:
                ours.captures.append(options)

            def __enter__(self) -> None:
                ours.calls.append("begin")

            def __exit__(self, *_: object) -> None:
                ours.calls.append("end")

        cuda = {"CUDAGraph": Graph, "graph": Capture, "graph_pool_handle": lambda: "the pool"}
        for name, value in cuda.items():
            monkeypatch.setattr(torch.cuda, name, value)


def test_recording_is_on_the_engines_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's stream for it is one of the first card's; and no other thread's call breaks it."""
    card, stream = Card(monkeypatch), SimpleNamespace(device="cuda:1")
    record = cuda_graphs(stream)

    def work() -> Tensor:
        card.calls.append("work")
        return torch.ones(1)

    first, second = record(work), record(work)
    assert card.calls == ["work", "work", "begin", "work", "end"] * 2
    assert card.captures == [{"pool": "the pool", "stream": stream, "capture_error_mode": "thread_local"}] * 2
    assert first() is first() is not second()
    assert card.calls[-3:] == ["replay"] * 3


def test_weights_are_copied_one_at_a_time(family_folder: Callable[[str], Path]) -> None:
    """In the dtype of the device; what is widened is let go before the next."""
    checkpoint = checkpoint_of(family_folder("llama"), "mean")
    alive: list[weakref.ref[Any]] = []
    most = 0

    def watched() -> Iterator[tuple[str, Any]]:
        nonlocal most
        for name, values in weights_of(checkpoint):
            own = values.copy()
            alive.append(weakref.ref(own))
            yield name, own
            del own
            most = max(most, sum(one() is not None for one in alive))

    ours = TorchEngine(checkpoint, "bf16", "cpu", named=watched())
    assert most <= 3
    assert ours.model is not None
    stacks = ours.model.weights.stacks
    assert {stack.weight.dtype for stack in stacks.values()} == {torch.bfloat16}
    stack, bounds = ours.model.weights.side_by_side(
        [f"layers.0.attention.{part}" for part in ("key", "value")]
    )
    assert stack is stacks["layers.0.attention.qkv"]
    assert bounds == [84, 112, 140]
    assert stack.bias is not None
    x = torch.randn(3, 60).bfloat16()
    whole = stack.product(x, 0, 140)
    torch.testing.assert_close(stack.product(x, 84, 140), whole[:, 84:], rtol=1e-2, atol=1e-2)
    assert {name.rpartition(".")[2] for name in stacks if name.startswith("layers.2.")} == {
        *("qkv", "output", "attention_norm", "mlp_norm", "gate_up", "down")
    }


def test_a_model_given_by_its_weights(family_folder: Callable[[str], Path]) -> None:
    """As benchmarks give it, random, without a file."""
    checkpoint = replace(checkpoint_of(family_folder("bert"), "mean"), weights=())
    generator = torch.Generator().manual_seed(0)
    named = [
        (f"{module}.{kind}", torch.randn(size if kind == "weight" else size[:1], generator=generator))
        for module, size, bias in modules_of(checkpoint.shape)
        for kind in ("weight", "bias")[: 1 + bias]
    ]
    done = TorchEngine(checkpoint, "fp32", "cpu", named=named).lane().run(random_ids())
    assert not done.failed
