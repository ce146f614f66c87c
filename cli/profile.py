"""``llm4rec profile``: what is known of a user; undo, forget, export, import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, JsonOption, ProfilesOption, UserOption, WorkspaceOption, help_when_alone

if TYPE_CHECKING:
    from ..agent.recommender import Recommender

app = typer.Typer(help="What is known of a user: show, undo, forget, export, import.")
app.callback(invoke_without_command=True)(help_when_alone)


def _opened(workspace: Path, profiles: str | None) -> Recommender:
    from .ask import opened

    return opened(workspace, profiles)


def lines_of(recommender: Recommender, user: str) -> list[str]:
    """The profile as sentences; the log is told by its size."""
    from ..profiles.describe import describe

    knowledge = recommender.knowledge
    logged = len(knowledge.interactions.of_user(user).items)
    lines = describe(recommender.profile(user), knowledge.title)
    if logged:
        lines.append(f"{logged} items are in your log (see 'llm4rec history').")
    return lines or ["Nothing is known yet."]


@app.command()
def show(
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe what is known of a user, with reasons."""
    with _opened(workspace, profiles) as recommender:
        recommender.require_user(user)
        if as_json:
            import json

            from ..profiles.transfer import export_user

            document = json.loads(export_user(recommender.knowledge.store, user))
            typer.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
            return
        for line in lines_of(recommender, user):
            typer.echo(line)


@app.command()
def undo(
    user: UserOption,
    event: Annotated[
        str | None, typer.Argument(help="Id of the event to take back; the default is the latest.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
) -> None:
    """Take back one piece of feedback, as if it had never been said."""
    with _opened(workspace, profiles) as recommender:
        typer.echo(f"Taken back: {recommender.undo(user, event)}.")


@app.command()
def forget(
    user: UserOption,
    item: Annotated[
        str | None,
        typer.Option("--item", help="Forget only what concerns one item (title or id); the default is all."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without asking; the default is to ask.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a user's events and threads (or one item's events) from the stores, free pages included."""
    what = f"what {user!r} said of {item!r}" if item else f"everything {user!r} ever said here"
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Erase {what}? This cannot be undone", err=True)):
        from ..errors import UserError

        raise UserError("nothing was erased: answer yes, or pass --yes")
    with _opened(workspace, profiles) as recommender:
        receipt = recommender.forget(user, item=item)
    typer.echo(receipt.model_dump_json() if as_json else receipt.text())


@app.command("export")
def export(
    user: UserOption,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; the default is stdout.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
) -> None:
    """Write a user's events as JSON, to read back with 'import' bit for bit."""
    from ..profiles.transfer import export_user, write_export

    with _opened(workspace, profiles) as recommender:
        recommender.require_user(user)
        if out is None:
            typer.echo(export_user(recommender.knowledge.store, user))
        else:
            write_export(recommender.knowledge.store, user, out)


@app.command("import")
def import_(
    user: UserOption,
    source: Annotated[Path, typer.Argument(help="A profile JSON written by 'export', or a CSV of item,value,time.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
) -> None:
    """Read a user's events from JSON, or a history from CSV."""
    with _opened(workspace, profiles) as recommender:
        done = recommender.import_profile(user, source)
    typer.echo(f"{done.new} events imported for {done.user}, {done.known} were known already.")
    for problem in done.problems:
        typer.echo(problem, err=True)
