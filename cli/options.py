"""What several commands share: options, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_WORKSPACE = Path("workspace")


class Stopped(Exception):
    """Ctrl-C, with what to say about it."""


def help_when_alone(ctx: typer.Context) -> None:
    """Print the help of a group that was called without a command."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit


WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", "-w", envvar="LLM4REC_WORKSPACE", help="Folder of the workspace.", show_default=True),
]
UserOption = Annotated[str, typer.Option("--user", "-u", help="Whose history and profile it is about.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON for scripts and nothing else; the default is text.")
]
CountOption = Annotated[int, typer.Option("-k", help="How many items to list, from 1 to 50.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Keep only what passes a filter: 'year>=1990', 'genres=Comedy', 'genres!=Horror', 'cast~hanks', "
        "'price<=20'. It may be repeated; the default is no filter.",
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm",
        envvar="LLM4REC_LLM",
        help="Language model: a GGUF path, hf:owner/repo/file.gguf, an OpenAI-compatible URL (URL#model), "
        "or 'rules' for none. The default is the bundled SmolLM2-135M.",
    ),
]
ProfilesOption = Annotated[
    str | None,
    typer.Option(
        "--profiles",
        envvar="LLM4REC_PROFILES",
        help="Where what is known of users is kept: a file, or postgresql://USER@HOST/DATABASE?schema=NAME (a password "
        "belongs into ~/.pgpass). The default is a SQLite file in the workspace.",
    ),
]
AdapterOption = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        help="LoRA adapter (GGUF) for the language model. The default is the one that comes for the bundled model, if "
        "any, and none for others.",
    ),
]
ExploreOption = Annotated[
    float | None,
    typer.Option(
        "--explore",
        help="How far lists explore where little is known of the user, from 0 (not at all) to 1. The default is the "
        "user's own dial, which starts at 0.",
    ),
]
DebiasOption = Annotated[
    float | None,
    typer.Option(
        "--debias",
        help="How much of what makes items likely for everybody is taken off their scores, from 0 (nothing) to 1. The "
        "default is what the causal report derives ('llm4rec bias').",
    ),
]
