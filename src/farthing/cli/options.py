"""Options that several commands share, spelled once."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from farthing.errors import InputError
from farthing.theory.devices import Dtype

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model folder or hub id.", show_default="all-MiniLM-L6-v2"),
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Commit, branch or tag on the hub.", show_default="newest")
]
Device = Annotated[str, typer.Option("--device", help="What to run on: local.")]
DtypeName = Annotated[
    str, typer.Option("--dtype", help="fp32, or bf16 on processors that have it (faster, less exact).")
]
UsdPerHour = Annotated[
    float | None,
    typer.Option("--usd-per-hour", min=0, help="Price of the device.", show_default="from the configuration"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def dtype_of(name: str) -> Dtype:
    """Return a dtype by name.

    Raises:
        InputError: there is no such dtype.
    """
    if name not in get_args(Dtype):
        raise InputError(f"dtype {name!r}: use one of {', '.join(get_args(Dtype))}")
    return cast(Dtype, name)
