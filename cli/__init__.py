"""The command line: parse, call, print. No logic.

Exit codes: 0 fine, 1 it failed, 2 you asked for something impossible.
"""

from __future__ import annotations

import sys

import typer

from ..errors import ToolError, TurnError, UserError
from . import ask, building, chat, doctor, items, profile

app = typer.Typer(
    name="llm4rec",
    help="A conversational recommender that runs on this machine, with no key and no network.",
    no_args_is_help=True,
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
app.command("bias")(ask.bias)
app.add_typer(profile.app, name="profile")
app.add_typer(items.app, name="items")
app.command("graph")(doctor.graph)
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from .. import __version__

        typer.echo(f"llm4rec {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; what a person did wrong is one line on stderr and exit code 2."""
    try:
        app()
    except (UserError, ToolError) as error:
        typer.echo(f"llm4rec: {error}", err=True)
        sys.exit(2)
    except TurnError as error:
        typer.echo(f"llm4rec: {error}", err=True)
        sys.exit(1)


__all__ = ["app", "main"]
