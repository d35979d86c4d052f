"""The `farthing` command: its subcommands, and what happens when one fails.

A failure is one line: what, where, what to do. Exit codes: 0 done; 2 bad input or usage; 1 anything else;
130 interrupted. `--debug` anywhere on the line adds the traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from typing import Any

import click

from farthing.cli.output import make_lossless, print_line, printable
from farthing.errors import FarthingError, missing_extra

INTERRUPTED = 130

COMMANDS = {
    "embed": "embed",
    "search": "search",
    "serve": "serve",
    "explain": "explain",
    "plan": "plan",
    "prices": "prices",
    "calibrate": "calibrate",
    "doctor": "doctor",
    "fetch-model": "fetch_model",
    "demo": "demo",
}
"""Name of each command → its module in this room, whose function of the same name is the command."""


class _Commands(click.Group):
    """Subcommands that are imported when they are asked for: a question of cost is answered at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None when there is none of this name."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(f"farthing.cli.{module}"), module)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt is passed on as click's own, which else writes an empty line before."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; of a misspelt one, say which was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.format_message()} Did you mean {near[0]!r}?", ctx) from None


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"farthing {version('farthing')}\n")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110},
    epilog="--debug anywhere on the line adds the traceback to an error. "
    "Exit codes: 0 done, 2 bad input or usage, 1 anything else, 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def app() -> None:
    """Text embeddings at the cost of compute: predict, run, bill and prove what a million tokens costs."""


def run() -> None:
    """Run the command line and leave with its exit code."""
    make_lossless()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # ends a run as Ctrl-C does: nothing is left behind
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
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app.main(arguments or ["--help"], prog_name="farthing", standalone_mode=False)
        if not arguments:
            return 2
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        # Usage errors carry the context of the command that was misused.
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "farthing"
        _report(f"{error.format_message()} (see `{where} --help`)", error, debug)
        return 2
    except FarthingError as error:
        _report(str(error), error, debug)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
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
        import traceback

        sys.stderr.write(printable("".join(traceback.format_exception(error))))
    print_line(f"farthing: {message}", sys.stderr)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if not issubclass(category, DeprecationWarning | PendingDeprecationWarning):
        print_line(f"farthing: warning: {message}", sys.stderr)
