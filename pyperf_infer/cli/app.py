# SPDX-License-Identifier: Apache-2.0
"""The commands, loaded when they are called, and what becomes of their errors."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from pyperf_infer import __version__
from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.errors import PyperfInferError

CANNOT_WRITE = 3
FAILED = 5

# name: (module, command in it, short help). The help stands here so that listing commands imports none of them.
_COMMANDS = {
    "run": ("pyperf_infer.cli.run", "run", "Time models on PyTorch and ONNX Runtime."),
    "profile": ("pyperf_infer.cli.profile", "profile", "Show where an inference goes, layer by layer."),
    "overhead": ("pyperf_infer.cli.overhead", "overhead", "Show how much of a request is Python."),
    "roofline": ("pyperf_infer.cli.roofline", "roofline", "Show how far models are from what the machine can do."),
    "count": ("pyperf_infer.cli.count", "count", "Count the operations and bytes of models."),
    "hardware": ("pyperf_infer.cli.hardware", "hardware", "Say what a model would take on devices that are not there."),
    "compare": ("pyperf_infer.cli.compare", "compare", "Say whether stored results differ, and by how much."),
    "selftest": ("pyperf_infer.cli.selftest", "selftest", "Measure how often this tool is wrong on this machine."),
    "models": ("pyperf_infer.cli.models", "models", "List the models there are, or describe one."),
}
_DEBUG = "--debug"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, command, _ = _COMMANDS[cmd_name]
        loaded: click.Command = getattr(import_module(module), command)
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"It can be {', '.join(_COMMANDS)}."
            ctx.fail(f"There is no command '{args[0]}'. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, _, help_text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="pyperf-infer")
@click.option(_DEBUG, is_flag=True, help="Show the traceback of an error. Goes before or after the command.")
def app(debug: bool) -> None:
    """Precise inference timing on PyTorch and ONNX Runtime, in a native loop.

    Example: pyperf-infer run resnet50
    """


def run_app(arguments: list[str]) -> int:
    """Runs one command and returns its exit code: 0 to 5 as README has them, 130 for Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C that the command did not handle itself.
    """
    # Closed by the caller (`>&-`): Python then has no stream at all, and every library would have to know.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    before, separator, after = _split(arguments)
    debug = _DEBUG in before
    arguments = [one for one in before if one != _DEBUG] + separator + after
    if debug:
        os.environ["PYPERF_INFER_DEBUG"] = "1"
    try:
        result: Any = app.main(arguments, prog_name="pyperf-infer", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        return _stdout_failed(error, debug)
    except SystemExit:  # click's answer to a reader that has gone (`| head`); its code would mean bad outputs here
        return 0
    except Exception as error:
        INTERRUPTS.check()  # an import that Ctrl-C broke off may end in any error
        _show(error, debug)
        return error.exit_code if isinstance(error, PyperfInferError) else FAILED
    return result if isinstance(result, int) else 0


def _split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    if "--" not in arguments:
        return arguments, [], []
    at = arguments.index("--")
    return arguments[:at], ["--"], arguments[at + 1 :]


def _show(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    elif isinstance(error, PyperfInferError):
        from pyperf_infer.reports.escape import printable

        click.echo("\n".join(map(printable, f"Error: {error}".splitlines())), err=True)
    else:
        click.echo(
            f"Error: {type(error).__name__}: {error}\nThis is a bug in pyperf-infer; --debug shows where.", err=True
        )


def _stdout_failed(error: OSError, debug: bool) -> int:
    """Standard output is closed (`| head`) or its disk is full. Python would try to flush it once more at its end."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if error.errno == errno.EPIPE:
        return 0
    if error.errno != errno.ENOSPC:
        _show(error, debug)
        return FAILED
    click.echo(f"Error: standard output cannot be written: {error.strerror}", err=True)
    return CANNOT_WRITE
