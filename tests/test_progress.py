"""How far things are, told where the output goes to no terminal: with numbers, and not too often."""

from __future__ import annotations

import pytest
from llm4rec.cli.show import LINE_EVERY, progress_lines


def test_steps_are_told_with_their_numbers_and_not_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    tell = progress_lines(lambda: now)
    tell("reading the model", 0, None)
    for step in range(1, 401):
        now += 1.0
        tell(f"training (loss {step}.5)", step, 400)
    tell("reading the model", 1, None)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "reading the model ...",
        "training (loss 1.5) ... 1 of 400",
        "training (loss 31.5) ... 31 of 400",
    ]
    assert len(lines) == 2 + int(399 / LINE_EVERY)


def test_a_step_that_is_over_soon_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress_lines(lambda: 0.0)
    for done in range(5000):
        tell("texts", done, 5000)
    assert capsys.readouterr().err == "texts ... 0 of 5,000\n"
