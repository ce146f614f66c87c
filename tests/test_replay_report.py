"""The report: every figure of the result is in it, it stands on its own, and nothing from outside gets in as HTML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.errors import UserError
from llm4rec.evaluation.measuring import measures_of
from llm4rec.evaluation.ope import OpeComparison, OpeEstimate, OpeReport
from llm4rec.evaluation.policies import Policy, PolicyInputs, policies_named, policy_named
from llm4rec.evaluation.protocols.interactive import futures
from llm4rec.evaluation.protocols.loo import loo
from llm4rec.evaluation.protocols.temporal import temporal
from llm4rec.evaluation.report import PAGE, ope_page, replay_page, write_page
from llm4rec.evaluation.report.markup import Markup, joined, tag, text
from llm4rec.evaluation.report.plots import Dot, Line, Point, Series, dodged, forest, legend, scatter, ticks
from llm4rec.evaluation.report.table import (
    accuracy_table,
    all_metrics_table,
    best_sentence,
    beyond_table,
    compared_table,
    costs_table,
    failures_table,
    figure,
    first_notes,
    folds_table,
    gaps_table,
    group_tables,
    ope_tables,
    ranked,
    rounds_table,
    seeds_table,
    versus_table,
)
from llm4rec.evaluation.results import DataInfo, ReplayResult
from llm4rec.evaluation.run import replay
from llm4rec.evaluation.summary import summarise
from llm4rec.ranking.base import Model
from llm4rec.ranking.log import Log

ITEMS, USERS = 30, 80
EVIL = '<script>alert("x")</script>&amp;'
#: Elements that have no end tag.
VOID = {"meta", "link", "br", "img", "input", "hr"}


def a_log() -> Log:
    rng = np.random.default_rng(8)
    lists = [rng.permutation(ITEMS)[: rng.integers(3, 14)] for _ in range(USERS)]
    log = Log.of_lists(lists, n_items=ITEMS)
    return replace(log, times=np.arange(len(log), dtype=np.int64)[rng.permutation(len(log))] + 10**9)


LOG = a_log()
CATALOGUE = Catalogue.of(
    [Item(id=str(row), title=EVIL, attributes={"genres": (f"{EVIL}{row % 3}",)}) for row in range(ITEMS)]
)
PEOPLE = pl.DataFrame({"user": [str(u) for u in range(USERS)], "sex": [EVIL if u % 2 else "F" for u in range(USERS)]})
INFO = DataInfo(
    name=EVIL, kind=EVIL, users=USERS, items=ITEMS, interactions=len(LOG), simulated=True, views={"text": EVIL},
    notes=(EVIL,),
)  # fmt: skip


def breaks(inputs: PolicyInputs) -> Model:
    raise RuntimeError(EVIL)


POLICIES = [
    *policies_named("pop,itemknn,random,itemknn:0.7+pop:0.3"),
    replace(policy_named("pop"), name=EVIL, about=EVIL),
    Policy("broken", breaks),
]


def result_of(folder: Path, protocol: str, rounds: int = 0) -> ReplayResult:
    folds = temporal(LOG, windows=3) if protocol == "temporal" else [futures(LOG) if rounds else loo(LOG)]
    done = replay(folds, POLICIES, out=folder, ks=(5, 3), seeds=(0, 1), catalogue=CATALOGUE, rounds=rounds)
    views = {"text": np.random.default_rng(2).normal(size=(ITEMS, 4)).astype(np.float32)}
    measures = measures_of(CATALOGUE, views, PEOPLE)
    return summarise(done, protocol=protocol, data=INFO, ks=(5, 3), measures=measures)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ReplayResult:
    return result_of(tmp_path_factory.mktemp("loo"), "loo")


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> ReplayResult:
    return result_of(tmp_path_factory.mktemp("temporal"), "temporal")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> ReplayResult:
    return result_of(tmp_path_factory.mktemp("interactive"), "interactive", rounds=3)


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, properly nested, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def pages(result: ReplayResult, windows: ReplayResult, played: ReplayResult) -> list[str]:
    return [replay_page(one) for one in (result, windows, played)] + [ope_page(OPE, EVIL)]


def an_estimate(name: str, value: float | None, **options: object) -> OpeEstimate:
    return OpeEstimate(
        **{
            "name": name,
            "value": value,
            "interval": None if value is None else (value / 2, value * 2),
            "refused": None if value is not None else "too few",
            "ess": 100.0,
            "largest_weight": 3.0,
            "mean_weight": 1.0,
            "clipped": 0.0,
            "rewarded": 20.0,
            "chosen": None,
            "relative_error": None,
            "covers": None,
            "note": EVIL,
            **options,
        }
    )


OPE = OpeReport(
    first_line="Propensities are MODELLED.",
    notes=(EVIL,),
    floor=50,
    level=0.95,
    resamples=1000,
    clip=None,
    seed=0,
    comparisons=tuple(
        OpeComparison(
            campaign=EVIL,
            log=log,
            target=target,
            n=1000,
            modelled=True,
            target_source="shown",
            unsupported=0.1,
            reward_model="logistic",
            true_value=truth,
            true_interval=(truth * 0.8, truth * 1.2),
            true_n=900,
            estimates=(an_estimate("ips", 0.02), an_estimate("dm", truth), an_estimate("dr", None)),
        )
        for log, target, truth in (("a", "b", 0.01), ("b", EVIL, 0.03))
    ),
)


# The page


def test_pages_stand_on_their_own(result: ReplayResult, windows: ReplayResult, played: ReplayResult) -> None:
    for page in pages(result, windows, played):
        read = Reader(page)
        names = {name for name, _ in read.seen}
        assert not names & {"script", "link", "img", "iframe", "object", "base", "form", "image", "use"}
        for name, attributes in read.seen:
            assert not any(key.startswith("on") for key in attributes), (name, attributes)
            assert not {"src", "srcset", "action", "xlink:href"} & set(attributes)
            assert (attributes.get("href") or "#").startswith("#")
            assert "url(" not in (attributes.get("style") or "")
        (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        assert "url(" not in style
        assert "@import" not in style
        assert "//" not in style
        policy = [a.get("content") for _, a in read.seen if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
        assert "prefers-color-scheme: dark" in style
        assert "@media print" in style
        targets = {attributes["id"] for _, attributes in read.seen if "id" in attributes}
        assert {str(attributes["href"])[1:] for _, attributes in read.seen if "href" in attributes} <= targets
        page.encode()


def test_nothing_from_outside_gets_in_as_html(
    result: ReplayResult, windows: ReplayResult, played: ReplayResult
) -> None:
    for page in pages(result, windows, played):
        assert "<script" not in page
        assert EVIL in Reader(page).text


def test_plots_are_well_formed(result: ReplayResult, windows: ReplayResult, played: ReplayResult) -> None:
    for page in pages(result, windows, played):
        drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
        assert len(drawings) > 4
        for drawing in drawings:
            root = ET.fromstring(drawing)
            _, _, width, height = map(float, root.attrib["viewBox"].split())
            for mark in root.iter():
                for key, value in mark.attrib.items():
                    limit = {"x": width, "cx": width, "y": height, "cy": height}.get(key.rstrip("12"))
                    assert limit is None or -1 <= float(value) <= limit + 1, (mark.tag, mark.attrib)


def test_what_a_reader_must_know_comes_first(result: ReplayResult) -> None:
    page = Reader(replay_page(result)).text
    before, _, after = page.partition("Results")
    assert before
    for note in first_notes(result):
        assert note in before
    assert first_notes(result)[0] == "The log behind these figures is simulated."
    assert any("later events included" in note for note in first_notes(result))
    assert "RuntimeError" in before  # the failure
    for meaning in result.metrics.values():
        assert meaning in after
    for rule in result.protocol.rules:
        assert rule in after


def test_every_figure_is_in_the_page(result: ReplayResult) -> None:
    page = Reader(replay_page(result)).text
    for policy in result.policies:
        assert policy.name in page
        for name, found in policy.metrics.items():
            assert figure(name, found.mean) in page
            if found.low is not None and found.high is not None:
                assert f"{figure(name, found.low)} to {figure(name, found.high)}" in page
    for one in result.comparisons:
        if one.ratio is not None and one.ratio.mean is not None:
            assert f"{one.ratio.mean:.3f}" in page


def test_sections_are_there_where_there_is_something_in_them(
    result: ReplayResult, windows: ReplayResult, played: ReplayResult
) -> None:
    loo_page, windows_page, played_page = (replay_page(one) for one in (result, windows, played))
    assert 'id="rounds"' in played_page
    assert 'id="rounds"' not in loo_page
    assert 'id="folds"' in windows_page
    assert 'id="folds"' not in loo_page
    assert all(f'id="{name}"' in loo_page for name in ("diversity", "users", "items", "compared", "cost"))
    assert "after 3" in played_page


def test_a_replay_in_which_nothing_finished(tmp_path: Path) -> None:
    done = replay([loo(LOG)], [Policy("broken", breaks)], out=tmp_path, ks=(5,))
    failed = summarise(done, protocol="loo", data=INFO, ks=(5,))
    page = replay_page(failed)
    assert "No policy finished" in page
    assert "RuntimeError" in Reader(page).text
    assert best_sentence(failed) == "No policy finished."


def test_one_policy_of_one_user_has_no_intervals(tmp_path: Path) -> None:
    one = Log.of_lists([np.array([1, 2, 3])], n_items=5)
    done = replay([loo(one)], policies_named("pop"), out=tmp_path, ks=(2,))
    made = summarise(done, protocol="loo", data=replace_info(1), ks=(2,))
    assert "NDCG@2" in Reader(replay_page(made)).text
    assert versus_table(made) is None
    assert compared_table(made) is None


def replace_info(users: int) -> DataInfo:
    return INFO.model_copy(update={"users": users})


def test_the_page_of_logged_policies() -> None:
    read = Reader(ope_page(OPE, "logs")).text
    assert read.index("MODELLED") < read.index("0.02000")
    assert "refused" in read
    assert "effective sample size of 50" in read
    assert "MODELLED, not recorded" in read
    assert "direct method" in read
    tables = ope_tables(OPE)
    assert [len(table.rows) for table in tables] == [3, 3]
    assert "0.01000 (0.00800 to 0.01200)" in tables[0].title
    assert tables[0].rows[2][1].bad


def test_all_estimates_refused() -> None:
    silent = OPE.comparisons[0].model_copy(update={"estimates": (an_estimate("ips", None),)})
    assert "Every estimate was refused" in ope_page(OPE.model_copy(update={"comparisons": (silent,)}), "logs")


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    assert write_page("one", tmp_path / "new") == tmp_path / "new" / PAGE
    write_page("two", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [PAGE]
    assert (tmp_path / "new" / PAGE).read_text() == "two"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        write_page("one", tmp_path / "file")


# Tables


def test_every_row_is_as_wide_as_its_table(result: ReplayResult, windows: ReplayResult, played: ReplayResult) -> None:
    for one in (result, windows, played):
        made = [
            accuracy_table(one), beyond_table(one), rounds_table(one), folds_table(one), compared_table(one),
            versus_table(one), all_metrics_table(one), seeds_table(one), costs_table(one), failures_table(one),
            gaps_table(one, "ndcg@5"), *group_tables(one, "ndcg@5").values(), *group_tables(one, "recall@5").values(),
        ]  # fmt: skip
        for table in made:
            if table is not None:
                assert table.rows
                assert {len(row) for row in table.rows} == {len(table.columns)}, table.title


def test_the_table_of_accuracy(result: ReplayResult) -> None:
    table = accuracy_table(result)
    assert table.columns == ("policy", "NDCG@5", "HR@5", "MRR@5", "Recall@5", "ratio")
    assert [row[0].text for row in table.rows] == [one.name for one in ranked(result)]
    reached = [float(row[1].text) for row in table.rows[:-1]]
    assert reached == sorted(reached, reverse=True)
    assert table.rows[0][1].best
    assert not table.rows[-2][1].best or table.rows[-2][1].text == table.rows[0][1].text
    failed = table.rows[-1]
    assert (failed[0].text, failed[0].detail, failed[1].text) == ("broken", "failed", "–")
    ratios = {row[0].text: row[-1].text for row in table.rows}
    assert ratios[str(result.baseline)] == "baseline"
    for one in result.comparisons:
        if one.metric == "ndcg@5" and one.ratio is not None and one.ratio.mean is not None:
            assert ratios[one.policy] == f"{one.ratio.mean:.3f}"
    assert {row[0].text: row[0].detail for row in table.rows}["random"] == "2 seeds"


def test_failures_are_counted_and_shown(result: ReplayResult) -> None:
    table = failures_table(result)
    assert table is not None
    assert [row[0].text for row in table.rows] == ["broken"]
    assert "RuntimeError" in table.rows[0][3].text
    unfit = result.policies[0].model_copy(update={"unfit": 7})
    with_unfit = failures_table(result.model_copy(update={"policies": (unfit, *result.policies[1:])}))
    assert with_unfit is not None
    assert "7 queries" in with_unfit.rows[-1][3].text


def test_groups(result: ReplayResult) -> None:
    tables = group_tables(result, "ndcg@5")
    assert {"activity", "history", "sex"} <= set(tables)
    assert set(tables["sex"].columns) == {"policy", "F", EVIL, "gap"}
    assert "Users that count in each group: " in tables["sex"].notes[0]
    assert list(group_tables(result, "recall@5")) == ["items"]
    gaps = gaps_table(result, "ndcg@5")
    assert gaps is not None
    assert gaps.columns[1:] == tuple(tables)


def test_notes_of_several_folds_say_whose_they_are(windows: ReplayResult) -> None:
    notes = first_notes(windows)
    assert sum("global temporal split" in note for note in notes) == 3
    assert any(note.startswith("temporal-2of3: ") for note in notes)
    assert len(set(notes)) == len(notes)


def test_a_policy_that_failed_in_part_says_where_its_figures_are_from(windows: ReplayResult) -> None:
    partly = windows.policies[0].model_copy(update={"status": "partly", "folds": ("temporal-1of3",)})
    notes = first_notes(windows.model_copy(update={"policies": (partly, *windows.policies[1:])}))
    assert "pop failed in part: its figures are over temporal-1of3 alone." in notes


def test_the_sentence_at_the_top_claims_no_more_than_the_interval(result: ReplayResult) -> None:
    best = ranked(result)[0]
    said = best_sentence(result)
    assert said.startswith(f"{best.name} has the highest NDCG@5: ")
    others = [one for one in ranked(result) if one.metrics and one.name != best.name]
    shifted = result.model_copy(
        update={
            "baseline": others[0].name,
            "comparisons": tuple(
                one.model_copy(update={"policy": best.name, "baseline": others[0].name, "ratio": ratio})
                for one in result.comparisons[:1]
                if one.ratio is not None
                for ratio in [one.ratio.model_copy(update={"mean": 1.2, "low": 0.9, "high": 1.5})]
            ),
        }
    )
    assert "chance may explain it" in best_sentence(shifted)


# Markup and plots


@given(st.text())
def test_text_stays_text(value: str) -> None:
    page = tag("p", value, title=value)
    read = Reader(page)
    assert len(read.seen) == 1
    shown = value.encode("utf-8", "replace").decode()
    cleaned = "".join("\ufffd" if (ord(c) < 32 and c not in "\t\n\r") or 127 <= ord(c) < 160 else c for c in shown)
    assert "".join(read.texts) == cleaned
    assert read.seen[0][1]["title"] == cleaned


def test_elements() -> None:
    assert tag("a", "x<", None, [tag("b", "y"), None, "&"], href="#z", class_="k", stroke_width=1.50, id=None) == (
        '<a href="#z" class="k" stroke-width="1.5">x&lt;<b>y</b>&amp;</a>'
    )
    assert joined("<", Markup("<br>")) == "&lt;<br>"
    assert text(Markup("<i>")) == "<i>"


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


@given(numbers, numbers, st.integers(3, 12))
def test_ticks_are_few_and_inside(one: float, other: float, most: int) -> None:
    low, high = min(one, other), max(one, other)
    found = ticks(low, high, most)
    assert 1 <= len(found) <= most
    assert found == sorted(found)
    room = 1e-6 * max(abs(low), abs(high), 1.0)
    assert all(low - room <= value <= high + room for value in found)


def test_ticks_are_round() -> None:
    assert ticks(0.0, 1.0, 6) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(0.031, 0.149, 6) == pytest.approx([0.05, 0.075, 0.1, 0.125])
    assert ticks(3.0, 3.0) == [3.0]


@given(st.lists(numbers, min_size=1, max_size=8), st.booleans())
def test_marks_lie_where_their_numbers_are(values: list[float], zero: bool) -> None:
    lines = [Line(str(at), Point(value, value - 1, value + 2), 0, f"{value}") for at, value in enumerate(values)]
    root = ET.fromstring(re.findall(r"<svg.*</svg>", forest(lines, axis="x", title="t", zero=zero))[0])
    places = [float(mark.attrib["cx"]) for mark in root.iter("circle")]
    whiskers = [mark.attrib for mark in root.iter("line") if "whisker" in mark.attrib["class"]]
    assert len(places) == len(whiskers) == len(values)
    for place, whisker in zip(places, whiskers, strict=True):
        assert float(whisker["x1"]) <= place + 0.01
        assert place <= float(whisker["x2"]) + 0.01
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(places)[order]) >= -0.011).all()


def test_plots_without_figures() -> None:
    for drawing in (
        forest([Line("a", None, 0, "failed")], axis="x", title="t"),
        dodged(["a", "b"], [Series("p", 0, (None, None))], y_axis="y", title="t", joined_up=True),
        scatter([], x_axis="x", y_axis="y", title="t", diagonal=True),
        scatter([Dot("a", Point(0.0), Point(0.0), 3)], x_axis="x", y_axis="y", title="t"),
    ):
        assert "nan" not in drawing
        ET.fromstring(re.findall(r"<svg.*</svg>", drawing)[0])


def test_series_look_different_by_colour_and_shape() -> None:
    looks = {re.sub(r"Policy \d+", "", str(legend([(f"Policy {at}", at)]))) for at in range(30)}
    assert len(looks) == 30


def test_names_do_not_lie_on_each_other() -> None:
    rng = np.random.default_rng(1)
    dots = [Dot(f"policy {at}", Point(*rng.random(1)), Point(*rng.random(1)), at) for at in range(12)]
    root = ET.fromstring(re.findall(r"<svg.*</svg>", scatter(dots, x_axis="x", y_axis="y", title="t"))[0])
    boxes = []
    for mark in root.iter("text"):
        if "name" in mark.attrib.get("class", "").split():
            wide = 6.4 * len(str(mark.text))
            x, y = float(mark.attrib["x"]), float(mark.attrib["y"])
            start = {"start": x, "end": x - wide, "middle": x - wide / 2}[mark.attrib["text-anchor"]]
            boxes.append((start, y - 10, start + wide, y + 3))
    assert len(boxes) > 6
    for at, one in enumerate(boxes):
        for other in boxes[:at]:
            apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            assert apart or one == other
