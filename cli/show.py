"""How things look in a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..catalog.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from ..tools.results import Card, Claim, Evidence, ItemList

SIMULATED = "The log behind these figures is simulated."


#: Seconds between two lines on how far a step is, where the output goes to no terminal.
LINE_EVERY = 30.0
#: Columns where the output goes to no terminal: lines stay whole, for grep and for files.
WIDE = 10_000


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return _console(stderr, None if stream.isatty() or "COLUMNS" in os.environ else WIDE)


@cache
def _console(stderr: bool, width: int | None) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False, width=width)  # ids hold ":100:"


def out(*things: Any) -> None:
    """Print on stdout; without the padding at the ends of lines where that is no terminal."""
    screen = console()
    if screen.is_terminal:
        screen.print(*things)
        return
    with screen.capture() as printed:
        screen.print(*things)
    typer.echo("\n".join(line.rstrip() for line in printed.get().split("\n")), nl=False)


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Two columns, the second wrapped below itself."""
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for left, right in rows:
        table.add_row(left, right)
    if table.row_count:
        out(table)


def facts(card: Card, most: int = 3) -> str:
    """The attributes worth a glance: first labels, then numbers, in the catalogue's order."""
    shown: list[str] = []
    for name, value in card.attributes.items():
        if name == "year" or len(shown) >= most:
            continue
        if isinstance(value, tuple):
            shown.append(", ".join(one_line(v, 30) for v in value[:3]))
        elif isinstance(value, float):
            shown.append(f"{name} {value:g}")
        else:
            shown.append(one_line(value, 40))
    return " · ".join(shown)


def heading(card: Card) -> str:
    from rich.markup import escape

    year = card.attributes.get("year")
    tail = f" [dim]({year:.0f})[/dim]" if isinstance(year, float) else ""
    return f"[bold]{escape(one_line(card.title, 90))}[/bold]{tail}"


def print_cards(cards: Sequence[Card], *, images: Sequence[Path] = (), claims: bool = True) -> None:
    """The list: number, title, facts, and why; with posters where the terminal can draw them."""
    from rich.markup import escape
    from rich.table import Table

    if not cards:
        out("[dim]Nothing fits.[/dim]")
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="cyan", no_wrap=True)
    if images:
        table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for card in cards:
        lines = [heading(card), f"[dim]{escape(facts(card))}[/dim]"]
        if claims:
            lines.extend(f"[green]·[/green] {escape(claim.text)}{judged(claim)}" for claim in card.claims)
            lines.extend(escape(line) for line in verified(card))
        row: list[object] = [f"{card.ordinal}."]
        if images:
            from .posters import thumbnail

            row.append(thumbnail(images, card.image))
        table.add_row(*row, "\n".join(line for line in lines if line))  # type: ignore[arg-type]
    out(table)


def judged(claim: Claim) -> str:
    """The verdict on a claim, where it was verified."""
    from rich.markup import escape

    from ..tools.verdict_words import verdict_words

    return "" if claim.verdict is None else f" [dim]({escape(verdict_words(claim.verdict))})[/dim]"


def verified(card: Card) -> list[str]:
    """What an explanation comes to: what speaks against the item, and where it stands without what is cited."""
    from ..tools.verdict_words import verification_words

    found = card.verification
    if found is None:
        return []
    against = [] if found.counterpoint is None else [f"· On the other hand: {found.counterpoint.text}"]
    return [*against, *verification_words(found, card.claims)]


def print_items(found: ItemList) -> None:
    """An item list for people, with notices."""
    print_cards(found.cards)
    if found.explore:
        out(f"[dim]The list explores, with the dial at {found.explore:g}.[/dim]")
    print_notices(found.notices, simulated=found.simulated)


def print_notices(notices: Sequence[str], *, simulated: bool) -> None:
    from rich.markup import escape

    for notice in notices:
        console(stderr=True).print(f"[yellow]{escape(notice)}[/yellow]")
    if simulated:
        out(f"[dim]{SIMULATED}[/dim]")


def print_evidence(evidence: Sequence[Evidence]) -> None:
    from rich.markup import escape

    print_rows(("  -", f"{escape(record.text)} [dim cyan]{escape(record.id)}[/dim cyan]") for record in evidence)


def progress_lines(clock: Callable[[], float] = time.monotonic) -> Callable[[str, int, int | None], None]:
    """Tells how far things are in lines: one when a step begins, then one every `LINE_EVERY` seconds."""
    last: dict[str, float] = {}

    def tell(what: str, done: int, total: int | None = None) -> None:
        step, now = _step(what), clock()
        if step in last and (total is None or now - last[step] < LINE_EVERY):
            return
        typer.echo(f"{what} ..." + (f" {done:,} of {total:,}" if total else ""), err=True)
        last[step] = now

    return tell


def _step(what: str) -> str:
    """A step without what it says of itself meanwhile: "training (loss 2.24)" is "training"."""
    return what.partition(" (")[0]


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """How far things are, on stderr, so that stdout stays clean: bars in a terminal, else lines."""
    if not sys.stderr.isatty():
        yield progress_lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def draw(what: str, done: int, total: int | None = None) -> None:
            step = _step(what)
            if step not in tasks:
                finish()  # a step begins when those before it are over
                tasks[step] = bars.add_task(what, total=total)
            bars.update(tasks[step], completed=done, total=total, description=what)

        def finish() -> None:
            for task in bars.tasks:
                if not task.finished:
                    bars.update(task.id, completed=task.total or 1, total=task.total or 1)

        yield draw
        finish()
