"""Writes docs/asked.md: public throughput reports beside our answer, and ten questions that are each one command.

    python docs/make_asked.py

A test writes it again and holds it against what is committed.
"""

from __future__ import annotations

import datetime
import shlex
import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from farthing.catalog import facts
from farthing.catalog.lookups import find_device
from farthing.catalog.resolve import resolve_model
from farthing.planning.plan import plan, plan_corpus
from farthing.planning.replicas.station import station
from farthing.theory.dtypes import Dtype
from farthing.theory.host import host_path
from farthing.theory.lengths import fixed_length
from farthing.theory.time.roofline import datasheet_rates
from farthing.theory.time.steps import Interval, StepModel
from farthing.units import format_number

PATH = Path(__file__).resolve().parent / "asked.md"
DAY = datetime.date(2026, 11, 27)
"""Day of the prices."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A public report: tokens per second of a model on devices, in texts of a length.

    Attributes:
        source: who reports it.
        model: name in the catalog, of the same shape.
        device: name in the catalog.
        tokens: tokens per text.
        tokens_per_s: as reported, of all devices together.
        runner: the software.
        server: kind of server that it is, or is taken for.
        together: texts of a request.
        devices: how many.
        dtype: of the products.
        slow: why it is no measure of a good engine; None where it counts.
    """

    source: str
    model: str
    device: str
    tokens: int
    tokens_per_s: float
    runner: str
    server: str
    together: int = 1
    devices: int = 1
    dtype: Dtype = "fp16"
    slow: str | None = None


INFINITY = "infinity's documentation"
LARGE, ARCTIC = "BAAI/bge-large-en-v1.5", "Snowflake/snowflake-arctic-embed-m"
"""bge-reranker-v2-m3 has the shape of bge-m3."""

INFINITY_L4 = partial(Report, source=INFINITY, model=LARGE, device="l4", tokens=449, together=256)
VLLM = partial(
    Report, source="vLLM, pull request 23000", model=ARCTIC, device="h200", tokens=512, dtype="bf16"
)

REPORTS = (
    INFINITY_L4(tokens_per_s=62_192, runner="TEI 0.6", server="tei"),
    INFINITY_L4(tokens_per_s=58_787, runner="infinity, compiled", server="infinity"),
    INFINITY_L4(tokens_per_s=49_215, runner="TensorRT", server="infinity"),
    INFINITY_L4(tokens_per_s=47_039, runner="ONNX, fp16", server="infinity"),
    INFINITY_L4(
        tokens_per_s=19_456, runner="sentence-transformers, fp16", server="infinity", slow="eager, padded"
    ),
    Report(
        source=INFINITY,
        model=LARGE,
        device="mi210",
        tokens=449,
        together=256,
        tokens_per_s=85_821,
        runner="infinity",
        server="infinity",
    ),
    Report(
        source="TEI, issue 392",
        model="BAAI/bge-m3",
        device="a100-mig-2g",
        devices=2,
        tokens=512,
        together=23,
        tokens_per_s=63_600,
        runner="TEI",
        server="tei",
    ),
    Report(
        source="the article",
        model="Qwen/Qwen3-Embedding-8B",
        device="h100-sxm",
        tokens=862,
        tokens_per_s=38_400,
        runner="SGLang, saturated",
        server="vllm",
        together=64,
        dtype="bf16",
    ),
    VLLM(tokens_per_s=212_000, runner="vLLM", server="vllm"),
    VLLM(tokens_per_s=516_000, runner="vLLM", server="vllm", together=16),
    Report(
        source="SkyPilot",
        model="Alibaba-NLP/gte-Qwen2-7B-instruct",
        device="l4",
        tokens=512,
        tokens_per_s=844,
        runner="tokens estimated",
        server="vllm",
        together=64,
        slow="padded, one process",
    ),
    Report(
        source="arctic-m on ml.g5",
        model=ARCTIC,
        device="a10g",
        tokens=256,
        tokens_per_s=33_280,
        runner="TEI over a WAN",
        server="tei",
        together=32,
        slow="bound by the network",
    ),
    Report(
        source="embeddinggemma, four cards",
        model="google/embeddinggemma-300m",
        device="rtx-4090",
        devices=4,
        tokens=413,
        tokens_per_s=76_900,
        runner="one process",
        server="vllm",
        together=32,
        dtype="bf16",
        slow="bound by the host",
    ),
)
"""Source: each as named, copied at second hand on 2026-11-25."""

FORUM = partial(Report, source="a forum", model=LARGE, tokens=512, runner="", server="tei")
IMPOSSIBLE = (
    FORUM(device="rtx-4090", tokens_per_s=8_500 * 512),
    FORUM(device="a100-80g", tokens_per_s=15_000 * 512),
    FORUM(device="rtx-5090", tokens_per_s=600_000),
)
"""Rates above what the datasheets allow."""

QUESTIONS = (
    ("10 million documents of 500 tokens, how much?", "bge-m3 --corpus-texts 10M --lengths 500"),
    (
        "Which GPU for 37 reranks of 23 texts of 512 tokens a second?",
        "bge-m3 --rate 851 --lengths 512 --texts-per-request 23 --server tei",
    ),
    (
        "We pay $900 a month for text-embedding-3-small. And on our own?",
        "bge-m3 --replace-api text-embedding-3-small --monthly-usd 900",
    ),
    (
        "Is an RTX 4090 cheaper than an H100, as the article says?",
        "Qwen3-Embedding-8B --rate 50 --devices rtx-4090,h100-sxm",
    ),
    (
        "Do we need a GPU for 20 queries a second?",
        "all-MiniLM-L6-v2 --rate 20 --lengths queries --devices aws-c8a-8,l4",
    ),
    ("And if a card fails?", "bge-m3 --rate 200 --lengths abstracts --spare 1"),
    ("A billion tokens a day through an 8B model?", "Qwen3-Embedding-8B --tokens-per-day 1B"),
    ("We are on AWS.", "bge-m3 --rate 200 --lengths abstracts --providers AWS"),
    ("Half of our texts can wait for the night.", "bge-m3 --rate 2000 --lengths abstracts --batch-share 0.5"),
    (
        "7 million articles of 600 tokens until tomorrow morning?",
        "bge-m3 --corpus-texts 7M --lengths 600 --deadline 12",
    ),
)
"""What people ask, and the command that answers it in its first line."""


def answer(report: Report) -> Interval:
    """Return the tokens per second that we expect: at the slow end, in the middle, at the fast end."""
    shape = resolve_model(report.model).shape
    rates = datasheet_rates(find_device(facts.devices(), report.device).spec, report.dtype)
    host = host_path(None, report.server, None, report.together)
    one = station(StepModel(shape, rates), host, fixed_length(report.tokens))
    seconds, tokens = one.text_interval_s, report.devices * report.tokens
    return Interval(tokens / seconds.high, tokens / seconds.mid, tokens / seconds.low)


def inside(report: Report) -> bool:
    """Return whether a report lies in our interval."""
    expected = answer(report)
    return expected.low <= report.tokens_per_s <= expected.high


def width(expected: Interval) -> float:
    """Return the factor that an interval reaches up and down from its geometric middle."""
    return (expected.high / expected.low) ** 0.5


def verdict_of(command: str) -> str:
    """Return the first line that a command answers, on the day of the prices."""
    model, *words = shlex.split(command)
    given = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[::2], words[1::2], strict=True)
    }
    numbers = {"k": 1e3, "M": 1e6, "B": 1e9}

    def number(text: str) -> float:
        return float(text[:-1]) * numbers[text[-1]] if text[-1] in numbers else float(text)

    plain = {
        name: value.split(",")
        if name in ("devices", "providers")
        else value
        if name in ("lengths", "replace_api", "server")
        else number(value)
        for name, value in given.items()
    }
    for name in ("spare", "texts_per_request"):
        if name in plain:
            plain[name] = int(plain[name])  # type: ignore[call-overload]
    if "corpus_texts" in plain:
        deadline = plain.pop("deadline", None)
        seconds = None if deadline is None else float(deadline) * 3600  # type: ignore[arg-type]
        return plan_corpus(model, deadline_s=seconds, today=DAY, **plain).verdict  # type: ignore[arg-type]
    return plan(model, today=DAY, **plain).verdict  # type: ignore[arg-type]


def page() -> str:
    """Return the page."""
    counted = [report for report in REPORTS if report.slow is None]
    hits = sum(map(inside, counted))
    lines = [
        "# Asked in public",
        "",
        "Made by `python docs/make_asked.py`; a test makes it again.",
        "",
        "## Reports beside our answer",
        "",
        "What people report, and what Farthing expects from datasheets × published shares and the kind of server, "
        "without having seen the machine: the slow end, middle and fast end, in thousands of tokens per second.",
        "",
        "| report | model, device, text | software | reported | expected | inside |",
        "|---|---|---|---|---|---|",
        *map(_line, REPORTS),
        "",
        f"Of the {len(counted)} that a good engine could have measured, {hits} lie inside; the median interval is ×/÷ "
        f"{statistics.median(width(answer(report)) for report in counted):.2f}. Off the middle they are "
        "mostly slower: real runs keep less than datasheets promise. vLLM's figures per request and token come from "
        "the two of its pull request, so those say little. A runner that is named as slow is no measure of the device: "
        "what it is bound by stands in the last column.",
        "",
        "Reports that cannot be:",
        "",
        "| model, device, text | reported | at most |",
        "|---|---|---|",
        *(
            f"| {report.model.rpartition('/')[2]}, {report.device}, {report.tokens} tokens | "
            f"{_thousands(report.tokens_per_s)} | {_thousands(answer(report).high)} |"
            for report in IMPOSSIBLE
        ),
        "",
        "## Questions",
        "",
        f"Each is one command, answered in its first line; prices of {DAY}.",
    ]
    for question, command in QUESTIONS:
        lines += [
            "",
            f"**{question}**",
            "",
            "```",
            f"farthing plan {command}",
            "```",
            "",
            verdict_of(command),
        ]
    return "\n".join(lines) + "\n"


def _line(report: Report) -> str:
    expected = answer(report)
    told = "yes" if inside(report) else "no"
    if report.slow is not None:
        told = f"slow runner: {report.slow}"
    many = f"{report.devices} × " if report.devices > 1 else ""
    request = f", {report.together} a request" if report.together > 1 else ""
    between = " – ".join(map(_thousands, (expected.low, expected.mid, expected.high)))
    what = f"{report.model.rpartition('/')[2]}, {many}{report.device}, {report.tokens} tokens{request}"
    reported = _thousands(report.tokens_per_s)
    return f"| {report.source} | {what} | {report.runner} | {reported} | {between} | {told} |"


def _thousands(tokens_per_s: float) -> str:
    return format_number(tokens_per_s / 1000)


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
