"""What reaches stdout and stderr, through processes as users start them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from farthing.cli.main import _show_warning, main
from farthing.cli.output import console, make_lossless, print_json, printable, tell
from farthing.errors import FarthingError, excerpt

EVIL = "\x1b]52;c;ZXZpbA==\x07\x9b31m\u202e\u2066\x7f\x00é"
ENCODINGS = ("ascii", "latin-1", "utf-8", "utf-16")


def ran(
    *arguments: str, encoding: str = "utf-8", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-c", "from farthing.cli.main import run; run()", *arguments],
        capture_output=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_encoding_gets_valid_json_and_a_table(encoding: str) -> None:
    done = ran("prices", "--json", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode(encoding))["devices"]
    done = ran("explain", "BAAI/bge-m3", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "bge-m3" in done.stdout.decode(encoding)


def harmless(text: str) -> bool:
    return all(one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cf") for one in text)


@given(st.text())
def test_the_filter_shows_each_character_once(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert harmless(shown)
    assert all(b == a for a, b in zip(text, shown, strict=True) if a.isprintable())


@given(st.text())
def test_json_is_ascii_and_means_the_same(text: str) -> None:
    standard, sys.stdout = sys.stdout, io.StringIO()
    try:
        print_json({"text": text})
        said = sys.stdout.getvalue()
    finally:
        sys.stdout = standard
    assert json.loads(said) == {"text": text}
    assert said.isascii()
    assert harmless(said)


def test_no_control_leaves_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=EVIL)
    table.add_column(EVIL)
    table.add_row(Text(EVIL))
    console().print(table, EVIL)
    out = capsys.readouterr().out
    assert harmless(out)
    assert "␛" in out
    assert "é" in out


def test_no_control_leaves_an_error(tmp_path: Path) -> None:
    folder = tmp_path / EVIL.replace("\x00", "").replace("/", "")
    folder.mkdir()
    for words in (
        ["explain", str(folder)],
        ["explain", str(folder), "--debug"],
        ["search", str(folder), "q"],
    ):
        done = ran(*words)
        assert done.returncode == 2
        assert harmless(done.stderr.decode())


def test_a_long_message_is_short() -> None:
    message = str(FarthingError("start" + "x" * 2_000_000 + "end"))
    assert len(message) < 3000
    assert message.startswith("start")
    assert message.endswith("end")
    assert excerpt(10**5000) == "int too large to show"
    assert len(excerpt("x" * 1000)) == 80


HOSTILE = {
    "deep": "[" * 200_000,
    "digits": '{"machine": ' + "1" * 5000 + "}",
    "large": '{"machine": "' + "x" * 9_000_000 + '"}',
    "huge price": '{"machine": {"peak_flops_per_s": 1' + "0" * 400 + "}}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", ["model", "calibration"])
def test_hostile_json_is_one_line(
    kind: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_text(content)
    words = [str(tmp_path)] if kind == "model" else ["BAAI/bge-m3", "--calibration", str(file)]
    assert main(["explain", *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "config.json" in err
    assert "unexpected" not in err


def test_a_pipe_as_configuration_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    done = ran("explain", str(tmp_path))
    assert done.returncode == 2
    assert b"config.json" in done.stderr
    (tmp_path / "farthing").mkdir()
    os.mkfifo(tmp_path / "farthing" / "config.toml")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from farthing.cli.main import run; run()", "doctor"],
        capture_output=True,
        check=False,
        env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert b"config.toml" in done.stderr


@pytest.mark.parametrize("price", ["1" + "0" * 400, "9" * 5000, "0x" + "f" * 5000])
def test_a_price_beyond_all_numbers_is_one_line(
    price: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "farthing").mkdir()
    for name, text in (
        ("prices.toml", f"[rental.l4]\nusd_per_hour = {price}\ndate = 2026-11-01\n"),
        ("config.toml", f"[local]\nusd_per_hour = {price}\n"),
    ):
        file = tmp_path / "farthing" / name
        file.write_text(text)
        assert main(["prices"] if name == "prices.toml" else ["doctor"]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert name in err
        assert len(err) < 400
        file.unlink()


def test_streams_that_lack_a_character_get_a_substitute(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # which has no encoding to lack one
    make_lossless()
    stream.write("é")
    stream.flush()
    assert written.getvalue() == b"?"
    stream.detach()


class Screen(io.StringIO):
    """A terminal that someone watches."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "said"), [(Screen(), "a while …\n"), (io.StringIO(), "")])
def test_what_takes_a_while_is_said_where_someone_watches(
    stream: io.StringIO, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    tell("a   while")
    assert stream.getvalue() == said


def test_a_plan_as_csv_is_flat_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "bge-m3", "--rate", "5", "--devices", "l4,t4", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sorted(row["device"] for row in rows) == ["l4", "t4"]
    assert float(rows[0]["usd_per_million_tokens.mid"]) > 0
    assert rows[0]["verified"] == "simulated"


def test_the_version_and_a_command_that_is_like_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("farthing ")
    assert main(["zzzz"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
    assert main(["explian"]) == 2
    assert "Did you mean 'explain'?" in capsys.readouterr().err


def test_warnings_are_one_line_and_those_for_programmers_none(capsys: pytest.CaptureFixture[str]) -> None:
    _show_warning(UserWarning("a folder\nis used"), UserWarning)
    _show_warning(DeprecationWarning("old"), DeprecationWarning)
    assert capsys.readouterr().err == "farthing: warning: a folder is used\n"
