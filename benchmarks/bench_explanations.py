"""Measures explanations on a log: do their claims rest on evidence, and the ranking on their claims?

    python benchmarks/bench_explanations.py [DATA] [--set ml-100k-posters] [--workspace FOLDER] [--users 100]
                    [--items 3] [--seed 0] [--note TEXT]

DATA (or LLM4REC_DATA) holds the sets' folders, and a workspace of the set is built; or --workspace is one. For users
drawn at random each of their best items is explained. Beside each claim about the past stands another that is as true:
of the same kind, through the same part of the ranker, naming as many other records of the user. Intervals: bootstrap
over users. The explanations of the first 20 users are printed in Markdown, one each, as they came.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from report import Row, write

if TYPE_CHECKING:
    from llm4rec.agent.recommender import Recommender
    from llm4rec.ranking.base import Ranked
    from llm4rec.tools.base import TurnContext
    from llm4rec.tools.counterfactual import Standing, Standings
    from llm4rec.tools.evidence import Reason
    from llm4rec.tools.results import Card
    from llm4rec.tools.verify import Measured

SAMPLES = 20
#: A fall further than this counts as this far, so that a few long falls do not make the mean.
FARTHEST = 100
RESAMPLED = 5000


#: From the places of the users drawn to a figure of theirs.
Figure = Callable[[NDArray[np.int64]], float]


@dataclass
class Seen:
    """What was measured for one user: a number for each claim or explanation, by figure."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(float(value))


def other_claim(
    desk: TurnContext, card: Card, ranked: Ranked, standings: Standings, one: Measured, rng: np.random.Generator
) -> Reason | None:
    """A claim as true as a told one, of its kind, naming as many other records drawn at random; None: there is none."""
    from llm4rec.tools.claims import BEHAVIOUR
    from llm4rec.tools.evidence import past_reason, people_in_common, shared_labels, shared_reason, unsupported

    item = desk.knowledge.catalogue.item(ranked.row)
    cited = one.reason.left.refs
    reason: Reason | None = None
    if one.reason.kind in ("behaviour", "content"):
        part = str(one.reason.part)
        other = [
            c
            for c in ranked.contributions
            if c.part == part and c.amount > 0 and c.direct and c.row not in (None, ranked.row) and c.ref not in cited
        ]
        if part in BEHAVIOUR:
            other = [c for c in other if people_in_common(desk, c.row, ranked.row) != 0]
        if len(other) >= len(cited):
            drawn = [other[at] for at in rng.choice(len(other), len(cited), replace=False)]
            reason = past_reason(desk, item, ranked, part, drawn)
    elif one.reason.kind in ("shared", "graph"):
        past = standings.history
        held = [
            (name, value, [at for at in places if past.refs[at] not in cited and past.rows[at] != ranked.row])
            for name, values in shared_labels(desk, item, past.rows).items()
            for value, places in values.items()
        ]
        fit = [(name, value, places) for name, value, places in held if len(places) >= len(cited)]
        if fit:
            name, value, places = fit[rng.integers(len(fit))]
            told = [(past.refs[at], int(past.rows[at])) for at in rng.choice(places, len(cited), replace=False)]
            reason = shared_reason(desk, item, name, value, told)
    assert reason is None or not unsupported(reason), reason
    return reason


def measured(recommender: Recommender, user: str, items: int, rng: np.random.Generator) -> tuple[Seen, list[Card]]:
    """One user's explanations and what came of them."""
    from llm4rec.tools.base import TurnContext
    from llm4rec.tools.counterfactual import Left, Standings
    from llm4rec.tools.evidence import unsupported
    from llm4rec.tools.explain import explain_row, rank_one
    from llm4rec.tools.verify import explained

    seen, cards = Seen(), []
    for listed in recommender.recommend(user, k=items).cards:
        desk = TurnContext(user=user, thread="main", message="why", knowledge=recommender.knowledge)
        row = desk.knowledge.catalogue.row_of[listed.id]
        began, spent = time.perf_counter(), time.process_time()
        card = explain_row(desk, row)
        seen.add("seconds", time.perf_counter() - began)
        seen.add("processor seconds", time.process_time() - spent)
        cards.append(card)
        standings = Standings(desk, row, shown=False)
        ranked = rank_one(desk, standings, row)
        found = explained(replace(desk, evidence={}), desk.knowledge.catalogue.item(row), ranked, standings)
        now, nothing = standings.now, standings.of([standings.only(())])[0]
        seen.add("rank", now.rank)
        seen.add("claims", len(card.claims))
        for claim, one in zip(card.claims, found.told, strict=True):
            known = set(claim.evidence) <= set(desk.evidence)
            seen.add("claims with evidence", bool(claim.evidence) and known and not unsupported(one.reason))
            seen.add("words of a claim", len(claim.text.split()))
        seen.add("reasons left out", sum("left out" in notice for notice in desk.notices))
        verification = card.verification
        assert verification is not None
        if verification.counterfactual is not None:
            seen.add("counterfactual set found", verification.counterfactual.found)
            if verification.counterfactual.found:
                seen.add("records in a counterfactual set", len(verification.counterfactual.evidence))
        seen.add("with a counterpoint", verification.counterpoint is not None)
        whole, whole_random = Left(), Left()
        for one in found.told:
            if not one.reason.left.refs or one.without is None or one.alone is None:
                continue
            other = other_claim(replace(desk, evidence={}), card, ranked, standings, one, rng)
            seen.add("claims about the past", 1)
            seen.add("claims without another as true", other is None)
            if other is None:
                continue
            whole, whole_random = whole | one.reason.left, whole_random | other.left
            without, alone = standings.of([other.left, standings.only(other.left.refs)])
            _judge(seen, "claim", now, one.without, one.alone, standings.top)
            _judge(seen, "random claim", now, without, alone, standings.top)
        if whole != Left():
            four = [whole, standings.only(whole.refs), whole_random, standings.only(whole_random.refs)]
            a, b, c, d = standings.of(four)
            _judge(seen, "explanation", now, a, b, standings.top)
            _judge(seen, "random explanation", now, c, d, standings.top)
        _judge(seen, "because it is popular", now, None, nothing, standings.top)
    return seen, cards


def _judge(seen: Seen, what: str, now: Standing, without: Standing | None, alone: Standing, top: int) -> None:
    if without is not None:
        seen.add(f"{what}: places fallen", min(max(without.rank - now.rank, 0), FARTHEST))
        seen.add(f"{what}: score lost", now.score - without.score)
        seen.add(f"{what}: gone", without.rank > top)
    seen.add(f"{what}: stays", alone.rank <= top)
    seen.add(f"{what}: rank alone", np.log2(alone.rank))


def mean_of(users: Sequence[Seen], name: str) -> Figure:
    """The mean of a figure over all claims of the users drawn."""
    sums = np.array([sum(one.figures.get(name, ())) for one in users])
    numbers = np.array([len(one.figures.get(name, ())) for one in users])
    return lambda drawn: float(sums[drawn].sum() / max(numbers[drawn].sum(), 1))


def interval(users: Sequence[Seen], figure: Figure, seed: int) -> tuple[float, float, float]:
    """A figure of the users with its 95 % interval, by drawing users with replacement."""
    rng, n = np.random.default_rng(seed), len(users)
    drawn = [figure(rng.integers(0, n, n)) for _ in range(RESAMPLED)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return figure(np.arange(n)), float(low), float(high)


def told(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.3g} [{found[1]:.3g}, {found[2]:.3g}]"


def compared(users: Sequence[Seen], what: str, seed: int) -> list[Row]:
    """Claims (or explanations) beside random ones: each figure, and the ratio of the two."""
    rows: list[Row] = []
    for figure, name in (
        ("places fallen", f"necessity: places fallen without it, at most {FARTHEST}"),
        ("score lost", "necessity: score lost without it"),
        ("gone", "necessity: leaves the first 10 without it"),
        ("stays", "sufficiency: stays in the first 10 with it alone"),
        ("rank alone", "sufficiency: log2 of the rank with it alone (lower is better)"),
    ):
        ours, theirs = mean_of(users, f"{what}: {figure}"), mean_of(users, f"random {what}: {figure}")
        row: dict[str, str | float | int] = {
            "of": what,
            "figure": name,
            "chosen": told(interval(users, ours, seed)),
            "random and as true": told(interval(users, theirs, seed)),
        }
        if figure != "rank alone" and interval(users, theirs, seed)[1] > 0:  # else the ratio has no bound
            ratio = interval(users, lambda at, a=ours, b=theirs: a(at) / max(b(at), 1e-9), seed)  # type: ignore[misc]
            row["ratio"] = told(ratio)
        if figure in ("stays", "rank alone"):
            popular = mean_of(users, f"because it is popular: {figure}")
            row["because it is popular"] = told(interval(users, popular, seed))
        rows.append(row)
    return rows


def distinct_2(texts: Sequence[str]) -> float:
    """Share of the pairs of neighbouring words that are different (Li et al. 2016)."""
    pairs = [pair for text in texts for pair in zip(text.lower().split(), text.lower().split()[1:], strict=False)]
    return len(set(pairs)) / max(len(pairs), 1)


def sample(user: str, card: Card) -> str:
    """An explanation as a conversation shows it."""
    from llm4rec.graphs.respond import described

    return f"User {user}: " + described(card)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("LLM4REC_DATA"))
    parser.add_argument("--set", default="ml-100k-posters")
    parser.add_argument("--workspace", type=Path, help="a build of the set, in place of building it")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--items", type=int, default=3, help="best items of each, explained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--note", action="append", default=[], help="a further sentence for the result")
    given = parser.parse_args(arguments)
    if given.workspace is None and given.data is None:
        print("skipped: name the folder of the data sets, or set LLM4REC_DATA")
        return
    from llm4rec.agent.recommender import RULES, Recommender

    with tempfile.TemporaryDirectory() as temporary:
        place = given.workspace
        if place is None:
            place = Path(temporary) / "workspace"
            data = ["--data", str(Path(given.data) / given.set)]
            subprocess.run([sys.executable, "-m", "llm4rec", "build", *data, "--workspace", str(place)], check=True)
        users: list[Seen] = []
        cards: list[tuple[str, Card]] = []
        with Recommender.open(place, llm=RULES) as recommender:
            rng = np.random.default_rng(given.seed)
            ids = recommender.knowledge.interactions.user_ids
            parts = ", ".join(recommender.knowledge.ranker.rankers)
            for at in rng.choice(len(ids), min(given.users, len(ids)), replace=False).tolist():
                seen, explained = measured(recommender, ids[at], given.items, rng)
                users.append(seen)
                cards += [(ids[at], card) for card in explained]
                if len(users) % 10 == 0:
                    print(f"{len(users)} users", file=sys.stderr, flush=True)
    texts = [claim.text for _, card in cards for claim in card.claims]
    labels = [claim.verdict.label for _, card in cards for claim in card.claims if claim.verdict is not None]
    rows: list[Row] = [*compared(users, "claim", given.seed), *compared(users, "explanation", given.seed)]
    plain = [
        ("claims of an explanation", "claims"),
        ("claims that rest on evidence which holds every name and number in them", "claims with evidence"),
        ("reasons left out as their records did not hold them, of an explanation", "reasons left out"),
        ("rank of what is explained", "rank"),
        ("counterfactual set of at most 5 found", "counterfactual set found"),
        ("records in it", "records in a counterfactual set"),
        ("with a counterpoint", "with a counterpoint"),
        ("words of a claim", "words of a claim"),
        ("claims about the past for which there is no other as true", "claims without another as true"),
        ("seconds of an explanation", "seconds"),
        ("of which on the processor", "processor seconds"),
    ]
    for name, key in plain:
        rows.append({"of": "all", "figure": name, "chosen": told(interval(users, mean_of(users, key), given.seed))})
    rows.append({"of": "all", "figure": "distinct-2 of all claims together", "chosen": f"{distinct_2(texts):.3f}"})
    for name in ("necessary", "contributes", "unmoved"):
        share = labels.count(name) / len(labels)
        rows.append({"of": "all", "figure": f"claims with the verdict {name!r}", "chosen": f"{share:.3f}"})
    notes = [
        f"{len(cards)} explanations, of the {given.items} best items of {len(users)} users drawn at random; "
        f"{len(texts)} claims; parts of the ranker: {parts}",
        "random and as true: of the same kind, through the same part of the ranker, naming as many other records of "
        "the user, each of which that part counts for the item; claims about popularity have no such counterpart and "
        "are left out there",
        "necessity: all is ranked again without the records a claim names; sufficiency: with nothing else known of the "
        "user; because it is popular: with nothing known of the user at all",
        "an explanation is ranked again without, and with nothing but, the records of all its claims about the past",
        "intervals: 95 %, bootstrap over users; what is compared is of the same users and items",
        *given.note,
    ]
    print(write(f"explanations-{given.set}", rows, notes, {"users, items and random claims": given.seed}))
    firsts = dict(reversed(cards))
    for user in list(dict.fromkeys(user for user, _ in cards))[:SAMPLES]:
        print("\n" + sample(user, firsts[user]))


if __name__ == "__main__":
    main()
