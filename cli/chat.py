"""The conversation in a terminal."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_WORKSPACE,
    AdapterOption,
    DebiasOption,
    ExploreOption,
    JsonOption,
    LlmOption,
    ProfilesOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from ..agent.recommender import Recommender
    from ..tools.results import Card, Turn

HELP = """\
Say what you are after, what you liked, what you have seen. Or:
  /why N       why number N is in the list    /profile   what is known of you
  /like N      /dislike N      /seen N        /undo      take back feedback
  /image PATH  search with a picture          /help      this text
  /bias        just the popular ones?         /quit      leave
  /more K      lists of K items from now on
  /debias D    less of what is likely for everybody, 0 to 1
Arrow keys bring back earlier lines. Ctrl-C stops a reply, not the program;
Ctrl-D leaves."""

#: A path at the beginning of a line: in quotes, or up to a space that no backslash precedes.
_PATH = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|((?:\\.|[^\\\s])+))\s*(.*)""", re.DOTALL)
_NOTED = {"like": "you like", "dislike": "you did not like", "seen": "you have seen"}
COMMANDS = (
    *("/why", "/like", "/dislike", "/seen", "/image", "/profile"),
    *("/bias", "/debias", "/undo", "/more", "/help", "/quit"),
)


@dataclass
class Session:
    """What the terminal keeps between lines: the list on screen and how to draw it."""

    recommender: Recommender
    user: str
    thread: str
    images: tuple[Path, ...]
    as_json: bool
    k: int = 5
    debias: float | None = None
    explore: float | None = None
    cards: tuple[Card, ...] = ()


def chat(
    user: Annotated[str, typer.Option("--user", "-u", help="Whose profile is read and written.")] = "me",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    llm: LlmOption = None,
    adapter: AdapterOption = None,
    profiles: ProfilesOption = None,
    thread: Annotated[
        str, typer.Option("--thread", help="Name of the conversation, which goes on after a restart.")
    ] = "main",
    posters: Annotated[bool, typer.Option(help="Draw posters where the terminal can.")] = True,
    debias: DebiasOption = None,
    explore: ExploreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Talk with the recommender. With --json: one message a line on stdin, one turn a line on stdout."""
    from ..agent.recommender import Recommender
    from ..errors import UserError
    from ..ranking.debias import Debias
    from ..ranking.posterior_part import Explore
    from . import show
    from .posters import can_draw

    if not user.strip() or not thread.strip():
        raise UserError("--user and --thread need a name")
    # What is no dial is refused before the workspace is opened.
    Debias(dial=debias)
    Explore(explore or 0.0)
    told: list[str] = []  # of the language model; kept while a spinner has the line
    with show.console(stderr=True).status("Opening the workspace and the language model ..."):
        recommender = Recommender.open(workspace, llm=llm, adapter=adapter, profiles=profiles, notice=told.append)
        planner = recommender.planner.name
        recommender.warm()
    with recommender:
        _tell(told)
        draws = posters and not as_json and can_draw()
        folders = (recommender.knowledge.build.images, recommender.workspace.state / "images")
        session = Session(recommender, user, thread, folders if draws else (), as_json, debias=debias, explore=explore)
        if not as_json:
            _greet(session, planner)
        for line in _lines(interactive=not as_json and sys.stdin.isatty()):
            more = _handle(session, line)
            _tell(told)  # what reading the model in the background brought up
            if not more:
                break


def _tell(told: list[str]) -> None:
    """Print notices, each once."""
    from . import show

    notices = [told.pop(0) for _ in range(len(told))]
    show.print_notices(tuple(dict.fromkeys(notices)), simulated=False)


def _greet(session: Session, planner: str) -> None:
    from rich.markup import escape

    from . import show

    manifest = session.recommender.knowledge.build.manifest
    new = "" if session.recommender.known_user(session.user) else ", new here"
    show.out(
        f"[bold]llm4rec[/bold] on {escape(manifest.source)}, {manifest.items:,} items. Planner: {escape(planner)}."
    )
    show.out(f"You are [bold]{escape(session.user)}[/bold]{new}. /help for help.")
    show.print_notices((), simulated=manifest.simulated)
    show.out()


def _lines(*, interactive: bool) -> Iterator[str]:
    if not interactive:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
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
            show.out(f"[red]{_escape(str(error))}[/red]\n")
    except KeyboardInterrupt:
        if session.as_json:
            raise
        show.out("[dim]Stopped. What you said before stays noted.[/dim]\n")
    return True


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def say(session: Session, text: str, image: Path | None = None) -> Turn:
    """One turn: the list as soon as it is known, with its reasons, then the words."""
    from rich.markdown import Markdown

    from ..graphs.state import ItemsReady, NodeStarted, Notice, TurnFinished
    from . import show

    events = session.recommender.stream(
        session.user,
        text,
        image=image,
        thread=session.thread,
        k=session.k,
        debias=session.debias,
        explore=session.explore,
    )
    if session.as_json:
        turn = next(event.turn for event in events if isinstance(event, TurnFinished))
        typer.echo(turn.model_dump_json())
        session.cards = turn.cards if turn.listed else session.cards
        return turn
    finished: Turn | None = None
    ready: Sequence[Card] | None = None
    with show.console().status("thinking ...") as spinner:
        for event in events:
            if isinstance(event, ItemsReady):
                ready = event.cards  # of several lists in one plan the last one counts
            elif isinstance(event, NodeStarted | TurnFinished) and ready is not None:
                spinner.stop()
                show.print_cards(ready, images=session.images)
                ready = None
            elif isinstance(event, Notice):
                show.print_notices((event.text,), simulated=False)
            if isinstance(event, TurnFinished):
                finished = event.turn
    assert finished is not None
    if finished.listed:
        session.cards = finished.cards
    show.out(Markdown(finished.reply))
    show.out(f"[dim]{_escape(_trace(finished))}[/dim]\n")
    return finished


def _trace(turn: Turn) -> str:
    tools = ", ".join(run.name + ("" if run.ok else " (failed)") for run in turn.tools) or "no tool"
    asked = {0: "not asked", 1: "asked once"}.get(turn.model_calls, f"asked {turn.model_calls} times")
    who = turn.planner if turn.planner == "rules" else f"{turn.planner} ({asked})"
    explored = f" · explores, dial at {turn.explore:g}" if turn.explore else ""
    return f"{tools} · {turn.seconds.get('turn', 0.0):.1f} s · {who}{explored}"


def _command(session: Session, name: str, rest: str) -> None:
    from ..catalog.text import one_line
    from ..errors import UserError

    simple: dict[str, Callable[[], None]] = {
        "/help": lambda: _answer(session, name, HELP),
        "/profile": lambda: _profile(session),
        "/bias": lambda: _called(session, "estimate_bias", {}),
        "/undo": lambda: _answer(session, name, f"Taken back: {session.recommender.undo(session.user)}."),
    }
    if name in simple:
        simple[name]()
    elif name == "/why":
        _called(session, "explain", {"ordinal": _number(session, rest)})
    elif name in ("/like", "/dislike", "/seen"):
        card = session.cards[_number(session, rest) - 1]
        event = session.recommender.feedback(session.user, name[1:], card.id, thread=session.thread)  # type: ignore[arg-type]
        said = f"Noted: {_NOTED[name[1:]]} {one_line(card.title, 90)}. /undo takes it back."
        _answer(session, f"{name} {rest}", said, events=(event.id,))
    elif name == "/image":
        path, words = _path_and_words(rest)
        say(session, words, image=path)
    elif name == "/debias":
        _answer(session, f"{name} {rest}".strip(), _debias(session, rest))
    elif name == "/more":
        if not rest.isdecimal() or not 1 <= int(rest) <= 50:
            raise UserError("/more needs a number from 1 to 50")
        session.k = int(rest)
        _answer(session, f"{name} {rest}", f"Lists have {session.k} items from now on.")
    else:
        raise UserError(f"no command {one_line(name, 40)}: {' '.join(COMMANDS)}")


def _debias(session: Session, text: str) -> str:
    """Set the dial, or give it back to the causal report; what there is to say about it."""
    from ..errors import UserError
    from ..ranking.debias import Debias

    if not text:
        session.debias = None
        return "Popularity is corrected as the causal report derives it. /debias D, with D from 0 to 1, overrides it."
    try:
        dial = float(text)
    except ValueError:
        raise UserError("/debias needs a number from 0 to 1, or nothing to go back to the causal report") from None
    Debias(dial=dial)
    session.debias = dial
    what = "nothing is" if dial == 0 else f"{100 * dial:g}% of what makes items likely for everybody is"
    return f"From now on {what} taken off. /debias alone goes back to the causal report."


def _path_and_words(text: str) -> tuple[Path, str]:
    """``/image``'s argument: a path, in quotes or with backslashes where it has spaces, and then words."""
    from ..errors import UserError

    if text and (whole := Path(text).expanduser()).is_file():
        return whole, ""
    match = _PATH.match(text)
    if match is None:
        raise UserError("/image needs a file: /image PATH [words]")
    double, single, bare, words = match.groups()
    path = double or single or re.sub(r"\\(.)", r"\1", bare)
    return Path(path).expanduser(), words.strip()


def _number(session: Session, text: str) -> int:
    from ..errors import UserError

    if not session.cards:
        raise UserError("no list is shown yet: ask for something first")
    if not text.isdecimal() or not 1 <= int(text) <= len(session.cards):
        raise UserError(f"which one? give a number of the list, 1 to {len(session.cards)}")
    return int(text)


def _called(session: Session, tool: str, arguments: dict[str, int]) -> None:
    from rich.markdown import Markdown

    from . import show

    turn = session.recommender.call(session.user, tool, arguments, thread=session.thread, debias=session.debias)
    if session.as_json:
        typer.echo(turn.model_dump_json())
        return
    show.out(Markdown(turn.reply))
    if tool == "explain":
        show.print_evidence(turn.evidence)
    show.print_notices(turn.notices, simulated=turn.simulated)
    show.out()


def _profile(session: Session) -> None:
    from .profile import lines_of

    _answer(session, "/profile", "\n".join(lines_of(session.recommender, session.user, thread=session.thread)))


def _answer(session: Session, message: str, text: str, *, events: tuple[str, ...] = ()) -> None:
    """What a command has to say: as it is in a terminal, as a turn without a number in JSON."""
    if not session.as_json:
        typer.echo(text + "\n")
        return
    from ..agent.recommender import CALLED
    from ..tools.results import Turn

    turn = Turn(
        user=session.user,
        thread=session.thread,
        number=0,
        message=message,
        reply=text,
        events=events,
        planner=CALLED,
        simulated=session.recommender.knowledge.build.manifest.simulated,
    )
    typer.echo(turn.model_dump_json())
