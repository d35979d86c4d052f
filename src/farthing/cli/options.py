"""Options that several commands share, spelled once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast, get_args

import click

from farthing.errors import InputError
from farthing.theory.host import DEFAULT_SERVER, SERVERS

if TYPE_CHECKING:
    from farthing.theory.dtypes import Dtype

model = click.option("--model", "-m", help="Model folder or hub id.", show_default="all-MiniLM-L6-v2")
revision = click.option(
    "--revision", help="Commit, branch or tag on the hub.", show_default="in the cache, else newest"
)
offline = click.option("--offline", is_flag=True, help="Never ask the hub for a model.")
device = click.option(
    "--device",
    default="local",
    help="What to run on: local (the processor), cuda or cuda:1.",
)
dtype = click.option(
    "--dtype",
    help="auto, fp32 or bf16; on cards also fp16 and fp8. auto: bf16 on a card, on a processor the faster of fp32 and "
    "bf16 whose vectors stay those in fp32.",
    show_default="from the configuration, else auto",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Cores of the processor to keep busy.",
    show_default="all that the process may use",
)
usd_per_hour = click.option(
    "--usd-per-hour",
    type=click.FloatRange(min=0),
    help="Price of the device.",
    show_default="from the configuration",
)
server = click.option(
    "--server",
    type=click.Choice(tuple(SERVERS)),
    default=DEFAULT_SERVER,
    help="Server before the devices, for what each request costs its processor.",
)
host_threads = click.option(
    "--host-threads", type=int, help="Threads of it beside each device.", show_default="published"
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def dtype_of(name: str | None) -> Dtype | Literal["auto"] | None:
    """Return a dtype by name, None for none.

    Raises:
        InputError: there is no such dtype.
    """
    from farthing.theory.dtypes import Dtype

    names = ("auto", *get_args(Dtype))
    if name is not None and name not in names:
        raise InputError(f"dtype {name!r}: use one of {', '.join(names)}")
    return cast('Dtype | Literal["auto"] | None', name)


def keep_to(threads: int | None) -> None:
    """Let the tokenizer, too, use no more cores; its library reads that from the environment when it starts."""
    import os

    if threads is not None:
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
