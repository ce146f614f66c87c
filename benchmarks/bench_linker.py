"""How titles and names in arguments are linked to the catalogue: right, asked about, or silently wrong.

    python benchmarks/bench_linker.py WORKSPACE... [--tune]

Titles and names of each workspace are said in the ways people say them, drawn with a seed: other case, one or two
letters wrong, articles left out or moved, a part left out, the year added, inside a sentence. And titles and names
that the catalogue does not hold are asked for: those of a tenth of the catalogue, of the rest of it, written well or
misspelt; linking one of these to anything is wrong. Thresholds and margins are chosen on one half (`--tune` shows what
others would give there); the figures are of the other half.
"""

from __future__ import annotations

import argparse
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from llm4rec.catalog.items import AttributeSpec, Catalogue
from llm4rec.catalog.text import fold
from llm4rec.catalog.workspace import Workspace
from llm4rec.errors import ToolError
from llm4rec.tools.facets import choose_facets
from llm4rec.tools.linker import MARGIN, THRESHOLD, Ambiguous, label, link
from llm4rec.tools.names import MARGIN as NAME_MARGIN
from llm4rec.tools.names import THRESHOLD as NAME_THRESHOLD
from llm4rec.tools.names import find_name
from report import Row, write

SEED = 23
ABSENT_FOLDS = 10
MOST_NAMES = 400
THRESHOLDS = (74.0, 80.0, 86.0)
MARGINS = (0.0, 10.0)

Outcome = Literal["right", "asked", "not found", "wrong"]
#: A way to say something; None where it does not apply.
Way = Callable[[str, random.Random], str | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing said: ``meant`` is the label of the item or the name, None where the catalogue does not hold it."""

    way: str
    text: str
    meant: str | None


def typo(text: str, rng: random.Random, times: int = 1) -> str:
    """A letter left out, doubled, put in, changed or swapped with the next: not the first of a word, and no digit."""
    for _ in range(times):
        places = [at for at in range(1, len(text)) if text[at].isalpha() and text[at - 1].isalpha()]
        if not places:
            return text
        at = rng.choice(places)
        letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
        kinds = [
            text[:at] + text[at + 1 :],
            text[:at] + text[at] + text[at:],
            text[:at] + letter + text[at:],
            text[:at] + letter + text[at + 1 :],
            text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :] if at > 1 else text[:at] + text[at + 1 :],
        ]
        text = rng.choice(kinds)
    return text


def letters(text: str) -> int:
    return len(fold(text).replace(" ", ""))


def changed(text: str, other: str) -> str | None:
    return other if other != text and fold(other) else None


def _case(text: str, rng: random.Random) -> str | None:
    return changed(text, rng.choice([text.lower(), text.upper()]))


def _one(text: str, rng: random.Random) -> str | None:
    return changed(text, typo(text, rng)) if letters(text) >= 6 else None


def _two(text: str, rng: random.Random) -> str | None:
    return changed(text, typo(text, rng, 2)) if letters(text) >= 12 else None


def _article(text: str, rng: random.Random) -> str | None:
    return changed(text, re.sub(r"^(The|A|An) ", "", text))


def _moved(text: str, rng: random.Random) -> str | None:
    return changed(text, re.sub(r"^(The|A|An) ([^:(]+\w)", r"\2, \1", text))


def _subtitle(text: str, rng: random.Random) -> str | None:
    return changed(text, re.split(r": | - ", text)[0])


def _brackets(text: str, rng: random.Random) -> str | None:
    return changed(text, re.sub(r"\s*\([^()]*\)", "", text).strip())


def _and(text: str, rng: random.Random) -> str | None:
    return changed(text, text.replace("&", "and") if "&" in text else text.replace(" and ", " & "))


def _numerals(text: str, rng: random.Random) -> str | None:
    for roman, digit in (("II", "2"), ("III", "3"), ("IV", "4"), ("VI", "6")):
        for old, new in ((roman, digit), (digit, roman)):
            text_new = re.sub(rf"\b{old}\b", new, text)
            if text_new != text:
                return text_new
    return None


def _plain(text: str, rng: random.Random) -> str | None:
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return changed(text, " ".join(re.sub(r"[^\w\s]", "", bare).lower().split()))


def _together(text: str, rng: random.Random) -> str | None:
    gaps = [match.start() for match in re.finditer(r"[ -]", text)]
    at = rng.choice(gaps) if gaps else -1
    return text[:at] + text[at + 1 :] if gaps else None


WAYS: dict[str, Way] = {
    "as written": lambda text, rng: text,
    "other case": _case,
    "no accents or punctuation": _plain,
    "article left out": _article,
    "article moved": _moved,
    "subtitle left out": _subtitle,
    "brackets left out": _brackets,
    "& for and": _and,
    "numerals in the other script": _numerals,
    "one space or hyphen lost": _together,
    "one letter wrong": _one,
    "two letters wrong": _two,
    "lower case, one letter wrong": lambda text, rng: _one(text.lower(), rng),
}
NAME_WAYS: dict[str, Way] = {
    "as written": WAYS["as written"],
    "other case": _case,
    "last name alone": lambda text, rng: changed(text, text.split()[-1]),
    "middle name left out": lambda text, rng: changed(text, " ".join((text.split()[0], text.split()[-1]))),
    "one letter wrong": _one,
    "two letters wrong": _two,
}


def title_cases(catalogue: Catalogue, rows: Sequence[int], rng: random.Random) -> Iterator[Case]:
    """The titles of some rows, said in every way."""
    for row in rows:
        item, meant = catalogue.item(row), label(catalogue, row)
        for name, way in WAYS.items():
            text = way(item.title, rng)
            if text is not None:
                yield Case(name, text, meant)
        year, cast = item.attributes.get("year"), item.attributes.get("cast")
        if isinstance(year, float):
            yield Case("year added", f"{item.title}{rng.choice([f' {year:.0f}', f' ({year:.0f})'])}", meant)
            misspelt = _one(item.title, rng)
            if misspelt:
                yield Case("year added, one letter wrong", f"{misspelt} ({year:.0f})", meant)
        if isinstance(cast, tuple):
            yield Case("in a sentence", f"the movie {item.title} with {rng.choice(cast)}", meant)


def absent_cases(catalogue: Catalogue, rows: Sequence[int], rng: random.Random) -> Iterator[Case]:
    for row in rows:
        title = catalogue.item(row).title
        yield Case("absent, as written", title, None)
        misspelt = _one(title, rng)
        if misspelt:
            yield Case("absent, one letter wrong", misspelt, None)
        bare = _subtitle(title, rng)
        if bare:
            yield Case("absent, subtitle left out", bare, None)


def title_outcome(catalogue: Catalogue, case: Case, threshold: float, margin: float) -> Outcome:
    try:
        found = link(catalogue, case.text, threshold=threshold, margin=margin)
    except Ambiguous as unclear:
        if case.meant is None:
            return "right"
        return "asked" if case.meant in unclear.options else "not found"
    return "right" if label(catalogue, found.row) == case.meant else "wrong"


def name_outcome(
    catalogue: Catalogue, specs: Sequence[AttributeSpec], case: Case, threshold: float, margin: float
) -> Outcome:
    try:
        found = find_name(catalogue, specs, case.text, threshold=threshold, margin=margin)
    except Ambiguous as unclear:
        return "right" if case.meant is None else "asked" if case.meant in unclear.options else "not found"
    except ToolError:
        return "right" if case.meant is None else "not found"
    if case.meant is None:
        return "wrong"
    taken = {fold(name) for name in found.taken or (case.text,)}
    return "right" if fold(case.meant) in taken else "wrong"


@dataclass(frozen=True)
class Half:
    """What is asked of one half of a catalogue: titles with the catalogue they are asked of; names likewise."""

    titles: Sequence[tuple[Catalogue, Case]]
    names: Sequence[tuple[Catalogue, Sequence[AttributeSpec], Case]]


def halves(catalogue: Catalogue, others: Sequence[Catalogue], most: int, seed: int) -> tuple[Half, Half]:
    """The half to tune on and the half to report, of at most ``most`` titles in all."""
    rng = random.Random(seed)
    rows = list(range(len(catalogue)))
    rng.shuffle(rows)
    rows = rows[:most]
    specs = [spec for spec in choose_facets(catalogue).names if spec.name not in ("language", "country", "moods")]
    names = sorted({name for spec in specs for name in _values(catalogue, spec.name)})
    rng.shuffle(names)
    # "Zhang Fengyi" and "Fengyi Zhang" are one.
    mine = {_spelt(name) for name in names}
    strangers = sorted(name for other in others for name in _people(other) if _spelt(name) not in mine)
    rng.shuffle(strangers)
    found = []
    for part in (0, 1):
        half = rows[part::2]
        # Who says the very title of another item means that one.
        held = {fold(title): label(catalogue, row) for row, title in enumerate(catalogue.frame["title"].to_list())}
        titles = [
            (catalogue, case)
            for case in title_cases(catalogue, half, rng)
            if case.way == "as written" or held.get(fold(case.text), case.meant) == case.meant
        ]
        for number in range(ABSENT_FOLDS):
            gone = half[number::ABSENT_FOLDS]
            kept = [row for row in range(len(catalogue)) if row not in set(gone)]
            rest = Catalogue(catalogue.frame[kept])
            own = {fold(title) for title in rest.frame["title"].to_list()}
            lost = [row for row in gone if fold(catalogue.item(row).title) not in own]
            cases = absent_cases(catalogue, lost, rng)
            titles += [(rest, case) for case in cases if fold(case.text) not in own]  # the very title of another
        asked = [
            (catalogue, specs, Case(way, text, name))
            for name in names[part:MOST_NAMES:2]
            for way, make in NAME_WAYS.items()
            if (text := make(name, rng)) is not None
        ]
        asked += [
            (catalogue, specs, Case(way, text, None))
            for name in strangers[part:MOST_NAMES:2]
            for way, text in (("absent, as written", name), ("absent, one letter wrong", _one(name, rng)))
            if text is not None and specs
        ]
        found.append(Half(titles, asked))
    return found[0], found[1]


def _values(catalogue: Catalogue, name: str) -> list[str]:
    column = catalogue.frame[name].drop_nulls()
    values = column.explode().drop_nulls() if column.dtype.is_nested() else column
    return [value for value in values.unique().to_list() if fold(value)]


def _spelt(name: str) -> tuple[str, ...]:
    return tuple(sorted(fold(name.replace("ł", "l")).split()))


def _people(catalogue: Catalogue) -> set[str]:
    return {name for spec in ("director", "cast") if spec in catalogue.attributes for name in _values(catalogue, spec)}


def rows_of(what: str, outcomes: Sequence[tuple[str, Outcome]]) -> list[Row]:
    """A row for each way of saying it, then for those the catalogue holds, those it does not, and all."""
    by_way: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
    for way, outcome in outcomes:
        by_way[way][outcome] += 1
        by_way["all absent" if way.startswith("absent") else "all held"][outcome] += 1
        by_way["all"][outcome] += 1
    order = [way for way in by_way if not way.startswith("all")] + [w for w in by_way if w.startswith("all")]
    return [_row(what, way, by_way[way]) for way in order]


def _row(what: str, way: str, counts: Counter[Outcome]) -> Row:
    n = counts.total()
    share = {name: round(100 * counts[name] / n, 2) for name in ("right", "asked", "not found", "wrong")}
    return {
        "asked of": what,
        "said": way,
        "n": n,
        "right %": share["right"],
        "asked about it %": share["asked"],
        "not found or asked about others %": share["not found"],
        "silently wrong %": share["wrong"],
    }


def tune(half: Half) -> None:
    """Print what thresholds and margins would give on a half: only what is misspelt or absent depends on them."""
    titles = [pair for pair in half.titles if "wrong" in pair[1].way or "absent" in pair[1].way]
    names = [case for case in half.names if "wrong" in case[2].way or "absent" in case[2].way]
    for threshold in THRESHOLDS:
        for margin in MARGINS:
            told = []
            for found in (
                Counter(title_outcome(c, case, threshold, margin) for c, case in titles),
                Counter(name_outcome(c, specs, case, threshold, margin) for c, specs, case in names),
            ):
                n = found.total() or 1
                told.append(f"right {100 * found['right'] / n:6.2f} % wrong {100 * found['wrong'] / n:5.2f} %")
            print(f"threshold {threshold:g} margin {margin:4g}: titles {told[0]}; names {told[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspaces", nargs="+", type=Path)
    parser.add_argument("--tune", action="store_true", help="only show other thresholds, on the half to tune on")
    parser.add_argument("--titles", type=int, default=100_000, help="of each workspace, at most")
    parser.add_argument("--wrong", action="store_true", help="print what was wrong, on the half to tune on")
    asked = parser.parse_args()
    catalogues = {
        build.manifest.source: Catalogue(pl.read_parquet(build.path / "items.parquet"))
        for build in (Workspace(path).open() for path in asked.workspaces)
    }
    rows: list[Row] = []
    for name, catalogue in catalogues.items():
        others = [other for other in catalogues.values() if other is not catalogue]
        mine, theirs = halves(catalogue, others, asked.titles, SEED)
        if asked.tune:
            print(name)
            tune(mine)
            continue
        half = mine if asked.wrong else theirs
        titles = [(case, title_outcome(c, case, THRESHOLD, MARGIN)) for c, case in half.titles]
        names = [(case, name_outcome(c, s, case, NAME_THRESHOLD, NAME_MARGIN)) for c, s, case in half.names]
        if asked.wrong:
            for case, outcome in (*titles, *names):
                if outcome == "wrong":
                    print(case)
        rows += rows_of(f"{name}: titles", [(case.way, outcome) for case, outcome in titles])
        rows += rows_of(f"{name}: names", [(case.way, outcome) for case, outcome in names])
    if asked.wrong:
        for row in rows:
            print(*row.values(), sep=" | ")
    elif not asked.tune:
        notes = [
            f"Of at most {asked.titles:,} titles and {MOST_NAMES:,} names of each workspace, half.",
            "Each way of saying a title or a name, of one half of the catalogue; thresholds and margins "
            f"({THRESHOLD:g} and {MARGIN:g} for titles, {NAME_THRESHOLD:g} and {NAME_MARGIN:g} for names) were chosen "
            "on the other half.",
            "absent: titles taken out of the catalogue a tenth at a time; people whom only the other catalogues hold. "
            "Right is to find nothing or to ask. What, misspelt or without its subtitle, is the very title of an item "
            "that is held means that one: it is left out.",
            "wrong letters: one or two dropped, doubled, put in, changed or swapped, in titles of 6 (12) letters and "
            "more; they may happen to make another title.",
            "Names count as right where the name is among those taken: a last name is taken for all who bear it.",
        ]
        print(write("linker", rows, notes, {"halves and ways of saying": SEED}))


if __name__ == "__main__":
    main()
