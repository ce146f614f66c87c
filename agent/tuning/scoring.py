"""How often a planner is right on held-out messages.

**Plan right.** Every required tool is called, as often as it is required, and nothing beyond the required and the
allowed ones. ``search_items`` and ``recommend`` put a list on the table, of which there is one: where one of them is
required and the other allowed, either alone will do, and both together are wrong. Where a plain reply is right, a plan
may call what is allowed and nothing else.

**Arguments.** Micro F1 over all records, whether the right tools were called or not:

- Expected is each labelled argument of each required call; of ``search_items`` and ``recommend``, where either will
  do, those of the one that was called; of an allowed tool, only if it was called.
- Written is each argument of each call that can be wrong: an argument that is expected of its tool; and a filter, a
  likeness, an item or a rating that is not. Never wrong where it is not expected: ``query``, ``verdict``, ``scope`` and
  ``limit``; anything that the record lists under ``may``; and which item or taste a call is about, where the record
  names none for that tool ("seen it" leaves open what *it* is called). Calls of tools that are out of place have
  nothing expected of them: their filters, likenesses, items and ratings are wrong.
- Matched is a written argument that fits one of the expected alternatives: numbers and labels are equal; of free text
  (``query``, ``about``, ``without``) an alternative is contained, case and accents aside; titles and names contain one
  another word by word or are alike to 90 of 100 (Levenshtein, rapidfuzz). The item a call is about may be given by its
  place in the list or by its title. A tool required twice expects its arguments twice, and its calls are matched with
  the alternatives as sets: two calls about an item want two of the named items.

**Right.** The plan is right, every expected argument is matched, and nothing written is unmatched.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage
from numpy.typing import NDArray
from pydantic import ValidationError
from rapidfuzz import fuzz

from ...catalog.text import fold
from ...errors import TurnError
from ...graphs.planner import ASKED, Planner, PlanRequest
from ...tools.base import Tool
from .heldout import LISTING, Record, Table, Value, place_of, request_of
from .shells import Domain, Shell

#: Free text, of which a telling part is enough, and names, which may be shortened or misspelled.
TEXT = frozenset({"query", "about", "without"})
NAMES = frozenset({"named", "not_named", "title", "like"})
#: Arguments that are no error where nothing was expected of them.
FREE = frozenset({"query", "verdict", "scope", "limit"})
#: What a call is about; ``ordinal`` and ``title`` are two ways to say which item.
ITEM, ABOUT = "item", "about"
#: Arguments that tell the calls of one tool apart.
SUBJECTS = frozenset({ITEM, ABOUT})
#: Likeness (0..100) from which two names are the same one misspelled.
ALIKE = 90.0
#: A shorter name stands for a longer one that contains it from this many characters on.
SHORTEST = 4
RESAMPLES = 2000


# -- one plan -------------------------------------------------------------------------------------------------


def plan_right(record: Record, called: Sequence[str]) -> bool:
    """Whether the tools are right: see the module's text."""
    required, allowed, calls = list(record.required), list(record.allowed), list(called)
    if {*required, *allowed} >= LISTING:
        required, allowed, calls = (["list" if t in LISTING else t for t in of] for of in (required, allowed, calls))
        allowed = [t for t in allowed if t != "list"] + ([] if "list" in required else ["list"])
    must, may, made = Counter(required), Counter(allowed), Counter(calls)
    return must <= made and made - must <= may


@dataclass(frozen=True, slots=True)
class Counts:
    """Arguments of a plan: those that were expected and written, written and wrong, expected and missing."""

    matched: int = 0
    wrong: int = 0
    missing: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.matched + other.matched, self.wrong + other.wrong, self.missing + other.missing)


def count_arguments(record: Record, calls: Sequence[Mapping[str, Any]]) -> Counts:
    """Compare a plan's arguments with the expected ones: see the module's text.

    Args:
        calls: each with its ``name`` and ``args``.
    """
    made: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        made.setdefault(call["name"], []).append(call["args"])
    total = Counts()
    wanted = dict(_expected(record, made))
    for tool in {**wanted, **made}:
        times, expected = wanted.get(tool, (0, {}))
        written = _written(made.get(tool, []))
        optional = {ITEM if name in ("ordinal", "title") else name for name in record.may.get(tool, ())}
        open_subject = times > 0 and not SUBJECTS & expected.keys()
        for name in {**expected, **written}:
            given = written.get(name, [])
            if name in optional:
                continue
            if name in expected:
                total += _compared(name, given, expected[name], times, record.shown)
            elif name not in FREE and not (name in SUBJECTS and open_subject):
                total += Counts(wrong=len(given))
    return total


def _expected(
    record: Record, made: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[tuple[str, tuple[int, dict[str, list[Value]]]]]:
    """By tool, how often it is expected, and the alternatives of its arguments."""
    required, allowed = Counter(record.required), Counter(record.allowed)
    for tool in dict.fromkeys((*record.required, *record.allowed)):
        times = min(max(len(made.get(tool, ())), required[tool]), required[tool] + allowed[tool])
        expected = record.expected(tool)
        others = LISTING - {tool}
        if tool in LISTING and {*required, *allowed} >= LISTING:
            other = next(iter(others))
            if required[tool] and tool not in made and other in made:
                continue  # the other one stands in for it
            if required[other] and tool in made and tool not in record.args:
                # nothing of its own is labelled: the filters of the one it stands in for hold for it too
                expected = {k: v for k, v in record.expected(other).items() if k not in ("query", "like")}
                expected = {k: v for k, v in expected.items() if k not in record.may.get(tool, ())}
        if times:
            merged: dict[str, list[Value]] = {}
            for name, values in expected.items():
                merged.setdefault(ITEM if name in ("ordinal", "title") else name, []).extend(values)
            yield tool, (times, merged)


def _written(calls: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of each argument over a tool's calls; of ``ordinal`` and ``title`` together, a pair a call."""
    found: dict[str, list[Any]] = {}
    for arguments in calls:
        if {"ordinal", "title"} & arguments.keys():
            found.setdefault(ITEM, []).append((arguments.get("ordinal"), arguments.get("title")))
        for name, value in arguments.items():
            if name not in ("ordinal", "title") and value is not None:
                found.setdefault(name, []).append(value)
    return found


def _compared(
    name: str, given: Sequence[Any], alternatives: Sequence[Value], times: int, shown: Sequence[str]
) -> Counts:
    """One argument over a tool's calls: ``times`` of them are expected."""
    groups = _groups(name, alternatives, shown)
    if name in SUBJECTS and times > 1:
        wanted = min(times, len(groups))
        fitting = [frozenset(at for at, group in enumerate(groups) if _fits_any(name, v, group, shown)) for v in given]
        matched = min(wanted, _most_pairs(fitting))
    else:
        wanted = times if name == "verdict" else min(times, len(groups))
        matched = min(wanted, sum(_fits_any(name, value, alternatives, shown) for value in given))
    return Counts(matched, len(given) - matched, wanted - matched)


def _groups(name: str, alternatives: Sequence[Value], shown: Sequence[str]) -> list[list[Value]]:
    """Alternatives by what they mean: spellings of one name, a title and its place in the list, are one."""
    groups: list[list[Value]] = []
    for one in alternatives:
        pair = (one, None) if isinstance(one, int) else (None, one)
        written: Any = pair if name == ITEM else one
        same = next((group for group in groups if _fits_any(name, written, group, shown)), None)
        if same is None:
            groups.append([one])
        else:
            same.append(one)
    return groups


def _most_pairs(fitting: Sequence[frozenset[int]]) -> int:
    """The most values that can be paired with a group of their own."""
    if not fitting:
        return 0
    first, rest = fitting[0], fitting[1:]
    return max(_most_pairs(rest), *(1 + _most_pairs([one - {at} for one in rest]) for at in first), 0)


def _fits_any(name: str, value: Any, alternatives: Iterable[Value], shown: Sequence[str]) -> bool:
    return any(fits(name, value, one, shown) for one in alternatives)


def fits(name: str, value: Any, wanted: Value, shown: Sequence[str] = ()) -> bool:
    """Whether what was written for an argument is what was meant.

    Args:
        name: of the argument; ``item`` for the pair of ``ordinal`` and ``title``.
        shown: titles of the list on the table.
    """
    if name == ITEM:
        ordinal, title = value
        by_place = ordinal is None or _same_item(ordinal, wanted, shown)
        return by_place and (title is None or _same_item(title, wanted, shown))
    if name == "like":
        return _same_item(value, wanted, shown)
    if isinstance(value, bool) or isinstance(wanted, int) != isinstance(value, int | float):
        return False
    if isinstance(wanted, int):
        return bool(value == wanted)
    if name in TEXT:
        return bool(fold(wanted)) and fold(wanted) in fold(value)
    return same_name(value, wanted) if name in NAMES else fold(value) == fold(wanted)


def _same_item(one: Any, other: Value, shown: Sequence[str]) -> bool:
    """Whether two ways to name an item (a title, a place in the list) name the same one."""
    first, second = _resolved(one, shown), _resolved(other, shown)
    if isinstance(first, str) and isinstance(second, str):
        return same_name(first, second)
    return type(first) is type(second) and first == second


def _resolved(one: Any, shown: Sequence[str]) -> str | int:
    """The title at a place of the list; the place where the list is not as long; the title that it is."""
    place = one if isinstance(one, int) else place_of(str(one))
    if place is None:
        return str(one)
    if place == -1:
        place = len(shown)
    return shown[place - 1] if 1 <= place <= len(shown) else place


def same_name(one: str, other: str) -> bool:
    """Whether two texts name the same thing: one contains the other word by word, or they are nearly the same."""
    first, second = sorted((fold(one), fold(other)), key=len)
    if not first:
        return False
    contained = f" {first} " in f" {second} " and (len(first) >= SHORTEST or first == second)
    return contained or fuzz.ratio(first, second) >= ALIKE


def valid(tools: Mapping[str, Tool], calls: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every call is of a tool there is, with arguments that its schema takes."""
    for call in calls:
        if call["name"] not in tools:
            return False
        try:
            tools[call["name"]].arguments.model_validate(dict(call["args"]))
        except ValidationError:
            return False
    return True


# -- many plans -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a planner answered.

    Attributes:
        calls: each with ``name`` and ``args``; none for words.
        seconds: it took.
        failed: why there is no answer.
        valid: whether the calls fit the tools' schemas.
        asked: how often a language model was asked. tokens: read and written, where the answer tells.
    """

    calls: tuple[Mapping[str, Any], ...]
    seconds: float
    failed: str | None
    valid: bool
    asked: int | None = None
    tokens: tuple[int, int] | None = None

    @property
    def names(self) -> list[str]:
        return [str(call["name"]) for call in self.calls]


def ask(planner: Planner, request: PlanRequest) -> Answer:
    """Ask for one plan; a turn that fails is an answer that is never right."""
    started = time.perf_counter()
    try:
        message: AIMessage = planner.plan(request)
    except TurnError as error:
        return Answer((), time.perf_counter() - started, str(error), False)
    seconds = time.perf_counter() - started
    calls = tuple({"name": call["name"], "args": call["args"]} for call in message.tool_calls)
    usage = message.usage_metadata
    return Answer(
        calls=calls,
        seconds=seconds,
        failed=None,
        valid=not message.invalid_tool_calls and valid(request.tools, calls),
        asked=message.response_metadata.get(ASKED, 1 if usage else None),
        tokens=(usage["input_tokens"], usage["output_tokens"]) if usage else None,
    )


@dataclass(frozen=True)
class Scored:
    """A record, the answer to it, and how right it is."""

    record: Record
    answer: Answer
    plan_right: bool
    arguments: Counts

    @classmethod
    def of(cls, record: Record, answer: Answer) -> Scored:
        right = answer.failed is None and plan_right(record, answer.names)
        return cls(record, answer, right, count_arguments(record, answer.calls))

    @property
    def right(self) -> bool:
        return self.plan_right and self.arguments.wrong == 0 and self.arguments.missing == 0


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    right: int
    n: int

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Share:
        counted = list(outcomes)
        return cls(sum(counted), len(counted))

    @property
    def value(self) -> float:
        return self.right / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval (Wilson 1927, Journal of the American Statistical Association 22)."""
        if not self.n:
            return 0.0, 1.0
        z, share, n = 1.96, self.value, self.n
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def told(self) -> str:
        """In per cent, with its interval."""
        low, high = self.interval
        return f"{100 * self.value:.1f} ({100 * low:.1f}..{100 * high:.1f})" if self.n else ""

    def as_json(self) -> dict[str, Any]:
        return {"right": self.right, "n": self.n, "interval": [round(end, 4) for end in self.interval]}


@dataclass(frozen=True)
class Result:
    """What a planner made of the held-out records.

    Attributes:
        planner: its name.
        scored: one a record.
    """

    planner: str
    scored: tuple[Scored, ...]

    @property
    def plan(self) -> Share:
        return Share.of(one.plan_right for one in self.scored)

    @property
    def right(self) -> Share:
        return Share.of(one.right for one in self.scored)

    @property
    def valid(self) -> Share:
        return Share.of(one.answer.valid for one in self.scored)

    @property
    def f1(self) -> float:
        return float(_f1(self._counts().sum(axis=0, keepdims=True))[0])

    def f1_interval(self, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
        """The 95 % percentile interval of F1 over bootstrapped records (Efron 1979)."""
        counts = self._counts()
        drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), resamples)
        low, high = np.quantile(_f1(drawn @ counts), (0.025, 0.975))
        return float(low), float(high)

    def _counts(self) -> NDArray[np.int64]:
        """Shape (n_records, 3): matched, wrong, missing."""
        return np.array([(s.arguments.matched, s.arguments.wrong, s.arguments.missing) for s in self.scored], np.int64)

    def by(self, of: Callable[[Record], str]) -> dict[str, Result]:
        """The results of each group of records, the groups in alphabetical order."""
        groups = sorted({of(one.record) for one in self.scored})
        return {g: Result(self.planner, tuple(s for s in self.scored if of(s.record) == g)) for g in groups}

    def row(self) -> dict[str, str | float | int]:
        """The result as a line of a table; shares and F1 in per cent with their 95 % intervals."""
        low, high = self.f1_interval()
        seconds = [one.answer.seconds for one in self.scored]
        tokens = [one.answer.tokens for one in self.scored if one.answer.tokens is not None]
        asked = [one.answer.asked for one in self.scored if one.answer.asked is not None]
        return {
            "planner": self.planner,
            "records": len(self.scored),
            "plan right (%)": self.plan.told(),
            "argument F1 (%)": f"{100 * self.f1:.1f} ({100 * low:.1f}..{100 * high:.1f})",
            "plan and arguments right (%)": self.right.told(),
            "valid (%)": self.valid.told(),
            "failed": sum(one.answer.failed is not None for one in self.scored),
            "median (ms)": round(1000 * float(np.median(seconds))),
            "95th percentile (ms)": round(1000 * float(np.quantile(seconds, 0.95))),
            "model calls a plan": round(float(np.mean(asked)), 2) if asked else "",
            "tokens read": round(float(np.mean([t[0] for t in tokens]))) if tokens else "",
            "tokens written": round(float(np.mean([t[1] for t in tokens])), 1) if tokens else "",
        }

    def as_json(self) -> dict[str, Any]:
        """The figures, over all and by domain and kind."""
        return {
            "planner": self.planner,
            **self._figures(),
            "by_domain": {name: part._figures() for name, part in self.by(lambda record: record.domain).items()},
            "by_kind": {name: part._figures() for name, part in self.by(lambda record: record.kind).items()},
        }

    def _figures(self) -> dict[str, Any]:
        matched, wrong, missing = self._counts().sum(axis=0).tolist()
        return {
            "plan_right": self.plan.as_json(),
            "right": self.right.as_json(),
            "valid": self.valid.as_json(),
            "arguments": {
                "f1": round(self.f1, 4),
                "interval": [round(end, 4) for end in self.f1_interval()],
                "matched": matched,
                "wrong": wrong,
                "missing": missing,
            },
            "median_seconds": round(float(np.median([one.answer.seconds for one in self.scored])), 4),
        }


def _f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of rows (matched, wrong, missing); 1 where nothing was expected and nothing written."""
    matched, wrong, missing = counts.T.astype(np.float64)
    whole = 2 * matched + wrong + missing
    return np.where(whole > 0, 2 * matched / np.where(whole > 0, whole, 1.0), 1.0)


def evaluate(
    make: Callable[[Shell], Planner],
    records: Sequence[Record],
    shells: Mapping[Domain, Shell],
    *,
    name: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Result:
    """Ask for a plan for each record, domain by domain, in the order of the records within each.

    Args:
        make: makes the planner of a shell.
        shells: as :func:`.heldout.shells_for` makes them for these records.
        name: of the planner; None: as the last one made calls itself.
        progress: told after each record.
    """
    scored: dict[int, Scored] = {}
    for domain, shell in shells.items():
        its = [(at, record) for at, record in enumerate(records) if record.domain == domain]
        if not its:
            continue
        planner, table = make(shell), Table.of(shell)
        name = name or planner.name
        for at, record in its:
            scored[at] = Scored.of(record, ask(planner, request_of(record, table)))
            progress()
    return Result(name or "", tuple(scored[at] for at in sorted(scored)))
