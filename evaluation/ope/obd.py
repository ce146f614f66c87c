"""Reads bandit logs laid out as the Open Bandit Dataset is (Saito, Aihara, Matsutani & Narita 2020).

    <policy>/<campaign>/<campaign>.csv        one row a round
    <policy>/<campaign>/item_context.csv      may be absent; its item_id column completes the list of items

Columns of a log: ``item_id`` and ``click`` (the reward, any number); where there are any ``position``,
``propensity_score`` (or ``action_prob``) and ``user_feature_0``, ``user_feature_1``, ... Other columns, the
user-item affinities among them, are not read. Files may end in ``.csv.gz``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from .log import BanditLog

_PROPENSITY = ("propensity_score", "action_prob")
_FEATURE = re.compile(r"user_feature_\d+")
#: Values of one user feature told apart; the rarest beyond count as none of them.
CATEGORIES = 50


@dataclass(frozen=True, slots=True, eq=False)
class Campaign:
    """Logs of different policies over the same items and positions.

    Attributes:
        name: of the campaign.
        logs: by the name of the policy.
        items: ids, by action.
        positions: as written in the logs, by position.
    """

    name: str
    logs: Mapping[str, BanditLog]
    items: tuple[str, ...]
    positions: tuple[str, ...]


def find_logs(root: Path) -> dict[str, dict[str, Path]]:
    """Log files by campaign and policy, both in alphabetical order.

    Raises:
        UserError: the folder is missing or holds no log in this layout.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: give the one that holds <policy>/<campaign>/<campaign>.csv")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted([*root.glob("*/*/*.csv"), *root.glob("*/*/*.csv.gz")]):
        policy, campaign = path.parts[-3:-1]
        if path.name in (f"{campaign}.csv", f"{campaign}.csv.gz"):
            if policy in found.setdefault(campaign, {}):
                raise UserError(f"{path.parent} holds {campaign}.csv twice, packed and not: remove one")
            found[campaign][policy] = path
    if not found:
        raise UserError(
            f"{root} holds no bandit logs: <policy>/<campaign>/<campaign>.csv is expected, as in random/men/men.csv"
        )
    return dict(sorted(found.items()))


def read_campaign(name: str, files: Mapping[str, Path]) -> Campaign:
    """The logs of one campaign, with items and positions numbered alike in all.

    Args:
        files: log file by policy, from :func:`find_logs`.

    Raises:
        UserError: a file is missing, empty, damaged or lacks a column; a value is no number or out of range.
    """
    tables = {policy: _read(path) for policy, path in files.items()}
    ids: set[str] = set()
    for policy, path in files.items():
        ids.update(tables[policy]["item_id"].unique())
        beside = path.parent / "item_context.csv"
        if beside.is_file():
            ids.update(_ids(beside))
    items = _ordered(ids)
    slots = [table["position"].unique().to_list() for table in tables.values() if "position" in table.columns]
    if slots and len(slots) < len(tables):
        without = [str(files[policy]) for policy, table in tables.items() if "position" not in table.columns]
        raise UserError(
            f"{without[0]} has no column 'position', other logs of campaign {name} have: add it or remove it there"
        )
    positions = _ordered({slot for one in slots for slot in one})
    logs = {policy: _log(files[policy], table, items, positions) for policy, table in tables.items()}
    return Campaign(name, logs, items, positions)


def _read(path: Path) -> pl.DataFrame:
    """The columns wanted, as text."""
    try:
        names = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        absent = [column for column in ("item_id", "click") if column not in names]
        if absent:
            raise UserError(f"{path} has no column {', '.join(map(repr, absent))}: found {', '.join(names[:12])}")
        wanted = [
            column
            for column in names
            if column in ("item_id", "click", "position", *_PROPENSITY) or _FEATURE.fullmatch(column)
        ]
        table = pl.read_csv(path, columns=wanted, infer_schema=False)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as CSV ({reason}): fetch or write it again") from None
    if not table.height:
        raise UserError(f"{path} has no rows: a log of at least one round is expected")
    for column in ("item_id", "position"):
        if column in table.columns and table[column].null_count():
            line = int(np.argmax(table[column].is_null().to_numpy())) + 2
            raise UserError(f"{path}:{line}: {column} is empty: fill it in or remove the row")
    return table


def _ids(path: Path) -> Sequence[str]:
    try:
        table = pl.read_csv(path, columns=["item_id"], infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} has no readable column 'item_id' ({reason}): add it or remove the file") from None
    return table["item_id"].drop_nulls().unique().to_list()


def _ordered(found: set[str]) -> tuple[str, ...]:
    """By number where all are numbers, otherwise by text."""
    return tuple(sorted(found, key=(lambda text: (int(text), text)) if all(map(str.isdecimal, found)) else str))


def _log(path: Path, table: pl.DataFrame, items: tuple[str, ...], positions: tuple[str, ...]) -> BanditLog:
    action = _number(table["item_id"], items)
    position = _number(table["position"], positions) if positions else None
    reward = _floats(path, table, "click", "a number")
    given = next((column for column in _PROPENSITY if column in table.columns), None)
    propensity = None
    if given is not None:
        propensity = _floats(path, table, given, "a chance above 0 and at most 1")
        wrong = (propensity <= 0) | (propensity > 1)
        if wrong.any():
            _refuse(path, table, given, wrong, "a chance above 0 and at most 1")
    features = [column for column in table.columns if _FEATURE.fullmatch(column)]
    columns = [column for feature in features for column in _columns(table[feature])]
    context = np.column_stack(columns) if columns else None
    return BanditLog(action, reward, len(items), propensity, context, position, max(len(positions), 1))


def _number(values: pl.Series, names: tuple[str, ...]) -> NDArray[np.int64]:
    return values.replace_strict(list(names), list(range(len(names))), return_dtype=pl.Int64).to_numpy()


def _floats(path: Path, table: pl.DataFrame, column: str, expected: str) -> NDArray[np.float64]:
    values = table[column].str.strip_chars().cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    wrong = ~np.isfinite(values)
    if wrong.any():
        _refuse(path, table, column, wrong, expected)
    return np.asarray(values, dtype=np.float64)


def _refuse(path: Path, table: pl.DataFrame, column: str, wrong: NDArray[np.bool_], expected: str) -> None:
    row = int(np.argmax(wrong))
    value = table[column][row]
    more = int(wrong.sum()) - 1
    raise UserError(
        f"{path}:{row + 2}: {column} is {'empty' if value is None else repr(value)}: expected {expected}"
        + (f"; {more} more rows are wrong" if more else "")
        + "; correct or remove the row"
        + ("s" if more else "")
    )


def _columns(feature: pl.Series) -> list[NDArray[np.float64]]:
    """A feature that is numbers throughout as it is, any other as one column of 0 and 1 for each frequent value."""
    numbers = feature.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and numbers.is_finite().all():
        return [np.asarray(numbers.to_numpy(), dtype=np.float64)]
    text = feature.fill_null("")
    counts = text.value_counts().sort(["count", text.name], descending=[True, False])
    return [np.asarray((text == value).to_numpy(), dtype=np.float64) for value in counts[text.name][:CATEGORIES]]
