"""`farthing plan`: which devices, how many, at what price and latency; or the API."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from farthing.cli import options
from farthing.theory.host import DEFAULT_SERVER

if TYPE_CHECKING:
    from farthing.planning.answer import Plan
    from farthing.planning.corpus import CorpusPlan

ONLY_SERVICE = ("rate", "tokens_per_day", "trace", "replace_api", "monthly_usd", "peak_to_mean")
ONLY_SERVICE_BY_DEFAULT = {"batch_share": 0.0, "spare": 0, "server": DEFAULT_SERVER, "texts_per_request": 1}
"""What a corpus has not."""

_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}


def _amount(given: str) -> float:
    """Return a number as people write large ones: 2000000, 2_000_000, 2e6, 2M, 1.5B."""
    text = given.strip().lower().replace("_", "")
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        text = text.replace(",", "")
    factor = _SUFFIXES.get(text[-1:], 1.0)
    try:
        return float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        raise click.BadParameter(
            f"{given!r} is no amount: give a number such as 2000000, 2e6, 2M or 1.5B"
        ) from None


@click.command("plan")
@click.argument("model")
@click.option("--rate", type=float, help="Texts per second, mean over the day.")
@click.option(
    "--tokens-per-day",
    type=_amount,
    metavar="AMOUNT",
    help="Tokens per day instead of a rate: 2e9, 900M, 2B.",
)
@click.option("--trace", metavar="FILE", help="CSV of arrivals (timestamp, tokens) instead of a rate.")
@click.option("--replace-api", metavar="API", help="An API's model instead of a rate; with --monthly-usd.")
@click.option("--monthly-usd", type=_amount, metavar="AMOUNT", help="What that API costs a month now.")
@click.option(
    "--corpus-tokens",
    type=_amount,
    metavar="AMOUNT",
    help="Tokens of a corpus to embed once, instead of a rate.",
)
@click.option(
    "--corpus-texts", type=_amount, metavar="AMOUNT", help="Or its texts, of --lengths tokens: 10M, 2.5e6."
)
@click.option(
    "--deadline",
    type=float,
    metavar="HOURS",
    help="Hours until that corpus must be done; from 24 on, APIs are at their batch prices.",
    show_default="none: one device, however long it takes",
)
@click.option(
    "--usd-per-gb-month", type=float, help="Your price of storage, for what a corpus's vectors cost to keep."
)
@click.option(
    "--lengths",
    metavar="N|PROFILE|FILE",
    help="Tokens per text: a mean; queries, abstracts, conversations or code; or a file with one token count "
    "or one text per line.",
    show_default="300, or the trace's",
)
@click.option(
    "--p99-ms", type=float, default=200.0, help="Target: 99 % of the texts within this at the peak."
)
@click.option(
    "--peak-to-mean",
    type=float,
    help="Peak rate over mean rate.",
    show_default="2, or the trace's busiest minute",
)
@click.option("--spare", type=int, default=0, help="Replicas beside those that the target takes.")
@click.option("--spot", is_flag=True, help="Spot prices too, with what interruptions cost.")
@click.option(
    "--batch-share",
    type=float,
    default=0.0,
    help="Share of the texts, 0 to 1, that can wait: they fill idle time, or go to an API at its batch price.",
)
@click.option(
    "--devices",
    metavar="A,B",
    help="Only these devices.",
    show_default="all with a price; local with --calibration",
)
@click.option(
    "--providers",
    metavar="A,B",
    help="A row for each of their offers; all: for every provider's; market: marketplaces.",
    show_default="the median of those that list a price",
)
@click.option("--max-usd-per-hour", type=float, help="Budget for all devices together.")
@click.option("--usd-per-hour", type=float, help="Price of the one device in --devices.")
@click.option(
    "--dtype",
    help="fp32, bf16, fp16, fp8, int8, fp4 or int4.",
    show_default="bf16, fp16 where it lacks; local: what it would run in",
)
@click.option(
    "--calibration",
    metavar="FILE",
    help="What `farthing calibrate --output FILE` wrote on the one device in --devices.",
    show_default="local: what is kept",
)
@options.server
@options.host_threads
@click.option(
    "--texts-per-request", type=int, default=1, help="Texts that come, and are waited for, together."
)
@click.option("--csv", "as_csv", is_flag=True, help="The rows as CSV instead.")
@click.option("--plot", metavar="FILE", help="Draw cost against utilization, the APIs as lines (.svg, .png).")
@options.as_json
def plan(model: str, as_json: bool, as_csv: bool, plot: str | None, **given: Any) -> None:
    """Plan the cheapest devices and replicas that keep a latency target, and compare with the APIs.

    MODEL is a catalog name, a model folder or a hub id. Say how much is to be served with one of --rate,
    --tokens-per-day, --trace and --replace-api; or with --corpus-texts or --corpus-tokens what is to be embedded
    once. Works offline and without torch.
    """
    from farthing.cli.output import print_csv, print_json, tell

    for option in ("devices", "providers"):
        given[option] = None if given[option] is None else given[option].split(",")
    given["count_tokens"] = _counter(model, given["lengths"])
    result = _planned(model, {**given, "notify": tell}, plot)
    if as_csv:
        print_csv([asdict(row) for row in result.rows])
    elif as_json:
        print_json(result.as_dict())
    else:
        from farthing.cli.output import console
        from farthing.planning.answer import Plan

        if isinstance(result, Plan):
            from farthing.cli.views.plan_view import render_plan

            render_plan(result, console())
        else:
            from farthing.cli.views.plan_corpus_view import render_corpus_plan

            render_corpus_plan(result, console())


def _planned(model: str, given: dict[str, Any], plot: str | None) -> Plan | CorpusPlan:
    """Return the plan of a corpus if there is one, else that of a service, drawn if asked for."""
    from farthing.planning.plan import plan as plan_service
    from farthing.planning.plan import plan_corpus

    corpus = given.pop("corpus_tokens"), given.pop("corpus_texts")
    deadline, p99_ms = given.pop("deadline"), given.pop("p99_ms")
    if corpus == (None, None) and deadline is None:
        if given.pop("usd_per_gb_month") is not None:
            raise click.UsageError(
                "--usd-per-gb-month belongs to a corpus: give --corpus-texts or --corpus-tokens"
            )
        result = plan_service(model, p99_s=p99_ms / 1000, **given)
        if plot is not None:
            from farthing.report.cost_plot import draw_cost

            draw_cost(result, plot)
        return result
    if corpus == (None, None):
        raise click.UsageError("--deadline belongs to a corpus: give --corpus-texts or --corpus-tokens")
    extra = [name for name in ONLY_SERVICE if given.pop(name) is not None]
    extra += [name for name, default in ONLY_SERVICE_BY_DEFAULT.items() if given.pop(name) != default]
    extra += ["plot"] if plot is not None else []
    if extra:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
        raise click.UsageError(
            f"{names}: not for a corpus; leave it out, or leave out what says how large it is"
        )
    del given["notify"]
    seconds = None if deadline is None else deadline * 3600
    return plan_corpus(model, corpus_tokens=corpus[0], corpus_texts=corpus[1], deadline_s=seconds, **given)


def _counter(model: str, lengths: str | None) -> Any:
    """Return what counts the tokens of texts exactly, if lengths are a file and the tokenizer is here."""
    import os

    # Unlike Path.is_file, this takes any text: one that is too long for a name is no file either.
    if lengths is None or not os.path.isfile(os.path.expanduser(lengths)):  # noqa: PTH111, PTH113
        return None
    from farthing.engine.text.token_counts import token_counter_if_here

    return token_counter_if_here(model)
