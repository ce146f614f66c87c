"""A page that stands on its own: its frame, its style, and the pieces that pages are made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import UserError
from .markup import Markup, joined, tag
from .style import STYLE
from .table import Cell, Table

#: Name of the page in a replay's folder.
PAGE = "report.html"
#: Even a mistake in escaping could load nothing and run nothing.
_POLICY = Markup(
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def page(title: str, head: Markup, sections: Sequence[tuple[str, str, Markup | None]]) -> str:
    """A whole page.

    Args:
        title: of the window.
        head: what stands at the top.
        sections: anchor, heading and content of each; those without content are left out.
    """
    shown = [(anchor, name, body) for anchor, name, body in sections if body]
    body = joined(
        tag("header", head),
        tag("nav", (tag("a", name, href=f"#{anchor}") for anchor, name, _ in shown)),
        (tag("section", tag("h2", name), content, id=anchor) for anchor, name, content in shown),
        tag("footer", tag("p", "This page loads nothing and runs no script. The same figures for machines are beside "
            "it in JSON.", class_="soft")),
    )  # fmt: skip
    return joined(
        Markup('<!doctype html>\n<html lang="en">'),
        tag(
            "head",
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            _POLICY,
            tag("title", title),
            tag("style", Markup(STYLE)),
        ),
        tag("body", Markup(body.replace("95 %", "95&#160;%"))),
        Markup("</html>\n"),
    )


def tiles(*facts: tuple[str, str]) -> Markup:
    """A few numbers with what they are."""
    return tag("ul", (tag("li", tag("b", number), tag("span", what)) for number, what in facts), class_="tiles")


def table_of(table: Table, heading: bool = False) -> list[Markup | None]:
    """A table with its notes, under its title where a heading is wanted."""
    return [
        tag("h3", table.title) if heading else None,
        tag(
            "div",
            tag(
                "table",
                tag("thead", tag("tr", (
                    tag("th", name, scope="col", class_="words" if at in table.words else None)
                    for at, name in enumerate(table.columns)
                ))),
                tag("tbody", (
                    tag("tr", (_cell(one, at, at in table.words) for at, one in enumerate(row))) for row in table.rows
                )),
            ),
            class_="wide",
        ),
        joined(tag("p", note, class_="note") for note in table.notes),
    ]  # fmt: skip


def _cell(cell: Cell, column: int, words: bool) -> Markup:
    styles = [
        name
        for name, there in (("words", words), ("best", cell.best), ("bad", cell.bad), ("bar", cell.share is not None))
        if there
    ]
    detail = tag("small", cell.detail) if cell.detail else None
    style = None if cell.share is None else f"--share: {100 * cell.share:.1f}%"
    classes = " ".join(styles) or None
    if column == 0:
        return tag("th", cell.text, detail, scope="row", class_=classes)
    return tag("td", cell.text, detail, class_=classes, style=style)


def figure_of(drawing: Markup, caption: str) -> Markup:
    """A plot with what it shows."""
    return tag("figure", drawing, tag("figcaption", caption))


def write_page(text: str, folder: Path) -> Path:
    """Write a page into a folder, whole or not at all; returns its path.

    Raises:
        UserError: the folder cannot be written.
    """
    path, temporary = folder / PAGE, folder / f".{PAGE}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder} is a file, not a folder: choose another --out") from None
    except PermissionError:
        raise UserError(f"{folder} cannot be written: choose another --out") from None
    return path
