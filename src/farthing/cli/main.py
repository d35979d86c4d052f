"""The `farthing` command: its subcommands, and what happens when one fails.

A failure is one line: what, where, what to do. Exit codes: 0 done; 2 bad input or usage; 1 anything else;
130 interrupted. `--debug` anywhere on the line adds the traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from farthing.cli import calibrate, demo, doctor, embed, explain, fetch_model, search
from farthing.errors import FarthingError, missing_extra

INTERRUPTED = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"farthing {version('farthing')}\n")
        raise typer.Exit


app = typer.Typer(
    name="farthing",
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Text embeddings at the cost of compute: predict, run, bill and prove what a million tokens costs.",
    epilog="`--debug` anywhere on the line adds the traceback to an error. "
    "Exit codes: 0 done, 2 bad input or usage, 1 anything else, 130 interrupted.",
)


@app.callback()
def _global_options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options that come before a command."""


app.command("embed")(embed.embed)
app.command("search")(search.search)
app.command("explain")(explain.explain)
app.command("calibrate")(calibrate.calibrate)
app.command("doctor")(doctor.doctor)
app.command("fetch-model")(fetch_model.fetch_model)
app.command("demo")(demo.demo)


def run() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line.

    Args:
        arguments: what follows the program's name.

    Returns:
        The exit code.
    """
    debug = "--debug" in arguments or bool(os.environ.get("FARTHING_DEBUG"))
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = typer.main.get_command(app).main(
            arguments or ["--help"], prog_name="farthing", standalone_mode=False
        )
        if code == INTERRUPTED:  # how typer hands on a KeyboardInterrupt
            raise KeyboardInterrupt
        if not arguments:
            return 2
        return code if isinstance(code, int) else 0
    except TyperException as error:
        # Usage errors carry a context; their classes are not public since typer has a click of its own.
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "farthing"
        _report(f"{error.format_message()} (see `{where} --help`)", error, debug)
        return 2
    except FarthingError as error:
        _report(str(error), error, debug)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort) as error:
        _report("interrupted; no output was left half-written", error, debug)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; there is no one to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last line of defence: still one line, still no lost output
        absent = missing_extra(error, f"`farthing {arguments[0]}`") if arguments else None
        _report(
            f"unexpected {type(error).__name__}: {error}; run again with --debug and report it"
            if absent is None
            else str(absent),
            error,
            debug,
        )
        return 1


def _report(message: str, error: BaseException, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"farthing: {' '.join(message.split())}\n")
