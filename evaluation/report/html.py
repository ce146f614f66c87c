"""One page that stands on its own: what was measured, how, on what data, what came out, and what each number means.

No script, nothing loaded from elsewhere. Every text from outside (names of policies, groups, attributes, errors) goes
in as text, never as HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..results import Estimate, PolicyResult, ReplayResult
from .markup import Markup, joined, tag
from .page import figure_of, page, table_of, tiles
from .plots import Dot, Line, Point, Series, dodged, forest, legend, scatter
from .table import (
    Cell,
    Table,
    accuracy_table,
    against,
    all_metrics_table,
    best_sentence,
    beyond_table,
    compared_table,
    costs_table,
    failures_table,
    figure,
    figures_table,
    first_notes,
    folds_table,
    gaps_table,
    group_tables,
    metric_title,
    ranked,
    ratio_cell,
    rounds_table,
    seeds_table,
    spaces_of,
    versus_table,
)
from .turns import turns_table

_PROTOCOLS = {
    "loo": "leave one out",
    "temporal": "global temporal split",
    "interactive": "interactive replay",
    "mnar": "self-selected to random draw",
    "cold": "cold start",
}
_LIMITS = (
    "The log is the only judge. An item that the user would have liked but never met counts as wrong, for every policy "
    "alike; this favours policies close to the one that made the log, and popular items.",
    "Intervals say how the figures would move with other users of the same kind. They do not hold what another data "
    "set, another time or another choice of settings would change.",
    "Where a policy depends on chance, each user's figure is the mean over the seeds; the spread of the seeds is shown "
    "apart and is not in the intervals.",
    "Many figures are shown. p is corrected for the number of policies within one metric, not for the number of "
    "metrics and list lengths: choose the one that matters before you look.",
    "Coverage and Gini depend on how many users are asked: compare them within this page only.",
)


def replay_page(result: ReplayResult) -> str:
    """The page of a replay."""
    order = {one.name: at for at, one in enumerate(result.policies)}
    k = result.protocol.ks[0]
    protocol = _PROTOCOLS.get(result.protocol.name, result.protocol.name)
    title = f"Replay of {result.data.name}: {protocol}"
    sections = [
        ("results", "Results", _results(result, order)),
        ("diversity", "Accuracy against diversity", _diversity(result, order)),
        ("users", "By user group and history", _users(result, order)),
        ("items", "By item group", _items(result, order)),
        ("rounds", "Round by round", _rounds(result, order)),
        ("folds", "By fold", _by_fold(result, order)),
        ("compared", f"Against {result.baseline}", _compared(result)),
        ("turns", "Turns of the conversation", _turns(result)),
        ("cost", "Time and memory", joined(table_of(costs_table(result)))),
        ("data", "What was measured, and how", _method(result)),
        ("all", "Every metric", _everything(result)),
        ("meaning", "What the numbers mean", _meaning(result)),
    ]
    head = joined(
        tag("h1", title),
        tag("p", f"Made {result.created:%Y-%m-%d %H:%M} UTC by llm4rec {result.versions.get('llm4rec', '')} in "
            f"{_seconds(result.seconds)}. Main metric: {metric_title('ndcg', k)}.", class_="soft"),
        tag("p", best_sentence(result), class_="headline"),
        _first(result),
        tiles(
            (f"{len(result.policies)}", "policies"),
            (f"{sum(fold.queries for fold in result.protocol.folds):,}", "queries"),
            (f"{result.data.users:,}", "users in the data"),
            (f"{result.data.items:,}", "items"),
            (f"{result.data.interactions:,}", "interactions"),
        ),
    )  # fmt: skip
    return page(title, head, sections)


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _point(found: Estimate | None) -> Point | None:
    return None if found is None or found.mean is None else Point(found.mean, found.low, found.high)


def _keys(result: ReplayResult, order: dict[str, int]) -> Markup:
    return legend([(one.name, order[one.name]) for one in ranked(result) if one.metrics])


# Sections


def _first(result: ReplayResult) -> Markup | None:
    notes = first_notes(result)
    failed = failures_table(result)
    return joined(
        tag("div", tag("b", "Before you read on"), tag("ul", (tag("li", note) for note in notes)), class_="warn")
        if notes
        else None,
        joined(table_of(failed, heading=True)) if failed is not None else None,
    )


def _results(result: ReplayResult, order: dict[str, int]) -> Markup:
    k = result.protocol.ks[0]
    main = f"ndcg@{k}"
    lines = []
    for one in ranked(result):
        said = figure(main, one.metrics[main].mean) if main in one.metrics else "failed"
        lines.append(Line(one.name, _point(one.metrics.get(main)), order[one.name], said))
    title = metric_title("ndcg", k)
    return joined(
        table_of(accuracy_table(result)),
        figure_of(
            forest(lines, axis=title, title=f"{title} of every policy with its 95 % interval", zero=True),
            f"{title}, the mean over users with its 95 % interval. Whether two policies differ is not read off here "
            "(the same users answered both) but from the paired ratio.",
        ),
        _ratio_plot(result, order),
        table_of(beyond_table(result), heading=True),
        tag("p", *_with_links(result)),
    )


def _ratio_plot(result: ReplayResult, order: dict[str, int]) -> Markup | None:
    main = f"ndcg@{result.protocol.ks[0]}"
    lines = []
    for one in ranked(result):
        found = against(result, one.name, main)
        if found is not None and found.ratio is not None and found.ratio.mean is not None:
            cell = ratio_cell(result, one.name, main)
            lines.append(Line(one.name, _point(found.ratio), order[one.name], f"{cell.text}  {cell.detail}"))
    if not lines:
        return None
    title = metric_title("ndcg", result.protocol.ks[0])
    return figure_of(
        forest(
            lines, axis=f"ratio of {title} to {result.baseline}", title="Paired ratios to the baseline", reference=1.0
        ),
        f"Ratio of {title} to that of {result.baseline} on the same users, with its 95 % interval from a paired "
        "bootstrap. Where it lies to the right of the dashed line, the policy is better beyond chance.",
    )


def _with_links(result: ReplayResult) -> list[Markup | str]:
    return ["What each column means stands ", tag("a", "below", href="#meaning"), "."]


def _diversity(result: ReplayResult, order: dict[str, int]) -> Markup | None:
    k = result.protocol.ks[0]
    main, title = f"ndcg@{k}", metric_title("ndcg", k)
    names = [name for name in spaces_of(result) if name.startswith("ild_")] + ["coverage", "novelty"]
    plots = []
    for name in names:
        dots = [
            Dot(one.name, x, y, order[one.name])
            for one in ranked(result)
            if (x := _point(one.metrics.get(f"{name}@{k}"))) is not None
            and (y := _point(one.metrics.get(main))) is not None
        ]
        if dots:
            of = f"{metric_title(name, k)}"
            plots.append(scatter(dots, x_axis=of, y_axis=title, title=f"{title} against {of}"))
    if not plots:
        return None
    return tag(
        "figure",
        _keys(result, order),
        tag("div", plots, class_="pair"),
        tag("figcaption", "Up is more accurate, right is more varied, wider spread over the catalogue, or less "
            "popular. Bars are 95 % intervals. The axes do not begin at 0."),
    )  # fmt: skip


def _users(result: ReplayResult, order: dict[str, int]) -> Markup | None:
    main = f"ndcg@{result.protocol.ks[0]}"
    gaps = gaps_table(result, main)
    if gaps is None:
        return None
    return joined(
        _grouped(result, order, main, [by for by in _groupings(result, main) if by != "items"]),
        table_of(gaps, heading=True),
    )


def _items(result: ReplayResult, order: dict[str, int]) -> Markup | None:
    metric = f"recall@{result.protocol.ks[0]}"
    if "items" not in _groupings(result, metric):
        return None
    shown = [one for one in ranked(result) if one.shown]
    labels = tuple(dict.fromkeys(label for one in shown for label in one.shown))
    rows = tuple((Cell(one.name), *(_share(one.shown.get(label)) for label in labels)) for one in shown)
    return joined(
        _grouped(result, order, metric, ["items"]),
        table_of(Table("Share of all that is listed", ("policy", *labels), rows), heading=True),
        tag("p", "The head is the items that together hold half of the interactions of train, the tail all others that "
            "have any; cold items have none.", class_="note"),
    )  # fmt: skip


def _share(found: Estimate | None) -> Cell:
    if found is None or found.mean is None:
        return Cell("–")
    detail = f"{found.low:.1%} to {found.high:.1%}" if found.low is not None and found.high is not None else ""
    return Cell(f"{found.mean:.1%}", detail)


def _groupings(result: ReplayResult, metric: str) -> list[str]:
    return list(dict.fromkeys(g.by for one in result.policies for g in one.groups if g.metric == metric))


def _grouped(result: ReplayResult, order: dict[str, int], metric: str, groupings: Sequence[str]) -> Markup | None:
    if not groupings:
        return None
    base, _, k = metric.partition("@")
    title = metric_title(base, int(k))
    parts: list[Markup | None] = [_keys(result, order)]
    for by, table in group_tables(result, metric).items():
        if by not in groupings:
            continue
        found = [
            (one, next(g for g in one.groups if (g.by, g.metric) == (by, metric)))
            for one in ranked(result)
            if any((g.by, g.metric) == (by, metric) for g in one.groups)
        ]
        labels = table.columns[1:-1]
        series = [
            Series(one.name, order[one.name], tuple(_point(groups.groups.get(label)) for label in labels))
            for one, groups in found
        ]
        parts.append(tag("h3", table.title))
        parts.append(
            figure_of(
                dodged(labels, series, y_axis=title, title=table.title),
                f"{title} of each policy in each group, with 95 % intervals.",
            )
        )
        parts.append(tag("details", tag("summary", "The same as a table"), table_of(table)))
    return joined(parts)


def _rounds(result: ReplayResult, order: dict[str, int]) -> Markup | None:
    table = rounds_table(result)
    if table is None:
        return None
    names = [f"round {at}" for at in range(1, result.protocol.rounds + 1)]
    played = [one for one in ranked(result) if one.rounds]
    series = [Series(one.name, order[one.name], tuple(_point(at.recall) for at in one.rounds)) for one in played]
    k = result.protocol.ks[0]
    return joined(
        _keys(result, order),
        figure_of(
            dodged(names, series, y_axis="share accepted so far", title=table.title, joined_up=True),
            "In every round the policy lists items, those in the user's held-out future are accepted and become part "
            f"of the history, and the policy lists again; nothing is shown twice. Lists of {max(result.protocol.ks)}; "
            f"the figures elsewhere on this page are of the first round's {k}.",
        ),
        table_of(table),
    )


def _by_fold(result: ReplayResult, order: dict[str, int]) -> Markup | None:
    if len(result.protocol.folds) < 2:
        return None
    main = f"ndcg@{result.protocol.ks[0]}"
    names = [fold.name for fold in result.protocol.folds]
    shown = [one for one in ranked(result) if one.by_fold]

    def value(one: PolicyResult, fold: str) -> float | None:
        return one.by_fold.get(fold, {}).get(main)

    series = [
        Series(
            one.name,
            order[one.name],
            tuple(None if (mean := value(one, name)) is None else Point(mean) for name in names),
        )
        for one in shown
    ]
    rows = tuple((Cell(one.name), *(Cell(figure(main, value(one, name))) for name in names)) for one in shown)
    title = metric_title("ndcg", result.protocol.ks[0])
    return joined(
        _keys(result, order),
        figure_of(
            dodged(names, series, y_axis=title, title=f"{title} by fold", joined_up=True),
            f"{title} on each fold, without intervals.",
        ),
        table_of(Table("", ("policy", *names), rows)),
    )


def _compared(result: ReplayResult) -> Markup | None:
    main, every = versus_table(result), compared_table(result)
    if main is None or every is None:
        return None
    return joined(
        tag("p", f"Both policies are measured on the same users. The baseline is {result.baseline} "
            f"({result.baseline_rule})."),
        table_of(main),
        tag("p", "p is of a paired randomization test on NDCG, corrected by Holm's method for the number of policies.",
            class_="note"),
        tag("details", tag("summary", "All comparisons, at every list length"), table_of(every)),
    )  # fmt: skip


def _turns(result: ReplayResult) -> Markup | None:
    table = turns_table(result)
    return None if table is None else joined(table_of(table))


def _method(result: ReplayResult) -> Markup:
    data, protocol = result.data, result.protocol
    policies = Table(
        "Policies",
        ("policy", "what it is", "settings"),
        tuple((Cell(one.name), Cell(one.about), Cell(one.config)) for one in result.policies),
        words=frozenset({0, 1, 2}),
    )
    views = ", ".join(f"{view}: {model}" for view, model in data.views.items())
    facts = [
        ("data", f"{data.name}{f' ({data.kind})' if data.kind else ''}: {data.users:,} users, {data.items:,} items, "
         f"{data.interactions:,} interactions"),
        ("fingerprint", data.fingerprint),
        ("views of the items", views),
        ("protocol", f"{protocol.name}: {_PROTOCOLS.get(protocol.name, '')}"),
        ("list lengths", ", ".join(map(str, protocol.ks)) + "; the first is the main one"),
        ("seeds", ", ".join(map(str, protocol.seeds))),
        ("machine", f"{result.machine.processor}, {result.machine.cores} cores"
         + (f", {result.machine.memory_gb:g} GB" if result.machine.memory_gb is not None else "")
         + f", {result.machine.system}, Python {result.machine.python}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
        ("cells used again", f"{result.reused_cells} of an earlier run" if result.reused_cells else ""),
    ]  # fmt: skip
    return joined(
        tag("dl", (joined(tag("dt", name), tag("dd", text)) for name, text in facts if text)),
        tag("h3", "Rules"),
        tag("ul", (tag("li", rule) for rule in protocol.rules)),
        table_of(folds_table(result), heading=True),
        joined(tag("h3", "Notes on the data"), tag("ul", (tag("li", note) for note in data.notes)))
        if data.notes
        else None,
        table_of(policies, heading=True),
        table_of(told, heading=True) if (told := figures_table(result)) is not None else None,
    )


def _everything(result: ReplayResult) -> Markup:
    seeds = seeds_table(result)
    return joined(
        table_of(seeds, heading=True) if seeds is not None else None,
        tag("details", tag("summary", "Every metric at every list length"), table_of(all_metrics_table(result))),
    )


def _meaning(result: ReplayResult) -> Markup:
    return joined(
        tag("dl", (joined(tag("dt", metric_title(name)), tag("dd", about)) for name, about in result.metrics.items())),
        tag("h3", "Intervals and tests"),
        tag("p", "Intervals are 95 % bootstrap intervals: users are drawn with replacement, and all queries of a user "
            "stay together. Coverage and Gini, which depend on how many different users there are, have intervals of "
            "their own kind. The difference and the ratio of two policies are taken from the same drawn users. p is of "
            "a two-sided paired randomization test: how often signs flipped at random make a difference at least as "
            "large. The gap between groups is largest minus smallest; it is never below 0, so read its interval: where "
            "the low end is 0, chance explains it."),
        tag("h3", "Limits"),
        tag("ul", (tag("li", limit) for limit in _LIMITS)),
    )  # fmt: skip
