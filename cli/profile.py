"""``llm4rec profile``: what is known of a user; confirm, undo, forget, export, import; reset of the dials."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, JsonOption, ProfilesOption, UserOption, WorkspaceOption, help_when_alone

if TYPE_CHECKING:
    from ..agent.recommender import Recommender

app = typer.Typer(help="What is known of a user: show, confirm, reset-dials, undo, forget, export, import.")
app.callback(invoke_without_command=True)(help_when_alone)


def _opened(workspace: Path, profiles: str | None) -> Recommender:
    from .ask import opened

    return opened(workspace, profiles)


def lines_of(recommender: Recommender, user: str, *, thread: str | None = None) -> list[str]:
    """The profile as sentences, as known now; with a thread also what holds there tonight."""
    from ..tools.person import person_of

    return list(person_of(recommender.knowledge, user, thread=thread, now=time.time()).described)


@app.command()
def show(
    user: UserOption,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="As it was known then: a date, whose whole day counts, or a time, in UTC unless it names its zone "
            "(2026-05-03, 2026-05-03T18:30). The default is now.",
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe what is known of a user, with reasons: leanings, tastes, opinions, and how lists are made."""
    from ..tools.person import moment_of, moment_words, person_of

    now = time.time()
    moment = None if at is None else moment_of(at, now)  # refused before the workspace is opened
    with _opened(workspace, profiles) as recommender:
        recommender.require_user(user)
        person = person_of(recommender.knowledge, user, at=moment, now=now)
    if as_json:
        typer.echo(person.model_dump_json(exclude_none=True))
        return
    if moment is not None:
        typer.echo(f"As known on {moment_words(moment)}:")
    for line in person.described:
        typer.echo(line)


@app.command()
def confirm(
    term: Annotated[str, typer.Argument(help="What is inferred, as 'profile show' names it.")],
    user: UserOption,
    attribute: Annotated[
        str | None,
        typer.Option("--attribute", help="Its attribute; needed only where several attributes have the term."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
) -> None:
    """Say yes to something inferred: it becomes a taste that lasts. 'profile undo' takes it back."""
    from ..catalog.text import one_line
    from ..tools.person import confirm as confirmed

    with _opened(workspace, profiles) as recommender:
        recommender.require_user(user)
        event = confirmed(recommender.knowledge, user, term, attribute=attribute, now=time.time())
    typer.echo(f"Noted: you {'like' if event.polarity == 1 else 'do not like'} {one_line(event.term or '', 60)}.")


@app.command("reset-dials")
def reset_dials(
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
) -> None:
    """Put the dials that follow a user's verdicts back to where they start. 'profile undo' takes it back."""
    with _opened(workspace, profiles) as recommender:
        recommender.reset_dials(user)
    typer.echo("The dials are back where they start.")


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
    statement: Annotated[
        str | None,
        typer.Option(
            "--statement",
            help="Forget only one thing that was said: the term of a taste ('horror'), or the id of an event. The "
            "default is all.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without asking; the default is to ask.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a user, or what concerns one item or statement, from every store of the workspace, the log included.

    The receipt says what was removed, what is to be built again, and what is out of reach.
    """
    from ..errors import UserError

    if item is not None and statement is not None:
        raise UserError("--item and --statement exclude each other: leave one out")
    what = f"everything {user!r} ever said or did here, in the training log too"
    if item is not None:
        what = f"what {user!r} said of {item!r}, and did with it in the training log"
    if statement is not None:
        what = f"that {user!r} said {statement!r}"
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Erase {what}? This cannot be undone", err=True)):
        raise UserError("nothing was erased: answer yes, or pass --yes")
    with _opened(workspace, profiles) as recommender:
        receipt = recommender.forget(user, item=item, statement=statement)
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
