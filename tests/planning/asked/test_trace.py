"""Traces: arrivals and lengths from CSV as people export it, and what is none."""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farthing.errors import InputError, RowError
from farthing.planning.asked.trace import Trace, read_trace

TRACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "traces"


def write(folder: Path, content: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture(scope="module")
def conversations() -> Path:
    return azure("conv")


@pytest.fixture(scope="module")
def code() -> Path:
    return azure("code")


def azure(name: str) -> Path:
    """Return an Azure trace, or skip by name where the shared data is not laid out."""
    path = TRACES / f"azure_llm_2023_{name}.csv"
    if not path.is_file():
        pytest.skip(f"the trace is missing: no file {path}")
    return path


def test_long_texts_are_cut_and_arrivals_stay(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "time_s,tokens\n0,10\n1,900\n"))
    assert trace.truncated(128) == Trace((0.0, 1.0), (10, 128), trace.source)


# The Azure traces


def test_the_conversations(conversations: Path) -> None:
    trace = read_trace(conversations)
    assert len(trace.tokens) == len(trace.arrivals_s) == 19_366
    assert trace.texts_per_s == pytest.approx(19_365 / 3501.72, rel=1e-5)
    assert trace.peak_to_mean == pytest.approx(1.53, abs=0.005)
    assert trace.interarrival_cv2 == pytest.approx(1.197, abs=5e-4)
    assert trace.source == "19366 arrivals in azure_llm_2023_conv.csv"


def test_the_code_comes_in_bursts(code: Path) -> None:
    trace = read_trace(code)
    assert len(trace.tokens) == 8_819
    assert trace.texts_per_s == pytest.approx(8_818 / 3435.95, rel=1e-5)
    assert trace.peak_to_mean == pytest.approx(4.10, abs=0.005)
    assert trace.interarrival_cv2 == pytest.approx(173.0, abs=0.1)


def test_figures_agree_with_the_files_read_another_way(code: Path) -> None:
    """Microseconds since midnight, by hand: all arrivals are of one afternoon."""
    with code.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["TIMESTAMP"].split()[0] for row in rows} == {"2023-11-16"}
    times = []
    for row in rows:
        hours, minutes, seconds = row["TIMESTAMP"].split()[1].split(":")
        times.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    order = sorted(range(len(rows)), key=lambda k: (times[k], int(rows[k]["ContextTokens"])))
    first = times[order[0]]
    per_minute = [0] * 60
    for moment in times:
        per_minute[int((moment - first) // 60)] += 1
    trace = read_trace(code)
    assert trace.arrivals_s == pytest.approx([times[k] - first for k in order], abs=2e-6)
    assert trace.peak_to_mean == pytest.approx(max(per_minute) / 60 / trace.texts_per_s)
    assert sorted(trace.tokens) == sorted(int(row["ContextTokens"]) for row in rows)


# Forms of times and columns


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("time_s,tokens", ["0,5", "1.5,6", "3,7"]),
        ("TIMESTAMP,ContextTokens,GeneratedTokens", ["0,5,1", "1.5,6,1", "3,7,1"]),
        (" Time , Length ", ["0, 5", " 1.5 ,6 ", "3,7"]),
        ("length,arrival_s", ["5,100", "6,101.5", "7,103"]),
        (
            "timestamp,prompt_tokens",
            ["2026-11-21 10:00:00,5", "2026-11-21T10:00:01.5,6", "2026-11-21 10:00:03,7"],
        ),
        (
            "timestamp,input_tokens",
            ["2026-11-21T23:59:59Z,5", "2026-11-22T01:00:00.500+01:00,6", "2026-11-21T19:00:02-0500,7"],
        ),
        (
            "timestamp,tokens",
            [
                "2023-11-16 18:17:03.1234567,5",
                "2023-11-16 18:17:04.6234567,6",
                "2023-11-16 18:17:06.1234567,7",
            ],
        ),
        ("time_s,tokens", ["3,7", "0,5", "1.5,6"]),
        ("time_s,tokens", ["-1,5", "0.5,6", "2,7"]),
        ("time_s,note,tokens", ['0,"a, b",5', '1.5,"c\nd",6', "3,,7"]),
        ("time_s,tokens", ["0,5", "", "1.5,6", "3,7"]),
        ("time_s,tokens", ["1700000000,5", "1700000001.5,6", "1700000003,7"]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_forms_that_say_the_same(tmp_path: Path, header: str, rows: list[str], end: str, mark: bytes) -> None:
    """Names in any case and order, extra columns, any order of rows, time zones, CRLF, a byte-order mark."""
    trace = read_trace(write(tmp_path, mark + end.join([header, *rows, ""]).encode()))
    assert trace.arrivals_s == pytest.approx((0, 1.5, 3), abs=1e-6)
    assert trace.tokens == (5, 6, 7)
    assert trace.texts_per_s == pytest.approx(2 / 3)
    assert trace.source == "3 arrivals in trace.csv"


def test_the_clocks_here_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hour is lost or won in the night when the clocks of this country are changed."""
    rows = ["2026-10-25 01:30:00,5", "2026-10-25 03:30:00,6", "2026-10-25 04:30:00,7"]
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        trace = read_trace(write(tmp_path, "\n".join(["timestamp,tokens", *rows])))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert trace.arrivals_s == (0, 7200, 10_800)


# What a trace says


def test_evenly_spaced_arrivals_do_not_vary() -> None:
    trace = Trace(tuple(float(n) for n in range(121)), (5,) * 121, "here")
    assert trace.interarrival_cv2 == 0
    assert trace.peak_to_mean == 1


def test_poisson_arrivals_have_cv2_one() -> None:
    draw = random.Random(0)
    times = [0.0]
    while len(times) < 20_000:
        times.append(times[-1] + draw.expovariate(10))
    trace = Trace(tuple(times), (5,) * len(times), "here")
    assert trace.interarrival_cv2 == pytest.approx(1, abs=0.05)  # its standard error is √(8/n) = .02
    assert trace.texts_per_s == pytest.approx(10, rel=0.03)
    assert 1 < trace.peak_to_mean < 1.2  # a minute's 600 arrivals have a standard deviation of 24


def test_a_busy_minute_is_a_peak() -> None:
    quiet = [float(n) for n in range(0, 600, 2)]
    trace = Trace(tuple(sorted([*quiet, *(240 + n / 10 for n in range(600))])), (5,) * 900, "here")
    assert trace.peak_to_mean == pytest.approx((600 + 30) / 60 / (899 / 598))


@given(st.lists(st.floats(0, 500), min_size=1, max_size=40), st.floats(0.01, 500))
@example([0.0] * 9 + [89.9] * 9, 90.0)
def test_the_peak_is_never_below_the_mean(times: list[float], last: float) -> None:
    """A last minute that is not whole could make it so: half of the texts at 0 s, half at 90 s."""
    arrivals = sorted([0.0, *(t for t in times if t < last), last])
    assert Trace(tuple(arrivals), (1,) * len(arrivals), "here").peak_to_mean >= 1


def test_a_trace_shorter_than_a_minute_has_no_peak() -> None:
    assert Trace((0.0, 0.1, 0.2, 30.0), (5,) * 4, "here").peak_to_mean == 1


# What is no trace


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("time_s,tokens\n", "holds 0 arrivals; give at least two"),
        ("time_s,tokens\n0,5\n", "holds 1 arrival; give at least two"),
        ("time_s,tokens\n3,5\n3,6\n", "holds 2 arrivals, all at one time"),
        ("when,tokens\n0,5\n", r"columns are when, tokens: give a time \(timestamp"),
        ("time_s,characters\n0,5\n", r"a length \(contexttokens, tokens"),
        ("time_s;tokens\n0;5\n", "columns are time_s;tokens"),
        ("2026-11-21,5\n2026-11-22,6\n", "columns are 2026-11-21, 5"),
        (b"\x89PNG\r\n\x1a\n\xff", "cannot be read as CSV"),
        ("time_s,tokens\n0,5\n".encode("utf-16"), "cannot be read as CSV"),
        (b"time_s,tokens\n0,5\n1,\xff\n", "cannot be read as CSV"),
        # What csv takes as one field depends on who raised its limit before, in this process.
        ('time_s,tokens\n0,"' + "x" * 200_000 + '"\n', "cannot be read as CSV|line 2: tokens 'xxx"),
    ],
)
def test_a_file_that_is_no_trace(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_folder_or_nothing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(InputError, match="cannot be read as CSV") as caught:
            read_trace(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("yesterday,6", "time 'yesterday': expected ISO 8601 or seconds"),
        (",6", "time ''"),
        ("nan,6", "time 'nan'"),
        ("inf,6", "time 'inf'"),
        ("1e300,6", "time '1e300'"),
        ("1700000000000,6", "time '1700000000000'.*in no finer unit"),
        ("2026-13-01,6", "time '2026-13-01'"),
        ("2026-11-21 10:00:00,6", "is without a time zone, those above are a number"),
        ("1", "tokens ''"),
        ("1,", "tokens ''"),
        ("1,0", "tokens '0': expected a whole number of at least 1"),
        ("1,-5", "tokens '-5'"),
        ("1,5.5", "tokens '5.5'"),
        ("1,many", "tokens 'many'"),
        ("1,²", "tokens '²'"),
        ("1," + "9" * 5000, "tokens '999"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, f'time_s,tokens,note\n\n0,5,"two\nlines"\n{row}\n')
    with pytest.raises(RowError, match=message) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}: line 5: ")
    assert len(str(caught.value)) < len(str(path)) + 200


def test_times_with_and_without_a_zone_do_not_mix(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,tokens\n2026-11-21 10:00:00Z,5\n2026-11-21 10:00:01,6\n")
    with pytest.raises(RowError, match=r"line 3: .*without a time zone, those above are with a time zone"):
        read_trace(path)
