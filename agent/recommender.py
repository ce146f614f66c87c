"""The recommender as a library: open a workspace, talk, recommend, search, take feedback."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..catalog.filters import Filter, mask
from ..catalog.search import Query
from ..catalog.text import one_line
from ..catalog.workspace import Workspace
from ..errors import TurnError, UserError
from ..graphs.conversation import Conversation
from ..graphs.planner import LlmPlanner, Planner
from ..graphs.respond import compose
from ..graphs.rules import RulePlanner
from ..graphs.state import Notice, TurnEvent, TurnFinished
from ..profiles.events import Event
from ..profiles.fold import Profile, fold
from ..ranking.debias import Debias
from ..tools import toolbox
from ..tools.base import Knowledge, Tool, TurnContext
from ..tools.exploring import checked
from ..tools.facets import Facets, choose_facets
from ..tools.feedback import commit, thread_id
from ..tools.mentions import MentionIndex, Mentions
from ..tools.results import ItemList, ToolRun, Turn
from .answers import list_of, turn_of
from .asynchronous import Asynchronous
from .conversations import open_conversations
from .opening import open_workspace
from .planners import planner_of, writer_of
from .remembering import Remembering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel
    from PIL.Image import Image


log = logging.getLogger(__name__)

#: Longest message a turn takes, in characters.
LONGEST_MESSAGE = 4000
RULES = "rules"
#: Tokens of a plan at most: three calls with long arguments.
PLAN_TOKENS = 320
#: Named as the planner where a tool was called directly.
CALLED = "called directly"


class Recommender(Asynchronous, Remembering):
    """A recommender over one workspace. Safe to share between threads: turns of one thread queue, others run.

    Use as a context manager, or call :meth:`close`.

    Args:
        workspace: a folder made by ``llm4rec build``.
        llm: which model plans: None for the bundled one, a GGUF path, ``hf:owner/repo/file.gguf``, an
            OpenAI-compatible URL, or ``"rules"`` for none at all.
        adapter: a LoRA adapter for that model, see :func:`llm4rec.agent.weights.resolve`.
        chat_model: a LangChain chat model of your own in its place.
        notice: told what opening the model takes, and what could not be done; the log, unless you say otherwise.
        profiles: where what is known of users is kept: a path, or ``postgresql://USER@HOST/DATABASE``; None: a SQLite
            file in the workspace.
        timeout: seconds one turn may take before it ends with what is known.

    Raises:
        UserError: no such workspace, or one built with other encoders; no such model.
    """

    def __init__(
        self,
        workspace: str | Path,
        *,
        llm: str | None = None,
        adapter: Path | None = None,
        chat_model: BaseChatModel | None = None,
        notice: Callable[[str], None] = log.info,
        profiles: str | Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        if adapter is not None and llm == RULES:
            raise UserError(f"{adapter}: the rule-based planner takes no adapter; leave out --adapter")
        self.workspace = Workspace(Path(workspace))
        self._notice, self._timeout = notice, timeout
        self._opened = open_workspace(Path(workspace), profiles=profiles, recover=True)
        for told in self._opened.store.notices:  # events may be lost: more than information
            (log.warning if notice == log.info else notice)(told)
        self._knowledge = self._opened.knowledge()
        self._lock = threading.RLock()
        self._turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._threads, self._saver = open_conversations(self.workspace.state / "threads.sqlite")
        self._facets = choose_facets(self._knowledge.catalogue)
        self._toolboxes: dict[int, Mapping[str, Tool]] = {}
        self._llm_spec, self._adapter = llm, adapter
        self._model = chat_model
        self._own_model = chat_model is None
        self._planner: Planner | None = None
        self._mention_index: tuple[int, MentionIndex] | None = None
        self._graph: Any = None

    @classmethod
    def open(cls, workspace: str | Path, **options: Any) -> Recommender:
        """The same as the constructor; reads better."""
        return cls(workspace, **options)

    def close(self) -> None:
        """Close the stores, and give back the memory of a model opened here. The object cannot be used afterwards."""
        with self._lock:
            if self._own_model and self._model is not None:
                if hasattr(self._model, "close"):
                    self._model.close()
                self._model = None
            self._threads.close()
            self._opened.close()

    def __enter__(self) -> Recommender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what it stands on ----------------------------------------------------------------------------------

    @property
    def knowledge(self) -> Knowledge:
        """What the tools read; opened again when the live catalogue has changed."""
        with self._lock:
            if self._opened.overlay.version() != self._knowledge.version:
                self._knowledge = self._opened.knowledge()
                self._facets = choose_facets(self._knowledge.catalogue)
                self._toolboxes.clear()
            return self._knowledge

    @property
    def facets(self) -> Facets:
        return self._facets

    def tools(self, ordinals: int = 0) -> Mapping[str, Tool]:
        """The toolbox for a number of items on the table."""
        with self._lock:
            if ordinals not in self._toolboxes:
                self._toolboxes[ordinals] = toolbox(
                    self._facets, ordinals=ordinals, scale=self._knowledge.interactions.scale
                )
            return self._toolboxes[ordinals]

    @property
    def planner(self) -> Planner:
        """Who reads the messages. Loads the language model at first use."""
        with self._lock:
            if self._planner is None:
                self._planner = self._make_planner()
            return self._planner

    def warm(self) -> None:
        """Load what the first turn needs; a local model reads the constant part of its prompt in the background."""
        planner = self.planner
        self._read_mentions("")
        self.knowledge.searcher.search(Query(text="warm", k=1))
        if isinstance(planner, LlmPlanner):
            planner.warm()

    def _make_planner(self) -> Planner:
        if self._llm_spec == RULES and self._model is None:
            return RulePlanner(self._facets, self._read_mentions)
        name = "a model of your own"
        if self._model is None:
            from .llm import load_chat_model

            self._model, name = load_chat_model(
                self._llm_spec,
                adapter=self._adapter,
                notice=self._notice,
                max_tokens=PLAN_TOKENS,
                timeout=self._timeout,
            )
        return planner_of(
            self._model,
            name,
            tools=self.tools(ordinals=5),
            encode=self._knowledge.searcher.text_encoder.encode,
            mentions=self._read_mentions,
        )

    def _read_mentions(self, message: str) -> Mentions:
        with self._lock:
            knowledge = self.knowledge
            if self._mention_index is None or self._mention_index[0] != knowledge.version:
                self._mention_index = (knowledge.version, MentionIndex(knowledge.catalogue, self._facets))
            return self._mention_index[1].read(message)

    @property
    def graph(self) -> Any:
        """The compiled LangGraph state machine."""
        with self._lock:
            if self._graph is None:
                planner = self.planner  # which opens the model
                conversation = Conversation(
                    planner=planner,
                    fallback=RulePlanner(self._facets, self._read_mentions),
                    toolbox=self.tools,
                    writer=writer_of(self._model, turn_seconds=self._timeout),
                )
                self._graph = conversation.graph(self._saver)
            return self._graph

    # -- the conversation -----------------------------------------------------------------------------------

    def stream(
        self,
        user: str,
        text: str,
        *,
        image: Image | Path | bytes | None = None,
        thread: str = "main",
        k: int = 5,
        debias: float | None = None,
        explore: float | None = None,
    ) -> Iterator[TurnEvent]:
        """One turn as it happens: nodes, tool runs, the list, the words, and last the whole turn.

        Args:
            user: whose profile is read and written.
            text: what they say; may be empty when a picture is given.
            image: a picture: opened, a file's path, or its bytes.
            thread: the conversation's name; it goes on after a restart.
            k: items in a list, 1 to 50.
            debias: how much of what makes items likely for everybody is taken off their scores, in [0, 1]; None: as the
                causal report derives it.
            explore: how far lists explore where little is known of the user, in [0, 1]: the variance of the taste they
                are made for, in that of what is known. What is drawn depends on user, thread and turn alone. None: as
                the user's own dial has it, which starts at 0.

        Raises:
            UserError: the picture is none, the message is empty or too long, k or a dial is out of range, or the build
                cannot explore.
        """
        desk = self._desk(user, text, image=image, thread=thread, k=k, debias=debias, explore=explore)
        gone = threading.Event()
        config = {"configurable": {"thread_id": thread_id(user, thread), "cancel": gone}, "recursion_limit": 40}
        with self._turns[thread_id(user, thread)]:
            started = time.perf_counter()
            try:
                # no "yield from": that would wait for the running node before the model is told to stop
                run = self.graph.stream({"rounds": 0}, config, context=desk, stream_mode="custom")
                for event in run:  # noqa: UP028
                    yield event
            except TurnError as error:
                desk.notice(f"The turn ended early: {error}")
                yield Notice(text=desk.notices[-1])
            finally:
                gone.set()  # whoever stops listening stops the model too
            desk.clock("turn", started)
            state = self.graph.get_state(config).values
            yield TurnFinished(turn=turn_of(desk, state, planner=self.planner.name))

    def chat(self, user: str, text: str, **options: Any) -> Turn:
        """One turn, whole. Arguments as for :meth:`stream`."""
        for event in self.stream(user, text, **options):
            if isinstance(event, TurnFinished):
                return event.turn
        raise TurnError("the turn ended without a result")

    def recommend(
        self,
        user: str,
        *,
        k: int = 10,
        filters: Sequence[Filter] = (),
        diversity: float | None = None,
        calibration: float | None = None,
        debias: float | None = None,
        explore: float | None = None,
        thread: str = "main",
        must_exist: bool = False,
    ) -> ItemList:
        """The best unseen items for a user, with provenance and claims.

        Args:
            diversity, calibration: how varied the list is, and how true to the labels of the user's past, in [0, 1];
                None: as the user's own dial and the ranker have it.
            debias, explore: as for :meth:`stream`. The turn is 0: the same call explores alike.
            must_exist: refuse users of whom nothing is known.

        Raises:
            UserError: k or a dial out of range, an unknown filter, a build that cannot explore, or (with
                ``must_exist``) a user nothing is known of.
        """
        from ..tools.rank import rank_cards

        if must_exist:
            self.require_user(user)
        desk = self._desk(user, "recommend", thread=thread, k=k, debias=debias, explore=explore)
        keep = mask(desk.knowledge.catalogue, tuple(filters))
        dials = desk.knowledge.ranker.dials(desk.dials.diversity if diversity is None else diversity, calibration)
        cards = rank_cards(desk, keep, cited=_cited(filters), labels=_labels(filters), dials=dials)
        return list_of(desk, cards, user=user, ranked=True)

    def search(
        self,
        text: str | None = None,
        *,
        image: Image | Path | bytes | None = None,
        like: Sequence[str] = (),
        filters: Sequence[Filter] = (),
        user: str | None = None,
        k: int = 10,
    ) -> ItemList:
        """Search by words, picture, likeness (item ids or titles), or several at once.

        With a user, what they have seen is left out; the order is the search's own.

        Raises:
            UserError: nothing to search by, an unknown filter, no such item, a picture that is none.
        """
        from ..tools.search import search_cards

        desk = self._desk(user or "", text or "", image=image, k=k, empty=True)
        cards = search_cards(
            desk,
            text=text,
            like=like,
            keep=mask(desk.knowledge.catalogue, tuple(filters)),
            cited=_cited(filters),
            labels=_labels(filters),
            personal=False,
            unseen=user is not None,
        )
        return list_of(desk, cards, user=user, query=text)

    def explain(self, user: str, item: str, *, debias: float | None = None) -> ItemList:
        """Why one item (id or title) would be recommended: its claims and their evidence.

        ``debias`` is as for :meth:`recommend`.
        """
        from ..tools.explain import explain_row
        from ..tools.target import item_row

        desk = self._desk(user, "why", debias=debias)
        card = explain_row(desk, item_row(desk.knowledge.catalogue, item))
        return list_of(desk, (card,), user=user)

    def feedback(
        self,
        user: str,
        verdict: Literal["like", "dislike", "seen", "skip", "rating"],
        item: str,
        *,
        value: float | None = None,
        thread: str = "main",
    ) -> Event:
        """Record what a user thinks of an item (id or title). It is on disk when this returns.

        Of an item in the thread's last list it is a verdict on a recommendation, and steers the user's dials.

        Raises:
            UserError: no such item, a rating without a value or outside the scale.
        """
        from ..graphs.conversation import restore_bus
        from ..tools.target import item_row

        desk = self._desk(user, f"{verdict} {item}", thread=thread)
        desk.open(number=0, started=time.time())
        desk.bus = restore_bus(desk, self._state(user, thread))
        row = item_row(desk.knowledge.catalogue, item)
        return commit(desk, source="clicked", kind=verdict, item=desk.knowledge.catalogue.ids[row], value=value)

    def profile(self, user: str, *, thread: str | None = None) -> Profile:
        """What is known of a user from live events (the log apart)."""
        knowledge = self.knowledge
        return fold(knowledge.store.events(user), thread=thread, scale=knowledge.scale, user=user)

    def history(self, user: str, *, k: int = 10, thread: str = "main") -> Turn:
        """The k newest records of a user, from 1 to 50, as claims with evidence."""
        return self.call(user, "get_history", {"limit": k}, thread=thread)

    def call(
        self,
        user: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        thread: str = "main",
        debias: float | None = None,
    ) -> Turn:
        """Run one tool on the thread's last list, without planning: what a button or ``/why 2`` does.

        Args:
            debias: as for :meth:`stream`.

        Raises:
            UserError, ToolError: the arguments do not fit, or point at nothing.
        """
        from ..graphs.conversation import restore_bus

        desk = self._desk(user, tool, thread=thread, debias=debias)
        desk.bus = restore_bus(desk, self._state(user, thread))
        tools = self.tools(len(desk.bus))
        if tool not in tools:
            raise UserError(f"no tool {tool!r}: {', '.join(tools)}")
        started = time.perf_counter()
        observation = tools[tool].call(desk, arguments)
        run = ToolRun(
            name=tool,
            arguments=dict(arguments),
            ok=True,
            observation=observation,
            seconds=round(time.perf_counter() - started, 4),
        )
        state = {"reply": compose(desk, said=observation, failures=(), planner=CALLED), "runs": [run.model_dump()]}
        return turn_of(desk, state, planner=CALLED)

    def reset_dials(self, user: str) -> Event:
        """Let the user's verdicts so far steer the dials no more: all stand where they start. `undo` takes it back.

        Raises:
            UserError: nothing is known of the user.
        """
        from ..profiles.events import reset_dials

        self.require_user(user)
        event = reset_dials(id=f"reset:{uuid.uuid4().hex}", user=user, time=time.time(), source="clicked")
        self.knowledge.store.append(event)
        return event

    def known_user(self, user: str) -> bool:
        """Whether the log or the store holds anything of the user."""
        knowledge = self.knowledge
        return len(knowledge.interactions.of_user(user).items) > 0 or bool(knowledge.store.latest(user, 1))

    def require_user(self, user: str) -> None:
        """Raises UserError where nothing is known of the user."""
        if not self.known_user(user):
            known = self.knowledge.interactions.user_ids
            sample = f"; the log knows {len(known)} users, such as {', '.join(known[:3])}" if known else ""
            raise UserError(f"unknown user {one_line(user, 60)!r}: nothing is on record{sample}")

    # -- inside ---------------------------------------------------------------------------------------------

    def _desk(
        self,
        user: str,
        text: str,
        *,
        image: Image | Path | bytes | None = None,
        thread: str = "main",
        k: int = 5,
        debias: float | None = None,
        explore: float | None = None,
        empty: bool = False,
    ) -> TurnContext:
        if not 1 <= k <= 50:
            raise UserError(f"k is {k}: it must be from 1 to 50")
        if not text.strip() and image is None and not empty:
            raise UserError("the message is empty: say something, or give a picture")
        if len(text) > LONGEST_MESSAGE:
            raise UserError(f"the message has {len(text)} characters: at most {LONGEST_MESSAGE}")
        Debias(dial=debias)  # refuses what is no dial before anything is done
        knowledge = self.knowledge
        explore = checked(explore, knowledge.ranker)
        picture = None
        if image is not None:
            from ..catalog.images import open_image

            picture = open_image(image) if isinstance(image, (Path, bytes)) else image
        return TurnContext(
            user=user,
            thread=thread,
            message=text.strip(),
            knowledge=knowledge,
            image=picture,
            k=k,
            debias=debias,
            explore=explore,
            started=time.time(),
            # Outside of a turn no two clicks are one, whatever the clock says.
            call=uuid.uuid4().hex,
        )

    def _state(self, user: str, thread: str) -> Mapping[str, Any]:
        """The thread's checkpointed state, without loading a language model."""
        from ..graphs.conversation import thread_state

        return thread_state(self._saver, thread_id(user, thread))


def _cited(filters: Sequence[Filter]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.attribute for f in filters if f.op in ("is", "contains", "at_least", "at_most")))


def _labels(filters: Sequence[Filter]) -> tuple[str, ...]:
    return tuple(f.value for f in filters if f.op in ("is", "contains") and isinstance(f.value, str))
