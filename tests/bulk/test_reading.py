"""Reading: what comes in comes out, and what cannot is named in one line."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.bulk.reading import Record, Source, open_source
from farthing.errors import InputError, MissingExtraError, RowError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

any_text = st.text(st.characters(exclude_categories=["Cs"]))
texts_lists = st.lists(any_text, min_size=1, max_size=8)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

Make = Callable[[str, bytes | str], str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(name: str, content: bytes | str) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def texts(source: Source) -> list[str]:
    return [record.text for record in source]


def refusal(kind: type[Exception], call: Callable[[], object]) -> str:
    """The message of the error, which must be of exactly this kind and one line."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    return message


def pipe_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


class TestTxt:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"a\nb\n", ["a", "b"]),
            (b"a\nb", ["a", "b"]),
            (b"a\r\nb\r\n", ["a", "b"]),
            (b"\na\n\n\nb\n", ["", "a", "", "", "b"]),
            (b"\n", [""]),
            (b"  \n", ["  "]),
            (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
            ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
            (b"a\rb\n", ["a\rb"]),
        ],
    )
    def test_a_line_is_a_text(self, make: Make, content: bytes, expected: list[str]) -> None:
        assert texts(open_source(make("c.txt", content))) == expected

    def test_ids_are_row_numbers(self, make: Make) -> None:
        assert list(open_source(make("c.txt", "a\n\nb"))) == [("0", "a"), ("1", ""), ("2", "b")]

    @in_one_folder
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")), min_size=1))
    def test_round_trip(self, make: Make, expected: list[str]) -> None:
        # A file that begins with a byte-order mark loses it: that is what the mark is for.
        content = "\ufeff" + "".join(text + "\n" for text in expected)
        assert texts(open_source(make("c.txt", content))) == expected

    def test_fields_are_refused(self, make: Make) -> None:
        message = refusal(InputError, lambda: open_source(make("c.txt", "a"), id_field="key"))
        assert "c.txt" in message
        assert "'key'" in message

    def test_invalid_utf8_names_the_line(self, make: Make) -> None:
        message = refusal(RowError, lambda: texts(open_source(make("c.txt", b"a\nb\nc\xff\n"))))
        assert "c.txt: line 3: not UTF-8 (byte 0xff" in message

    def test_utf16_is_not_utf8(self, make: Make) -> None:
        message = refusal(RowError, lambda: texts(open_source(make("c.txt", "hello\n".encode("utf-16")))))
        assert "line 1" in message


class TestJsonl:
    @in_one_folder
    @given(texts_lists, st.booleans())
    def test_round_trip(self, make: Make, expected: list[str], ascii_only: bool) -> None:
        content = "\n".join(json.dumps({"text": text}, ensure_ascii=ascii_only) for text in expected)
        assert texts(open_source(make("c.jsonl", content))) == expected

    def test_fields_ids_and_blank_lines(self, make: Make) -> None:
        content = '\ufeff{"k": 7, "body": "a"}\r\n\n \t\n{"body": "b", "k": "x"}\n'
        source = open_source(make("c.ndjson", content), text_field="body", id_field="k")
        assert list(source) == [Record("7", "a"), Record("x", "b")]
        assert [record.id for record in open_source(source.name, text_field="body")] == ["0", "1"]

    @pytest.mark.parametrize(
        ("line", "culprit"),
        [
            (b'{"text": "b"', "broken JSON"),
            (b"nonsense", "broken JSON"),
            (b"[" * 100_000, "broken JSON"),
            (b'{"text": ' + b"9" * 5000 + b"}", "broken JSON"),
            (b'["b"]', "not a JSON object"),
            (b"3", "not a JSON object"),
            (b'{"body": "b", "n": 1}', "no field 'text'; there are: 'body', 'n'"),
            (b"{}", "no field 'text'; there are: none"),
            (b'{"text": null}', "'text' is null"),
            (b'{"text": 3}', "'text' is a number"),
            (b'{"text": true}', "'text' is a boolean"),
            (b'{"text": ["b"]}', "'text' is an array"),
            (b'{"text": {"a": "b"}}', "'text' is an object"),
            (b'{"text": "half \\ud800"}', "\\ud800"),
        ],
    )
    def test_a_bad_row_is_named(self, make: Make, line: bytes, culprit: str) -> None:
        path = make("c.jsonl", b'{"text": "a"}\n\n' + line + b'\n{"text": "c"}\n')
        message = refusal(RowError, lambda: texts(open_source(path)))
        assert "c.jsonl: row 1 (line 3): " in message
        assert culprit in message

    @pytest.mark.parametrize(
        ("value", "culprit"),
        [
            ("null", "'k' is null"),
            ("1.5", "'k' is a number"),
            ("true", "'k' is a boolean"),
            ('"\\udc00"', "\\udc00"),
        ],
    )
    def test_a_bad_id_is_named(self, make: Make, value: str, culprit: str) -> None:
        path = make("c.jsonl", f'{{"text": "a", "k": {value}}}')
        message = refusal(RowError, lambda: texts(open_source(path, id_field="k")))
        assert "row 0 (line 1)" in message
        assert culprit in message

    def test_a_missing_id_is_named(self, make: Make) -> None:
        path = make("c.jsonl", '{"text": "a"}')
        message = refusal(RowError, lambda: texts(open_source(path, id_field="k")))
        assert "no field 'k'; there are: 'text'" in message

    def test_a_pair_of_surrogates_is_a_character(self, make: Make) -> None:
        assert texts(open_source(make("c.jsonl", '{"text": "\\ud83d\\ude00"}'))) == ["😀"]

    def test_invalid_utf8_names_the_line(self, make: Make) -> None:
        path = make("c.jsonl", b'{"text": "a"}\n{"text": "\xc3"}\n')
        assert "line 2: not UTF-8" in refusal(RowError, lambda: texts(open_source(path)))

    def test_many_fields_are_not_all_listed(self, make: Make) -> None:
        path = make("c.jsonl", json.dumps({f"f{n}": n for n in range(500)}))
        message = refusal(RowError, lambda: texts(open_source(path)))
        assert "'f11' and 488 more" in message

    def test_a_field_named_with_a_newline_stays_on_one_line(self, make: Make) -> None:
        path = make("c.jsonl", json.dumps({"a\nb": 1}))
        assert r"'a\nb'" in refusal(RowError, lambda: texts(open_source(path)))


class TestCsv:
    @in_one_folder
    @given(texts_lists)
    def test_round_trip(self, make: Make, expected: list[str]) -> None:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
        writer.writerows([["n", "text"], *([n, text] for n, text in enumerate(expected))])
        source = open_source(make("c.csv", buffer.getvalue()), id_field="n")
        assert list(source) == [(str(n), text) for n, text in enumerate(expected)]

    def test_quotes_newlines_marks_and_blank_lines(self, make: Make) -> None:
        content = '\ufeffid,text\r\n7,"a, ""b""\nc"\r\n\r\n8,\r\n'
        assert texts(open_source(make("c.csv", content))) == ['a, "b"\nc', ""]

    @in_one_folder
    @given(texts_lists, st.booleans())
    def test_a_blank_line_is_a_row_of_one_field(self, make: Make, expected: list[str], quoted: bool) -> None:
        """Or later ids would be those of other rows."""
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([["text"], *([text] for text in expected)])
        content = buffer.getvalue()
        if not quoted:
            content = "".join("\n" if line == '""\n' else line for line in content.splitlines(keepends=True))
        rows = list(open_source(make("c.csv", content)))
        assert rows == [(str(row), text) for row, text in enumerate(expected)]

    def test_a_row_after_blank_lines_is_named_by_its_own_number(self, make: Make) -> None:
        path = make("c.csv", 'text\na\n\n"b" c\n')
        assert "c.csv: row 2 (line 4): broken CSV" in refusal(RowError, lambda: texts(open_source(path)))

    def test_a_field_of_any_size(self, make: Make) -> None:
        assert texts(open_source(make("c.csv", "text\n" + "x" * 1_000_000))) == ["x" * 1_000_000]

    def test_a_missing_column_names_those_there_are(self, make: Make) -> None:
        path = make("c.csv", "id;text\n1;a\n")
        message = refusal(InputError, lambda: texts(open_source(path)))
        assert "c.csv: no field 'text'; there are: 'id;text'" in message
        path = make("c.csv", "text\na\n")
        assert "no field 'k'" in refusal(InputError, lambda: texts(open_source(path, id_field="k")))

    def test_a_column_twice(self, make: Make) -> None:
        path = make("c.csv", "text,text\na,b\n")
        assert "two fields 'text'" in refusal(InputError, lambda: texts(open_source(path)))

    @pytest.mark.parametrize(
        ("row", "culprit"),
        [
            ("8", "1 fields where the header has 2"),
            ("8,a,b", "3 fields where the header has 2"),
            (',"b"', "'id' is empty"),
            ('8,"b" c', "broken CSV"),
            ('8,"never closed', "broken CSV"),
        ],
    )
    def test_a_bad_row_is_named(self, make: Make, row: str, culprit: str) -> None:
        path = make("c.csv", f'id,text\n7,"a\nb"\n{row}\n')
        message = refusal(RowError, lambda: texts(open_source(path, id_field="id")))
        assert "c.csv: row 1 (line 4): " in message
        assert culprit in message

    def test_no_header(self, make: Make) -> None:
        assert "has no header" in refusal(InputError, lambda: texts(open_source(make("c.csv", "\n\n"))))

    def test_invalid_utf8_names_the_line(self, make: Make) -> None:
        path = make("c.csv", b"text\na\n\xe9t\xe9\n")
        assert "line 3: not UTF-8" in refusal(RowError, lambda: texts(open_source(path)))


class TestParquet:
    @staticmethod
    def write(folder: Path, **columns: pa.Array) -> str:
        path = str(folder / "c.parquet")
        pq.write_table(pa.table(columns), path, row_group_size=3)
        return path

    @in_one_folder
    @given(
        texts_lists,
        st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
        st.sampled_from([pa.string(), pa.int64(), pa.dictionary(pa.int32(), pa.string())]),
    )
    def test_round_trip(
        self, tmp_path: Path, expected: list[str], text_type: pa.DataType, id_type: pa.DataType
    ) -> None:
        ids = [n if id_type == pa.int64() else str(n) for n in range(5, 5 + len(expected))]
        path = self.write(
            tmp_path,
            other=pa.array([[1.0]] * len(expected)),
            key=pa.array(ids, id_type),
            text=pa.array(expected, pa.string()).cast(text_type),
        )
        source = open_source(path, id_field="key")
        assert list(source) == [(str(n + 5), text) for n, text in enumerate(expected)]
        assert [record.id for record in open_source(path)] == [str(n) for n in range(len(expected))]

    def test_one_column_as_text_and_id(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, text=pa.array(["a", "b"]))
        assert list(open_source(path, id_field="text")) == [("a", "a"), ("b", "b")]

    def test_rows_are_counted_over_batches(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, text=pa.array(["a"] * 1300 + [None]))
        message = refusal(RowError, lambda: texts(open_source(path)))
        assert "c.parquet: row 1300: field 'text' is null" in message

    @pytest.mark.parametrize("encoding", ["dictionary", "plain"])
    def test_a_small_file_of_long_texts_is_read_in_bounded_memory(
        self, tmp_path: Path, encoding: str
    ) -> None:
        """512 times the same 200 kB are 500 bytes on disk; 512 rows at a time took 317 MB."""
        path = str(tmp_path / "c.parquet")
        pq.write_table(
            pa.table({"text": ["x" * 200_000] * 512}),
            path,
            use_dictionary=encoding == "dictionary",
            write_batch_size=1,  # or a page of plain texts would hold them all
        )
        reading = (
            "import resource, sys; from farthing.bulk.reading import open_source;"
            "import pyarrow.parquet; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
            "print(sum(len(record.text) for record in open_source(sys.argv[1])));"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        )
        done = subprocess.run(
            [sys.executable, "-c", reading, path], capture_output=True, text=True, check=True
        )
        characters, grown = map(int, done.stdout.split())
        assert characters == 512 * 200_000
        assert grown * 1024 < 100e6

    def test_a_null_id(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, text=pa.array(["a", "b"]), key=pa.array([1, None]))
        message = refusal(RowError, lambda: texts(open_source(path, id_field="key")))
        assert "row 1: field 'key' is null" in message

    def test_invalid_utf8_names_the_row(self, tmp_path: Path) -> None:
        bad = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
        message = refusal(RowError, lambda: texts(open_source(self.write(tmp_path, text=bad))))
        assert "row 1: field 'text' is not UTF-8" in message

    def test_a_missing_column_names_those_there_are(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, body=pa.array(["a"]), n=pa.array([1]))
        message = refusal(InputError, lambda: texts(open_source(path)))
        assert "no field 'text'; there are: 'body', 'n'" in message
        message = refusal(InputError, lambda: texts(open_source(path, text_field="body", id_field="k")))
        assert "no field 'k'" in message

    @pytest.mark.parametrize("values", [[1, 2], [1.5], [["a"]], [{"a": "b"}], [None], [b"a"]])
    def test_a_column_of_another_type(self, tmp_path: Path, values: list[object]) -> None:
        path = self.write(tmp_path, text=pa.array(values))
        message = refusal(InputError, lambda: texts(open_source(path)))
        assert "'text' holds" in message
        assert "not strings" in message

    def test_ids_of_another_type(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, text=pa.array(["a"]), key=pa.array([1.5]))
        message = refusal(InputError, lambda: texts(open_source(path, id_field="key")))
        assert "'key' holds double, not strings or integers" in message

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"id,text\n1,a\n", b"PAR1" + bytes(40) + b"PAR1"])
    def test_not_really_a_parquet(self, make: Make, content: bytes) -> None:
        path = make("c.parquet", content)
        message = refusal(InputError, lambda: texts(open_source(path)))
        assert "c.parquet: not a readable Parquet file" in message

    def test_damaged_in_the_middle(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, text=pa.array([str(n) * 50 for n in range(1000)]))
        content = bytearray(Path(path).read_bytes())
        content[4:2000] = b"\xff" * 1996
        Path(path).write_bytes(content)
        message = refusal(InputError, lambda: texts(open_source(path)))
        assert "c.parquet: not a readable Parquet file" in message

    def test_no_rows(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, text=pa.array([], pa.string()))
        assert "holds no texts" in refusal(InputError, lambda: texts(open_source(path)))

    def test_without_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.write(tmp_path, text=pa.array(["a"]))
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        message = refusal(MissingExtraError, lambda: texts(open_source(path)))
        assert "farthing[cpu]" in message


class TestStdin:
    def test_is_read_as_lines_and_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pipe_in(monkeypatch, b"\xef\xbb\xbfa\r\n\nb")
        source = open_source("-")
        assert list(source) == list(source) == [("0", "a"), ("1", ""), ("2", "b")]
        assert source.name == "-"
        assert source.describe().path is None

    def test_two_iterations_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = [f"line {n}" for n in range(20_000)]
        pipe_in(monkeypatch, "\n".join(lines).encode())
        source = open_source("-")
        assert all(one == other for one, other in zip(source, source, strict=True))
        assert texts(source) == lines

    def test_the_limit_ends_an_endless_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Endless(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: WriteableBuffer) -> int:
                memoryview(buffer)[:2] = b"y\n"
                return 2

        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
        assert texts(open_source("-", limit=3)) == ["y"] * 3

    def test_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pipe_in(monkeypatch, b"")
        assert refusal(InputError, lambda: texts(open_source("-"))).startswith("-: holds no texts")
        pipe_in(monkeypatch, b"a\n\xff")
        assert refusal(RowError, lambda: texts(open_source("-"))).startswith("-: line 2: not UTF-8")
        pipe_in(monkeypatch, b"a")
        assert "no fields" in refusal(InputError, lambda: open_source("-", id_field="k"))
        monkeypatch.setattr(sys, "stdin", None)
        assert "no standard input" in refusal(InputError, lambda: open_source("-"))


class TestOpenSource:
    def test_is_iterated_from_the_start_each_time(self, make: Make) -> None:
        source = open_source(make("c.TXT", "a\nb\n"))
        iterator = iter(source)
        assert next(iterator).text == "a"
        assert texts(source) == ["a", "b"]
        assert next(iterator).text == "b"

    @pytest.mark.parametrize(("limit", "expected"), [(1, ["a"]), (2, ["a", "b"]), (9, ["a", "b"])])
    def test_limit(self, make: Make, limit: int, expected: list[str]) -> None:
        assert texts(open_source(make("c.txt", "a\nb\n"), limit=limit)) == expected

    @pytest.mark.parametrize("limit", [0, -3])
    def test_limit_not_positive(self, make: Make, limit: int) -> None:
        path = make("c.txt", "a")
        assert str(limit) in refusal(InputError, lambda: open_source(path, limit=limit))

    def test_description(self, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        make("c.jsonl", '{"t": "a"}')
        monkeypatch.chdir(tmp_path)
        source = open_source("c.jsonl", text_field="t", limit=4)
        status = (tmp_path / "c.jsonl").stat()
        assert source.name == "c.jsonl"
        assert json.loads(source.describe().to_json()) == {
            "path": str(tmp_path / "c.jsonl"),
            "size_bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "text_field": "t",
            "id_field": None,
            "limit": 4,
        }

    def test_missing_file(self, tmp_path: Path) -> None:
        for name in ("gone.txt", "gone.docx"):
            message = refusal(InputError, lambda name=name: open_source(str(tmp_path / name)))  # type: ignore[misc]
            assert f"{name}: no such file" in message

    def test_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "c.txt"):
            path.mkdir(exist_ok=True)
            assert "is a folder" in refusal(InputError, lambda path=path: open_source(str(path)))  # type: ignore[misc]

    @pytest.mark.parametrize("name", ["c.docx", "c", "c.txt.gz", ".txt"])
    def test_unknown_extension_names_the_known(self, make: Make, name: str) -> None:
        path = make(name, "a")
        message = refusal(InputError, lambda: open_source(path))
        assert path in message
        assert ".txt, .jsonl, .ndjson, .csv, .parquet" in message

    @pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.csv"])
    @pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
    def test_empty_file(self, make: Make, name: str, content: bytes) -> None:
        path = make(name, content)
        message = refusal(InputError, lambda: texts(open_source(path)))
        assert name in message

    def test_no_rows(self, make: Make) -> None:
        for path in (make("c.jsonl", " \n\n"), make("c.csv", "id,text\n")):
            message = refusal(InputError, lambda path=path: texts(open_source(path)))  # type: ignore[misc]
            assert "holds no texts" in message

    def test_unreadable(self, tmp_path: Path) -> None:
        # Tests may run as root, who may read anything: a loop of links is closed to root too.
        path = tmp_path / "c.txt"
        path.symlink_to(path)
        assert "c.txt: cannot be read" in refusal(InputError, lambda: open_source(str(path)))

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
    def test_a_failing_read(self, tmp_path: Path) -> None:
        path = tmp_path / "c.txt"
        path.symlink_to("/proc/self/mem")  # opens, and fails at the first byte
        source = open_source(str(path))
        assert "c.txt: cannot be read" in refusal(InputError, lambda: texts(source))

    def test_a_named_pipe_does_not_block(self, tmp_path: Path) -> None:
        path = tmp_path / "c.txt"
        os.mkfifo(path)
        assert "not a regular file" in refusal(InputError, lambda: open_source(str(path)))

    def test_strange_names(self, make: Make) -> None:
        assert "no path" in refusal(InputError, lambda: open_source("a\0.txt"))
        assert r"a\nb.txt" in refusal(InputError, lambda: open_source("a\nb.txt"))
        assert "is a folder" in refusal(InputError, lambda: open_source(""))

    def test_a_file_that_changes_is_noticed(self, make: Make) -> None:
        source = open_source(make("c.txt", "a\nb\n"))
        assert texts(source) == ["a", "b"]
        make("c.txt", "a\nb\nc\n")
        assert "has changed" in refusal(InputError, lambda: texts(source))
