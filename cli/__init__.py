"""The command line: parse, call, print. No logic.

Exit codes: 0 fine, 1 it failed, 2 you asked for something impossible, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from ..errors import ToolError, TurnError, UserError
from . import ask, bias, building, chat, doctor, items, profile, replay, tune
from .options import Stopped, help_when_alone

app = typer.Typer(
    name="llm4rec",
    help="A conversational recommender that runs on this machine, with no key and no network.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(building.demo)
app.command("build")(building.build)
app.command("chat")(chat.chat)
app.command("recommend")(ask.recommend)
app.command("search")(ask.search)
app.command("history")(ask.history)
app.command("explain")(ask.explain)
app.command("bias")(bias.bias)
app.command("replay")(replay.replay)
app.add_typer(profile.app, name="profile")
app.add_typer(items.app, name="items")
app.command("tune")(tune.tune)
app.command("graph")(doctor.graph)
app.command("doctor")(doctor.doctor)

#: What typer raises for arguments that do not parse; where the class lives differs between its versions.
_Usage: type[Exception] = typer.BadParameter.__mro__[1]
#: Errors of the machine, not of the program: told in one line, as what a person can mend is.
_MACHINE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and stop.")
) -> None:
    if version:
        from .. import __version__

        typer.echo(f"llm4rec {__version__}")
        raise typer.Exit
    help_when_alone(ctx)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; what went wrong and is no bug is one line on stderr. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Log()])
    try:
        _check_text(arguments)
        code = app(list(arguments), prog_name="llm4rec", standalone_mode=False)
    except (UserError, ToolError) as error:
        return _told(str(error), 2)
    except TurnError as error:
        return _told(str(error), 1)
    except _Usage as error:
        return _told(_usage(error), 2)
    except (Stopped, typer.Abort, KeyboardInterrupt) as error:
        return _told(str(error) or "stopped", INTERRUPTED)
    except (OSError, sqlite3.DatabaseError) as error:
        if isinstance(error, OSError) and error.errno not in _MACHINE:
            raise
        return _told(str(error), 1)
    if code == INTERRUPTED:  # typer makes this of a KeyboardInterrupt
        return _told("stopped", INTERRUPTED)
    return int(code or 0)


class _Log(logging.Handler):
    """Log records on stderr, one line each: what a person needs of an error is in its first line."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and (error := record.exc_info[1]) is not None:
            text += f" ({type(error).__name__}: {error})"
        first = text.splitlines()[:1]
        typer.echo(f"llm4rec: {first[0] if first else record.name}", err=True)


def _check_text(arguments: Sequence[str]) -> None:
    """Names of files may be any bytes; everything else is text.

    Raises:
        UserError: an argument is not text in the terminal's encoding.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            if not Path(argument).exists():
                raise UserError(f"not valid text: {os.fsencode(argument)!r}") from None


def _told(text: str, code: int) -> int:
    typer.echo(f"llm4rec: {text}", err=True)
    return code


def _usage(error: BaseException) -> str:
    message = " ".join(getattr(error, "format_message", error.__str__)().split())
    context = getattr(error, "ctx", None)
    return f"{message.rstrip('.')} (see '{context.command_path if context else 'llm4rec'} --help')"


__all__ = ["app", "main", "run"]
