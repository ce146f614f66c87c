"""MovieLens as GroupLens publishes it: 100K (``u.data``), 1M and 10M (``.dat``), latest, 20M, 25M, 32M (CSV).

Harper & Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ...errors import UserError
from ..items import AttributeKind, AttributeValue
from ..problems import Problems
from .assembly import assemble
from .clean import labels, title_and_year
from .files import lines, records, require
from .films import FILM_ATTRIBUTES, Film, FilmFacts, read_side_files
from .judge import LogColumns
from .log import LogReader
from .raw import Progress, RawData
from .table import ItemTable

#: Genres of ``u.item`` in the order of its flags, for a folder without ``u.genre``.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_NO_GENRE = frozenset({"unknown", "(no genres listed)"})
#: Occupations of MovieLens 1M by their code, from its README.
_OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman",
    "unemployed", "writer",
)  # fmt: skip
#: A film keeps this many tags, the ones most people gave it.
TAGS = 10


@dataclass(frozen=True, slots=True)
class _Edition:
    """Where one edition keeps its ratings, and which films' file goes with them."""

    kind: str
    ratings: str
    movies: str
    low: float


_EDITIONS = (
    _Edition("movielens-100k", "u.data", "u.item", 1.0),
    _Edition("movielens-dat", "ratings.dat", "movies.dat", 0.5),
    _Edition("movielens-csv", "ratings.csv", "movies.csv", 0.5),
)


def detect(root: Path) -> str | None:
    """Which edition the folder holds; None when it is no MovieLens.

    Raises:
        UserError: one of the two files that belong together is absent.
    """
    for edition in _EDITIONS:
        there = [name for name in (edition.ratings, edition.movies) if (root / name).is_file()]
        if len(there) == 2:
            return edition.kind
        # A lone movies.csv or ratings.csv may belong to anything; the other names are MovieLens' own.
        if there and edition.kind != "movielens-csv":
            absent = edition.movies if there[0] == edition.ratings else edition.ratings
            raise UserError(f"{root} has {there[0]} but no {absent}: MovieLens needs both, unpack it again")
    return None


def read_movielens(root: Path, kind: str, progress: Progress, scratch: Path | None) -> RawData:
    """Read a MovieLens folder, with ``metadata.csv``, ``omdb.jsonl`` and pictures when they lie beside.

    Raises:
        UserError: a file is missing or damaged, or more than 1 % of its rows are bad.
    """
    edition = next(e for e in _EDITIONS if e.kind == kind)
    problems = Problems()
    films = _films(root, edition, problems, progress)
    facts = read_side_files(root, films, problems, progress)
    tags = _tags(root, films, problems, progress)
    kinds: dict[str, AttributeKind] = {"year": "number", "genres": "labels", **FILM_ATTRIBUTES, "tags": "labels"}
    table = ItemTable(kinds, problems)
    unnamed = 0
    for film in films.values():
        known = facts.get(film.id, FilmFacts())
        attributes: dict[str, AttributeValue | None] = {
            "year": film.year,
            "genres": film.genres,
            "tags": tags.get(film.id),
            **known.attributes,
        }
        unnamed += film.placeholder
        table.add(film.id, film.title, known.description, attributes, available=not film.placeholder)
    problems.settle("films the source itself calls unknown, kept but never recommended", unnamed)
    if (links := root / "links.csv").is_file():
        problems.settle("rows of links.csv, not used", sum(1 for _ in lines(links, problems)) - 1)
    return assemble(
        root,
        kind,
        table,
        problems,
        lambda log: _ratings(root / edition.ratings, edition, log),
        progress=progress,
        scratch=scratch,
        users=_users(root, edition, problems),
    )


def _ratings(path: Path, edition: _Edition, log: LogReader) -> None:
    columns = LogColumns(
        user="userId", item="movieId", value="rating", time="timestamp", low=edition.low, high=5.0, required=True
    )
    names = ("userId", "movieId", "rating", "timestamp")
    if edition.kind == "movielens-csv":
        log.read(path, columns)
    else:
        separator = "\t" if edition.kind == "movielens-100k" else "::"
        log.read_delimited(path, columns, names=names, separator=separator, quotes=False)


def _films(root: Path, edition: _Edition, problems: Problems, progress: Progress) -> dict[str, Film]:
    """Films by id, in file order."""
    path = root / edition.movies
    reader = {"movielens-100k": _u_item, "movielens-dat": _movies_dat, "movielens-csv": _movies_csv}[edition.kind]
    films: dict[str, Film] = {}
    good = 0
    for item_id, written, genres in reader(path, problems, progress):
        good += 1
        if item_id in films:
            problems.settle("items whose id came before, left out (the first one counts)")
            continue
        title, year = title_and_year(written)
        kept = labels(genre for genre in genres if genre not in _NO_GENRE)
        films[item_id] = Film(id=item_id, title=title, year=year, genres=kept)
    problems.check(good + problems.bad_in(path.name), path.name)
    if not films:
        raise UserError(f"{path} holds no film")
    return films


_Rows = Iterator[tuple[str, str, list[str]]]


def _u_item(path: Path, problems: Problems, progress: Progress) -> _Rows:
    genres = _u_genre(path.with_name("u.genre"), problems)
    width = 5 + len(genres)
    for number, line in lines(path, problems, progress=progress):
        fields = line.split("|")
        if len(fields) != width:
            problems.bad(f"wrong number of columns ({width} expected)", path.name, number, line)
            continue
        flags = zip(genres, fields[5:], strict=True)
        yield fields[0].strip(), fields[1], [genre for genre, flag in flags if flag.strip() == "1"]


def _u_genre(path: Path, problems: Problems) -> list[str]:
    if not path.is_file():
        return list(GENRES)
    return [line.split("|")[0].strip() for _, line in lines(path, problems)]


def _movies_dat(path: Path, problems: Problems, progress: Progress) -> _Rows:
    for number, line in lines(path, problems, progress=progress):
        fields = line.split("::")
        if len(fields) != 3:
            problems.bad("wrong number of columns (3 expected)", path.name, number, line)
            continue
        yield fields[0].strip(), fields[1], fields[2].strip().split("|")


def _movies_csv(path: Path, problems: Problems, progress: Progress) -> _Rows:
    wanted = ("movieId", "title", "genres")
    for line, record in records(path, problems, progress=progress):
        if not record.keys() >= set(wanted):
            require(path, list(record), wanted)
        if not record["movieId"].strip():
            problems.bad("no item id", path.name, line, str(record))
            continue
        yield record["movieId"].strip(), record["title"], record["genres"].split("|")


def _users(root: Path, edition: _Edition, problems: Problems) -> pl.DataFrame:
    """``user``, ``age`` (years; 1M gives the lowest of an age group, 1 = under 18), ``sex``, ``occupation``."""
    schema = {"user": pl.String, "age": pl.Float64, "sex": pl.String, "occupation": pl.String}
    rows: list[tuple[str, float, str, str]] = []
    name, separator = ("u.user", "|") if edition.kind == "movielens-100k" else ("users.dat", "::")
    path = root / name
    if edition.kind == "movielens-csv" or not path.is_file():
        return pl.DataFrame(schema={"user": pl.String})
    total = 0
    for number, line in lines(path, problems):
        total += 1
        fields = [field.strip() for field in line.split(separator)]
        if len(fields) != 5:
            problems.bad("wrong number of columns (5 expected)", name, number, line)
            continue
        user, age, sex, occupation = fields[:4]
        if edition.kind == "movielens-dat":
            age, sex = sex, age
            code = int(occupation) if occupation.isdecimal() else -1
            occupation = _OCCUPATIONS[code] if 0 <= code < len(_OCCUPATIONS) else ""
        if not age.isdecimal():
            problems.bad("age is not a number", name, number, line)
            continue
        rows.append((user, float(age), sex, occupation))
    problems.check(total, name)
    return pl.DataFrame(rows, schema=schema, orient="row").unique("user", keep="first", maintain_order=True)


def _tags(root: Path, films: Mapping[str, Film], problems: Problems, progress: Progress) -> dict[str, tuple[str, ...]]:
    """The tags most people gave each film, at most `TAGS`; one given only once in the whole file is left out."""
    csv_path, dat_path = root / "tags.csv", root / "tags.dat"
    path = csv_path if csv_path.is_file() else dat_path
    if not path.is_file():
        return {}
    given: dict[str, Counter[str]] = defaultdict(Counter)
    everywhere: Counter[str] = Counter()
    good = 0
    for line, item, tag in _tag_rows(path, problems, progress):
        if item not in films:
            problems.bad("unknown item", path.name, line, f"{item}, {tag}")
            continue
        good += 1
        if (word := " ".join(tag.casefold().split())) and len(word) <= 60:
            given[item][word] += 1
            everywhere[word] += 1
        else:
            problems.settle("tags that are empty or over 60 letters long, left out")
    problems.check(good + problems.bad_in(path.name), path.name)
    problems.settle("tags given only once, left out", sum(1 for count in everywhere.values() if count == 1))

    def best(counts: Counter[str]) -> tuple[str, ...]:
        kept = [word for word in counts if everywhere[word] > 1]
        return tuple(sorted(kept, key=lambda word: (-counts[word], -everywhere[word], word))[:TAGS])

    return {item: tags for item, counts in given.items() if (tags := best(counts))}


def _tag_rows(path: Path, problems: Problems, progress: Progress) -> Iterator[tuple[int, str, str]]:
    if path.suffix == ".csv":
        for line, record in records(path, problems, progress=progress):
            if not record.keys() >= {"movieId", "tag"}:
                require(path, list(record), ("movieId", "tag"))
            yield line, record["movieId"].strip(), record["tag"]
        return
    for line, text in lines(path, problems, progress=progress):
        fields = text.split("::")
        if len(fields) == 4:
            yield line, fields[1].strip(), fields[2]
        else:
            problems.bad("wrong number of columns (4 expected)", path.name, line, text)
