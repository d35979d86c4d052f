"""`farthing explain`: what one forward pass costs on a device, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from farthing.cli import options


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Catalog name, model folder or hub id.")],
    device: Annotated[str, typer.Option("--device", help="Device in the catalog, or local.")] = "h100-sxm",
    length: Annotated[
        int | None,
        typer.Option("--length", help="Tokens per text.", show_default="1024, or the model's limit if lower"),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Texts per pass.")] = 1,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="fp32, bf16, fp16, fp8 or int8.", show_default="bf16; local: fp32"),
    ] = None,
    usd_per_hour: Annotated[
        float | None,
        typer.Option("--usd-per-hour", min=0, help="Price of the device.", show_default="catalog"),
    ] = None,
    utilization: Annotated[
        float | None,
        typer.Option("--utilization", help="Price at this share of busy time, 0 to 1, too."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Explain what one forward pass costs on a device: FLOPs, bytes, bound, seconds and price.

    Works offline and without torch.
    """
    from farthing.catalog.explain import explain as explain_pass
    from farthing.cli.explain_view import render_explanation
    from farthing.cli.output import console, print_json

    explanation = explain_pass(
        model,
        device=device,
        length=length,
        batch=batch,
        dtype=dtype,
        usd_per_hour=usd_per_hour,
        utilization=utilization,
    )
    if as_json:
        print_json(explanation.as_dict())
    else:
        render_explanation(explanation, console())
