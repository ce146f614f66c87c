"""What conversations cost and how they went, as a table: policies that answer in turns tell of it in their figures."""

from __future__ import annotations

from ..results import PolicyResult, ReplayResult
from .table import NONE, Cell, Table

#: The figure that a policy which answers in turns has, and how those begin that go on with a reason or a tool's name.
TURNS, FAILED, TOOL = "turns", "turns_failed: ", "tool: "


def turns_table(result: ReplayResult) -> Table | None:
    """Turns, tokens, tool calls and seconds of each policy that answers in turns; None where none does."""
    talking = [one for one in result.policies if one.figures.get(TURNS)]
    if not talking:
        return None
    rows = tuple(_row(one) for one in talking)
    notes = [note for one in talking for note in _notes(one, named=len(talking) > 1)]
    columns = (
        "policy", "turns", "failed", "LLM asked", "tool calls a turn", "prompt tokens a turn", "generated",
        "first list s", "turn s",
    )  # fmt: skip
    notes.append("Seconds are medians, with the 95th percentile beside them, of the machine that each turn ran on.")
    return Table("Turns", columns, rows, tuple(notes))


def _row(one: PolicyResult) -> tuple[Cell, ...]:
    told = one.figures
    failed = told["turns_failed"]
    return (
        Cell(one.name),
        Cell(f"{told[TURNS]:,.0f}"),
        Cell(f"{failed:,.0f}", f"{failed / told[TURNS]:.1%}" if failed else "", bad=failed > 0),
        Cell(f"{told['llm_asked']:.0%}"),
        Cell(f"{told['tool_calls_per_turn']:.2f}"),
        *(_number(told.get(name)) for name in ("prompt_tokens_per_turn", "generated_tokens_per_turn")),
        *(_seconds(one, name) for name in ("first_result", "seconds")),
    )


def _number(value: float | None) -> Cell:
    return Cell(NONE if value is None else f"{value:,.0f}")


def _seconds(one: PolicyResult, name: str) -> Cell:
    middle, slow = one.figures.get(f"{name}_p50"), one.figures.get(f"{name}_p95")
    return Cell(NONE) if middle is None or slow is None else Cell(f"{middle:.2f}", f"{slow:.2f}")


def _notes(one: PolicyResult, *, named: bool) -> list[str]:
    told, prefix = one.figures, f"{one.name}: " if named else ""
    notes = []
    if told["turns_failed"]:
        reasons = ", ".join(
            f"{name.removeprefix(FAILED)} ({count:,.0f})" for name, count in told.items() if name.startswith(FAILED)
        )
        notes.append(f"{prefix}Turns that show no list are misses: {reasons}.")
    if told["short_lists"]:
        notes.append(f"{prefix}Lists with fewer items than asked for: {told['short_lists']:,.0f}.")
    tools = ", ".join(f"{name.removeprefix(TOOL)} {n:,.0f}" for name, n in told.items() if name.startswith(TOOL))
    errors = f"; {told['tool_errors']:,.0f} ended in an error" if told["tool_errors"] else ""
    notes.append(f"{prefix}Tools called: {tools or 'none'}{errors}.")
    if told["turns_with_notice"]:
        notes.append(f"{prefix}Turns that said something had degraded: {told['turns_with_notice']:,.0f}.")
    if told["tokens_unknown"]:
        notes.append(f"{prefix}Turns whose tokens are unknown, and not in the means: {told['tokens_unknown']:,.0f}.")
    return notes
