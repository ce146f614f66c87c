"""A process of its own that writes to a profile store, for the tests that kill or trace it.

python profile_child.py WHERE serve      for each name on stdin fork a process that writes for ever, from eight threads,
                                         and says "THREAD STEP" on stdout when a step was acknowledged; say "pid N"
                                         first and "dead" at its end
python profile_child.py WHERE threads    on a name on stdin open the store, append from eight threads at once, and
                                         name on stdout what was new
python profile_child.py PATH acknowledge LEVEL   append ten events to a SQLite file under PRAGMA synchronous=LEVEL, and
                                         say "acknowledged" on stdout after each
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

from llm4rec.errors import UserError
from llm4rec.profiles.events import Event, dislike, like, rating, taste, undo
from llm4rec.profiles.opening import open_store
from llm4rec.profiles.store import ProfileStore, SqliteProfileStore

THREADS = 8
OWN = 15
SHARED = 15


def tell(*words: object) -> None:
    # One write, so that a kill leaves whole lines or none.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def step_ids(life: str, thread: int, n: int) -> list[str]:
    """Ids of the events of one step; the last of some is the shared user's, all others the thread's own user's."""
    return [f"{life}/{thread}/{n}/{i}" for i in range((3 if n % 5 == 1 else 1) + (n % 3 == 0))]


def step(life: str, thread: int, n: int) -> list[Event]:
    """The events of a thread's ``n``-th step: one call, so all are kept or none. Known from their ids alone."""
    ids, time = step_ids(life, thread, n), float(n)
    own, item = own_user(life, thread), f"i{n % 7}"
    match n % 5:
        case 0:
            events = [like(id=ids[0], user=own, item=item, time=time)]
        case 1:
            events = [
                rating(id=ids[0], user=own, item=item, value=1.0 + n % 4, time=time),
                taste(id=ids[1], user=own, term=f"term {n % 3}", time=time, message=f"{life} {n}"),
                dislike(id=ids[2], user=own, item=f"i{n % 11}", time=time),
            ]
        case 2:
            events = [undo(id=ids[0], user=own, target=step_ids(life, thread, n - 2)[0], time=time)]
        case _:
            events = [dislike(id=ids[0], user=own, item=item, time=time, confidence=0.1 * (n % 10))]
    if n % 3 == 0:
        events.append(like(id=ids[-1], user="shared", item=item, time=time, thread=life))
    return events


def own_user(life: str, thread: int) -> str:
    """A server's threads go on with their own users from one life to the next."""
    return f"{life[0]}{thread}"


def common(n: int) -> Event:
    """An event that every thread of every process appends."""
    return like(id=f"common:{n}", user="common", item=f"i{n}", time=1.0)


def write(store: ProfileStore, life: str, thread: int) -> None:
    try:
        for n in itertools.count():
            store.append_many(step(life, thread, n))
            if n % 4 == 0:
                store.append(common(n))
            tell(thread, n)
            if thread == 0 and n % 10 == 9:
                user = f"gone {life[0]}"
                store.append_many(like(id=f"{life}:gone:{n}:{i}", user=user, item=f"i{i}", time=1.0) for i in range(4))
                store.forget_user(user)
    except UserError as error:
        tell("failed", error)


def serve(where: str) -> None:
    # Forked, not started anew: importing takes longer than the life of a process here.
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            store, life = open_store(where), line.strip()
            for thread in range(1, THREADS):
                threading.Thread(target=write, args=(store, life, thread)).start()
            write(store, life, 0)
        tell("pid", child)
        os.waitpid(child, 0)
        tell("dead")


def threads(store: ProfileStore, name: str) -> None:
    new: list[str] = []
    start = threading.Barrier(THREADS)

    def append(number: int) -> None:
        start.wait()
        for n in range(max(OWN, SHARED)):
            for event in (common(n), common(n).model_copy(update={"id": f"{name}:{number}:{n}"})):
                if store.append(event):
                    new.append(event.id)

    running = [threading.Thread(target=append, args=(number,)) for number in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    tell(*new)


def acknowledge(path: Path, level: str) -> None:
    store = SqliteProfileStore(path)
    with store._database.reading() as connection:  # the only one, and the one that appends then take
        connection.execute(f"PRAGMA synchronous={level}")
    for n in range(10):
        store.append(common(n))
        tell("acknowledged")
    store.close()


def main() -> None:
    where, mode, *rest = sys.argv[1:]
    match mode:
        case "serve":
            serve(where)
        case "acknowledge":
            acknowledge(Path(where), *rest)
        case _:
            tell("ready")
            name = sys.stdin.readline().strip()
            store = open_store(where)
            threads(store, name)
            store.close()


if __name__ == "__main__":
    main()
