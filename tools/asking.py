"""What to ask back under a list of the best: the two kinds between which the user's answer would say most.

See :mod:`..ranking.question` for what an answer is worth. The kinds are the labels lists are calibrated by (genres,
categories), the candidates the user's own ranking, as it is without exploring.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from ..ranking.labels import labelling
from ..ranking.question import QuestionConfig, best_question, question_text
from .base import TurnContext
from .exploring import NOTHING
from .results import Question
from .taste import hidden_rows, history_of, ranked_for, tastes_of

#: Labels of what is watched, mostly of an evening.
_EVENING: Final = frozenset({"genres", "genre"})


def ask(context: TurnContext, config: QuestionConfig, asked: Collection[frozenset[str]] = ()) -> Question | None:
    """The question that is worth most to the user's next list; None where none is worth asking, or none can be made.

    Args:
        asked: pairs of labels that were asked for in this thread before.
    """
    knowledge = context.knowledge
    kinds = labelling(knowledge.catalogue.attributes)
    if kinds is None or not knowledge.ranker.explores:
        return None
    posterior = knowledge.ranker.require_posterior()
    tastes = tastes_of(context)
    allowed = ~hidden_rows(context, tastes) & knowledge.catalogue.available
    best = ranked_for(context, allowed, config.candidates, tastes=tastes, explore=NOTHING, reasons=False)
    stated = [] if tastes is None else posterior.statements(tastes)
    found = best_question(
        posterior.state(history_of(context), stated=stated, thread=context.thread),
        posterior.space,
        knowledge.catalogue.frame[kinds],
        np.array([one.row for one in best], dtype=np.int64),
        config=config,
        asked=asked,
    )
    if found is None:
        return None
    text = question_text(found.labels, tonight=kinds in _EVENING)
    return Question(labels=found.labels, text=text, nats=round(found.nats, 6))
