"""The description of a profile, word for word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from llm4rec.profiles.describe import describe
from llm4rec.profiles.events import Event
from llm4rec.profiles.fold import fold
from profile_cases import said, sequences

MAY = datetime(2026, 5, 3, 22, 30, tzinfo=UTC).timestamp()
LATER = datetime(2026, 8, 1, tzinfo=UTC).timestamp()


def title(item: str) -> str:
    return {"heat": "Heat", "alien": "Alien"}.get(item, item)


def test_a_person_described() -> None:
    profile = fold(
        [
            said(0, kind="taste", term="crime", time=MAY),
            said(1, kind="taste", term="horror", attribute="genres", polarity=-1, time=MAY),
            said(
                2, kind="taste", term="slow films", source="inferred", message="again so slow!", polarity=-1, time=MAY
            ),
            said(3, kind="taste", term="something light", scope="tonight", time=MAY),
            said(4, item="heat", time=MAY),
            said(5, item="alien", kind="rating", value=4.5, source="imported", time=1_000_000_000.0),
            said(6, item="up", kind="dislike", source="clicked", time=MAY),
            said(7, item="jaws", kind="seen", time=MAY),
            said(8, item="saw", kind="skip", time=MAY),
        ],
        thread="t1",
    )
    assert describe(profile, title, now=LATER) == [
        "Tonight you want something light (said on 3 May).",
        'You seem not to like slow films (inferred on 3 May from "again so slow!").',
        "You do not like horror (genres; said on 3 May).",
        "You like crime (said on 3 May).",
        "You rated Alien 4.5 (imported, dated 9 September 2001).",
        "You liked Heat (said on 3 May).",
        "You did not like up (clicked on 3 May).",
        "You know jaws (said on 3 May).",
        "You passed over saw (said on 3 May).",
    ]


def test_nothing_is_said_in_words() -> None:
    assert describe(fold(()), title) == ["Nothing is known of you yet."]


def test_dates_have_a_year_unless_it_is_this_one_and_follow_the_zone() -> None:
    profile = fold([said(0, item="heat", time=MAY)])
    assert describe(profile, title) == ["You liked Heat (said on 3 May 2026)."]
    assert describe(profile, title, now=MAY + 365 * 86_400) == ["You liked Heat (said on 3 May 2026)."]
    east = timezone(timedelta(hours=2))
    assert describe(profile, title, now=MAY, zone=east) == ["You liked Heat (said on 4 May)."]


def test_the_newest_are_named_and_the_others_counted() -> None:
    profile = fold([said(n, item=f"i{n}", time=MAY) for n in range(14)])
    lines = describe(profile, title, limit=2)
    assert lines == [
        "You liked i13 (said on 3 May 2026).",
        "You liked i12 (said on 3 May 2026).",
        "You liked 12 more items.",
    ]
    assert describe(profile, title, limit=13)[-1] == "You liked 1 more item."


def test_a_title_cannot_move_the_cursor_or_begin_a_line() -> None:
    (line,) = describe(fold([said(0, item="heat", time=MAY)]), lambda _: "He\x1b[2J\nat")
    assert line == "You liked He [2J at (said on 3 May 2026)."


@settings(max_examples=60, deadline=None)
@given(sequences())
def test_every_profile_can_be_described_in_printable_lines(events: tuple[Event, ...]) -> None:
    lines = describe(fold(events, thread="t1"), title)
    assert lines
    assert all(line.isprintable() and line.endswith(".") for line in lines)
