"""The file that keeps conversations across restarts: LangGraph's checkpoints in SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from langgraph.checkpoint.sqlite import SqliteSaver

from ..errors import UserError
from ..tools.feedback import thread_id


def open_conversations(path: Path) -> tuple[sqlite3.Connection, SqliteSaver]:
    """Open the file, or make it.

    Raises:
        UserError: the file is no SQLite database. It is left as it is.
    """
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        connection.execute("PRAGMA secure_delete=ON")
        saver = SqliteSaver(connection)
        saver.setup()
    except sqlite3.DatabaseError as error:
        connection.close()
        mend = "move it away: conversations begin anew, feedback stays"
        raise UserError(f"{path} is damaged ({error}): {mend}") from error
    return connection, saver


def forget_conversations(connection: sqlite3.Connection, saver: SqliteSaver, user: str) -> int:
    """Delete a user's threads, and their bytes: freed pages are overwritten, the log truncated. Returns how many."""
    found = connection.execute("SELECT DISTINCT thread_id FROM checkpoints").fetchall()
    mine = [thread for (thread,) in found if thread.startswith(thread_id(user, ""))]
    for thread in mine:
        saver.delete_thread(thread)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return len(mine)
