"""How things look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ..tools.results import Card, Evidence, ItemList

SIMULATED = "The log behind these figures is simulated."


@cache
def console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


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


def print_cards(cards: Sequence[Card], *, images: Path | None = None, claims: bool = True) -> None:
    """The list: number, title, facts, and why; with posters where the terminal can draw them."""
    from rich.markup import escape
    from rich.table import Table

    if not cards:
        console().print("[dim]Nothing fits.[/dim]")
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="cyan", no_wrap=True)
    if images is not None:
        table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for card in cards:
        lines = [heading(card), f"[dim]{escape(facts(card))}[/dim]"]
        if claims:
            lines.extend(f"[green]·[/green] {escape(claim.text)}" for claim in card.claims)
        row: list[object] = [f"{card.ordinal}."]
        if images is not None:
            from .posters import thumbnail

            row.append(thumbnail(images, card.image))
        table.add_row(*row, "\n".join(line for line in lines if line))  # type: ignore[arg-type]
    console().print(table)


def print_items(found: ItemList) -> None:
    """An item list for people, with notices."""
    print_cards(found.cards)
    print_notices(found.notices, simulated=found.simulated)


def print_notices(notices: Sequence[str], *, simulated: bool) -> None:
    from rich.markup import escape

    for notice in notices:
        console(stderr=True).print(f"[yellow]{escape(notice)}[/yellow]")
    if simulated:
        console().print(f"[dim]{SIMULATED}[/dim]")


def print_evidence(evidence: Sequence[Evidence]) -> None:
    from rich.markup import escape

    for record in evidence:
        console().print(f"  [cyan]{escape(record.id)}[/cyan]  {escape(record.text)}")


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on stderr, so that stdout stays clean for --json."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
    ) as bars:
        yield bars
