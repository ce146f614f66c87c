"""A process of its own that writes to a profile store, for the tests that kill it.

python profile_child.py PATH serve      for each name on stdin fork a process that appends for ever and names on
                                        stdout what was acknowledged; say "pid N" first and "dead" at its end
python profile_child.py PATH threads    on a name on stdin open the store, append from four threads at once, and
                                        name on stdout what was new
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

from llm4rec.profiles.events import Event, like
from llm4rec.profiles.store import SqliteProfileStore

THREADS = 4
OWN = 15
SHARED = 15


def tell(*ids: str) -> None:
    # One write, so that a kill leaves whole lines or none.
    os.write(1, (" ".join(ids) + "\n").encode())


def loop(store: SqliteProfileStore, name: str) -> None:
    for n in itertools.count():
        # Every third step is a batch, and every tenth a forgetting: both are all or nothing.
        size = 3 if n % 3 == 2 else 1
        batch = [like(id=f"{name}:{n}:{i}", user="ana", item=f"i{n}", time=float(n)) for i in range(size)]
        if size == 1:
            store.append(batch[0])
        else:
            store.append_many(batch)
        tell(*(event.id for event in batch))
        if n % 10 == 9:
            gone = [like(id=f"{name}:gone:{n}:{i}", user="bob", item=f"i{i}", time=float(n)) for i in range(4)]
            store.append_many(gone)
            store.forget_user("bob")


def serve(path: Path) -> None:
    # Forked, not started anew: importing takes longer than the life of a process here.
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            loop(SqliteProfileStore(path), line.strip())
        tell("pid", str(child))
        os.waitpid(child, 0)
        tell("dead")


def threads(store: SqliteProfileStore, name: str) -> None:
    new: list[str] = []
    start = threading.Barrier(THREADS)

    def write(number: int) -> None:
        start.wait()
        for n in range(max(OWN, SHARED)):
            for event in (_event(f"{name}:{number}:{n}"), _event(f"shared:{n}")):
                if store.append(event):
                    new.append(event.id)

    running = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    tell(*new)


def _event(event_id: str) -> Event:
    return like(id=event_id, user="ana", item="i1", time=1.0)


def main() -> None:
    path, mode = Path(sys.argv[1]), sys.argv[2]
    if mode == "serve":
        serve(path)
        return
    tell("ready")
    name = sys.stdin.readline().strip()
    store = SqliteProfileStore(path)
    threads(store, name)
    store.close()


if __name__ == "__main__":
    main()
