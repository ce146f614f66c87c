"""The transformer within the fused model: trained once for all who share it, blind to what is hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llm4rec.ranking import sequence_once
from llm4rec.ranking.log import Log
from llm4rec.ranking.sequence import SequenceConfig, SequenceModel, fit_sequence
from llm4rec.ranking.sequence_once import Blind, fit_once

SMALL = SequenceConfig(width=8, length=6, epochs=3)


def log_of(users: int = 20) -> Log:
    return Log.of_lists([np.random.default_rng(user).permutation(12)[:8] for user in range(users)], 12)


def test_it_is_trained_once_for_all_who_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def counted(
        log: Log, config: SequenceConfig, *, seed: int, start: SequenceModel | None, progress: object
    ) -> object:
        trained.append(seed)
        return fit_sequence(log, config, seed=seed, start=start)

    monkeypatch.setattr(sequence_once, "fit_sequence", counted)

    def fit(log: Log, seed: int = 0, start: SequenceModel | None = None) -> SequenceModel:
        return fit_once(log, SMALL, seed=seed, start=start, kept=tmp_path / "kept", progress=lambda *_: None)

    log = log_of()
    first, again = fit(log), fit(log)
    assert len(trained) == 1
    scores = first.score_many(log.pasts())
    assert np.array_equal(scores, again.score_many(log.pasts()))
    assert np.array_equal(scores, fit_sequence(log, SMALL).score_many(log.pasts()))
    others = [fit(log.keep(np.arange(len(log)) % 8 != 7)), fit(log, seed=1), fit(log, start=first)]
    assert len(trained) == 4
    assert all(not np.array_equal(one.score_many(log.pasts()), scores) for one in others)


def test_nothing_is_kept_where_nothing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit_once(log_of(), SMALL, seed=0, start=None, kept=None, progress=lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_what_is_hidden_is_neither_ranked_nor_read() -> None:
    log = log_of()
    hidden = np.zeros(12, dtype=np.bool_)
    hidden[[2, 7]] = True
    model = fit_sequence(log, SMALL)
    blind = Blind(model, hidden)
    scores = blind.score_many(log.pasts())
    assert (scores[:, hidden] == scores.min(axis=1, keepdims=True)).all()
    assert np.allclose(scores, blind.score_many(log.keep(~hidden[log.items]).pasts()), atol=1e-6)
    assert not np.allclose(scores[:, ~hidden], model.score_many(log.pasts())[:, ~hidden], atol=1e-6)
