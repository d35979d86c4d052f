"""Wrong types of the public functions' arguments: each is an InputError that names the argument."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import farthing
from farthing.errors import InputError
from farthing.planning.prices import price_list

TODAY = datetime.date(2026, 11, 21)
MINILM = "all-MiniLM-L6-v2"
PUBLIC: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "explain": (farthing.explain, {"model": MINILM, "today": TODAY}),
    "plan": (farthing.plan, {"model": MINILM, "rate": 5, "devices": ["l4"], "today": TODAY}),
    "plan_corpus": (
        farthing.plan_corpus,
        {"model": MINILM, "corpus_tokens": 1e9, "deadline_s": 1e5, "devices": ["l4"], "today": TODAY},
    ),
    "price_list": (price_list, {"day": TODAY}),
}


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name, (f, _) in PUBLIC.items() for argument in inspect.signature(f).parameters],
)
def test_nothing_takes_any_object(name: str, argument: str) -> None:
    function, usual = PUBLIC[name]
    with pytest.raises(InputError, match=f"^{argument} is <object object at 0x[0-9a-f]+>: give "):
        function(**usual | {argument: object()})


@pytest.mark.parametrize(
    ("name", "argument", "bad", "give"),
    [
        ("plan", "p99_s", "x", "p99_s is 'x': give a number"),
        ("plan", "p99_s", None, "p99_s is None: give a number"),
        ("plan", "rate", True, "rate is True: give a number or None"),
        ("plan", "rate", Decimal(5), "give a number or None"),
        ("plan", "model", Path("folder"), "give text"),
        ("plan", "devices", "l4", "devices is 'l4': give a list of texts or None"),
        ("plan", "devices", ["l4", 5], "give a list of texts or None"),
        ("plan", "spot", 1, "spot is 1: give True or False"),
        ("plan", "host_threads", 2.0, "give a whole number or None"),
        ("plan", "count_tokens", 5, "give a function or None"),
        ("plan", "today", datetime.datetime(2026, 11, 21), "give a date or None"),
        ("explain", "length", "512", "length is '512': give a whole number or None"),
        ("explain", "calibration", {}, "calibration is {}: give text or a path or None"),
        ("price_list", "kind", "spots", "give 'on-demand' or 'spot'"),
    ],
)
def test_a_wrong_type_is_named_with_what_to_give(name: str, argument: str, bad: object, give: str) -> None:
    function, usual = PUBLIC[name]
    with pytest.raises(InputError) as caught:
        function(**usual | {argument: bad})
    assert give in str(caught.value)


def test_positional_arguments_are_looked_at_too() -> None:
    with pytest.raises(InputError, match=r"^model is 5: give text"):
        farthing.explain(5)  # type: ignore[arg-type]


def test_numpys_numbers_and_any_collection_will_do() -> None:
    function, usual = PUBLIC["plan"]
    given = {
        "rate": np.float32(5),
        "lengths": np.array([60, 70]),
        "devices": ("l4",),
        "host_threads": np.int64(1),
    }
    assert (
        function(**usual | given).rows
        == function(**usual | {"rate": 5.0, "lengths": [60, 70], "host_threads": 1}).rows
    )


def test_an_argument_that_does_not_exist_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        farthing.explain(MINILM, colour="red")  # type: ignore[call-arg]
