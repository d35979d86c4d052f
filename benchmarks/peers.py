"""Farthing beside other engines on this machine: same texts, same tokens, interleaved in one run.

One process per engine, the others stopped. Each peer lives in an environment of its own (.venv-peers-*), made from
peers-requirements/*.txt when it is absent. Questions, each of which can be asked alone (--only docstrings,latency):

docstrings  a seeded sample of ragged texts in one request, every peer sorted by length and at its best batch size
scifact     the same with nearly uniform abstracts
mix         requests of 64 texts of 4 to 512 tokens, one request after the other, as a server sees them; peers once at
            their best batch size and once at the one that they come with
latency     one text of 9, 17 or 31 tokens at a time
mfu         Farthing's useful FLOPs per wall second on larger samples of both, over the machine's best matrix product
prefix      queries behind one instruction on a random model of Qwen3-Embedding-0.6B's shape

Ratios are of medians over rounds, like beside like: peers in fp32 beside our fp32, and OpenVINO as
sentence-transformers runs it, which is in bf16 on processors that have it, beside our bf16.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpora import docstrings, scifact
from farthing.engine.calibration.gemm_peak import measure_gemm_peak
from farthing.engine.folder.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.machine import this_machine
from farthing.engine.text.tokenization import TextTokenizer
from farthing.theory.flops import forward_flops
from peers_bars import all_bars, print_bars
from peers_engines import ENGINES, REFERENCE, Engine, PeerError, Worker
from peers_fleet import Fleet
from peers_models import LARGE, large_random, limited_minilm
from peers_questions import Corpus, latency, prefix, throughput, utilization
from peers_tables import print_latency, print_mfu, print_prefix, print_throughput
from peers_texts import LONGEST, instructed_queries, mixed_requests, one_token_words, sampled, short_texts
from results_file import RESULTS, save

QUESTIONS = ("docstrings", "scifact", "mix", "latency", "mfu", "prefix")
SHORT = (9, 17, 31)
"""Tokens of the texts whose latency is measured. Source: docs/facts.md, Processors."""

INSTRUCTION, QUERY = 25, 15
"""Tokens of the instruction and of a query behind it. Source: issue 4."""


class Run:
    """One run: what is asked for, and what was found so far.

    Attributes:
        ours_of: for each peer, the Farthing of the same precision.
        missing: engines that do not run, and questions that could not be measured, with why.
        figures: of each question that was asked.
    """

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        """Choose the engines; nothing is measured yet."""
        self.missing: dict[str, str] = {}
        self.figures: dict[str, Any] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self._options = options
        self._scratch = scratch
        has_bf16 = not {"avx512_bf16", "amx_bf16"}.isdisjoint(this_machine().isa)
        self._engines = [
            engine
            for engine in ENGINES
            if (engine.dtype == "fp32" or has_bf16) and (engine.ours or engine.name in options.engines)
        ]
        ours = {engine.dtype: engine.name for engine in self._engines if engine.ours}
        self.ours_of = {engine.name: ours[engine.dtype] for engine in self._engines if not engine.ours}

    def small_model(self) -> None:
        """Ask what is asked of the default model at its own limit."""
        options, asked = self._options, set(self._options.only)
        if not asked & {"docstrings", "scifact", "latency", "mfu"}:
            return
        folder, failed = limited_minilm(256)
        engines = (
            self._engines[:1] if asked.isdisjoint({"docstrings", "scifact", "latency"}) else self._engines
        )
        with self._fleet(engines, folder, failed) as fleet:
            if "docstrings" in asked:
                corpus = _corpus(folder, [sampled(docstrings(), options.docstrings)], sort=True)
                self._throughput("docstrings", fleet, corpus)
            if "scifact" in asked:
                corpus = _corpus(folder, [sampled(scifact(), options.scifact_texts)], sort=True)
                self._throughput("scifact", fleet, corpus)
            if "latency" in asked:
                words = one_token_words(docstrings(), TextTokenizer(_checkpoint(folder)))
                texts_of = {tokens: short_texts(words, tokens, options.calls) for tokens in SHORT}
                with self._noting("latency", fleet):
                    self.figures["latency"] = latency(fleet.workers, texts_of, options.latency_rounds)
                    print_latency(self.figures["latency"], self.ours_of)
            if "mfu" in asked:
                self._mfu(fleet, folder)

    def mix(self) -> None:
        """Ask for requests in arrival order of the default model with all of its positions."""
        if "mix" not in self._options.only:
            return
        folder, failed = limited_minilm(LONGEST)
        words = one_token_words(docstrings(), TextTokenizer(_checkpoint(folder)))
        requests = mixed_requests(words, self._options.mix_requests, self._options.request_texts)
        with self._fleet(self._engines, folder, failed) as fleet:
            corpus = _corpus(folder, requests, sort=False)
            self._throughput("mix", fleet, corpus)
            self._throughput("mix as it comes", fleet, corpus, search=False)

    def prefix(self) -> None:
        """Ask for queries behind one instruction of a larger random model."""
        if "prefix" not in self._options.only:
            return
        layers = self._options.layers
        wanted = [engine for engine in self._engines if engine.name in ("farthing", REFERENCE)]
        instruction, queries = instructed_queries(self._options.queries, INSTRUCTION, QUERY)
        model = f"random weights, {LARGE}'s shape with {layers} layers, fp32"
        with self._fleet(wanted, large_random(layers), {}) as fleet, self._noting("prefix", fleet):
            found = prefix(fleet.workers, instruction, queries, self._options.rounds)
            self.figures["prefix"] = {
                "model": model,
                "instruction_tokens": INSTRUCTION,
                "query_tokens": QUERY,
                **found,
            }
            print_prefix(self.figures["prefix"])

    def _throughput(self, question: str, fleet: Fleet, corpus: Corpus, *, search: bool = True) -> None:
        with self._noting(question, fleet):
            self.figures[question] = self._measured(question, fleet.workers, corpus, search=search)
            print_throughput(question, self.figures[question], self.ours_of)

    def _mfu(self, fleet: Fleet, folder: Path) -> None:
        factor = self._options.mfu_factor
        corpora = {
            "docstrings": sampled(docstrings(), factor * self._options.docstrings),
            "scifact": sampled(scifact(), factor * self._options.scifact_texts),
        }
        with self._noting("mfu", fleet):
            self.figures["mfu"] = {
                corpus: utilization(
                    f"mfu, {corpus},",
                    fleet.workers["farthing"],
                    _corpus(folder, [texts], sort=True),
                    self._options.mfu_rounds,
                    measure_gemm_peak,
                )
                for corpus, texts in corpora.items()
            }
            print_mfu(self.figures["mfu"])

    @contextmanager
    def _noting(self, question: str, fleet: Fleet) -> Iterator[None]:
        """Go on with the next question where an engine ends in this one, which then has no figures."""
        try:
            yield
        except PeerError as error:
            self.missing[question] = f"not measured: {error}"
            print(f"{question} {self.missing[question]}", flush=True)
            fleet.drop_ended(str(error))

    def _measured(
        self, question: str, workers: Mapping[str, Worker], corpus: Corpus, *, search: bool
    ) -> dict[str, Any]:
        """Return the figures of a throughput question, with the matrix peak before and after."""
        before = measure_gemm_peak("fp32")[0]
        found = throughput(question, workers, corpus, self._options.rounds, search=search)
        after = measure_gemm_peak("fp32")[0]
        peak = max(before.flops_per_s, after.flops_per_s)
        found["peak_flops_per_s"] = {"before": before.flops_per_s, "after": after.flops_per_s, "used": peak}
        for engine in self._engines:
            if engine.dtype == "fp32" and engine.name in workers:
                row = found["engines"][engine.name]
                row["mfu_wall"] = corpus.flops / row["median_s"] / peak
        return found

    def _fleet(self, engines: list[Engine], folder: Path, failed_exports: Mapping[str, str]) -> Fleet:
        fleet = Fleet(engines, folder, self._scratch, failed_exports, self.missing)
        self.missing = fleet.missing
        self.versions |= {name: worker.versions for name, worker in fleet.workers.items()}
        return fleet


def main() -> None:
    """Ask the questions, print the tables and save the figures."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stopped engines must not be left behind
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(options, Path(scratch))
        run.small_model()
        run.mix()
        run.prefix()
    bars = all_bars(run.figures, run.ours_of)
    for name, why in run.missing.items():
        print(f"\n{name} {why}")
    print_bars(bars)
    figures = {
        "asked": vars(options) | {"results": str(options.results)},
        "took_s": time.perf_counter() - start,
        "engines": run.versions,
        "missing": run.missing,
        "compared_with": run.ours_of,
        "questions": run.figures,
        "bars": [bar.row() for bar in bars],
    }
    name = "peers" if set(options.only) == set(QUESTIONS) else f"peers-{'-'.join(options.only)}"
    print(f"\n{figures['took_s']:.0f} s; {save(name, figures, options.results)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_one_of(QUESTIONS), default=list(QUESTIONS), metavar="QUESTION,…")
    peers = [engine.name for engine in ENGINES if not engine.ours]
    parser.add_argument(
        "--engines", type=_one_of(peers), default=peers, metavar="PEER,…", help="only these peers"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of every question but latency and mfu")
    parser.add_argument("--docstrings", type=int, default=700, help="texts of a seeded sample")
    parser.add_argument("--scifact-texts", type=int, default=150, help="texts of a seeded sample")
    parser.add_argument("--mfu-factor", type=int, default=3, help="as many texts more for Farthing's MFU")
    parser.add_argument("--mfu-rounds", type=int, default=5)
    parser.add_argument("--mix-requests", type=int, default=5)
    parser.add_argument("--request-texts", type=int, default=64, help="texts in a request of the mix")
    parser.add_argument("--calls", type=int, default=20, help="texts in a round of latency")
    parser.add_argument("--latency-rounds", type=int, default=10)
    parser.add_argument("--queries", type=int, default=64, help="behind the instruction")
    parser.add_argument("--layers", type=int, default=28, help="of the model behind the prefix question")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    return parser.parse_args()


def _one_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a reader of names that are separated by commas."""

    def names(given: str) -> list[str]:
        asked = [name.strip() for name in given.split(",") if name.strip()]
        if unknown := [name for name in asked if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return asked

    return names


def _checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(locate_model(str(folder)))


def _corpus(folder: Path, requests: list[list[str]], *, sort: bool) -> Corpus:
    checkpoint = _checkpoint(folder)
    lengths = TextTokenizer(checkpoint).encode([text for texts in requests for text in texts]).lengths
    return Corpus(requests, sum(lengths), forward_flops(checkpoint.shape, lengths).total, sort)


if __name__ == "__main__":
    main()
