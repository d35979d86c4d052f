"""benchmarks/gpu.py: every part at toy sizes on the CPU, and what it concludes from figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gpu
from farthing.engine.network.transformer import vectors
from farthing.engine.torch.engine import Means
from farthing.engine.torch.ops import TorchOps
from farthing.engine.torch.staging import Staging
from farthing.engine.torch.varlen import Kernel
from farthing.engine.torch.weights import Weights
from farthing.theory.work import WorkCounter
from gpu_parts import check, decode, gemm, http_beside, predicted, report, saturation
from gpu_parts.bench import FULL, TOY, Bench, Budget
from gpu_parts.device import Device
from gpu_parts.matmuls import Peaks
from gpu_parts.models import MODELS, Subject, config_of, model_of, random_weights
from gpu_parts.peer import Peer
from varlen_kernel import varlen_2_13

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bench() -> Bench:
    return Bench(Device(CPU), TOY, Budget(600.0))


def run(*arguments: str | Path) -> int:
    return gpu.main([str(one) for one in arguments])


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_every_part_of_a_decoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions first, then all parts, each whole; the docs' section shows them; a toy run meets no bar."""
    out = tmp_path / "gpu.json"
    common = ("--toy", "--models", "qwen3-8b", "--out", out, "--predict-as", "h200")
    assert run(*common, "--parts", "predicted") == 0
    before = read(out)
    assert before["models"]["qwen3-8b"]["parts"] == {}
    assert set(before["predictions"]["qwen3-8b"]["steps"]) >= {"uniform 1×8", "uniform 3×24"}
    assert run(*common) == 0
    document = read(out)
    assert document["predictions"] == before["predictions"]
    assert document["device"]["type"] == "cpu"
    parts = document["models"]["qwen3-8b"]["parts"]
    assert list(parts) == list(gpu.PARTS)
    assert {name: part.get("error") for name, part in parts.items() if not part["complete"]} == {}
    assert {bar["status"] for bar in document["bars"].values()} == {"not measured"}

    assert len(parts["matmuls"]["dtypes"]["bf16"]["flops_per_s"]) == 4 * 2 + 2
    assert parts["matmuls"]["emulated_fp8"]
    ways = parts["check"]["ways"]
    assert len(ways) == 6
    assert all(ways[way]["least_cosine"] > (0.98 if way.startswith("fp8") else 0.999) for way in ways)
    for cell in parts["gemm"]["cells"].values():
        assert min(cell["kernel_s"].values()) > 0
        assert cell["mfu_executed"] < cell["mfu"]  # the last layer is trimmed
    assert [step["tokens"] for step in parts["saturation"]["steps"]] == [8, 16, 48]
    assert set(parts["ragged"]["sentence_transformers"]) == {"sdpa"}
    assert set(parts["http"]["requests"]) == {"1", "2", "4"}
    assert {"1×8", "3×24"} <= set(parts["decode"]["steps"])
    assert {"uniform 1×8", "uniform 3×24", "ragged 3×24"} <= set(parts["grid"]["cells"])
    assert all(cell["sentence_transformers"]["sdpa"]["mfu"] > 0 for cell in parts["grid"]["cells"].values())
    assert 0.98 < parts["fp8"]["vector_error"]["least_cosine"] < 0.9999
    compared = document["models"]["qwen3-8b"]["measured_over_predicted"]
    assert {"best product, FLOP/s", "step uniform 3×24, s", "share of gemm 1×16", "decode 1×8, s"} <= set(
        compared
    )

    capsys.readouterr()
    assert run("--table", out) == 0
    said = capsys.readouterr().out
    assert said.startswith("Toy sizes, which say nothing of speed.")
    assert all(title in said for title, _ in report.TABLES.values())
    assert "not yet run" not in said


def test_parts_merge_and_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    common = ("--toy", "--models", "modernbert-base,bge-small", "--out", out)
    assert run(*common, "--budget-s", "0") == 0
    nothing = read(out)
    assert [model["parts"] for model in nothing["models"].values()] == [{}, {}]
    assert nothing["predictions"]["bge-small"]["none"] == "the catalog has no datasheet of this device"
    assert run(*common, "--parts", "gemm,decode") == 0
    assert run(*common, "--parts", "matmuls,decode", "--resume") == 0
    document = read(out)
    assert len(document["runs"]) == 3
    for name in ("modernbert-base", "bge-small"):
        parts = document["models"][name]["parts"]
        assert set(parts) == {"gemm", "decode", "matmuls"}
        assert parts["decode"]["skipped"] == "the model reads both ways and cannot write"
        times = [parts[part]["measured_at"] for part in ("gemm", "decode", "matmuls")]
        assert times == sorted(times)
    capsys.readouterr()
    run("--table", out)
    assert "**FP8**: not yet run." in capsys.readouterr().out
    other = read(out)
    other["device"]["name"] = "NVIDIA H100 PCIe"
    out.write_text(json.dumps(other))
    with pytest.raises(SystemExit, match="its device is"):
        run(*common)


def test_without_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--table")
    run("--table", tmp_path / "none.json")
    assert capsys.readouterr().out == "not yet run\n" * 2
    with pytest.raises(SystemExit, match="no CUDA device is here"):
        run("--device", "cpu")


def test_no_more_is_imported_than_a_gpu_machine_has(tmp_path: Path) -> None:
    """No OpenVINO, no Parquet, no hub: a part runs, and the table is printed."""
    absent = ("openvino", "pyarrow", "huggingface_hub", "sentence_transformers", "transformers", "tokenizers")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); sys.path.insert(0, 'benchmarks'); import gpu; "
        f"gpu.main(['--toy', '--models', 'bge-small', '--parts', 'saturation', '--out', {str(tmp_path / 'x')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "x")["models"]["bge-small"]["parts"]["saturation"]["complete"]


@pytest.mark.parametrize("name", MODELS)
def test_toys_are_of_the_family(name: str, bench: Bench) -> None:
    toy, real = Subject(bench, name, toy=True), Subject(bench, name, toy=False)
    assert toy.shape.family == real.shape.family
    assert toy.shape.total_parameters < 1e6 < real.shape.total_parameters
    assert (toy.shape.kv_heads < toy.shape.heads) == (real.shape.kv_heads < real.shape.heads)


def test_the_article_s_model_is_the_real_one() -> None:
    assert config_of(MODELS["qwen3-8b"], toy=False)["num_hidden_layers"] == 36


@pytest.mark.parametrize("name", ["qwen3-8b", "bge-small", "modernbert-base"])
def test_plain_products_are_those_of_the_step(name: str, bench: Bench) -> None:
    """As many FLOPs as the theory counts for the linear layers of a trimmed step."""
    model = model_of(Subject(bench, name, toy=True).engine())
    lengths, trim = [16] * 3, model.network.trim
    flops = sum(2 * rows * weight.numel() for rows, weight, _ in gemm.step_products(model, sum(lengths), 3))
    work = WorkCounter(model.network.shape, trim=trim).step(lengths).total
    assert flops == work.executed_flops - _attention_flops(model.network.shape, 16, 3, trimmed=trim)


def _attention_flops(shape: Any, length: int, texts: int, *, trimmed: bool) -> int:
    """Count pairs of tokens one by one."""
    total = 0
    for layer, reach in enumerate(shape.attention_reach):
        last = trimmed and layer == shape.layers - 1
        rows = ([length - 1] if shape.causal else [0]) if last else range(length)
        for i in rows:
            for j in range(length):
                seen = (not shape.causal or j <= i) and (reach is None or abs(i - j) <= reach)
                total += texts * 4 * shape.attention_width * seen
    return total


def test_a_decode_step_is_the_model_s_last_token(bench: Bench) -> None:
    """Decoding from the keys and values of the tokens before gives the last state of a pass over all."""
    subject = Subject(bench, "qwen3-8b", toy=True)
    model = model_of(subject.new_engine("fp32", means=Means()))
    shape, texts = subject.shape, bench.uniform(subject.shape.vocabulary, 3, 11)
    network = replace(model.network, normalize=False)
    table = model.weights.of("embeddings.tokens").weight
    with torch.inference_mode():
        ops = TorchOps(shape, model.weights, None, Staging(CPU).placed(texts))
        expected = vectors(ops, network) @ table.T
        pairs = [model.keys_and_values(Staging(CPU).placed([text])) for text in texts]
    kept = (
        torch.stack(pairs, 2).transpose(3, 4).clone()
    )  # (layers, 2, B, KV heads, S, head size), to be written to
    kept[..., -1, :] = torch.nan  # the newest token's are written by the step
    ids = torch.tensor([int(text[-1]) for text in texts], dtype=torch.int32)
    found = decode.decode_work(model, decode.Caches(kept), ids)()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_random_weights_are_the_same_in_every_dtype(bench: Bench) -> None:
    shape = Subject(bench, "bge-m3", toy=True).shape
    wide, narrow = (
        Weights.loaded(shape, random_weights(shape, CPU, 0), CPU, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    for name, stack in wide.stacks.items():
        assert torch.equal(stack.weight.bfloat16(), narrow.stacks[name].weight)
        assert stack.weight.std() > 0.01


def test_attention_without_padding_is_checked_where_there_is_a_kernel(bench: Bench) -> None:
    way = "bf16, as written, without padding"
    assert way not in check.ways(bench, None)
    known = check.ways(bench, Kernel(varlen_2_13))
    found = check.compared(bench, Subject(bench, "qwen3-0.6b", toy=True), {way: known[way]})["ways"]
    assert found[way]["deviation"] < 0.1


def test_a_reference_that_does_not_fit_is_cut() -> None:
    shape = Subject(Bench(Device(CPU), FULL, Budget(1.0)), "qwen3-8b", toy=False).shape
    assert check.fitting_layers(shape, None) == check.fitting_layers(shape, 141 * 10**9) == 36
    assert check.fitting_layers(shape, 24 * 10**9) == 15  # (14.4 − 2.5) / 0.77 GB
    assert check.fitting_layers(shape, 10**9) == 1


def test_sentence_transformers_masks_its_padding(bench: Bench, tmp_path: Path) -> None:
    """A short text beside a long one, padded, has the vector that it has alone."""
    subject = Subject(bench, "bge-m3", toy=True)
    peer = Peer(subject, CPU, "sdpa", tmp_path)
    texts = [bench.uniform(subject.shape.vocabulary, 1, length)[0] for length in (5, 30)]
    both = peer.run(texts)
    assert both.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=0.01)
    np.testing.assert_allclose(both[0], peer.run(texts[:1])[0], atol=0.02)


def test_ragged_lengths_have_the_mean_asked_for(bench: Bench) -> None:
    lengths = [len(text) for text in bench.ragged(9, 4000, 300, 10**6)]
    assert np.mean(lengths) == pytest.approx(300, rel=0.05)
    assert np.var(lengths) / np.mean(lengths) ** 2 == pytest.approx(0.922, rel=0.2)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA A100-SXM4-80GB", "a100-80g"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("AMD EPYC 9B45", None),
    ],
)
def test_devices_by_torch_s_name(name: str, device: str | None) -> None:
    assert predicted.catalog_device(name) == device


@pytest.mark.parametrize(
    ("kernel", "group"),
    [
        ("nvjet_tst_256x144_64x4_2x1_v_bz_coopA_TNT", "gemm"),
        ("void cutlass::device_kernel<flash::FlashAttnFwdSm90<...>>", "attention"),
        ("pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64, 64>>", "attention"),
        ("sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x128x128", "gemm"),
        ("cublasLt::splitKreduce_kernel", "gemm"),
        ("triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0", "rest"),
        ("triton_poi_fused_mul_silu_3", "rest"),
        ("Memcpy HtoD (Pinned -> Device)", "rest"),
        ("aten::addmm", "gemm"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
    ],
)
def test_kernels_by_name(kernel: str, group: str) -> None:
    assert gemm.group_of(kernel) == group


def test_the_article_s_claim_is_judged_past_saturation() -> None:
    gained = {"1": 1.0, "2": 1.3, "4": 1.32, "8": 1.33}
    early = saturation.verdict(1024, gained, saturated=500)
    late = saturation.verdict(1024, gained, saturated=2000)
    assert early is not None
    assert late is not None
    assert not early["holds"]
    assert "does not hold: past saturation (n* = 500 tokens), from 1 to 8" in early["sentence"]
    assert late["holds"]
    assert late["gain"] == pytest.approx(1.33 / 1.3 - 1)
    assert "holds: past saturation (n* = 2,000 tokens), from 2 to 8" in late["sentence"]
    assert saturation.verdict(1024, gained, saturated=8000) is None  # nothing past it was measured


def test_steps_that_make_no_line() -> None:
    line = saturation._line([(10, 2.0), (20, 3.0), (40, 5.0)])
    assert line is not None
    assert line["tau0_s"] == pytest.approx(1.0)
    assert line["saturation_tokens"] == pytest.approx(190)
    assert saturation._line([(10, 2.0), (20, 2.0), (40, 1.0)]) is None
    assert saturation._line([(10, 2.0)]) is None
    assert saturation._line([]) is None


@pytest.mark.parametrize(
    ("device", "requests", "said"),
    [
        (1.02, 1.30, "the host's time, not the device's"),
        (1.02, 1.03, "gain nothing to speak of"),
        (1.15, 1.30, "the device itself gains, 50% of what requests see"),
    ],
)
def test_whose_time_a_gain_is(device: float, requests: float, said: str) -> None:
    gains = {"device_s": {"1": 1.0, "8": device}, "requests_s": {"1": 1.0, "8": requests}}
    assert said in http_beside.verdict(gains)["sentence"]


def _figures(**changed: float) -> dict[str, Any]:
    value = {"ratio": 1.04, "mfu": 0.86, "speedup": 1.6, "cosine": 0.985, "ragged": 2.1} | changed
    cell = {"batch": 16, "length": 1024}
    parts = {
        "gemm": {
            "cells": {
                "1×1024": {"batch": 1, "length": 1024, "gemm_ratio": 9.0, "mfu": 0.1, "mfu_executed": 0.1},
                "16×1024": cell | {"gemm_ratio": value["ratio"], "mfu": value["mfu"], "mfu_executed": 0.84},
            }
        },
        "fp8": {
            "emulated": False,
            "vector_error": {"least_cosine": value["cosine"]},
            "cells": {"16×1024": cell | {"speedup": value["speedup"]}},
        },
        "ragged": {"sentence_transformers": {"sdpa": {"farthing_speedup": value["ragged"]}}},
        "http": {"error": "RuntimeError: out of order"},
    }
    return {"qwen3-8b": {"parts": parts}}


def test_bars() -> None:
    met = report.bars(_figures())
    assert [bar["status"] for bar in met.values()] == ["met"] * 5 + ["not measured"]
    assert met["MFU of the whole step"]["without_trimming"] == 0.84
    missed = report.bars(_figures(ratio=1.06, mfu=0.84, speedup=1.4, cosine=0.97, ragged=1.9))
    assert [bar["status"] for bar in missed.values()] == ["not met"] * 5 + ["not measured"]
    emulated = _figures()
    emulated["qwen3-8b"]["parts"]["fp8"]["emulated"] = True
    assert report.bars(emulated)["FP8 over bf16, speed"]["status"] == "not measured"


def test_a_failure_does_not_replace_figures() -> None:
    whole: dict[str, Any] = {"complete": True, "cells": 1}
    assert report.kept(whole, {"complete": False, "error": "x"}) == whole | {"last_error": "x"}
    assert report.kept(whole, {"complete": False, "cells": 2}) == whole
    assert report.kept(whole, {"complete": True, "cells": 2})["cells"] == 2
    assert report.kept({"complete": False}, {"complete": False, "error": "x"})["error"] == "x"


def test_a_part_that_fails_is_named_and_the_next_one_runs() -> None:
    """Without texts there is nothing to check."""
    bench = Bench(Device(CPU), replace(TOY, check_texts=0), Budget(60.0))
    subject = Subject(bench, "bge-small", toy=True)
    found = gpu._measured("check", bench, subject, Peaks(bench))
    assert found["error"]
    assert not found["complete"]
    assert gpu._measured("decode", bench, subject, Peaks(bench))["complete"]
