"""What a person leans to: told where it is more than chance, and nowhere else."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.profiles.describe import leaning_line
from llm4rec.profiles.fold import Taste
from llm4rec.profiles.leanings import (
    FEWEST,
    LEVEL,
    MOST,
    Judged,
    Leaning,
    _binomial,
    _hypergeometric,
    leanings_of,
)
from numpy.typing import NDArray
from profile_cases import NOW

GENRES = ("Comedy", "Drama", "Crime", "Horror", "Western", "Musical", "War", "Noir", "Sports", "Mystery")
MAY = 1_777_800_000.0  # 3 May 2026


def catalogue(n: int = 300) -> Catalogue:
    """Films of one or two genres each, a director for every fifth, years from 1950 on, an identifier nobody shares."""
    return Catalogue.of(
        [
            Item(
                id=f"i{row}",
                title=f"Film {row}",
                attributes={
                    "genres": (GENRES[row % 10], *((GENRES[(row // 10) % 10],) if row % 3 == 0 else ())),
                    "director": f"Director {row % 60}",
                    "year": float(1950 + row % 70),
                    "imdb": f"tt{row}",
                },
            )
            for row in range(n)
        ]
    )


FILMS = catalogue()
NOBODY = np.zeros(len(FILMS), dtype=np.int64)
HAVING = {genre: [row for row in range(300) if genre in FILMS.item(row).attributes["genres"]] for genre in GENRES}  # type: ignore[operator]


def liked(*rows: int) -> list[Judged]:
    return [Judged(row, True, "like") for row in rows]


def disliked(*rows: int) -> list[Judged]:
    return [Judged(row, False, "dislike") for row in rows]


def only(genre: str, others: int = 0) -> tuple[int, ...]:
    """Rows of films of a genre, with years and directors that vary."""
    return tuple(HAVING[genre][others : others + 9])


def found(judged: list[Judged], *tastes: Taste, counts: NDArray[np.int64] = NOBODY) -> dict[str, Leaning]:
    return {one.term: one for one in leanings_of(FILMS, judged, counts, tastes)}


def stated(term: str, polarity: int = 1, **fields: object) -> Taste:
    return Taste(
        **{  # type: ignore[arg-type]
            "attribute": None,
            "term": term,
            "polarity": polarity,
            "scope": "always",
            "event_id": "e1",
            "time": MAY,
            "source": "said",
            **fields,
        }
    )


def test_nothing_is_told_of_nobody_and_of_few() -> None:
    assert leanings_of(FILMS, [], NOBODY) == ()
    assert found(liked(*only("Crime")[:2])) == {}
    assert leanings_of(Catalogue.of([]), [], np.zeros(0, dtype=np.int64)) == ()


def test_what_is_liked_far_more_than_chance_has_it() -> None:
    one = found(liked(*only("Crime")))["Crime"]
    share = (len(HAVING["Crime"])) / len(FILMS)
    assert (one.attribute, one.polarity, one.label, one.count, one.of) == ("genres", 1, True, 9, 9)
    assert one.usual == pytest.approx(share)
    assert one.chance == pytest.approx(share**9)
    assert one.hows == (("like", 9),)
    assert one.inferred


def test_what_people_choose_is_the_measure() -> None:
    counts = NOBODY.copy()
    counts[HAVING["Crime"]] = 1_000
    assert "Crime" not in found(liked(*only("Crime")), counts=counts), "everybody chooses crime here"
    one = found(liked(*only("War")), counts=counts)["War"]
    weights = counts + 1
    assert one.usual == pytest.approx(weights[HAVING["War"]].sum() / weights.sum())


def test_what_is_disliked_more_than_all_else() -> None:
    others = [row for row in range(300) if row not in HAVING["Horror"]][::7][:30]
    one = found([*disliked(*only("Horror")), *disliked(others[0]), *liked(*others[1:])])["Horror"]
    assert (one.polarity, one.count, one.of, one.others) == (-1, 9, 9, 30)
    assert one.usual == pytest.approx(1 / 30)
    total = math.comb(39, 9)
    assert one.chance == pytest.approx(math.comb(10, 9) / total)
    assert leaning_line(one, people=True, chosen=False) == (
        "You seem to lean away from Horror (genres; inferred): you did not like 9 of the 9 you judged (9 dislikes), "
        "and 1 of the 30 others."
    )


def test_disliking_everything_is_no_leaning() -> None:
    assert found(disliked(*range(0, 300, 7))) == {}


def test_a_number_leans_to_one_side_of_the_middle() -> None:
    late = [row for row in range(300) if row % 70 >= 55][::2][:20]
    told = [one for one in leanings_of(FILMS, liked(*late), NOBODY) if one.attribute == "year"]
    assert [(one.term, one.label, one.count, one.of) for one in told] == [("years above 1982", False, 20, 20)]
    early = [row for row in range(300) if row % 70 < 20][::2][:20]
    both = leanings_of(FILMS, [*liked(*late), *disliked(*early)], NOBODY)
    assert len([one for one in both if one.attribute == "year"]) == 1, "above and not below is one thing"


def test_what_is_not_filled_in_is_left_out() -> None:
    items = [
        Item(id=f"i{n}", title="t", attributes={"brand": "Acme" if n % 10 == 0 else f"B{n % 10}"} if n % 2 == 0 else {})
        for n in range(200)
    ]
    shop = Catalogue.of([*items, Item(id="n", title="t", attributes={"price": math.nan, "brand": " "})])
    rows = [*range(0, 100, 10), *range(1, 21, 2)]
    (one,) = leanings_of(shop, liked(*rows), np.zeros(len(shop), dtype=np.int64))
    assert (one.term, one.count, one.of) == ("Acme", 10, 10)
    assert one.usual == pytest.approx(0.2)


def test_at_most_six_and_the_surest_first() -> None:
    items = [
        Item(id=f"i{n}", title="t", attributes={f"a{m}": f"v{n % 20 if m < 8 else n % 19}" for m in range(9)})
        for n in range(400)
    ]
    many = Catalogue.of(items)
    told = leanings_of(many, liked(*range(0, 400, 20)), np.zeros(400, dtype=np.int64))
    assert len(told) == MOST
    assert {one.term for one in told} == {"v0"}
    assert [one.chance for one in told] == sorted(one.chance for one in told)


def test_what_was_said_wins() -> None:
    crime = liked(*only("Crime"))
    agreed = found(crime, stated("crime"))["Crime"]
    assert not agreed.inferred
    assert leaning_line(agreed, people=False, chosen=False, now=NOW) == (
        f"You lean to Crime (genres): 9 of the 9 you liked (9 likes), against {agreed.usual:.0%} of the catalogue; "
        "you said so on 3 May 2026."
    )
    assert "Crime" not in found(crime, stated("crime", -1))
    assert "Crime" not in found(crime, stated("crime"), stated("CRIME", -1)), "the later statement holds"
    for other in (
        stated("crime", -1, source="inferred"),
        stated("crime", -1, scope="tonight"),
        stated("crime", -1, attribute="director"),
        stated("crimes", -1),
    ):
        assert found(crime, other)["Crime"].inferred
    assert not found(crime, stated("Crime", attribute="Genres"))["Crime"].inferred


def test_the_words_count_and_have_numbers() -> None:
    rows = only("Crime")
    judged = [Judged(rows[0], True, "rating"), *liked(*rows[1:3]), *(Judged(row, True, "log") for row in rows[3:])]
    one = found(judged)["Crime"]
    assert one.hows == (("rating", 1), ("like", 2), ("log", 6))
    line = leaning_line(one, people=True, chosen=True)
    assert line == (
        "You seem to lean to Crime (genres; inferred): 9 of the 9 you chose (1 rating, 2 likes, 6 in your log), "
        f"against {one.usual:.0%} of what people choose here."
    )


def test_a_label_cannot_begin_a_line() -> None:
    items = [Item(id=f"i{n}", title="t", attributes={"tag": "a\x1b[2J\nb" if n < 10 else f"t{n}"}) for n in range(300)]
    (one,) = leanings_of(Catalogue.of(items), liked(*range(9)), np.zeros(300, dtype=np.int64))
    assert leaning_line(one, people=False, chosen=False).isprintable()


def test_counts_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="5 counts for 300 items"):
        leanings_of(FILMS, liked(1, 2, 3), np.zeros(5, dtype=np.int64))


# Chance.


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 30), st.floats(0.001, 0.999))
def test_the_binomial_tail(k: int, more: int, share: float) -> None:
    n = k + more
    exact = sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1))
    assert _binomial(k, n, share) == pytest.approx(exact, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.data())
def test_the_hypergeometric_tail(size: int, marked: int, data: st.DataObject) -> None:
    marked = min(marked, size)
    n = data.draw(st.integers(1, size))
    k = data.draw(st.integers(1, n))
    ways = sum(math.comb(marked, i) * math.comb(size - marked, n - i) for i in range(k, n + 1))
    assert _hypergeometric(k, n, marked, size) == pytest.approx(ways / math.comb(size, n), rel=1e-9, abs=1e-300)


def test_the_tails_of_very_long_histories() -> None:
    assert 0 < _hypergeometric(5_100, 10_000, 50_000, 100_000) < 0.05
    assert 0 < _binomial(50_700, 100_000, 0.5) < 1e-4
    assert _binomial(3, 3, 1.0) == 1.0


def test_of_people_without_a_leaning_hardly_anybody_is_told_of_one() -> None:
    """Two hundred people who choose as people choose, and dislike at random."""
    rng = np.random.default_rng(11)
    counts = rng.geometric(0.02, len(FILMS))
    weights = (counts + 1) / (counts + 1).sum()
    told = 0
    for _ in range(200):
        rows = rng.choice(len(FILMS), size=40, replace=False, p=weights)
        told += bool(leanings_of(FILMS, [Judged(int(row), bool(rng.random() < 0.7), "log") for row in rows], counts))
    assert told <= LEVEL * 200


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(0, 299), st.booleans(), max_size=40),
    st.sampled_from(GENRES),
    st.randoms(use_true_random=False),
)
def test_the_rules_hold_for_anybody(opinions: dict[int, bool], genre: str, chance: random.Random) -> None:
    judged = [Judged(row, good, "rating") for row, good in opinions.items() if row not in only(genre)]
    judged += liked(*only(genre))
    told = leanings_of(FILMS, judged, NOBODY)
    assert len(told) <= MOST
    assert len({(one.attribute, one.term) for one in told}) == len(told)
    for one in told:
        assert FEWEST <= one.count <= one.of
        assert sum(number for _, number in one.hows) == one.count
        assert 0 <= one.chance < LEVEL
        assert one.count / one.of > one.usual
        assert leaning_line(one, people=True, chosen=False).isprintable()
    chance.shuffle(judged)
    assert leanings_of(FILMS, judged, NOBODY) == told
