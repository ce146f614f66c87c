"""The demo's log: made up, from a model whose every number is known (README.md beside this file lists them).

Each event is drawn from the policy of that moment and the user's taste; the rating carries an effect of the film's
popularity *before* the event. So what a causal estimate should find is known: `CONFORMITY`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..items import Catalogue
from ..readers.raw import Progress, no_progress

#: Stars added to a rating for every doubling of (1 + ratings the film had before): the planted effect.
CONFORMITY = 0.10

USERS = 600
SEED = 20240101
#: 1 January 2024, 00:00 UTC, and how long the log runs.
START, DAYS = 1_704_067_200, 366

AGE_GROUPS = ("18-24", "25-34", "35-49", "50+")
AGE_SHARES = (0.22, 0.34, 0.28, 0.16)
#: Middle and width of the years of film each age group leans to.
AGE_ERAS = ((2012.0, 16.0), (2004.0, 18.0), (1992.0, 20.0), (1975.0, 22.0))

#: Kinds of taste: genres and moods the users of a kind lean to.
TASTES = (
    ("Science Fiction", "Action", "Adventure", "epic", "thrilling", "fast-paced", "mind-bending"),
    ("Comedy", "Romance", "Family", "warm", "funny", "feel-good", "gentle", "playful"),
    ("Drama", "History", "War", "melancholy", "slow-burning", "tragic", "thought-provoking", "intimate"),
    ("Thriller", "Crime", "Mystery", "tense", "dark", "gritty", "suspenseful", "brooding"),
    ("Horror", "Fantasy", "eerie", "scary", "spooky", "surreal", "claustrophobic"),
    ("Animation", "Family", "Fantasy", "Music", "dreamy", "hopeful", "adventurous", "cosy"),
    ("Comedy", "Crime", "Drama", "satirical", "absurd", "wry", "witty", "quirky", "stylish"),
    ("Romance", "Drama", "Music", "romantic", "tender", "bittersweet", "heartbreaking", "nostalgic"),
)
#: Correlation of fame with quality; the rest of fame is luck.
FAME_QUALITY = 0.6
#: Fame's weight falls with rank as 1 / (rank + 10) ** ZIPF.
ZIPF = 0.5
#: Exposure grows with (1 + ratings so far) ** RICH: rich get richer.
RICH = 0.3
#: Films on the front page each week, drawn evenly at random, and how much more they are shown.
SPOTLIGHT, SPOTLIGHT_LIFT = 12, 8.0
#: How strongly liking decides what is watched and rated, of what is shown.
SELECTION = 1.5
#: Stars per standard deviation of taste and of quality; a user's own leniency; what is left to chance.
TASTE_STARS, QUALITY_STARS, LENIENCY_SD, NOISE_SD = 0.45, 0.45, 0.30, 0.75
#: A rating's level at no popularity, average film, average taste.
LEVEL = 2.2


@dataclass(frozen=True)
class Simulation:
    """A made-up log and what is true of it.

    Attributes:
        interactions: columns of `INTERACTIONS`, in the order of time.
        users: ``user``, ``age_group``.
        effect: mean change of the ratings as written (rounded, kept in 1 to 5), in stars, when 1 + the film's earlier
            ratings is doubled and all else, chance included, stays: what an estimate should find.
    """

    interactions: pl.DataFrame
    users: pl.DataFrame
    effect: float


def simulate(
    catalogue: Catalogue, *, seed: int = SEED, conformity: float = CONFORMITY, progress: Progress = no_progress
) -> Simulation:
    """Make up a year of ratings.

    Args:
        catalogue: needs the attributes genres, moods (labels) and year (number).
        seed: of all chance; the same catalogue and seed give the same log.
        conformity: stars for every doubling of popularity.
        progress: told of events.
    """
    chance = np.random.default_rng(seed)
    ages = chance.choice(len(AGE_GROUPS), size=USERS, p=AGE_SHARES)
    taste = _taste(catalogue, ages, chance)
    quality = chance.standard_normal(len(catalogue))
    fame = FAME_QUALITY * quality + np.sqrt(1 - FAME_QUALITY**2) * chance.standard_normal(len(catalogue))
    rank = np.empty(len(catalogue))
    rank[np.argsort(-fame)] = np.arange(len(catalogue))
    users, times = _visits(chance)
    items, before = _choices(users, times, taste, quality, -ZIPF * np.log(rank + 10.0), chance, progress)
    level = (
        LEVEL
        + LENIENCY_SD * chance.standard_normal(USERS)[users]
        + TASTE_STARS * taste[users, items]
        + QUALITY_STARS * quality[items]
        + NOISE_SD * chance.standard_normal(len(users))
        + conformity * np.log2(1.0 + before)
    )
    names = [f"demo-{number:03d}" for number in range(1, USERS + 1)]
    interactions = pl.DataFrame(
        {
            "user": np.array(names)[users],
            "item": np.array(catalogue.ids)[items],
            "value": _stars(level).astype(np.float32),
            "time": times,
            "order": np.arange(len(users)),
        }
    )
    people = pl.DataFrame({"user": names, "age_group": np.array(AGE_GROUPS)[ages]})
    return Simulation(interactions, people, float(np.mean(_stars(level + conformity) - _stars(level))))


def _stars(level: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(level), 1.0, 5.0)


def _taste(catalogue: Catalogue, ages: NDArray[np.int64], chance: np.random.Generator) -> NDArray[np.float64]:
    """Shape (USERS, n_films): how a film suits a user, mean 0 and standard deviation 1 over all pairs."""
    labels = catalogue.frame.select(pl.concat_list("genres", "moods").fill_null([]))["genres"].to_list()
    vocabulary = {label: k for k, label in enumerate(sorted({label for row in labels for label in row}))}
    holds = np.zeros((len(catalogue), len(vocabulary)))
    for row, named in enumerate(labels):
        holds[row, [vocabulary[label] for label in named]] = 1.0
    kinds = np.zeros((len(TASTES), len(vocabulary)))
    for kind, named in enumerate(TASTES):
        kinds[kind, [vocabulary[label] for label in named if label in vocabulary]] = 1.0
    mixture = chance.dirichlet(np.full(len(TASTES), 0.25), size=USERS)
    leaning = mixture @ kinds + 0.25 * chance.standard_normal((USERS, len(vocabulary)))
    content = _standard(leaning @ holds.T)
    middles, widths = np.array(AGE_ERAS)[ages].T
    years = catalogue.frame["year"].fill_null(catalogue.frame["year"].mean()).to_numpy()
    middles = middles + 8.0 * chance.standard_normal(USERS)
    era = _standard(np.exp(-0.5 * ((years[None, :] - middles[:, None]) / widths[:, None]) ** 2))
    return _standard(content + 0.5 * era)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each user's row to mean 0, then all to standard deviation 1."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / centred.std(), dtype=np.float64)


def _visits(chance: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and times of all events, oldest first: evenings of one to eight ratings, some minutes apart."""
    many = np.clip(np.rint(np.exp(chance.normal(3.66, 0.6, size=USERS))), 8, 220).astype(np.int64)
    joined = chance.uniform(0.0, 0.6 * DAYS, size=USERS)
    users, times = [], []
    for user in range(USERS):
        left = int(many[user])
        while left > 0:
            here = min(left, int(chance.integers(1, 9)))
            evening = np.floor(chance.uniform(joined[user], DAYS - 1)) * 86_400 + 64_800 + chance.uniform(0, 14_400)
            users.append(np.full(here, user))
            times.append(START + np.rint(evening + np.cumsum(chance.uniform(20, 400, size=here))).astype(np.int64))
            left -= here
    whose, when = np.concatenate(users), np.concatenate(times)
    order = np.lexsort((whose, when))
    return whose[order].astype(np.int64), when[order]


def _choices(
    users: NDArray[np.int64],
    times: NDArray[np.int64],
    taste: NDArray[np.float64],
    quality: NDArray[np.float64],
    fame: NDArray[np.float64],
    chance: np.random.Generator,
    progress: Progress,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The film of each event and how many ratings it had before.

    The policy shows films one at a time in proportion to their exposure and the user takes one in proportion to
    exp(SELECTION * liking); taking the largest of the log weights plus Gumbel noise draws from just that.
    """
    n_films = taste.shape[1]
    liking = SELECTION * (taste + 0.4 * quality)
    counts = np.zeros(n_films, dtype=np.int64)
    seen = np.zeros((USERS, n_films), dtype=np.bool_)
    items, before = np.empty(len(users), dtype=np.int64), np.empty(len(users), dtype=np.int64)
    week, page = -1, np.zeros(n_films)
    for event, user in enumerate(users):
        if week != (now := (times[event] - START) // (7 * 86_400)):
            week, page = now, np.zeros(n_films)
            page[chance.choice(n_films, size=SPOTLIGHT, replace=False)] = np.log(SPOTLIGHT_LIFT)
        weight = fame + page + RICH * np.log1p(counts) + liking[user] + chance.gumbel(size=n_films)
        weight[seen[user]] = -np.inf
        item = int(np.argmax(weight))
        items[event], before[event] = item, counts[item]
        counts[item] += 1
        seen[user, item] = True
        if event % 2_000 == 0:
            progress("simulating the demo's log", event, len(users))
    return items, before
