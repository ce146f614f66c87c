"""From a folder of bandit logs to a report: the reader's errors, modelled propensities, the figures of the sample."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llm4rec.errors import UserError
from llm4rec.evaluation.ope import Options, evaluate_bandit_logs, render
from llm4rec.evaluation.ope.obd import find_logs, read_campaign

ITEMS = ("7", "10", "3", "21")


def write_log(
    root: Path,
    policy: str,
    *,
    seed: int,
    n: int = 600,
    propensity: bool = True,
    skew: float = 0.0,
    campaign: str = "men",
) -> Path:
    """Item 3 earns most; position 2 less than position 1."""
    rng = np.random.default_rng(seed)
    folder = root / policy / campaign
    folder.mkdir(parents=True)
    raised = np.exp(skew * np.array([0.0, 1.0, 2.0, 0.5]))
    chances = raised / raised.sum()
    path = folder / f"{campaign}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(
            ["", "timestamp", "item_id", "position", "click"]
            + ["propensity_score"] * propensity
            + ["user_feature_0", "user_feature_1", "user-item_affinity_0"]
        )
        for row in range(n):
            action, position = int(rng.choice(4, p=chances)), int(rng.integers(1, 3))
            click = rng.random() < (0.1, 0.2, 0.5, 0.15)[action] / position
            out.writerow(
                [row, "2019-11-24", ITEMS[action], position, int(click)]
                + [chances[action]] * propensity
                + [rng.choice(["a", "b"]), rng.integers(20, 60), 0.0]
            )
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_log(tmp_path, "random", seed=1)
    write_log(tmp_path, "learned", seed=2, skew=0.7)
    return tmp_path


def test_reading(root: Path) -> None:
    (root / "random" / "men" / "item_context.csv").write_text("item_id,feature\n99,1\n7,2\n", encoding="utf-8")
    files = find_logs(root)
    assert {name: list(logs) for name, logs in files.items()} == {"men": ["learned", "random"]}
    read = read_campaign("men", files["men"])
    assert read.items == ("3", "7", "10", "21", "99")  # by number; 99 is never shown
    assert read.positions == ("1", "2")
    log = read.logs["random"]
    assert (len(log), log.n_actions, log.n_positions) == (600, 5, 2)
    rows = list(csv.DictReader(files["men"]["random"].open(encoding="utf-8")))
    assert [read.items[a] for a in log.action] == [row["item_id"] for row in rows]
    assert log.position is not None
    assert [read.positions[p] for p in log.position] == [row["position"] for row in rows]
    assert log.reward.tolist() == [float(row["click"]) for row in rows]
    assert log.propensity == pytest.approx(np.full(600, 0.25))
    assert log.context is not None
    assert log.context.shape == (600, 3)  # a, b and the age
    assert sorted(set(map(tuple, log.context[:, :2]))) == [(0.0, 1.0), (1.0, 0.0)]
    assert log.context[:, 2].tolist() == [float(row["user_feature_1"]) for row in rows]


def test_a_packed_log_reads_alike(root: Path) -> None:
    plain = read_campaign("men", find_logs(root)["men"]).logs["random"]
    path = root / "random" / "men" / "men.csv"
    (root / "random" / "men" / "men.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match="twice, packed and not"):
        find_logs(root)
    path.unlink()
    packed = read_campaign("men", find_logs(root)["men"]).logs["random"]
    assert packed.action.tolist() == plain.action.tolist()


def change(path: Path, line: int, column: str, value: str) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[line - 1][rows[0].index(column)] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("line", "column", "value", "words"),
    [
        (5, "click", "yes", r"men\.csv:5: click is 'yes': expected a number; correct or remove the row"),
        (6, "click", "", r"men\.csv:6: click is empty"),
        (6, "click", "nan", r"men\.csv:6: click is 'nan'"),
        (9, "propensity_score", "0", r"men\.csv:9: propensity_score is '0': expected a chance above 0"),
        (9, "propensity_score", "1.5", r"men\.csv:9: propensity_score is '1.5'"),
        (3, "item_id", "", r"men\.csv:3: item_id is empty"),
        (4, "position", "", r"men\.csv:4: position is empty"),
    ],
)
def test_a_wrong_value_is_named(root: Path, line: int, column: str, value: str, words: str) -> None:
    change(root / "random" / "men" / "men.csv", line, column, value)
    with pytest.raises(UserError, match=words):
        evaluate_bandit_logs(root)


def test_several_wrong_values_are_counted(root: Path) -> None:
    for line in (5, 8, 11):
        change(root / "random" / "men" / "men.csv", line, "click", "?")
    with pytest.raises(UserError, match=r"men\.csv:5: click is '\?'.*2 more rows are wrong"):
        evaluate_bandit_logs(root)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        evaluate_bandit_logs(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no bandit logs: <policy>/<campaign>"):
        evaluate_bandit_logs(tmp_path)
    path = write_log(tmp_path, "random", seed=1)
    with pytest.raises(UserError, match=r"has the log of one policy \(random\).*takes two"):
        evaluate_bandit_logs(tmp_path)
    other = write_log(tmp_path, "learned", seed=2)
    for content, words in (
        ("", "cannot be read as CSV"),
        ("item_id,position\n1,1\n", "has no column 'click': found item_id, position"),
        ("item_id,click,position\n", "has no rows"),
        ("item_id,click\n1,0\n", "no column 'position', other logs"),
        ("item_id,click,position\n1,0,1,5,6\n", "cannot be read as CSV"),
    ):
        other.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=words):
            evaluate_bandit_logs(tmp_path)
    other.write_bytes(b"item_id,click\n\xff\xfe,1\n")
    with pytest.raises(UserError, match=str(other)):
        evaluate_bandit_logs(tmp_path)
    path.with_name("item_context.csv").write_text("id\n3\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"item_context\.csv has no readable column 'item_id'"):
        read_campaign("men", {"random": path})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"campaigns": ["kids"]}, "no campaign 'kids': found men"),
        ({"estimators": ["ips", "magic"]}, "no estimator 'magic': choose from replay"),
        ({"estimators": []}, "no estimator is asked for"),
        ({"level": 1.5}, "level of the intervals is 1.5"),
        ({"resamples": 3}, "3 resamples"),
        ({"floor": -1.0}, "floor of the effective sample size is -1"),
    ],
)
def test_wrong_questions(root: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        evaluate_bandit_logs(root, **asked)


def test_report(root: Path) -> None:
    heard: list[str] = []
    report = evaluate_bandit_logs(root, resamples=300, progress=lambda what, done, total=None: heard.append(what))
    assert [(one.log, one.target) for one in report.comparisons] == [("learned", "random"), ("random", "learned")]
    assert report.text()[0] == report.first_line == "Propensities are those that the logging policies recorded."
    for one in report.comparisons:
        assert not one.modelled
        assert one.target_source == "recorded"  # one chance an item, whatever the round
        assert one.unsupported == 0
        assert one.true_interval is not None
        assert [found.name for found in one.estimates] == [
            "replay", "ips", "snips", "dm", "dr", "sndr", "switch-dr", "dros"
        ]  # fmt: skip
        for found in one.estimates:
            assert found.value is not None
            assert found.interval is not None
            assert found.relative_error == pytest.approx((found.value - one.true_value) / one.true_value)
            assert found.covers == (found.interval[0] <= one.true_value <= found.interval[1])
            assert abs(found.value - one.true_value) < 0.08
    document = json.loads(report.model_dump_json(by_alias=True))
    assert document["schema"] == "llm4rec.ope/1"
    assert document["clip"] is None
    assert type(report).model_validate(document) == report
    rows = render(report)
    assert len(rows) == 16
    assert list(rows[0]) == [
        "campaign", "log", "target", "estimator", "value", "95% interval", "true", "relative error", "ESS",
        "largest weight", "clipped", "note",
    ]  # fmt: skip
    assert {"fitting the reward model", "predicting rewards", "resampling"} <= set(heard)
    assert evaluate_bandit_logs(root, resamples=300) == report


def test_modelled_propensities_are_the_first_thing_said(tmp_path: Path) -> None:
    write_log(tmp_path, "random", seed=1)
    write_log(tmp_path, "learned", seed=2, skew=0.7, propensity=False)
    report = evaluate_bandit_logs(tmp_path, resamples=300)
    assert report.text()[0].startswith("Propensities of learned/men are not in the log: they are MODELLED")
    from_learned, from_random = report.comparisons
    assert (from_learned.modelled, from_learned.target_source) == (True, "recorded")
    assert (from_random.modelled, from_random.target_source) == (False, "shown")
    assert "estimated from its own log" in report.text()[1]
    for one in from_learned.estimates:
        assert one.value is not None
        assert one.value == pytest.approx(from_learned.true_value, abs=0.08)


def test_cut_weights_are_said(root: Path) -> None:
    report = evaluate_bandit_logs(root, estimators=["ips"], options=Options(clip=0.8), resamples=300)
    assert report.clip == 0.8
    assert any("Weights above 0.8 are cut" in line for line in report.text())
    assert all(one.estimates[0].clipped > 0 for one in report.comparisons)


def test_policies_too_far_apart_are_refused_in_the_table(tmp_path: Path) -> None:
    write_log(tmp_path, "random", seed=1)
    write_log(tmp_path, "stubborn", seed=2, skew=9.0)
    report = evaluate_bandit_logs(tmp_path, resamples=300, campaigns=["men"])
    row = next(row for row in render(report) if row["log"] == "stubborn" and row["estimator"] == "ips")
    assert row["value"] == "refused"
    assert row["95% interval"] == row["relative error"] == ""
    assert "the weights average 0.25 where right propensities give 1" in row["note"]
    assert any("are never shown in the log" in line for line in report.text())


def test_a_campaign_with_one_policy_is_left_out_aloud(root: Path) -> None:
    write_log(root, "random", seed=3, campaign="women")
    report = evaluate_bandit_logs(root, estimators=["ips"], resamples=300)
    assert {one.campaign for one in report.comparisons} == {"men"}
    assert report.notes[0] == "campaign women has the log of one policy and is left out"


def test_a_log_without_positions_or_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for policy in ("one", "two"):
        folder = tmp_path / policy / "shop"
        folder.mkdir(parents=True)
        lines = [f"{rng.choice(['x', 'y'])},{rng.random():.3f}" for _ in range(200)]
        (folder / "shop.csv").write_text("item_id,click\n" + "\n".join(lines) + "\n", encoding="utf-8")
    report = evaluate_bandit_logs(tmp_path, resamples=300)
    assert "MODELLED" in report.first_line
    for comparison in report.comparisons:
        for one in comparison.estimates:
            assert one.value == pytest.approx(0.5, abs=0.1)


@pytest.mark.realdata
def test_open_bandit_sample(realdata: Path) -> None:
    report = evaluate_bandit_logs(realdata / "obd", resamples=500)
    assert [(one.campaign, one.log, one.target) for one in report.comparisons] == [
        ("men", "bts", "random"), ("men", "random", "bts"), ("women", "bts", "random"), ("women", "random", "bts"),
    ]  # fmt: skip
    clicks = {("men", "bts"): 69, ("men", "random"): 46, ("women", "bts"): 46, ("women", "random"): 46}
    for one in report.comparisons:
        assert one.true_value == pytest.approx(clicks[one.campaign, one.target] / 10_000)
        assert one.target_source == ("recorded" if one.target == "random" else "shown")
        found = {each.name: each for each in one.estimates}
        if one.log == "random":
            # From uniform exploration everything speaks, and the wide interval holds the truth.
            assert all(each.covers for each in found.values())
            ips = found["ips"]
            assert ips.interval is not None
            assert ips.interval[1] - ips.interval[0] > 0.5 * one.true_value
    # One round of women's bts log was chosen with a chance of 1e-6: it would be the whole estimate.
    refused = {each.name for each in report.comparisons[2].estimates if each.refused}
    assert refused == {"replay", "ips", "snips", "dr", "sndr"}
