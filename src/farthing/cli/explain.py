"""`farthing explain`: what one forward pass costs on a device, and why."""

from __future__ import annotations

import click

from farthing.cli import options


@click.command("explain")
@click.argument("model")
@click.option(
    "--device",
    help="Device in the catalog, or local.",
    show_default="h100-sxm; local with --calibration",
)
@click.option(
    "--length", type=int, help="Tokens per text.", show_default="1024, or where the model cuts texts if lower"
)
@click.option("--batch", type=int, default=1, help="Texts per pass.")
@click.option(
    "--dtype",
    help="fp32, bf16, fp16, fp8, int8, fp4 or int4; without bf16 the default is fp16.",
    show_default="bf16; local: what it would run in",
)
@click.option(
    "--calibration",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="What `farthing calibrate --output FILE` measured there, instead of the datasheet.",
)
@options.server
@options.host_threads
@click.option(
    "--usd-per-hour", type=click.FloatRange(min=0), help="Price of the device.", show_default="catalog"
)
@click.option("--utilization", type=float, help="Price at this share of busy time, 0 to 1, too.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the roofline: .svg or .png."
)
@options.as_json
def explain(
    model: str,
    device: str | None,
    length: int | None,
    batch: int,
    dtype: str | None,
    calibration: str | None,
    server: str,
    host_threads: int | None,
    usd_per_hour: float | None,
    utilization: float | None,
    plot: str | None,
    as_json: bool,
) -> None:
    """Explain what one forward pass costs on a device: FLOPs, bytes, bound, seconds and price.

    Operation by operation, batch by batch, and beside the same weights as a text generator. MODEL is a
    catalog name, a model folder or a hub id. Works offline and without torch.
    """
    from farthing.planning.explain import explain as explain_pass

    if plot is not None:
        from farthing.report.style import picture_path

        picture_path(plot)
    explanation = explain_pass(
        model,
        device=device,
        length=length,
        batch=batch,
        dtype=dtype,
        usd_per_hour=usd_per_hour,
        utilization=utilization,
        calibration=calibration,
        server=server,
        host_threads=host_threads,
    )
    if plot is not None:
        from farthing.report.roofline_plot import draw_roofline
        from farthing.report.style import save

        save(draw_roofline(explanation), plot)
    if as_json:
        from farthing.cli.output import print_json

        print_json(explanation.as_dict())
        return
    from farthing.cli.output import console
    from farthing.cli.views.explain_view import render_explanation

    render_explanation(explanation, console())
