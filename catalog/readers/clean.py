"""Small functions that turn scraped text into plain text, numbers and labels."""

from __future__ import annotations

import ast
import html
import json
import math
import re
import warnings
from collections.abc import Iterable

#: Texts that mean "nothing here" in the sources we know, compared in lower case.
MISSING = frozenset({"", "n/a", "nan", "null", "none", "\\n"})
#: A list written as text is parsed up to this many characters; a longer one stays text.
LITERAL_LIMIT = 100_000

_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
# The second form is a tag that the end of the text cut in two.
_TAG = re.compile(
    r"</?[a-zA-Z][^<>]*>|</?(?:a|b|br|div|em|font|i|img|li|p|span|strong|table|td|tr|ul)(?:\s[^<>]*)?\Z", re.IGNORECASE
)
_BREAK = re.compile(r"<(?:br|p|/p|li|/li|div|/div|tr|/tr|h\d|/h\d)\b[^<>]*>", re.IGNORECASE)
_LEFTOVER = re.compile(r"[\"']?\s*/>")
_LISTED = re.compile(r"\[\s*(['\"])(.*)['\"]\s*\]", re.DOTALL)
_BETWEEN = re.compile(r"(?<!\\)['\"],\s*['\"]")
_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)\s*(?:\([A-Za-z0-9]{1,4}\))?\s*$")
_ARTICLE = re.compile(
    r"(?P<body>.+), (?P<article>The|An?|L'|Les?|La|Las|Los|El|Il|Lo|Gli|Der|Die|Das|Den|Det|De|Het|Een|En|Et"
    r"|O|Os|As|Une?|Una|Uno|Eine?)"
)
_PART = re.compile(r"\s*\(([^()]*)\)")


def missing(text: str) -> bool:
    """Whether the text stands for no value."""
    return text.strip().lower() in MISSING


def plain(text: str) -> str:
    """Scraped text without HTML: tags, comments, scripts and styles go, entities are decoded, spaces become one.

    A list written as text (``"['one', 'two']"``) becomes its parts, one after the other.
    """
    parts = written_list(text)
    if parts is not None:
        text = " ".join(parts)
    if "<" in text or ">" in text or "&" in text:
        text = _HIDDEN.sub(" ", text)
        text = _TAG.sub("", _BREAK.sub(" ", text))
        text = _LEFTOVER.sub(" ", text)
        # Scraped pages are sometimes escaped twice (&amp;ndash;): decode, then once more.
        text = html.unescape(html.unescape(text))
    return _SPACE.sub(" ", text).strip()


def written_list(text: str) -> list[str] | None:
    """The strings of a list written as Python or JSON text; None when the text is no such list.

    Only literals are read (`ast.literal_eval`), and only up to `LITERAL_LIMIT` characters. A list whose quotes were
    spoilt (by decoding entities in it, say) is cut between its quotes.
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")) or len(text) > LITERAL_LIMIT:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            with warnings.catch_warnings():  # text with a stray backslash is no concern of the person's
                warnings.simplefilter("ignore")
                value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            spoilt = _LISTED.fullmatch(text)
            value = _BETWEEN.split(spoilt[2].replace("\\n", " ")) if spoilt else None
    if not isinstance(value, list) or not all(isinstance(part, str | int | float) for part in value):
        return None
    return [str(part) for part in value]


def number(text: str) -> float | None:
    """The first number in a text: ``"81 min"`` is 81, ``"$1,299.50"`` is 1299.5, ``"$5 - $9"`` is 5.

    None when there is none near the start (within three characters), or it is not finite.
    """
    found = _NUMBER.search(text)
    if found is None or found.start() > 3:
        return None
    value = float(found[0].replace(",", ""))
    return value if math.isfinite(value) else None


def labels(parts: Iterable[str]) -> tuple[str, ...] | None:
    """Clean, distinct labels in their order; None when none is left."""
    seen = dict.fromkeys(plain(part) for part in parts)
    kept = tuple(label for label in seen if not missing(label))
    return kept or None


def split_labels(text: str, separator: str) -> tuple[str, ...] | None:
    """Labels of one field: a list written as text, else pieces between separators."""
    listed = written_list(text)
    return labels(listed if listed is not None else text.split(separator))


def title_and_year(text: str) -> tuple[str, float | None]:
    """Take a film title apart: ``"Matrix, The (1999)"`` is ``("The Matrix", 1999.0)``.

    An article moved behind a comma goes back to the front, in the title and in alternative titles between
    brackets: ``"Postman, The (Postino, Il) (1994)"`` is ``("The Postman (Il Postino)", 1994.0)``.
    """
    found = _YEAR.search(text)
    year = float(found[1]) if found else None
    body = (text[: found.start()] if found else text).strip()
    head, bracket, rest = body.partition(" (")
    if not bracket:
        return _article_first(body), year
    return _article_first(head) + _PART.sub(lambda part: f" ({_article_first(part[1])})", bracket + rest), year


def _article_first(title: str) -> str:
    found = _ARTICLE.fullmatch(title.strip())
    if found is None:
        return title.strip()
    article, body = found["article"], found["body"]
    return f"{article}{body}" if article.endswith("'") else f"{article} {body}"
