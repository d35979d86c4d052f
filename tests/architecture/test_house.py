"""The house: no import runs in a circle, no room is crowded, and four of them together are no larger than they were."""

from __future__ import annotations

import ast
import tokenize
from pathlib import Path

import grimp
import pytest

import farthing

SOURCE = Path(farthing.__file__).parent

MOST_MODULES = 14
"""Of a folder, `__init__.py` not counted."""

MOST_LINES = 6800
"""Of code, in these rooms together; without docstrings, comments and blank lines. 5,464 held the engine before families
with parts of their own (T5, ALBERT, ALiBi, static tables), texts of any length, the choice of a dtype, learning,
regions that a card compiles one by one, and what transformers makes of a tokenizer_config.json."""
ROOMS = ("engine", "embedding", "scheduling", "bulk")


def test_no_import_runs_in_a_circle() -> None:
    """Wherever it stands in a module, and if it is for types alone."""
    graph = grimp.build_graph("farthing", exclude_type_checking_imports=False, cache_dir=None)
    imports = [
        (name, other) for name in graph.modules for other in graph.find_modules_directly_imported_by(name)
    ]
    assert len(imports) > len(graph.modules)
    assert [pair for pair in sorted(imports) if graph.chain_exists(importer=pair[1], imported=pair[0])] == []


FOLDERS = {str(path.parent.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")}


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_room_is_not_crowded(folder: str) -> None:
    modules = sorted(path.stem for path in (SOURCE / folder).glob("*.py") if path.stem != "__init__")
    assert len(modules) <= MOST_MODULES, modules


def test_no_more_code_than_it_takes() -> None:
    lines = {room: sum(map(code_lines, (SOURCE / room).rglob("*.py"))) for room in ROOMS}
    assert sum(lines.values()) <= MOST_LINES, lines


def test_lines_of_code_are_what_they_are_called(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    text = (
        '"""A\n\nb."""\n\nx = """\ny\n"""  # why\n\n# why\ndef f(a,\n\n      b):\n    "doc"\n    return a\n'
    )
    path.write_text(text, encoding="utf-8")
    assert code_lines(path) == 3 + 2 + 1


EMPTY = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}


def code_lines(path: Path) -> int:
    """Return the lines of a module that hold code; docstrings, of attributes too, comments and blanks are none."""
    held: set[int] = set()
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if tokenize.tok_name[token.type] not in EMPTY:
                held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                held.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(held)
