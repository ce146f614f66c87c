"""One question, one answer: recommend, search, history, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_WORKSPACE,
    CountOption,
    DebiasOption,
    ExploreOption,
    JsonOption,
    ProfilesOption,
    UserOption,
    WhereOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from ..agent.recommender import Recommender
    from ..catalog.filters import Filter


def opened(workspace: Path, profiles: str | None) -> Recommender:
    from ..agent.recommender import RULES, Recommender
    from . import show

    def tell(notice: str) -> None:
        show.print_notices((notice,), simulated=False)

    return Recommender.open(workspace, llm=RULES, profiles=profiles, notice=tell)


def filters(where: list[str] | None) -> tuple[Filter, ...]:
    from ..catalog.filters import parse_filter

    return tuple(parse_filter(text) for text in where or ())


def recommend(
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: CountOption = 10,
    where: WhereOption = None,
    diversity: Annotated[
        float | None,
        typer.Option(
            help="How varied the list is, from 0 (the plain order of the scores) to 1. The default is 0.4, which cost "
            "no accuracy that could be measured."
        ),
    ] = None,
    calibration: Annotated[
        float | None,
        typer.Option(help="How true the list is to the genres of the user's past, from 0 to 1. The default is 0."),
    ] = None,
    debias: DebiasOption = None,
    explore: ExploreOption = None,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to a user, with reasons; nothing they have rated or seen."""
    from . import show

    with opened(workspace, profiles) as recommender:
        found = recommender.recommend(
            user,
            k=k,
            filters=filters(where),
            diversity=diversity,
            calibration=calibration,
            debias=debias,
            explore=explore,
            must_exist=True,
        )
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show.print_items(found)


def search(
    words: Annotated[
        list[str] | None, typer.Argument(help="What it should be about, in your own words; the default is none.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Search by a picture, a file; the default is none.")
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            help="Search by likeness to an item, by title or id. It may be repeated; the default is none.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", "-u", help="Leave out what this user has seen; the default is nobody.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: CountOption = 10,
    where: WhereOption = None,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search by words, by picture, by likeness to an item, or by several at once."""
    from ..errors import UserError
    from . import show

    text = " ".join(words or ()).strip() or None
    if text is None and image is None and not like:
        raise UserError("nothing to search by: give words, --image FILE, or --like TITLE")
    with opened(workspace, profiles) as recommender:
        if user is not None:
            recommender.require_user(user)
        found = recommender.search(text, image=image, like=like or (), filters=filters(where), user=user, k=k)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show.print_items(found)


def history(
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="How many records to show, from 1 to 50.")] = 10,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is on record for a user, newest first."""
    from rich.markdown import Markdown

    from . import show

    with opened(workspace, profiles) as recommender:
        recommender.require_user(user)
        turn = recommender.history(user, k=k)
    if as_json:
        typer.echo(turn.model_dump_json())
    else:
        show.out(Markdown(turn.reply))
        show.print_notices(turn.notices, simulated=turn.simulated)


def explain(
    item: Annotated[str, typer.Argument(help="The item's title or id.")],
    user: UserOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    debias: DebiasOption = None,
    profiles: ProfilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why an item would be recommended to a user, and what each reason rests on."""
    from . import show

    with opened(workspace, profiles) as recommender:
        recommender.require_user(user)
        found = recommender.explain(user, item, debias=debias)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        show.print_cards(found.cards)
        show.out("Evidence:")
        show.print_evidence(found.evidence)
        show.print_notices(found.notices, simulated=found.simulated)
