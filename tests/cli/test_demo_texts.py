"""Docstrings of the standard library: complete, in a fixed order, and nothing is imported for them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from farthing.bulk.records import Record
from farthing.cli.demo_texts import stdlib_docstrings

Put = Callable[[str, str], None]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(name: str, source: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))

    return write


@pytest.fixture(scope="module")
def own() -> list[Record]:
    return list(stdlib_docstrings())


def test_the_library_of_this_python(own: list[Record]) -> None:
    docs = dict(own)
    assert len(docs) == len(own) > 5000
    assert docs["textwrap.dedent"].startswith("Remove any common leading whitespace")
    assert docs["json"].startswith("JSON (JavaScript Object Notation)")
    assert any(name.endswith("datetime.strptime") for name in docs)
    assert all(text.strip() and text.encode() for text in docs.values())
    assert not any(name.startswith(("test.", "pip.", "numpy.")) for name in docs)
    assert not any(name.startswith(("idlelib.idle_test", "lib2to3.tests", "unittest.test.")) for name in docs)


def test_what_has_a_docstring(tmp_path: Path, put: Put) -> None:
    put("json/__init__.py", '"""Package."""\n')
    put(
        "json/decoder.py",
        '''
        """Module."""
        if True:
            def found(): "First."
        else:
            def found(): "Second."
        class Outer:
            """
            Class,
              indented.
            """
            async def method(self):
                """Method."""
                def inner():
                    """Inner."""
            class Silent:
                def deep(self): """Deep."""
        def none(): pass
        def empty(): """  """
        x = """No docstring."""
        ''',
    )
    put("ast.py", '"""Last in json, first by name."""')
    assert list(stdlib_docstrings(tmp_path)) == [
        ("ast", "Last in json, first by name."),
        ("json", "Package."),
        ("json.decoder", "Module."),
        ("json.decoder.found", "First."),
        ("json.decoder.Outer", "Class,\n  indented."),
        ("json.decoder.Outer.method", "Method."),
        ("json.decoder.Outer.method.inner", "Inner."),
        ("json.decoder.Outer.Silent.deep", "Deep."),
    ]


def test_what_is_skipped(tmp_path: Path, put: Put) -> None:
    for name in (
        "test/test_json.py",
        "json/tests/case.py",
        "unittest/test/case.py",
        "idlelib/idle_test/case.py",
        "lib2to3/tests/case.py",
        "site-packages/json.py",
        "dist-packages/json.py",
        "json/__pycache__/decoder.py",
        "not_of_python.py",
        "json/not-a-module.py",
    ):
        put(name, '"""Skipped."""')
    put("csv.py", '"""Broken."""\n(')
    put("copy.py", '"""Half a pair: \\ud800."""')
    (tmp_path / "ast.py").write_bytes(b'"""Latin \xe9."""')
    (tmp_path / "cmd.py").write_bytes(b'# coding: nonsense\n"""Unknown encoding."""')
    (tmp_path / "dis.py").write_bytes(b'"""NUL."""\0')
    (tmp_path / "bdb.py").symlink_to(tmp_path / "gone.py")
    (tmp_path / "code.py").mkdir()
    (tmp_path / "abc.py").write_bytes(b'# coding: latin-1\n"""Latin \xe9."""')
    assert list(stdlib_docstrings(tmp_path)) == [("abc", "Latin é.")]


def test_odd_escapes_do_not_warn(tmp_path: Path, put: Put) -> None:
    put("ast.py", '"""Odd \\d escape."""\nassert (1, "always true")\n')
    assert [record.text for record in stdlib_docstrings(tmp_path)] == [
        "Odd \\d escape."
    ]  # warnings are errors


def test_inside_a_virtual_environment(tmp_path: Path, own: list[Record]) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    code = (
        "import sys; from farthing.cli.demo_texts import stdlib_docstrings\n"
        "before = set(sys.modules); count = sum(1 for _ in stdlib_docstrings())\n"
        "print(sys.prefix != sys.base_prefix, count, *(set(sys.modules) - before))"
    )
    source = Path(sys.modules[stdlib_docstrings.__module__].__file__ or "").parents[2]
    result = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", code],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    inside, count, *imported = result.stdout.split()
    assert inside == "True"
    assert int(count) == len(own)
    assert {"antigravity", "idlelib", "this", "tkinter", "turtle"}.isdisjoint(imported)
    assert result.stderr == ""
