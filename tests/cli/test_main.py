"""The command line as people meet it: what goes in, what comes out, and one clear line when it cannot."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from farthing.catalog.model_files import DEFAULT_MODEL
from farthing.cli.main import main

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
COMMANDS = ("embed", "search", "explain", "plan", "prices", "calibrate", "doctor", "fetch-model", "demo")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Farthing = Callable[..., Outcome]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that starts empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def farthing(here: Path, capsys: pytest.CaptureFixture[str]) -> Farthing:
    """Run command lines in this process, in `here`."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


def executed(*arguments: str, **environment: str) -> Outcome:
    """Run the real executable."""
    done = subprocess.run(
        [EXECUTABLE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_one_line(outcome: Outcome, code: int, *fragments: str) -> None:
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("farthing: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1, outcome.err
    for fragment in fragments:
        assert fragment in outcome.err


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the name and content of every file, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- bad input: exit code 2 and one line -------------------------------------------------------------------

GOOD = {"in.txt": b"a text\nanother\n"}

# name: the files of the folder, the input, and what the one line must say
BAD_INPUTS: dict[str, tuple[dict[str, bytes], str, tuple[str, ...]]] = {
    "missing file": ({}, "nowhere.txt", ("nowhere.txt", "no such file")),
    "folder": ({"sub/in.txt": b"a"}, "sub", ("sub", "is a folder")),
    "unknown extension": ({"in.doc": b"a"}, "in.doc", ("in.doc", "unknown extension '.doc'", ".jsonl")),
    "no extension": ({"in": b"a"}, "in", ("no extension", ".txt")),
    "missing field in JSONL": (
        {"in.jsonl": b'{"text": "a"}\n{"title": "b"}\n'},
        "in.jsonl",
        ("row 1 (line 2)", "no field 'text'", "'title'", "--text-field"),
    ),
    "missing field in CSV": (
        {"in.csv": b"title,body\na,b\n"},
        "in.csv",
        ("in.csv", "no field 'text'", "'title'", "--text-field"),
    ),
    "wrong type in a row": (
        {"in.jsonl": b'{"text": "a"}\n{"text": "b"}\n{"text": 7}\n'},
        "in.jsonl",
        ("row 2 (line 3)", "a number, not a string"),
    ),
    "null in a row": ({"in.jsonl": b'{"text": null}\n'}, "in.jsonl", ("row 0 (line 1)", "null")),
    "broken JSON in a row": (
        {"in.jsonl": b'{"text": "a"}\n\n{"text": \n'},
        "in.jsonl",
        ("row 1 (line 3)", "broken JSON"),
    ),
    "not an object in a row": ({"in.jsonl": b'["a"]\n'}, "in.jsonl", ("row 0 (line 1)", "not a JSON object")),
    "broken CSV in a row": (
        {"in.csv": b'text\nfine\n"never closed\n'},
        "in.csv",
        ("row 1 (line 3)", "broken CSV"),
    ),
    "too many fields in a row": (
        {"in.csv": b"text,id\na,b\nc,d,e\n"},
        "in.csv",
        ("row 1 (line 3)", "3 fields where the header has 2"),
    ),
    "empty text": ({"in.txt": b""}, "in.txt", ("in.txt", "holds no texts")),
    "empty JSONL": ({"in.jsonl": b"\n\n"}, "in.jsonl", ("in.jsonl", "holds no texts")),
    "empty CSV": ({"in.csv": b""}, "in.csv", ("in.csv", "no header")),
    "CSV of a header only": ({"in.csv": b"text\n"}, "in.csv", ("in.csv", "holds no texts")),
    "invalid UTF-8 in text": (
        {"in.txt": b"fine\nfine\n\xff\xfe\n"},
        "in.txt",
        ("in.txt", "line 3", "not UTF-8"),
    ),
    "invalid UTF-8 in JSONL": (
        {"in.jsonl": b'{"text": "a"}\n{"text": "\xc3"}\n'},
        "in.jsonl",
        ("line 2", "not UTF-8"),
    ),
    "not really a Parquet": (
        {"in.parquet": b"PAR1 and then nothing of the kind"},
        "in.parquet",
        ("in.parquet", "not a readable Parquet file"),
    ),
    "empty Parquet": ({"in.parquet": b""}, "in.parquet", ("in.parquet", "not a readable Parquet file")),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input(farthing: Farthing, here: Path, tiny_bert: Path, case: str) -> None:
    files, source, fragments = BAD_INPUTS[case]
    for name, content in files.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(content)
    before = snapshot(here)
    assert_one_line(farthing("embed", source, "-o", "out.parquet", "-m", tiny_bert), 2, *fragments)
    assert snapshot(here) == before


# name: the options, and what the one line must say
BAD_OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "length 0": (("--length", "0"), ("length 0",)),
    "negative length": (("--length", "-5"), ("length -5",)),
    "length beyond the positions": (("--length", "41"), ("length 41", "1 to 40")),
    "length that leaves no room": (("--length", "2"), ("length 2", "special tokens")),
    "length that is no number": (("--length", "many"), ("--length", "farthing embed --help")),
    "unknown device": (("--device", "abacus"), ("device 'abacus'", "local")),
    "unknown dtype": (("--dtype", "fp5"), ("dtype 'fp5'", "fp32, bf16")),
    "dtype the processor has not": (("--dtype", "fp8"), ("'fp8'", "fp32")),
    "limit 0": (("--limit", "0"), ("limit 0",)),
    "id field of plain text": (("--id-field", "id"), ("--id-field",)),
    "unknown precision": (("--precision", "int4"), ("precision 'int4'", "binary, ubinary")),
    "more dimensions than there are": (("--dimensions", "37"), ("37 dimensions", "1 to 36")),
    "unknown prompt": (("--prompt-name", "query"), ("prompt 'query'",)),
    "negative price": (("--usd-per-hour", "-1"), ("--usd-per-hour",)),
    "unknown option": (("--lenght", "8"), ("--lenght", "farthing embed --help")),
    "output in a folder that is missing": (("-o", "nowhere/out.parquet"), ("nowhere/out.parquet", "folder")),
    "output below a file": (("-o", "in.txt/out.parquet"), ("in.txt/out.parquet", "cannot be written")),
    "output is a folder": (("-o", "."), (".: is a folder",)),
    "output is a device": (("-o", "/dev/null"), ("/dev/null", "not a regular file")),
    "output where nobody may write": (("-o", "/proc/out.parquet"), ("/proc/out.parquet",)),
    "output is the input": (("-o", "in.txt"), ("in.txt", "is the input itself")),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option(farthing: Farthing, here: Path, tiny_bert: Path, case: str) -> None:
    options, fragments = BAD_OPTIONS[case]
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    before = snapshot(here)
    outcome = farthing("embed", "in.txt", "-o", "out.parquet", "-m", tiny_bert, *options)
    assert_one_line(outcome, 2, *fragments)
    assert snapshot(here) == before


def edited_model(tiny_bert: Path, folder: Path, file: str, **changes: Any) -> Path:
    """Copy a model folder and change a JSON file of it; the value None takes a key away."""
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def test_bad_model_folders(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    (here / "empty").mkdir()
    foreign = edited_model(
        tiny_bert, here / "foreign", "config.json", model_type="mamba9", architectures=["Mamba9Model"]
    )
    pooled = edited_model(tiny_bert, here / "pooled", "1_Pooling/config.json", pooling_mode="max")
    bare = edited_model(tiny_bert, here / "bare", "config.json")
    (bare / "model.safetensors").unlink()
    torn = edited_model(tiny_bert, here / "torn", "config.json")
    (torn / "config.json").write_text('{"model_type": "be')
    before = snapshot(here)

    def refused(model: str | Path, *fragments: str) -> None:
        assert_one_line(farthing("embed", "in.txt", "-o", "out.parquet", "-m", model), 2, *fragments)
        assert snapshot(here) == before

    refused("empty", "empty", "no config.json")
    refused(foreign, "unsupported architecture", "mamba9")
    refused(pooled, "pooling max is not supported", "mean")
    refused(bare, "model.safetensors is missing")
    refused(torn, "config.json", "JSON")
    refused("./nowhere", "./nowhere", "no such folder")
    refused("in.txt", "in.txt", "is a file")
    assert_one_line(farthing("explain", "empty"), 2, "empty", "no config.json")
    assert_one_line(farthing("explain", foreign), 2, "unsupported architecture", "mamba9")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("explain", "all-MiniLM-L6-v2", "--length", "0"), ("length is 0",)),
        (("explain", "all-MiniLM-L6-v2", "--length", "-1"), ("length is -1",)),
        (("explain", "all-MiniLM-L6-v2", "--length", "513"), ("length 513", "512")),
        (("explain", "all-MiniLM-L6-v2", "--batch", "0"), ("batch is 0",)),
        (("explain", "all-MiniLM-L6-v2", "--device", "abacus"), ("unknown device 'abacus'", "h100-sxm")),
        (("explain", "all-MiniLM-L6-v2", "--dtype", "fp5"), ("unknown dtype 'fp5'", "bf16")),
        (("explain", "all-MiniLM-L6-v2", "--utilization", "1.5"), ("utilization",)),
        (("explain", "no/such/model"), ("no/such/model", "no such folder")),
        (("explain",), ("MODEL", "farthing explain --help")),
        (("explian",), ("No such command 'explian'", "'explain'")),
        (("embed",), ("INPUT", "farthing embed --help")),
        (("embed", "in.txt"), ("--output", "farthing embed --help")),
        (("search", "nowhere.parquet", "why"), ("nowhere.parquet", "no such file")),
        (("search", "nowhere.parquet"), ("QUESTION", "farthing search --help")),
        (("calibrate", "--dtype", "fp5"), ("dtype 'fp5'",)),
        (("--frobnicate",), ("--frobnicate", "farthing --help")),
    ],
)
def test_bad_usage(farthing: Farthing, arguments: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    assert_one_line(farthing(*arguments), 2, *fragments)


def test_search_of_what_is_no_output(farthing: Farthing, here: Path) -> None:
    (here / "text.parquet").write_bytes(b"not a Parquet file")
    assert_one_line(farthing("search", "text.parquet", "why"), 2, "not a readable Parquet file")


def test_a_bad_configuration_is_named(
    farthing: Farthing, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here))
    (here / "farthing").mkdir()
    (here / "farthing" / "config.toml").write_text("[local]\nusd_per_hour = 'cheap'\n")
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    assert_one_line(farthing("embed", "in.txt", "-o", "out.parquet"), 2, "config.toml", "'cheap'")


def test_an_older_output_survives_a_failed_run(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    (here / "in.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    (here / "out.parquet").write_bytes(b"older")
    before = snapshot(here)
    assert_one_line(farthing("embed", "in.jsonl", "-o", "out.parquet", "-m", tiny_bert), 2, "row 1")
    assert snapshot(here) == before


def test_debug_adds_the_traceback(farthing: Farthing, monkeypatch: pytest.MonkeyPatch) -> None:
    line = farthing("embed", "nowhere.txt", "-o", "out.parquet").err
    for arguments in (
        ["embed", "nowhere.txt", "-o", "out.parquet", "--debug"],
        ["--debug", "embed", "nowhere.txt", "-o", "out.parquet"],
    ):
        outcome = farthing(*arguments)
        assert outcome.code == 2
        assert outcome.err.startswith("Traceback (most recent call last):\n")
        assert outcome.err.endswith(line)
    monkeypatch.setenv("FARTHING_DEBUG", "1")
    assert "Traceback" in farthing("embed", "nowhere.txt", "-o", "out.parquet").err


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (("embed", "nowhere.txt", "-o", "out.parquet"), 2, "no such file"),
        (("embed",), 2, "INPUT"),
        (("explain", "all-MiniLM-L6-v2", "--length", "0"), 2, "length is 0"),
        (("explain", "nobody/nothing"), 1, "nobody/nothing"),
    ],
)
def test_the_real_executable_fails_in_one_line(
    here: Path, arguments: tuple[str, ...], code: int, fragment: str
) -> None:
    assert_one_line(executed(*arguments, HF_HUB_OFFLINE="1"), code, fragment)
    assert snapshot(here) == {}


def test_the_real_executable_fails_after_it_began_to_read(here: Path) -> None:
    (here / "in.jsonl").write_text('{"text": 1}\n')
    assert_one_line(executed("embed", "in.jsonl", "-o", "out.parquet"), 2, "row 0 (line 1)")
    assert list(snapshot(here)) == ["in.jsonl"]


# --- what works --------------------------------------------------------------------------------------------


def embedded(farthing: Farthing, *arguments: str | Path) -> dict[str, Any]:
    """Embed with --json and return the one document on stdout."""
    outcome = farthing("embed", *arguments, "--json")
    assert outcome.code == 0, outcome
    assert outcome.err == ""
    document = json.loads(outcome.out)
    assert isinstance(document, dict)
    return document


def test_embed_json_has_the_documented_keys(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    (here / "in.txt").write_text("the end of the story\nthe end of the story\nabc\n")
    document = embedded(farthing, "in.txt", "-o", "out.parquet", "-m", tiny_bert, "--usd-per-hour", "0.5")
    assert {"texts", "embedded", "duplicates", "failed", "truncated", "tokens_per_s"} <= document.keys()
    assert {"mfu", "mfu_device", "peak_flops_per_s", "peak_source", "elsewhere"} <= document.keys()
    assert {"predicted_seconds", "prediction_error", "prediction_basis"} <= document.keys()
    assert document["tokens"].keys() >= {"input", "useful", "padded", "reused", "trimmed"}
    assert document["seconds"].keys() >= {"wall", "device", "tokenization", "writing"}
    assert document["flops"].keys() >= {"useful", "executed"}
    assert document["usd"].keys() >= {"per_hour", "total", "marginal_per_million_tokens"}
    places = document["elsewhere"]
    assert {"h100-sxm", "rtx-4090"} <= {place["device"] for place in places}
    assert len({place["provider"] for place in places} - {None}) >= 2
    for place in places:
        assert place.keys() >= {
            "device",
            "provider",
            "model",
            "usd_per_million_tokens",
            "usd_total",
            "as_of",
            "source",
        }
    assert (document["texts"], document["embedded"], document["failed"]) == (3, 3, 0)
    assert document["duplicates"] == 1
    assert document["prediction_basis"] == "all"
    assert document["usd"]["per_hour"] == 0.5
    assert document["usd"]["total"] == pytest.approx(0.5 * document["seconds"]["wall"] / 3600)
    wall = document["seconds"]["wall"]
    assert document["prediction_error"] == pytest.approx(abs(document["predicted_seconds"] - wall) / wall)
    assert document["mfu"] == pytest.approx(document["flops"]["useful"] / wall / document["peak_flops_per_s"])


def test_without_a_price_the_usd_are_null(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    usd = embedded(farthing, "in.txt", "-o", "out.parquet", "-m", tiny_bert)["usd"]
    assert usd == {"per_hour": None, "total": None, "marginal_per_million_tokens": None}


def test_the_configured_price_is_used(
    farthing: Farthing, here: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here))
    (here / "farthing").mkdir()
    (here / "farthing" / "config.toml").write_text("[local]\nusd_per_hour = 0.25\ndtype = 'fp32'\n")
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    assert embedded(farthing, "in.txt", "-o", "o.parquet", "-m", tiny_bert)["usd"]["per_hour"] == 0.25
    given = embedded(farthing, "in.txt", "-o", "o.parquet", "-m", tiny_bert, "--usd-per-hour", "1")
    assert given["usd"]["per_hour"] == 1


def test_the_parquet_is_as_promised(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    rows = [{"key": "k1", "body": "the end"}, {"key": 7, "body": "of the end"}]
    (here / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = farthing(
        "embed", "in.jsonl", "-o", "out.parquet", "-m", tiny_bert, "--text-field", "body", "--id-field", "key"
    )
    assert outcome.code == 0
    assert outcome.err == ""
    assert "Receipt" in outcome.out
    table = pq.read_table(here / "out.parquet")
    assert table.column_names == ["id", "embedding", "tokens"]
    assert str(table.schema.field("embedding").type).startswith("fixed_size_list<")
    assert table.schema.field("embedding").type.list_size == 36
    assert table.column("id").to_pylist() == ["k1", "7"]
    assert table.column("tokens").to_pylist() == [6, 7]  # [CLS] the e ##n ##d [SEP]
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["farthing.model"] == str(tiny_bert)
    assert metadata["farthing.revision"].startswith("sha256:")
    assert metadata["farthing.pooling"] == "mean"
    assert metadata["farthing.dimension"] == "36"
    assert sorted(snapshot(here)) == ["in.jsonl", "out.parquet"]


def test_empty_lines_and_lines_of_spaces_are_texts(farthing: Farthing, here: Path, minilm: Path) -> None:
    (here / "in.txt").write_bytes(b"first\n\n   \nlast\n")
    document = embedded(farthing, "in.txt", "-o", "out.parquet", "-m", minilm)
    assert (document["texts"], document["embedded"]) == (4, 4)
    table = pq.read_table(here / "out.parquet")
    assert table.column("id").to_pylist() == ["0", "1", "2", "3"]
    assert table.column("tokens").to_pylist() == [3, 2, 2, 3]
    vectors = np.array(table.column("embedding").to_pylist())
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    # Both are [CLS] [SEP] to the model.
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-6)


def test_limit_and_length(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    (here / "in.txt").write_text("".join(f"{'a ' * n}\n" for n in range(1, 21)))
    document = embedded(
        farthing, "in.txt", "-o", "out.parquet", "-m", tiny_bert, "--limit", "12", "--length", "9"
    )
    assert document["texts"] == 12
    tokens = pq.read_table(here / "out.parquet").column("tokens").to_pylist()
    assert tokens == [min(n + 2, 9) for n in range(1, 13)]
    assert document["tokens"]["input"] == sum(tokens)
    assert document["truncated"] == 5


def test_an_older_output_is_replaced(farthing: Farthing, here: Path, tiny_bert: Path) -> None:
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    (here / "out.parquet").write_bytes(b"older")
    embedded(farthing, "in.txt", "-o", "out.parquet", "-m", tiny_bert)
    assert pq.read_table(here / "out.parquet").num_rows == 2


def test_search_round_trip(farthing: Farthing, here: Path, minilm: Path) -> None:
    texts = ["how to bake bread", "parse a date from a string", "the capital of France"]
    (here / "in.txt").write_text("\n".join(texts) + "\n")
    embedded(farthing, "in.txt", "-o", "out.parquet", "-m", minilm)

    def hits() -> list[dict[str, Any]]:
        outcome = farthing("search", "out.parquet", "reading dates", "--top", "2", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        found = json.loads(outcome.out)["hits"]
        assert isinstance(found, list)
        return found

    first, second = hits()
    assert (first["row"], first["id"], first["text"]) == (1, "1", texts[1])
    assert first["score"] > second["score"]
    shown = farthing("search", "out.parquet", "reading dates")
    assert (shown.code, shown.err) == (0, "")
    assert texts[1] in shown.out
    assert f"{first['score']:.3f}" in shown.out

    # The input has changed: rows and scores stay, but what the rows said is no longer known.
    (here / "in.txt").write_text("\n".join([*texts, "one more"]) + "\n")
    assert [(hit["id"], hit["text"]) for hit in hits()] == [(first["id"], None), (second["id"], None)]
    assert texts[1] not in farthing("search", "out.parquet", "reading dates").out
    (here / "in.txt").unlink()
    assert hits()[0]["text"] is None


def test_search_with_a_model_of_another_width(
    farthing: Farthing, here: Path, tiny_bert: Path, minilm: Path
) -> None:
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    embedded(farthing, "in.txt", "-o", "out.parquet", "-m", tiny_bert)
    outcome = farthing("search", "out.parquet", "why", "-m", minilm)
    assert_one_line(outcome, 2, f"embedded by {tiny_bert}", str(minilm.resolve()))
    assert_one_line(farthing("search", "out.parquet", "why", "--top", "0"), 2, "top 0")


def test_explain_json_has_the_documented_keys(farthing: Farthing) -> None:
    outcome = farthing("explain", "Qwen/Qwen3-Embedding-8B", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert {"model", "device", "dtype", "length", "batch", "linear_parameters"} <= document.keys()
    assert {"weight_bytes_read", "arithmetic_intensity", "ridge_point", "bound"} <= document.keys()
    assert document["flops"].keys() >= {"linear", "attention", "total", "per_token"}
    assert document["seconds"].keys() >= {"compute", "memory", "step", "low", "high"}
    assert document["usd_per_hour"].keys() >= {"value", "min", "max", "as_of"}
    assert document["usd_per_million_tokens"].keys() >= {"at_100_percent", "at_10_percent"}
    assert document["tokens_per_s"] > 0
    assert (document["device"], document["length"], document["batch"]) == ("h100-sxm", 1024, 1)
    assert document["bound"] in ("compute", "memory")


def test_explain_options_change_what_is_explained(farthing: Farthing) -> None:
    outcome = farthing(
        *("explain", "all-MiniLM-L6-v2", "--device", "l4", "--length", "128", "--batch", "4"),
        *("--dtype", "fp16", "--usd-per-hour", "2", "--utilization", "0.5", "--json"),
    )
    document = json.loads(outcome.out)
    assert (document["device"], document["length"], document["batch"]) == ("l4", 128, 4)
    assert document["dtype"] == "fp16"
    assert document["usd_per_hour"]["value"] == 2
    usd = document["usd_per_million_tokens"]
    assert math.isclose(usd["at_utilization"], 2 * usd["at_100_percent"])
    shown = farthing("explain", "all-MiniLM-L6-v2", "--device", "l4")
    assert (shown.code, shown.err) == (0, "")
    assert "all-MiniLM-L6-v2 on l4" in shown.out


def test_doctor(farthing: Farthing, minilm: Path) -> None:
    outcome = farthing("doctor", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert report["ready"] is True
    assert report["model"] == {"name": DEFAULT_MODEL, "folder": str(minilm), "present": True}
    assert all(report["packages"].values())
    assert report["memory_bytes"] > 1e8
    assert report["usd_per_hour"] is None
    assert report["configuration"].endswith("config.toml")
    assert {"farthing", "device", "calibration"} <= report.keys()
    shown = farthing("doctor")
    assert (shown.code, shown.err) == (0, "")
    for line in ("ready        yes", report["device"][:20], "GB", "openvino", "price"):
        assert line in shown.out


def test_doctor_tells_the_configured_price(
    farthing: Farthing, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here))
    (here / "farthing").mkdir()
    (here / "farthing" / "config.toml").write_text("[local]\nusd_per_hour = 0.25\n")
    assert json.loads(farthing("doctor", "--json").out)["usd_per_hour"] == 0.25
    assert "$0.25/h" in farthing("doctor").out


def test_doctor_without_a_model(farthing: Farthing, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(here))
    report = json.loads(farthing("doctor", "--json").out)
    assert (report["ready"], report["model"]["present"]) == (False, False)
    shown = farthing("doctor")
    assert shown.code == 0
    assert "no; run: farthing fetch-model" in shown.out


def test_doctor_on_a_machine_that_was_never_calibrated(
    farthing: Farthing, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here))
    assert json.loads(farthing("doctor", "--json").out)["calibration"] is None
    assert "farthing calibrate" in farthing("doctor").out
    assert_one_line(
        farthing("explain", "all-MiniLM-L6-v2", "--device", "local"), 2, "run `farthing calibrate`"
    )


def test_a_calibrated_machine_is_explained_and_diagnosed(
    farthing: Farthing, here: Path, tiny_bert: Path
) -> None:
    (here / "in.txt").write_bytes(GOOD["in.txt"])
    embedded(
        farthing, "in.txt", "-o", "out.parquet", "-m", tiny_bert, "--dtype", "fp32"
    )  # calibrates where nothing is kept
    document = json.loads(farthing("explain", tiny_bert, "--device", "local", "--json").out)
    assert (document["device"], document["dtype"], document["length"]) == ("local", "fp32", 32)
    assert document["usd_per_hour"]["value"] is None
    assert document["usd_per_million_tokens"]["at_100_percent"] is None
    calibration = json.loads(farthing("doctor", "--json").out)["calibration"]
    assert calibration.keys() == {"measured_at", "age_s", "peak_flops_per_s", "peak_source"}
    assert 0 <= calibration["age_s"] < 3600
    predictions = json.loads(farthing("doctor", "--json").out)["predictions"]
    assert predictions["runs"] >= 1
    assert predictions["last_error"] >= 0
    assert "off by" in farthing("doctor").out
    assert calibration["peak_flops_per_s"] > 1e8
    assert "FLOP/s" in farthing("doctor").out


def test_fetch_model_leaves_a_whole_model_alone(farthing: Farthing, minilm: Path) -> None:
    before = (minilm / "model.safetensors").stat().st_mtime_ns
    outcome = farthing("fetch-model")
    assert (outcome.code, outcome.err) == (0, "")
    assert str(minilm) in outcome.out
    assert (minilm / "model.safetensors").stat().st_mtime_ns == before


# --- help --------------------------------------------------------------------------------------------------


def test_nothing_asked_shows_the_commands(farthing: Farthing) -> None:
    outcome = farthing()
    assert (outcome.code, outcome.err) == (2, "")
    assert all(command in outcome.out for command in COMMANDS)
    assert farthing("-h") == farthing("--help") == outcome._replace(code=0)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(farthing: Farthing, command: str) -> None:
    outcome = farthing(command, "-h")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"farthing {command}" in outcome.out
    assert farthing(command, "--help") == outcome


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        (
            "embed",
            (
                "all-MiniLM-L6-v2",
                "local",
                "from the configuration, else auto",
                "the model's own",
                "text",
                "row number",
                "all",
                "float32",
            ),
        ),
        ("search", ("5", "the one in the file")),
        ("explain", ("h100-sxm", "1024", "1", "bf16; local: what it would run in", "catalog")),
        ("calibrate", ("all-MiniLM-L6-v2", "in the cache, else newest", "from the configuration, else auto")),
        ("demo", ("all", "from the")),
    ],
)
def test_help_shows_defaults(
    farthing: Farthing, monkeypatch: pytest.MonkeyPatch, command: str, defaults: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a name is not broken at its hyphens
    text = " ".join(farthing(command, "-h").out.split())
    assert text.count("[default:") >= len(defaults)
    for value in defaults:
        assert f"[default: {value}" in text or f"[default: ({value}" in text
