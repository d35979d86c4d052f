"""Arguments of the public functions: one of the wrong type is named, and does not fail somewhere inside.

Knows annotations. Whether a value of the right type makes sense is for the function to say.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from farthing.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = {
    NoneType: "None",
    bool: "True or False",
    datetime.date: "a date",
    float: "a number",
    int: "a whole number",
    Path: "a path",
    str: "text",
    Callable: "a function",
    Sequence[int]: "whole numbers",
    Sequence[str]: "a list of texts",
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that refuses arguments that are not of their annotated types.

    numpy's numbers become Python's. Of a sequence, only texts are looked at one by one.

    Args:
        function: its parameters are annotated with names that its module has when it is called.

    Raises:
        InputError: by the function that is returned: an argument is of another type; it is named.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        annotations = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
        hints = get_type_hints(SimpleNamespace(__annotations__=annotations), function.__globals__)
        for name, value in (*zip(hints, args, strict=False), *kwargs.items()):
            if name in hints and not _fits(value, hints[name]):
                raise InputError(f"{name} is {repr(value)[:60]}: give {' or '.join(_words(hints[name]))}")
        plain = {name: _plain(value) for name, value in kwargs.items()}
        return function(*map(_plain, args), **plain)  # type: ignore[arg-type]

    return call


def _plain(value: object) -> object:
    """Return a number of another library as Python's own, which JSON knows."""
    if isinstance(value, int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _fits(value: object, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if kind is Literal:
        return value in get_args(hint)
    if kind in (float, int):
        return isinstance(value, Real if kind is float else Integral) and not isinstance(value, bool)
    if kind is datetime.date:  # a datetime is a date, but cannot be compared with one
        return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    if kind is Sequence:
        if not isinstance(value, Iterable) or isinstance(value, str | bytes):
            return False
        return hint != Sequence[str] or all(isinstance(one, str) for one in value)
    return isinstance(value, kind)


def _words(hint: Any) -> list[str]:
    """Return what may be given, in words."""
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return [words for one in get_args(hint) for words in _words(one)]
    if kind is Literal:
        return [repr(one) for one in get_args(hint)]
    return [_WORDS.get(hint) or _WORDS.get(kind) or f"a {kind.__name__}"]
