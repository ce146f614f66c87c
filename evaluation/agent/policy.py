"""The agent as a policy: the graph, its tools and its language model, over a workspace of the fold's train log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...catalog.interactions import load_interactions
from ...catalog.items import Catalogue
from ...catalog.workspace import Workspace
from ...errors import UserError
from ..cells import version_of
from ..folds import NOTHING, Fold
from ..policies import AGENT, Policy, PolicyInputs
from ..requests import MOST_ITEMS
from .figures import figures_of
from .turns import TurnRecord, open_journal
from .workspace import fold_workspace, forget_everybody

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ...agent.recommender import Recommender

#: In the folder of the agent's work.
TURNS, WORKSPACE = "turns.jsonl", "workspace"
#: The packages whose code decides what a turn answers, besides those of the ranking.
_PACKAGES = ("agent", "graphs", "tools", "prompts", "profiles", "catalog", "evaluation/agent")
_CODE = (".py", ".txt", ".jsonl", ".gbnf", ".sql")
_LIBRARIES = ("llama-cpp-python", "langgraph", "langchain-core", "sentence-transformers", "chromadb")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Who answers.

    Attributes:
        llm: language model, as for :class:`...agent.recommender.Recommender`; None for the bundled one.
        timeout: seconds the language model has for an answer in a turn.
    """

    llm: str | None = None
    timeout: float = 60.0


def agent_policy(llm: str | None = None, *, chat_model: BaseChatModel | None = None) -> Policy:
    """The policy ``agent``.

    Args:
        llm: language model, as for :class:`...agent.recommender.Recommender`.
        chat_model: a LangChain chat model of your own in its place; it is not closed.

    Raises:
        UserError: there is no such model.
    """
    config = AgentConfig(llm=llm)
    name, identity = _own(chat_model) if chat_model is not None else _language_model(llm)
    return Policy(
        name=AGENT,
        fit=partial(_fit, config, chat_model),
        config=repr({"model": identity, "timeout": config.timeout, "code": _code()}),
        about=f"the whole conversation, a turn a user; language model: {name}",
        combined=True,
        hears=True,
    )


class Agent:
    """Users who each say one thing to the agent, one after another, each on a thread of their own.

    Args:
        config: who answers.
        chat_model: in the place of ``config.llm``.
        place: the workspace of the train log.
        inputs: of the policy.

    Attributes:
        figures: see :func:`.figures.figures_of`; empty until lists were asked for.
    """

    name = AGENT

    def __init__(
        self, config: AgentConfig, chat_model: BaseChatModel | None, place: Workspace, inputs: PolicyInputs
    ) -> None:
        assert inputs.work is not None
        assert inputs.catalogue is not None
        self._config, self._chat_model, self._place = config, chat_model, place
        self._catalogue, self._progress = inputs.catalogue, inputs.progress
        self._turns = inputs.work / TURNS
        self.figures: Mapping[str, float] = {}

    def lists(self, fold: Fold, k: int) -> NDArray[np.int64]:
        """What each user is shown; nothing where a turn failed. Turns that are kept from an earlier run are not asked
        again.

        Raises:
            UserError: nothing is said in the fold, k is out of range, or the language model cannot be loaded.
        """
        if fold.requests is None:
            raise UserError("the policy 'agent' is asked in words, and nothing is said: give --requests bare")
        if not 1 <= k <= MOST_ITEMS:
            raise UserError(f"the policy 'agent' lists {MOST_ITEMS} items at most, not {k}: give a smaller -k")
        ids = self._user_ids()
        asked = [(ids[user], request.text) for user, request in zip(fold.users.tolist(), fold.requests, strict=True)]
        with open_journal(self._turns) as journal:
            todo = [one for one in asked if one not in journal.done]
            if todo:
                self._progress("loading the language model", 0)
                with self._open() as talk:
                    talk.warm()
                    self._ask(talk, todo, k, len(asked), journal.append)
            turns = [journal.done[one] for one in asked]
        items, left_out = _rows(turns, fold, k, self._catalogue)
        self.figures = {**figures_of(turns), "items_left_out": float(left_out)}
        return items

    def _ask(
        self,
        talk: Recommender,
        todo: Sequence[tuple[str, str]],
        k: int,
        total: int,
        keep: Callable[[TurnRecord], None],
    ) -> None:
        from .asking import ask

        told = "users asked in words"
        for done, (user, text) in enumerate(todo, start=total - len(todo)):
            self._progress(told, done, total)
            record = ask(talk, user, text, k)
            self._progress(told, done + 1, total)  # raises where the run is to stop: what came of this turn is not kept
            keep(record)

    def _open(self) -> Recommender:
        from ...agent.recommender import Recommender

        forget_everybody(self._place)
        return Recommender(
            self._place.root, llm=self._config.llm, chat_model=self._chat_model, timeout=self._config.timeout
        )

    def _user_ids(self) -> tuple[str, ...]:
        return load_interactions(self._place.open().path).user_ids


def _fit(config: AgentConfig, chat_model: BaseChatModel | None, inputs: PolicyInputs) -> Agent:
    if inputs.build is None or inputs.catalogue is None or inputs.work is None:
        raise UserError("the policy 'agent' talks over a workspace, and there is none: give --data or --workspace")
    place = fold_workspace(
        inputs.build,
        inputs.train,
        inputs.work / WORKSPACE,
        catalogue=inputs.catalogue,
        views=inputs.views,
        seed=inputs.seed,
        kept=inputs.kept,
        progress=inputs.progress,
    )
    return Agent(config, chat_model, place, inputs)


def _rows(turns: Sequence[TurnRecord], fold: Fold, k: int, catalogue: Catalogue) -> tuple[NDArray[np.int64], int]:
    """The lists as rows (q, k), and how many items were left out of them: those that the past holds."""
    rows = np.full((len(turns), k), NOTHING, dtype=np.int64)
    left_out = 0
    for at, turn in enumerate(turns):
        allowed = fold.rankable(at, at + 1)[0]
        listed = list(dict.fromkeys(catalogue.row_of[item] for item in turn.items))
        fit = [row for row in listed if allowed[row]]
        left_out += len(turn.items) - len(fit)
        rows[at, : len(fit)] = fit
    return rows, left_out


def _language_model(llm: str | None) -> tuple[str, str]:
    """The name of a language model, and what tells it from all others."""
    from ...agent.recommender import RULES
    from ...agent.weights import resolve, sha256

    if llm == RULES:
        return "none, rules plan", RULES
    source = resolve(llm)
    content = sha256(source.path) if source.path is not None else f"{source.url} {source.model}"
    if source.adapter is not None and source.adapted == "runtime":
        content += f" {sha256(source.adapter)}"
    return source.name, f"{source.name} {content}"


def _own(chat_model: BaseChatModel) -> tuple[str, str]:
    name = type(chat_model).__name__
    return name, f"{name} {dict(chat_model._identifying_params)}"


@cache
def _code() -> str:
    """Of the modules and texts that decide what a turn answers, and of the libraries they stand on."""
    package = Path(__file__).parents[2]
    found = hashlib.sha256(repr([version_of(name) for name in _LIBRARIES]).encode())
    for folder in _PACKAGES:
        for path in sorted(p for p in (package / folder).rglob("*") if p.suffix in _CODE):
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
