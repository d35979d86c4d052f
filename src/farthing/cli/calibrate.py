"""`farthing calibrate`: this machine's truth."""

from __future__ import annotations

import click

from farthing.cli import options


@click.command("calibrate")
@options.model
@options.revision
@options.offline
@options.device
@options.dtype
@options.threads
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write what was measured as JSON, for `explain` and `plan --calibration FILE` on any machine.",
)
@options.as_json
def calibrate(
    model: str | None,
    revision: str | None,
    offline: bool,
    device: str,
    dtype: str | None,
    threads: int | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Measure this machine's matrix peak and memory bandwidth, and the model's step times (about 15 s).

    Always measures anew; `embed` does it by itself when nothing valid is kept.
    """
    from pathlib import Path

    from rich.markup import escape

    from farthing.catalog.calibration_file import (
        calibration_document,
        check_calibration_path,
        write_calibration_file,
    )
    from farthing.catalog.calibrations import calibrations_folder
    from farthing.cli.output import console, print_json, side_console, status
    from farthing.embedding.steps import StepPath
    from farthing.engine.calibration.calibrate import calibrate_machine, calibrate_model, when_free
    from farthing.engine.calibration.dtypes import choose_dtype
    from farthing.engine.load import PROCESSOR_NAMES, load_model
    from farthing.units import format_count, format_seconds, format_si

    options.keep_to(threads)
    kind = options.dtype_of(dtype)
    file = None if output is None else check_calibration_path(Path(output))
    with status(side_console(), "loading the model") as shown:
        path = StepPath(
            load_model(model, revision=revision, offline=offline, device=device, dtype=kind, threads=threads)
        )

        def notify(line: str) -> None:
            shown.update(f"measuring {escape(line)}")
            if "others used" in line:
                side_console().print(escape(line), style="yellow")

        machine = when_free(lambda: calibrate_machine(path.model.engine, notify), notify)
        measured = when_free(lambda: calibrate_model(path.model, machine, path.run_alone, notify), notify)
        choice = (
            choose_dtype(path.model, notify) if path.model.automatic and device in PROCESSOR_NAMES else None
        )
    if file is not None:
        write_calibration_file(file, machine, measured)
    if as_json:
        print_json(calibration_document(machine, measured))
        return
    screen = console()
    screen.print(f"[bold]{escape(machine.machine)}[/bold]")
    screen.print(
        f"peak       {format_si(machine.peak_flops_per_s, 'FLOP/s')} ({escape(machine.peak_source)})"
    )
    screen.print(f"bandwidth  {format_si(machine.bandwidth_bytes_per_s, 'B/s')}, copy")
    tokenizer = 1 / measured.tokenization_s_per_token
    screen.print(f"tokenizer  {format_count(tokenizer)} tokens per processor second")
    screen.print(f"[bold]{escape(measured.model)}[/bold]: seconds of a step, {measured.streams} side by side")
    times = measured.step_times
    for length, row in zip(times.lengths, times.seconds, strict=True):
        cells = ", ".join(
            f"{n} tokens {format_seconds(s)}" for n, s in zip(times.step_tokens, row, strict=True)
        )
        screen.print(f"  length {length:>4}: {cells}")
    if choice is not None:
        screen.print(f"runs in {choice.dtype} unless it is told: {choice.reason}")
    also = "" if file is None else f", and in {escape(str(file))}"
    screen.print(f"kept in {escape(str(calibrations_folder()))}{also}")
