"""HTML and SVG put together so that nothing gets in unescaped: whatever is no :class:`Markup` is text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

#: Control characters have no place in a page; tabs and line breaks may stay.
_CONTROL = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10, 13)}

Child = str | None | Iterable[str | None]


class Markup(str):
    """Text that is HTML or SVG already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Any text as HTML; what is no valid Unicode becomes a question mark."""
    if isinstance(value, Markup):
        return value
    return Markup(escape(value.encode("utf-8", "replace").decode("utf-8").translate(_CONTROL)))


def tag(name: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element.

    Args:
        name: of the element.
        children: texts and elements, or sequences of them; None is nothing.
        attributes: ``class_`` stands for ``class`` and ``stroke_width`` for ``stroke-width``; None is left out. Numbers
            are written with at most two decimals.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Elements and texts one after another."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(text(child))
        elif child is not None:
            parts.extend(text(one) for one in child if one is not None)
    return Markup("".join(parts))


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
