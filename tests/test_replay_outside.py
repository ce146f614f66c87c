"""Folds written for other programs, and the lists such programs make replayed beside the policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog.interactions import load_interactions
from llm4rec.catalog.workspace import Workspace
from llm4rec.errors import UserError
from llm4rec.evaluation.exporting import export_folds
from llm4rec.evaluation.folds import NOTHING, Fold
from llm4rec.evaluation.outside import ReplayedLists, lists_policy, read_lists_file
from llm4rec.evaluation.policies import Lister, policies_named
from llm4rec.evaluation.protocols.cold import cold
from llm4rec.evaluation.protocols.loo import loo
from llm4rec.evaluation.protocols.mnar import mnar
from llm4rec.evaluation.protocols.temporal import temporal
from llm4rec.evaluation.run import Replay, replay
from llm4rec.ranking.log import Log
from numpy.typing import NDArray
from terminal import command

ROOT = Path(__file__).parents[1]
#: Items of user 0 are 0, 1, 2, then 3 held out; of user 1 are 4, 5, then 6; user 2 has one and is not asked about.
LOG = Log.of_lists([[0, 1, 2, 3], [4, 5, 6], [7]], 10)
FOLD = loo(LOG)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    frame = pl.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


def ranked(user: object, *items: object, **more: object) -> list[dict[str, Any]]:
    return [{"user": user, "item": item, "rank": at + 1, **more} for at, item in enumerate(items)]


def run(path: Path, out: Path, fold: Fold = FOLD, *, k: int = 3, **options: Any) -> Replay:
    return replay([fold], [lists_policy(path)], out=out, ks=(k,), **options)


def items_of(done: Replay, seed: int = 0) -> list[list[int]]:
    fold, policy = done.folds[0], done.policies[0]
    found = done.lists(fold.name, policy.name, seed).items
    return [[item for item in row if item != NOTHING] for row in found.tolist()]


def figures(done: Replay) -> list[int]:
    """What was counted: lines read, of unknown users, of unknown items; users without; barred; twice."""
    cell = next(iter(done.cells.values()))
    return [int(value) for value in cell.figures.values()]


# Lists


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_lists_come_out_as_they_went_in(ending: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"mine{ending}", [*ranked(1, 6, 9, 8), *ranked(0, 9, 3)])
    done = run(path, tmp_path / "out")
    assert items_of(done) == [[9, 3], [6, 9, 8]]
    assert done.lists(FOLD.name, "lists:mine", 0).hits.tolist() == [[False, True, False], [True, False, False]]
    assert figures(done) == [5, 0, 0, 0, 0, 0]
    assert done.exit_code == 0


def test_scores_fall_and_ties_go_to_the_item_that_comes_first(tmp_path: Path) -> None:
    rows = [
        {"user": "0", "item": str(item), "score": score} for item, score in ((9, 0.5), (4, 0.5), (3, -1.0), (5, 2.0))
    ]
    assert items_of(run(written(tmp_path / "a.csv", rows), tmp_path / "out", k=4)) == [[5, 4, 9, 3], []]
    fold = cold(Log.of_lists([[0, 1, 2, 3], [4, 5, 6], [7]], 10), share=0.4, among="all", seed=1)
    assert fold.order is not None
    user = int(fold.users[0])
    alike = [{"user": user, "item": item, "rank": 1} for item in range(10)]
    seen = set(fold.pasts.part(0, 1).rows.tolist())
    expected = [item for item in fold.order.tolist() if item not in seen]
    assert items_of(run(written(tmp_path / "b.csv", alike), tmp_path / "cold", fold, k=10))[0] == expected


def test_what_may_not_be_listed_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [*ranked(0, 1, 9, 9, 2, 3, 8, 7), *ranked("nobody", 1, 2), *ranked(1, 77, 6)]
    done = run(written(tmp_path / "a.jsonl", [{**row, "user": str(row["user"])} for row in rows]), tmp_path / "out")
    assert items_of(done) == [[9, 3, 8], [6]]
    assert figures(done) == [11, 2, 1, 0, 2, 1]


def test_users_without_a_list_miss_and_are_counted(tmp_path: Path) -> None:
    done = run(written(tmp_path / "a.csv", ranked(1, 6)), tmp_path / "out")
    assert items_of(done) == [[], [6]]
    assert figures(done)[3] == 1


def test_a_pool_bounds_what_is_listed(tmp_path: Path) -> None:
    for name, text in (("train", "5 0 0 0\n0 4 0 0"), ("test", "0 5 1 0\n4 0 0 2")):
        (tmp_path / f"{name}.ascii").write_text(text)
    fold = mnar(tmp_path / "train.ascii", tmp_path / "test.ascii")
    rows = [*ranked(0, 3, 1, 2), *ranked(1, 2, 0)]
    done = run(written(tmp_path / "a.csv", rows), tmp_path / "out", fold)
    assert items_of(done) == [[1, 2], [0]]


def test_lists_of_several_seeds_are_told_apart(tmp_path: Path) -> None:
    rows = [*ranked(0, 3, seed=0), *ranked(0, 9, 3, seed=1), *ranked(1, 6, seed=0), *ranked(1, 8, seed=1)]
    path = written(tmp_path / "a.parquet", rows)
    assert lists_policy(path).random
    done = run(path, tmp_path / "out", seeds=(0, 1, 2))
    assert items_of(done, 0) == [[3], [6]]
    assert items_of(done, 1) == [[9, 3], [8]]
    assert "has no lists of seed 2: it has those of 0, 1" in str(done.failed[0].error)
    one = written(tmp_path / "one.parquet", ranked(0, 3, seed=7))
    assert not lists_policy(one).random
    assert items_of(run(one, tmp_path / "again"))[0] == [3]


def test_lines_of_other_folds_are_not_used(tmp_path: Path) -> None:
    rows = [*ranked(0, 3, fold="loo-test"), *ranked(0, 9, 8, fold="loo-validation")]
    path = written(tmp_path / "a.csv", rows)
    assert items_of(run(path, tmp_path / "out")) == [[3], []]
    other = run(path, tmp_path / "other", temporal(timed(LOG))[0])
    assert "has no lists for the fold" in str(other.failed[0].error)
    assert "it has loo-test, loo-validation" in str(other.failed[0].error)


def timed(log: Log) -> Log:
    from dataclasses import replace

    return replace(log, times=np.arange(len(log), dtype=np.int64))


def test_lists_cannot_be_played_in_rounds(tmp_path: Path) -> None:
    done = run(written(tmp_path / "a.csv", ranked(0, 3)), tmp_path / "out", rounds=2)
    assert "cannot be played in rounds" in str(done.failed[0].error)


def test_another_file_of_the_same_name_is_another_cell(tmp_path: Path) -> None:
    first = run(written(tmp_path / "a.csv", ranked(0, 3)), tmp_path / "out")
    again = run(tmp_path / "a.csv", tmp_path / "out", resume=True)
    other = run(written(tmp_path / "a.csv", ranked(0, 9)), tmp_path / "out", resume=True)
    assert (first.reused, again.reused, other.reused) == (0, 1, 0)
    assert items_of(other)[0] == [9]


@given(st.data(), st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_the_list_is_the_file_without_what_is_barred(data: st.DataObject, k: int) -> None:
    lists = [data.draw(st.lists(st.integers(0, 12), max_size=14)) for _ in range(3)]
    rows = [row for user, items in enumerate(lists) for row in ranked(str(user), *map(str, items))]
    if not any(item < 10 for items in lists for item in items):
        return
    frame = data.draw(st.permutations(rows))
    lines = pl.DataFrame(frame).with_columns(place=pl.col("rank").cast(pl.Float64))
    ids = pl.Series([str(number) for number in range(10)])
    model = ReplayedLists("lists:a", Path("a.csv"), lines, ids[:3], ids)
    assert isinstance(model, Lister)
    found = model.lists(FOLD, k)
    for at, user in enumerate(FOLD.users):
        expected = list(dict.fromkeys(i for i in lists[user] if i < 10 and FOLD.rankable(at, at + 1)[0, i]))[:k]
        assert [item for item in found[at].tolist() if item != NOTHING] == expected
        assert (found[at, len(expected) :] == NOTHING).all()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "is missing"),
        ("a.txt", "user,item,rank\n0,1,1\n", "no file of lists by its name"),
        ("a.csv", "user,item\n0,1\n", "has no column 'rank'"),
        ("a.csv", "person,item,rank\n0,1,1\n", "has no column 'user'"),
        ("a.csv", "user,item,rank\n", "holds no lists"),
        ("a.csv", "", "is empty"),
        ("a.csv", "user,item,rank\n0,1,first\n", "numbers are expected"),
        ("a.csv", "user,item,rank\n0,,1\n", "has 1 empty values"),
        ("a.csv", "user,item,score\n0,1,0.5\n0,2,NaN\n", "for list line 2"),
        ("a.csv", "user,item,rank,seed\n0,1,1,0.5\n", "whole numbers are expected"),
        ("a.jsonl", "{oops", "cannot be read as jsonl"),
        ("a.parquet", "oops", "cannot be read as parquet"),
    ],
)
def test_files_that_are_no_lists(name: str, content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        lists_policy(tmp_path / name)


def test_ids_with_a_decimal_point_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"user": [1.0], "item": ["a"], "rank": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="text or whole numbers"):
        read_lists_file(tmp_path / "a.parquet")


def test_lists_of_other_data_are_refused(tmp_path: Path) -> None:
    done = run(written(tmp_path / "a.csv", ranked("x", "y")), tmp_path / "out")
    assert "none of the 1 lines" in str(done.failed[0].error)


def test_lists_are_no_part_of_a_mixture(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", ranked(0, 3))
    with pytest.raises(UserError):
        policies_named(f"pop:0.5+lists:{tmp_path / 'a.csv'}")


# Folds for other programs


def read_export(place: Path) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_parquet(path) for path in place.rglob("*.parquet")}


def folds_to_export(tmp_path: Path) -> dict[str, Callable[[], Fold]]:
    (tmp_path / "train.ascii").write_text("5 0 0 0\n0 4 0 0\n")
    (tmp_path / "test.ascii").write_text("0 5 1 0\n4 0 0 2\n")
    return {
        "loo": lambda: FOLD,
        "validation": lambda: loo(LOG, "validation"),
        "cold": lambda: cold(LOG, share=0.4, seed=1),
        "temporal": lambda: temporal(timed(LOG))[0],
        "mnar": lambda: mnar(tmp_path / "train.ascii", tmp_path / "test.ascii"),
    }


@pytest.mark.parametrize("kind", ["loo", "validation", "cold", "temporal", "mnar"])
def test_an_export_holds_the_fold_and_nothing_held_out(kind: str, tmp_path: Path) -> None:
    fold = folds_to_export(tmp_path)[kind]()
    [one] = export_folds([fold], None, None, tmp_path / "out").folds
    place = Path(one.path)
    assert (one.name, place.name) == (fold.name, fold.name)
    found = read_export(place)
    train = found["train"]
    assert list(zip(train["user"].cast(int), train["item"].cast(int), strict=True)) == list(
        zip(fold.train.users.tolist(), fold.train.items.tolist(), strict=True)
    )
    assert train["order"].to_list() == [at for n in fold.train.lengths for at in range(n)]
    assert ("time" in train.columns) == bool((fold.train.times >= 0).any())
    assert ("rating" in train.columns) == (not np.isnan(fold.train.values).all())
    assert found["queries"]["user"].cast(int).to_list() == fold.users.tolist()
    held = [(int(u), int(i)) for u, i in found["targets"].iter_rows()]
    assert held == list(zip(np.repeat(fold.users, fold.n_targets).tolist(), fold.targets.tolist(), strict=True))
    assert not set(held) & {(int(u), int(i)) for u, i in train.select("user", "item").iter_rows()}
    assert (place / "held-out" / "targets.parquet").exists()
    candidates = found["items"].filter("candidate")["item"].cast(int).to_list()
    assert sorted(candidates) == np.flatnonzero(fold.candidates).tolist()
    order = range(fold.n_items) if fold.order is None else fold.order.tolist()
    assert found["items"]["item"].cast(int).to_list() == list(order)
    assert ("pools" in found) == (fold.pools is not None)
    told = json.loads((place / "fold.json").read_text())
    assert (told["train"], told["queries"], told["targets"]) == (len(fold.train), len(fold), len(fold.targets))
    assert told["notes"] == list(fold.notes)


def popular(place: Path, k: int) -> pl.DataFrame:
    """What another program may do with an export: the most popular items that the user has not had."""
    found = read_export(place)
    train = found["train"]
    first = found["items"].with_row_index("at").filter("candidate")
    counted = first.join(train.group_by("item").len(), on="item", how="left").fill_null(0)
    ranks = counted.sort(["len", "at"], descending=[True, False]).with_row_index("rank").select("item", "rank")
    every = found["queries"].join(ranks, how="cross").join(train, on=["user", "item"], how="anti")
    return every.select("user", "item", "rank")


def test_popularity_made_outside_is_popularity(shop_built: Path, tmp_path: Path) -> None:
    done = command("replay", "-w", shop_built, "--export", tmp_path / "folds", "--json").document
    jsonschema.validate(done, json.loads((ROOT / "docs" / "schemas" / "export.json").read_text()))
    [one] = done["folds"]
    assert one["name"] == "loo-test"
    build = Workspace(shop_built).open()
    known = load_interactions(build.path)
    assert read_export(Path(one["path"]))["queries"]["user"].to_list() == list(known.users["user"])
    popular(Path(one["path"]), 10).write_parquet(tmp_path / "theirs.parquet")
    out = tmp_path / "out"
    result = command(
        "replay", "-w", shop_built, "--policies", f"pop,lists:{tmp_path / 'theirs.parquet'}", "--baseline", "pop",
        "--out", out, "--json",
    ).document  # fmt: skip
    own, theirs = result["policies"]
    assert theirs["name"] == "lists:theirs"
    assert own["metrics"] == theirs["metrics"]
    assert own["metrics"]["hr@10"]["mean"] > 0


def test_what_is_left_out_is_said(shop_built: Path, tmp_path: Path) -> None:
    ids = load_interactions(Workspace(shop_built).open().path).users["user"].to_list()
    written(tmp_path / "theirs.csv", [*ranked(ids[0], "p1", "p2", "gone"), *ranked("nobody", "p1")])
    done = command(
        "replay", "-w", shop_built, "--policies", f"lists:{tmp_path / 'theirs.csv'}", "--out", tmp_path / "o"
    )
    assert done.code == 0
    said = " ".join(done.out.split())
    assert "lists:theirs: 1 lines of unknown users, left out; 1 lines of unknown items, left out; 39 users" in said


def test_requests_that_an_export_cannot_meet(shop_built: Path, tmp_path: Path) -> None:
    done = command("replay", "-w", shop_built, "--export", tmp_path / "f", "--policies", "pop")
    assert done.code == 2
    assert "--policies has no meaning beside --export" in done.err
    done = command("replay", "--protocol", "ope", "--data", tmp_path, "--export", tmp_path / "f")
    assert done.code == 2
    assert "--export has no meaning under --protocol ope" in done.err
    (tmp_path / "file").write_text("")
    done = command("replay", "-w", shop_built, "--export", tmp_path / "file")
    assert done.code == 2
    assert "is a file" in done.err or "cannot be written" in done.err


def test_windows_are_exported_apart(tmp_path: Path) -> None:
    folds = temporal(timed(Log.of_lists([[i, i + 1, i + 2] for i in range(7)], 10)), windows=2)
    places = [Path(one.path) for one in export_folds(folds, None, None, tmp_path / "out").folds]
    assert [place.name for place in places] == [fold.name for fold in folds]
    sizes: NDArray[np.int64] = np.array([read_export(place)["train"].height for place in places])
    assert sizes.tolist() == [len(fold.train) for fold in folds]
    assert sizes[0] < sizes[1]
