"""Writes a ratings file of any length in the CSV format of MovieLens 25M, for measuring.

    python benchmarks/generate_log.py FOLDER [--ratings 25000000] [--users 162541] [--items 59047] [--seed 7]

FOLDER gets ``ratings.csv`` and ``movies.csv``. Users come in the order of their ids, as in the original; how much a
user rates is log-normal, how often an item is rated follows Zipf's law with a flattened head. Written in pieces, so
memory does not grow with the length. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi", "Thriller", "War")
USERS_AT_A_TIME = 4_000


def generate(folder: Path, ratings: int, users: int, items: int, seed: int) -> int:
    """Write both files; returns how many ratings were written (no user rates an item twice, so a few less).

    Args:
        folder: made when absent.
        ratings: rows aimed at.
        users, items: how many of each; ids are not contiguous, as in the original.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(items * 4, size=items, replace=False)) + 1
    _write_movies(folder / "movies.csv", ids, rng)
    popularity = 1.0 / (np.arange(items) + 30.0) ** 0.9
    chances = np.cumsum(popularity / popularity.sum())
    places = rng.permutation(items)
    activity = rng.lognormal(mean=0.0, sigma=1.2, size=users)
    lengths = np.maximum(1, np.round(activity * ratings / activity.sum())).astype(np.int64)
    lengths = np.minimum(lengths, items // 4)
    written = 0
    with (folder / "ratings.csv").open("wb") as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for first in range(0, users, USERS_AT_A_TIME):
            piece = _piece(first + 1, lengths[first : first + USERS_AT_A_TIME], chances, ids[places], rng)
            piece.write_csv(file, include_header=False)
            written += piece.height
    return written


def _piece(
    first: int,
    lengths: NDArray[np.int64],
    chances: NDArray[np.float64],
    ids: NDArray[np.int64],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Ratings of some users, sorted by user and item as in the original, so not by time."""
    drawn = (lengths * 1.3).astype(np.int64) + 3
    user = np.repeat(np.arange(first, first + len(lengths)), drawn)
    total = len(user)
    start = rng.integers(820_000_000, 1_570_000_000, size=len(lengths))
    time = np.repeat(start, drawn) + rng.integers(0, 86_400 * 3, size=total)
    rank = np.minimum(np.searchsorted(chances, rng.random(total)), len(ids) - 1)
    value = np.clip(np.round(rng.normal(7.0, 2.0, size=total)), 1, 10) / 2
    frame = pl.DataFrame({"user": user, "item": ids[rank], "value": value, "time": time})
    frame = frame.unique(["user", "item"], keep="first", maintain_order=True)
    most = pl.Series(lengths).gather(frame["user"] - first)
    kept = frame.filter(pl.int_range(pl.len()).over("user") < most)
    return kept.sort("user", "item")


def _write_movies(path: Path, ids: NDArray[np.int64], rng: np.random.Generator) -> None:
    years = rng.integers(1920, 2020, size=len(ids))
    genres = rng.choice(GENRES, size=len(ids))
    pl.DataFrame(
        {
            "movieId": ids,
            "title": [f"Film {item}, The ({year})" for item, year in zip(ids, years, strict=True)],
            "genres": genres,
        }
    ).write_csv(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ratings", type=int, default=25_000_000)
    parser.add_argument("--users", type=int, default=162_541)
    parser.add_argument("--items", type=int, default=59_047)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    written = generate(given.folder, given.ratings, given.users, given.items, given.seed)
    print(f"{written:,} ratings in {given.folder / 'ratings.csv'}")


if __name__ == "__main__":
    main()
