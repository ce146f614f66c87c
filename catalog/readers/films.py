"""What two side files know of films: ``metadata.csv`` (TMDB fields) and ``omdb.jsonl`` (OMDb answers), joined by id.

Both were joined to the films by search, and the search was sometimes wrong: a better no overview than another
film's. So an entry must be corroborated before it is used; the rules are at `_chosen`, `_answer_fits` and
`_refuted`. Votes and scores of TMDB and OMDb are not taken over: they sum up what later audiences thought, which
nobody could have known when the ratings were given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rapidfuzz import fuzz

from ..items import AttributeKind, AttributeValue
from ..problems import Problems
from ..text import fold
from .clean import labels, missing, number, plain, title_and_year
from .files import Record, records, require
from .raw import Progress

#: Attributes these files bring, in the order of the catalogue's columns.
FILM_ATTRIBUTES: Mapping[str, AttributeKind] = {
    "director": "labels",
    "cast": "labels",
    "writer": "labels",
    "country": "labels",
    "language": "labels",
    "runtime": "number",
    "certificate": "label",
    "awards": "label",
}
_ID_COLUMNS = ("movie_id", "movieId", "item_id", "id")
_LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "bs": "Bosnian", "cn": "Cantonese", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "is": "Icelandic", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "ko": "Korean", "mk": "Macedonian", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sr": "Serbian", "sv": "Swedish",
    "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Film:
    """A film as the ratings' own list names it."""

    id: str
    title: str
    year: float | None
    genres: tuple[str, ...] | None

    @property
    def placeholder(self) -> bool:
        """The source itself does not know which film this is."""
        return self.title.casefold() == "unknown" and self.year is None


@dataclass(frozen=True)
class FilmFacts:
    """What the side files add to a film."""

    description: str = ""
    attributes: Mapping[str, AttributeValue | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of ``metadata.csv``."""

    title: str
    year: float | None
    overview: str
    language: str
    runtime: float | None
    votes: float

    @property
    def content(self) -> tuple[str, float | None, float]:
        """What tells two entries apart, whatever film they are given to."""
        return self.overview, self.runtime, self.votes


def read_side_files(
    root: Path, films: Mapping[str, Film], problems: Problems, progress: Progress
) -> dict[str, FilmFacts]:
    """Facts by film id; empty when neither file is there.

    Raises:
        UserError: a file lacks its id column, or more than 1 % of its rows are bad.
    """
    answers = _answers(root / "omdb.jsonl", films, problems, progress)
    entries = _entries(root / "metadata.csv", films, problems, progress)
    refuted = _refuted(entries, answers)
    problems.settle("rows of metadata.csv that describe another film, left out", len(refuted))
    for item in refuted:
        del entries[item]
    return {item: _facts(entries.get(item), answers.get(item)) for item in films if item in entries or item in answers}


def _facts(entry: _Entry | None, answer: Record | None) -> FilmFacts:
    """The overview, else the plot; runtime and languages from OMDb, else from TMDB."""
    said = answer or {}
    runtime = _positive(said.get("Runtime"))
    spoken = _names(said.get("Language"))
    description = _text(said.get("Plot"))
    if entry is not None:
        runtime = entry.runtime if runtime is None else runtime
        spoken = spoken or labels([_LANGUAGES.get(entry.language, entry.language)])
        description = entry.overview or description
    return FilmFacts(
        description=description,
        attributes={
            "director": _names(said.get("Director")),
            "cast": _names(said.get("Actors")),
            "writer": _names(said.get("Writer")),
            "country": _names(said.get("Country")),
            "language": spoken,
            "runtime": runtime,
            "certificate": _text(said.get("Rated")) or None,
            "awards": _text(said.get("Awards")) or None,
        },
    )


def _entries(path: Path, films: Mapping[str, Film], problems: Problems, progress: Progress) -> dict[str, _Entry]:
    """The chosen row of each film."""
    if not path.is_file():
        return {}
    candidates: dict[str, list[_Entry]] = defaultdict(list)
    for item, record in _joined(path, films, problems, progress):
        candidates[item].append(
            _Entry(
                title=_text(record.get("title")),
                year=_positive(record.get("year")),
                overview=_text(record.get("overview")),
                language=_text(record.get("original_language")),
                runtime=_positive(record.get("runtime")),
                votes=_positive(record.get("vote_count")) or 0.0,
            )
        )
    extra = sum(len(rows) - 1 for rows in candidates.values())
    problems.settle("further rows of metadata.csv for a film that has one, left out", extra)
    return {item: _chosen(films[item], rows) for item, rows in candidates.items()}


def _chosen(film: Film, rows: list[_Entry]) -> _Entry:
    """Of several rows for one film: the closest title, then the closest year, then the most votes, then the first."""

    def closeness(entry: _Entry) -> tuple[float, float, float]:
        years = abs(entry.year - film.year) if entry.year and film.year else float("inf")
        return -_alike(entry.title, film), years, -entry.votes

    return min(rows, key=closeness)


def _answers(path: Path, films: Mapping[str, Film], problems: Problems, progress: Progress) -> dict[str, Record]:
    """The OMDb answer of each film that it fits; the first one when there are several."""
    if not path.is_file():
        return {}
    answers: dict[str, Record] = {}
    misfits = 0
    for item, record in _joined(path, films, problems, progress):
        if not _answer_fits(films[item], record):
            misfits += 1
        elif answers.setdefault(item, record) is not record:
            problems.settle("further rows of omdb.jsonl for a film that has one, left out")
    problems.settle("rows of omdb.jsonl that describe another film or no film, left out", misfits)
    return answers


def _answer_fits(film: Film, record: Record) -> bool:
    """An answer fits when it is a film of the same years (two apart at most), or of the same name ten years apart."""
    if record.get("Response", "True") != "True" or _text(record.get("Type")) not in ("movie", ""):
        return False
    year = number(_text(record.get("Year")))
    if film.year is None or year is None:
        return not film.placeholder
    apart = abs(year - film.year)
    return apart <= 2 or (apart <= 10 and _alike(_text(record.get("Title")), film) >= 0.9)


def _refuted(entries: Mapping[str, _Entry], answers: Mapping[str, Record]) -> set[str]:
    """Films whose row of ``metadata.csv`` is another film's.

    - A film without a name has no row.
    - The running time is less than half or more than double the one OMDb gives: a trailer, a "making of", a series.
    - One row is given to films of different names: it belongs to those whose OMDb running time agrees best, and
      within five minutes; the others lose it. Where OMDb says nothing of any of them, all lose it.
    """
    refuted: set[str] = set()
    holders: dict[tuple[str, float | None, float], list[str]] = defaultdict(list)
    apart: dict[str, float] = {}
    for item, entry in entries.items():
        said = _positive(answers[item].get("Runtime")) if item in answers else None
        apart[item] = abs(entry.runtime - said) if entry.runtime and said else float("inf")
        if entry.runtime and said and not 0.5 <= entry.runtime / said <= 2:
            refuted.add(item)
        if entry.title.casefold() == "unknown":
            refuted.add(item)
        if entry.overview:
            holders[entry.content].append(item)
    for items in holders.values():
        if len({fold(entries[item].title) for item in items}) > 1:
            best = min(apart[item] for item in items)
            refuted.update(item for item in items if apart[item] > best or apart[item] > 5)
    return refuted


def _joined(path: Path, films: Mapping[str, Film], problems: Problems, progress: Progress) -> list[tuple[str, Record]]:
    """Rows of a side file with the film each belongs to."""
    rows: list[tuple[str, Record]] = []
    column = ""
    for line, record in records(path, problems, progress=progress):
        column = column or next((name for name in _ID_COLUMNS if name in record), "")
        if not column:
            require(path, list(record), _ID_COLUMNS[:1])
        item = str(record.get(column, "")).strip()
        if item in films:
            rows.append((item, record))
        else:
            problems.bad("unknown item", path.name, line, item)
    problems.check(len(rows) + problems.bad_in(path.name), path.name)
    return rows


def _alike(written: str, film: Film) -> float:
    """How alike two titles are, 0 to 1, English articles, accents and the order of words aside."""
    title, _ = title_and_year(written)
    return fuzz.token_sort_ratio(_bare(title), _bare(film.title)) / 100


def _bare(title: str) -> str:
    words = fold(title).split()
    return " ".join([word for word in words if word not in ("the", "a", "an")] or words)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return "" if missing(text) else plain(text)


def _positive(value: Any) -> float | None:
    found = number(_text(value))
    return found if found is not None and found > 0 else None


def _names(value: Any) -> tuple[str, ...] | None:
    """Names between commas, without what a person did in brackets: ``"A B (screenplay), C D (story)"``."""
    text = _text(value)
    depth, bare = 0, []
    for letter in text:
        depth += letter == "("
        if depth == 0:
            bare.append(letter)
        depth = max(0, depth - (letter == ")"))
    return labels("".join(bare).split(","))
