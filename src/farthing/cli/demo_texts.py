"""Real text that every Python carries: the docstrings of its own standard library."""

from __future__ import annotations

import ast
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

from farthing.bulk.records import Record

SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})


def stdlib_docstrings(folder: Path | None = None) -> Iterator[Record]:
    """Yield the docstrings of all modules, classes and functions, tests excepted, in a fixed order.

    Sources are parsed, never imported; a file that cannot be parsed is skipped. Ids are
    qualified names, such as `datetime.datetime.strptime`; where a name is defined more than once,
    its first docstring counts.

    Args:
        folder: the library's sources; None is this Python's own, also within a virtual environment.
    """
    root = Path(sysconfig.get_paths()["stdlib"]) if folder is None else folder
    for path in _module_files(root):
        tree = _parsed(path)
        if tree is None:
            continue
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        seen: set[str] = set()
        for name, text in _docstrings(tree, module):
            if name not in seen:
                seen.add(name)
                yield Record(name, text)


def _module_files(root: Path) -> list[Path]:
    """Return the library's modules in the order of their names.

    Distributions put more into the folder (patches, build scripts); Python knows what is its own.
    """
    files = []
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        is_own = parts[0] in sys.stdlib_module_names and all(part.isidentifier() for part in parts)
        if is_own and SKIPPED_FOLDERS.isdisjoint(parts[:-1]):
            files.append(path)
    return sorted(files)


def _parsed(path: Path) -> ast.Module | None:
    try:
        with tokenize.open(path) as file:  # honours the file's own encoding line
            source = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in the library's strings are not ours to report
            return ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _docstrings(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node)
    if text and _is_encodable(text):
        yield name, text
    for child in _definitions(node):
        yield from _docstrings(child, f"{name}.{child.name}")


def _definitions(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield what is defined directly in a node, also under its `if` and `try` statements."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        else:
            yield from _definitions(child)


def _is_encodable(text: str) -> bool:
    # A docstring that speaks of surrogates may hold one, and no UTF-8 stands for it.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
