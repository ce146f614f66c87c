"""The conversation in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_WORKSPACE, JsonOption, LlmOption, WorkspaceOption

if TYPE_CHECKING:
    from ..agent.recommender import Recommender
    from ..tools.results import Card, Turn

HELP = """\
Say what you are after, what you liked, what you have seen. Or:
  /why N        why number N is in the list        /like N   /dislike N   /seen N
  /image PATH   search with a picture              /profile  what is known of you
  /bias         are these just the popular ones?   /undo     take back the last feedback
  /more K       lists of K items from now on       /help     this text        /quit  leave
Arrow keys bring back earlier lines. Ctrl-C stops a reply, not the program; Ctrl-D leaves."""

COMMANDS = ("/why", "/like", "/dislike", "/seen", "/image", "/profile", "/bias", "/undo", "/more", "/help", "/quit")


@dataclass
class Session:
    """What the terminal keeps between lines: the list on screen and how to draw it."""

    recommender: Recommender
    user: str
    thread: str
    images: Path | None
    as_json: bool
    k: int = 5
    cards: tuple[Card, ...] = ()
    events: list[str] = field(default_factory=list)


def chat(
    user: Annotated[str, typer.Option("--user", "-u", help="Whose profile is read and written.")] = "me",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    llm: LlmOption = None,
    thread: Annotated[
        str, typer.Option("--thread", help="Name of the conversation; it goes on after a restart.")
    ] = "main",
    posters: Annotated[bool, typer.Option(help="Draw posters where the terminal can.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Talk with the recommender. With --json: one message a line on stdin, one turn a line on stdout."""
    from ..agent.recommender import Recommender
    from . import show
    from .posters import can_draw

    with show.console(stderr=True).status("Opening the workspace and the language model ..."):
        recommender = Recommender.open(workspace, llm=llm)
        planner = recommender.planner.name
    with recommender:
        images = recommender.knowledge.build.images if posters and not as_json and can_draw() else None
        session = Session(recommender, user, thread, images, as_json)
        if not as_json:
            manifest = recommender.knowledge.build.manifest
            show.console().print(
                f"[bold]llm4rec[/bold] on {manifest.source}: {manifest.items:,} items. Planner: {planner}. "
                f"You are [bold]{user}[/bold]"
                + ("" if recommender.known_user(user) else ", new here")
                + ". /help for help."
            )
            if manifest.simulated:
                show.console().print(f"[dim]{show.SIMULATED}[/dim]")
        for line in _lines(workspace, interactive=not as_json and sys.stdin.isatty()):
            if not _handle(session, line):
                break


def _lines(workspace: Path, *, interactive: bool) -> Iterator[str]:
    if not interactive:
        for line in sys.stdin:
            if line.strip():
                yield line.strip()
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import InMemoryHistory

    prompt: PromptSession[str] = PromptSession(
        history=InMemoryHistory(), completer=WordCompleter(list(COMMANDS), sentence=True), complete_while_typing=False
    )
    while True:
        try:
            line = prompt.prompt("you> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if line.strip():
            yield line.strip()


def _handle(session: Session, line: str) -> bool:
    """Do one line; False ends the conversation. What fails is said, and the conversation goes on."""
    from ..errors import Llm4RecError
    from . import show

    try:
        if line.startswith("/"):
            name, _, rest = line.partition(" ")
            if name in ("/quit", "/exit"):
                return False
            _command(session, name, rest.strip())
        else:
            say(session, line)
    except Llm4RecError as error:
        if session.as_json:
            from ..tools.results import Failure

            typer.echo(Failure(error=str(error)).model_dump_json())
        else:
            show.console().print(f"[red]{_escape(str(error))}[/red]")
    except KeyboardInterrupt:
        if session.as_json:
            raise
        show.console().print("\n[dim]stopped; nothing you said is lost[/dim]")
    return True


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def say(session: Session, text: str, image: Path | None = None) -> Turn:
    """One turn: the list as soon as it is known, with its reasons, then the words."""
    from rich.markdown import Markdown

    from ..graphs.state import ItemsReady, Notice, TurnFinished
    from . import show

    turn: Turn | None = None
    spinner = show.console().status("thinking ...") if not session.as_json else None
    if spinner:
        spinner.start()
    try:
        for event in session.recommender.stream(session.user, text, image=image, thread=session.thread, k=session.k):
            if isinstance(event, TurnFinished):
                turn = event.turn
            elif session.as_json:
                continue
            elif isinstance(event, ItemsReady):
                if spinner:
                    spinner.stop()
                show.print_cards(event.cards, images=session.images)
            elif isinstance(event, Notice):
                show.print_notices((event.text,), simulated=False)
    finally:
        if spinner:
            spinner.stop()
    assert turn is not None
    if turn.listed:
        session.cards = turn.cards
    session.events.extend(turn.events)
    if session.as_json:
        typer.echo(turn.model_dump_json())
    else:
        show.console().print(Markdown(turn.reply))
        show.console().print(f"[dim]{_trace(turn)}[/dim]\n")
    return turn


def _trace(turn: Turn) -> str:
    tools = ", ".join(run.name + ("" if run.ok else " (failed)") for run in turn.tools) or "no tool"
    return f"{tools} · {turn.seconds.get('turn', 0.0):.1f} s · {turn.planner}"


def _command(session: Session, name: str, rest: str) -> None:
    from ..errors import UserError

    simple: dict[str, Callable[[], None]] = {
        "/help": lambda: typer.echo(HELP),
        "/profile": lambda: _profile(session),
        "/bias": lambda: _called(session, "estimate_bias", {}),
        "/undo": lambda: _undo(session),
    }
    if name in simple:
        simple[name]()
    elif name == "/why":
        _called(session, "explain", {"ordinal": _number(session, rest)})
    elif name in ("/like", "/dislike", "/seen"):
        card = session.cards[_number(session, rest) - 1]
        event = session.recommender.feedback(session.user, name[1:], card.id, thread=session.thread)  # type: ignore[arg-type]
        session.events.append(event.id)
        typer.echo(f"Noted: {name[1:]} {card.title}. /undo takes it back.")
    elif name == "/image":
        path, _, words = rest.partition(" ")
        if not path:
            raise UserError("/image needs a file: /image PATH [words]")
        say(session, words, image=Path(path).expanduser())
    elif name == "/more":
        if not rest.isdigit() or not 1 <= int(rest) <= 50:
            raise UserError("/more needs a number from 1 to 50")
        session.k = int(rest)
        typer.echo(f"Lists have {session.k} items from now on.")
    else:
        raise UserError(f"no command {name}: {' '.join(COMMANDS)}")


def _number(session: Session, text: str) -> int:
    from ..errors import UserError

    if not session.cards:
        raise UserError("no list is shown yet: ask for something first")
    if not text.isdigit() or not 1 <= int(text) <= len(session.cards):
        raise UserError(f"say a number from 1 to {len(session.cards)}, as in the list")
    return int(text)


def _called(session: Session, tool: str, arguments: dict[str, int]) -> None:
    from rich.markdown import Markdown

    from . import show

    turn = session.recommender.call(session.user, tool, arguments, thread=session.thread)
    if session.as_json:
        typer.echo(turn.model_dump_json())
        return
    show.console().print(Markdown(turn.reply))
    if tool == "explain":
        show.print_evidence(turn.evidence)
    show.print_notices(turn.notices, simulated=turn.simulated)


def _profile(session: Session) -> None:
    from .profile import lines_of

    for line in lines_of(session.recommender, session.user):
        typer.echo(line)


def _undo(session: Session) -> None:
    undone = session.recommender.undo(session.user)
    typer.echo(f"Taken back: {undone}.")
