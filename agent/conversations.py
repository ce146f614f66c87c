"""The file that keeps conversations across restarts: LangGraph's checkpoints in SQLite."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from ..errors import UserError
from ..tools.feedback import thread_id
from ._forgotten import Forgotten, without

#: Seconds to wait for other processes that use the file, and between two tries.
PATIENCE: Final = 30.0
_RETRY_SECONDS: Final = 0.05
#: What a thread's state keeps of its last turn, as it is before the first.
_NO_TURN: Final[Mapping[str, Any]] = {"failures": [], "planned": [], "said": "", "runs": [], "reply": ""}
_NOTHING_SHOWN: Final[Mapping[str, Any]] = {"query": None, "cited": [], "filters": None, "pool": [], "debias": None}


def open_conversations(path: Path) -> tuple[sqlite3.Connection, SqliteSaver]:
    """Open the file, or make it.

    Raises:
        UserError: the file is no SQLite database. It is left as it is.
    """
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        connection.execute("PRAGMA secure_delete=ON")
        # In memory, so that VACUUM leaves no copies in the system's temporary folder.
        connection.execute("PRAGMA temp_store=MEMORY")
        saver = SqliteSaver(connection)
        saver.setup()
    except sqlite3.DatabaseError as error:
        connection.close()
        mend = "move it away: conversations begin anew, feedback stays"
        raise UserError(f"{path} is damaged ({error}): {mend}") from error
    return connection, saver


def forget_conversations(
    connection: sqlite3.Connection, saver: SqliteSaver, meant: Forgotten, *, patience: float = PATIENCE
) -> tuple[int, int]:
    """Erase a user's threads, or what in them speaks of an item or a statement; down to the bytes of the file.

    Of a thread that stays only its last state does, without the turns that speak of what is forgotten: how it came
    about is read by nobody.

    Args:
        patience: seconds to wait for other processes.

    Returns:
        How many threads were erased whole, and how many turns of others.

    Raises:
        UserError: the file is damaged, or other processes use it all the time; doing it again mends that.
    """
    place = _place(connection)
    try:
        found = connection.execute("SELECT DISTINCT thread_id FROM checkpoints UNION SELECT thread_id FROM writes")
        mine = [thread for (thread,) in found.fetchall() if thread.startswith(thread_id(meant.user, ""))]
        threads = turns = 0
        for thread in mine:
            left = None if meant.everything else _erase_turns(saver, thread, meant)
            if left is None:
                saver.delete_thread(thread)
                threads += 1
            else:
                turns += left
        # Also when nothing was found: forgetting again is how a scrub that failed is made good.
        with saver.lock:  # no other thread's transaction is cut in two
            connection.commit()
            _patiently(partial(connection.execute, "VACUUM"), place, patience)
            _patiently(partial(_cut_log, connection), place, patience)
    except sqlite3.DatabaseError as error:
        mend = "move it away: conversations begin anew, feedback stays"
        raise UserError(f"{place} is damaged ({error}): {mend}") from error
    return threads, turns


def _erase_turns(saver: SqliteSaver, thread: str, meant: Forgotten) -> int | None:
    """Keep the last state of a thread, without the turns that speak of what is forgotten; how many they were.

    None where the thread has no state that could be kept.
    """
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    found = saver.get_tuple(config)
    if found is None:
        return None
    checkpoint: dict[str, Any] = dict(found.checkpoint)
    values, turns = _cleared(checkpoint["channel_values"], meant)
    checkpoint["channel_values"] = values
    metadata = {name: value for name, value in found.metadata.items() if name in ("source", "step", "parents")}
    if meant.within(values):
        return None
    kind, content = saver.serde.dumps_typed(checkpoint)
    with saver.cursor() as cursor:  # one transaction
        cursor.execute("DELETE FROM writes WHERE thread_id = ?", (thread,))
        cursor.execute("DELETE FROM checkpoints WHERE thread_id = ?", (thread,))
        cursor.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, type, checkpoint, metadata) "
            "VALUES (?, '', ?, ?, ?, ?)",
            (thread, checkpoint["id"], kind, content, json.dumps(metadata).encode()),
        )
    return turns


def _cleared(values: Mapping[str, Any], meant: Forgotten) -> tuple[dict[str, Any], int]:
    """A thread's state without what speaks of what is forgotten, and how many turns went."""
    kept: list[AnyMessage] = []
    gone = 0
    last = True
    for turn in _turns(values.get("messages", [])):
        last = meant.within(turn)
        gone += last
        kept += [] if last else turn
    cleared = {**values, "messages": kept}
    if last or meant.within([values.get(name) for name in _NO_TURN]):
        cleared |= {name: value for name, value in _NO_TURN.items() if name in values}
    if meant.item is not None:
        cleared |= {name: without(values[name], meant.item) for name in ("shown", "request") if name in values}
    if "asked" in values:
        cleared["asked"] = [question for question in values["asked"] if not meant.within(question)]
    if meant.within(cleared.get("request")):
        cleared["request"] = dict(_NOTHING_SHOWN)
    return cleared, gone


def _turns(messages: list[AnyMessage]) -> list[list[AnyMessage]]:
    """Messages by turn: each begins with what the user said."""
    turns: list[list[AnyMessage]] = []
    for message in messages:
        if isinstance(message, HumanMessage) or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _cut_log(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise sqlite3.OperationalError("the log is read")


def _patiently(work: Callable[[], object], place: str, patience: float) -> None:
    """Do what other processes that use the file may hinder, until it is done."""
    deadline = time.monotonic() + patience
    while True:
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{place}: another process uses the file all the time ({error}): deleted, but traces may stay in "
                    "it: forget again"
                ) from error
            time.sleep(_RETRY_SECONDS)


def _place(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2])
