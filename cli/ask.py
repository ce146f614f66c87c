"""One question, one answer: recommend, search, history, explain, bias."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, CountOption, JsonOption, UserOption, WhereOption, WorkspaceOption

if TYPE_CHECKING:
    from ..agent.recommender import Recommender
    from ..catalog.filters import Filter


def opened(workspace: Path) -> Recommender:
    from ..agent.recommender import RULES, Recommender

    return Recommender.open(workspace, llm=RULES)


def filters(where: list[str] | None) -> tuple[Filter, ...]:
    from ..catalog.filters import parse_filter

    return tuple(parse_filter(text) for text in where or ())


def recommend(
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: CountOption = 10,
    where: WhereOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user, with reasons; nothing they have rated or seen."""
    from . import show

    with opened(workspace) as recommender:
        found = recommender.recommend(user, k=k, filters=filters(where), must_exist=True)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show.print_items(found)


def search(
    text: Annotated[str | None, typer.Argument(help="What it should be about.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="A picture to search by.")] = None,
    like: Annotated[list[str] | None, typer.Option("--like", help="Title or id of an item to be like.")] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Leave out what this user has seen.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: CountOption = 10,
    where: WhereOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search by words, by picture, by likeness to an item, or by several at once."""
    from ..errors import UserError
    from . import show

    if not text and image is None and not like:
        raise UserError("nothing to search by: give words, --image FILE, or --like TITLE")
    with opened(workspace) as recommender:
        found = recommender.search(text, image=image, like=like or (), filters=filters(where), user=user, k=k)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show.print_items(found)


def history(
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: CountOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Show what is on record for a user, newest first."""
    from rich.markdown import Markdown

    from . import show

    with opened(workspace) as recommender:
        recommender.require_user(user)
        turn = recommender.history(user, k=k)
    if as_json:
        typer.echo(turn.model_dump_json())
    else:
        show.console().print(Markdown(turn.reply))
        show.print_notices(turn.notices, simulated=turn.simulated)


def explain(
    item: Annotated[str, typer.Argument(help="Title or id.")],
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Say why an item would be recommended to a user, and what each reason rests on."""
    from . import show

    with opened(workspace) as recommender:
        recommender.require_user(user)
        found = recommender.explain(user, item)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show.print_items(found)
        show.console().print("Evidence:")
        show.print_evidence(found.evidence)


def bias(workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Print the causal report on popularity that was made at build time."""
    from rich.markup import escape

    from ..catalog.workspace import Workspace
    from ..causal.report import read_report
    from . import show

    build = Workspace(workspace).open()
    report = read_report(build.path / "causal.json")
    if as_json:
        typer.echo(report.model_dump_json())
        return
    show.console().print(escape(report.text()))
    for refutation in report.refutations:
        mark = "passed" if refutation.passed else "FAILED"
        show.console().print(
            f"  {mark}  {escape(refutation.name)}: effect {refutation.effect:+.4f}. {escape(refutation.note)}"
        )
    show.print_notices((), simulated=build.manifest.simulated)
