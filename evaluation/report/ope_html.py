"""The page of an off-policy evaluation: estimates beside the truth."""

from __future__ import annotations

from ..ope import ESTIMATORS, OpeComparison, OpeReport
from .markup import Markup, joined, tag
from .page import figure_of, page, table_of
from .plots import Dot, Line, Point, forest, legend, scatter
from .table import Table, ope_tables

_LIMITS = (
    "An estimate from another policy's log is only as good as the overlap of the two: where the effective sample size "
    "(ESS) is small, a few rounds decide. Below the floor nothing is said.",
    "Intervals are by bootstrap over rounds. With few rewarded rounds they are wide, and should be.",
    "A direct method (dm) has a narrow interval because its model is smooth, not because it is right: its bias is in "
    "no interval.",
)
_ESTIMATORS = {
    "replay": "keeps the rounds where the target would have done the same (Li et al. 2011)",
    "ips": "weighs each round by the ratio of both policies' chances for its action",
    "snips": "IPS, divided by the mean weight (Swaminathan and Joachims 2015)",
    "dm": "the mean of a reward model's predictions under the target",
    "dr": "DM, corrected by the weighted errors of the model (Dudík et al. 2014)",
    "sndr": "DR, with the weights divided by their mean",
    "switch-dr": "DR where weights are small, DM where they are large (Wang et al. 2017)",
    "dros": "DR with weights shrunk (Su et al. 2020)",
}


def ope_page(report: OpeReport, name: str) -> str:
    """The page of an off-policy evaluation of the logs in a folder of that name."""
    title = f"Off-policy evaluation of {name}"
    head = joined(
        tag("h1", title),
        tag("p", "What each policy would have earned, estimated from the log of another, beside what it did earn. "
            "Reward: the mean a round.", class_="soft"),
        tag("p", report.first_line, class_="headline"),
        tag("div", tag("ul", (tag("li", note) for note in report.notes)), class_="warn") if report.notes else None,
    )  # fmt: skip
    sections = [
        ("calibration", "Calibration: estimates beside the truth", _calibration(report)),
        (
            "estimates",
            "Each policy from each log",
            joined(
                _forest(one, table, report) for one, table in zip(report.comparisons, ope_tables(report), strict=True)
            ),
        ),
        ("meaning", "What the numbers mean", _meaning(report)),
    ]
    return page(title, head, sections)


def _names(report: OpeReport) -> list[str]:
    found = dict.fromkeys(one.name for comparison in report.comparisons for one in comparison.estimates)
    return [name for name in ESTIMATORS if name in found] + [name for name in found if name not in ESTIMATORS]


def _calibration(report: OpeReport) -> Markup | None:
    of = {_label(comparison): at for at, comparison in enumerate(report.comparisons)}
    plots = []
    for name in _names(report):
        dots = [
            Dot(
                _label(comparison),
                Point(comparison.true_value, *(comparison.true_interval or ())),
                Point(one.value, *(one.interval or ())),
                of[_label(comparison)],
            )
            for comparison in report.comparisons
            for one in comparison.estimates
            if one.name == name and one.value is not None
        ]
        if dots:
            plots.append(
                scatter(
                    dots, x_axis="true value", y_axis=f"estimate by {name}", diagonal=True, labels=False,
                    title=f"Estimates by {name} against the true values", height=280,
                )
            )  # fmt: skip
    if not plots:
        return tag("p", "Every estimate was refused: no effective sample size reaches the floor.")
    return tag(
        "figure",
        legend(list(of.items())),
        tag("div", plots, class_="pair"),
        tag("figcaption", "A perfect estimate lies on the dashed line. Bars are intervals: upright those of the "
            "estimate, level those of the truth, itself the mean of a finite log. Refused estimates are not drawn."),
    )  # fmt: skip


def _label(comparison: OpeComparison) -> str:
    return f"{comparison.target} from {comparison.log}, {comparison.campaign}"


def _forest(comparison: OpeComparison, table: Table, report: OpeReport) -> Markup:
    names = _names(report)
    lines = [
        Line(
            one.name,
            None if one.value is None else Point(one.value, *(one.interval or ())),
            names.index(one.name),
            "refused"
            if one.value is None
            else f"{one.value:.5f}" + (f"  ESS {one.ess:,.0f}" if one.ess is not None else ""),
        )
        for one in comparison.estimates
    ]
    source = "MODELLED, not recorded" if comparison.modelled else "recorded"
    caption = (
        f"{comparison.n:,} rounds of {comparison.log}; its propensities are {source}. Dashed: the true mean of "
        f"{comparison.target}, {comparison.true_value:.5f} over {comparison.true_n:,} rounds of its own log; shaded: "
        f"the interval of that. Reward model: {comparison.reward_model}. {comparison.unsupported:.1%} of the target's "
        "choices are never shown in the log."
    )
    return joined(
        tag("h3", _label(comparison)),
        figure_of(
            forest(
                lines,
                axis="mean reward a round",
                title=f"Estimates of {_label(comparison)}",
                reference=comparison.true_value,
                band=comparison.true_interval,
            ),
            caption,
        ),
        table_of(table),
    )


def _meaning(report: OpeReport) -> Markup:
    cut = "Weights are not cut." if report.clip is None else f"Weights above {report.clip:g} are cut."
    return joined(
        tag("dl", (
            joined(tag("dt", name), tag("dd", _ESTIMATORS.get(name, ""))) for name in _names(report)
        )),
        tag("p", f"Intervals are at {report.level:.0%}, from {report.resamples:,} resamples of the rounds (seed "
            f"{report.seed}). {cut} An estimator is refused below an effective sample size of {report.floor:g}."),
        tag("h3", "Limits"),
        tag("ul", (tag("li", limit) for limit in _LIMITS)),
    )  # fmt: skip
