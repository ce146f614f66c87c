"""Running a replay: every policy on every fold, each once or with several seeds, resumable, in one process or many."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..catalog.items import Catalogue
from ..catalog.readers.raw import Progress, no_progress
from ..catalog.workspace import Build
from ..errors import UserError
from .cells import CellRecord, Lists, cell_key, content_fingerprint, read_lists, run_cell, whole_cell, work_key
from .folds import Fold
from .policies import Policy, PolicyInputs

#: What keeps a library to one thread in a worker; read when the library loads.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LLM4REC_THREADS",
)
_NO_LEFTOVERS = "ignore:resource_tracker:UserWarning"


#: Seconds between two looks at whether a run with several processes is to stop.
_TICK = 0.5


@dataclass(frozen=True, eq=False)
class Replay:
    """What a run left.

    Attributes:
        folds, policies: as they were given.
        k: items of the stored lists.
        cells: record of each cell, by (fold name, policy name, seed), in the order they were asked for.
        reused: how many of them were there from an earlier run.
        folder: of the replay.
        seconds: wall-clock time of the run.
    """

    folds: tuple[Fold, ...]
    policies: tuple[Policy, ...]
    k: int
    cells: Mapping[tuple[str, str, int], CellRecord]
    reused: int
    folder: Path
    seconds: float

    @property
    def failed(self) -> tuple[CellRecord, ...]:
        """Cells whose policy raised."""
        return tuple(cell for cell in self.cells.values() if cell.status == "failed")

    @property
    def unfit(self) -> int:
        """Queries with a score that is not finite, over all cells."""
        return sum(cell.unfit for cell in self.cells.values())

    @property
    def exit_code(self) -> int:
        """0, or 1 where a policy raised or gave scores that are not finite."""
        return 1 if self.failed or self.unfit else 0

    def seeds(self, fold: str, policy: str) -> list[int]:
        """Those a policy was run with on a fold and did not fail."""
        return [s for (f, p, s), cell in self.cells.items() if (f, p) == (fold, policy) and cell.status == "done"]

    def lists(self, fold: str, policy: str, seed: int) -> Lists:
        """What a policy answered."""
        return read_lists(self.folder / "cells", self.cells[fold, policy, seed])


@dataclass(frozen=True, eq=False)
class _Shared:
    """What every worker holds: read once when it starts."""

    folds: tuple[Fold, ...]
    policies: tuple[Policy, ...]
    catalogue: Catalogue | None
    views: Mapping[str, NDArray[np.float32]]
    cells: Path
    work: Path
    kept: Path
    k: int
    rounds: int
    build: Build | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One cell to run, by places in the lists of folds and policies."""

    fold: int
    policy: int
    seed: int
    key: str = field(compare=False)
    work: str = field(compare=False)


_Cells = Generator[tuple[_Job, CellRecord], None, None]


def replay(
    folds: Sequence[Fold],
    policies: Sequence[Policy],
    *,
    out: Path,
    ks: Sequence[int] = (10,),
    catalogue: Catalogue | None = None,
    views: Mapping[str, NDArray[np.float32]] | None = None,
    build: Build | None = None,
    seeds: Sequence[int] = (0,),
    rounds: int = 0,
    resume: bool = False,
    workers: int = 1,
    progress: Progress = no_progress,
) -> Replay:
    """Fit every policy on every fold and ask it; each cell is written to ``out/cells`` as soon as it is done.

    Memory: the data, one fitted model, and the scores of one batch of users, in each process. A policy that raises
    fails its cell and no more.

    Args:
        folds: of one protocol, with different names.
        policies: with different names. Those that are ``random`` are run once for each seed, the others with the first.
        out: folder of the replay; made if it is not there.
        ks: list lengths that will be measured; lists of the largest are kept.
        catalogue, views: what policies may use besides the log.
        build: that they are from, for policies that open it themselves; None where they are from none.
        seeds: different numbers.
        rounds: of interactive replay on each fold; 0 for none.
        resume: use whole cells of an earlier run whose key is the same, and what policies kept on the way to one that
            was not finished (in ``out/work``). Failed ones are run again.
        workers: processes, each with one thread; 1 runs the cells here, with the threads of this process.
        progress: told how far the fits are (one worker) and how many cells are done.

    Raises:
        UserError: an option is out of range, a name comes twice, or ``out`` cannot be written.
    """
    started = time.perf_counter()
    shared = _Shared(
        folds=tuple(folds),
        policies=tuple(policies),
        catalogue=catalogue,
        views=dict(views or {}),
        cells=out / "cells",
        work=out / "work",
        kept=out / "kept",
        k=max(ks, default=0),
        rounds=rounds,
        build=build,
    )
    _check(shared, ks, seeds, workers)
    _make(shared.cells)
    jobs = _jobs(shared, seeds)
    done: dict[_Job, CellRecord] = {}
    if resume:
        done = {job: cell for job in jobs if (cell := whole_cell(shared.cells, job.key)) is not None}
    else:
        for job in jobs:
            shutil.rmtree(shared.work / job.work, ignore_errors=True)
        shutil.rmtree(shared.kept, ignore_errors=True)
    reused = len(done)
    todo = [job for job in jobs if job not in done]
    progress("cells", reused, len(jobs))
    tick = partial(_tell, progress, done, len(jobs))
    several = workers > 1 and len(todo) > 1
    run = _in_processes(shared, todo, workers, tick) if several else _here(shared, todo, progress)
    with closing(run):  # whatever ends the loop ends the workers
        for job, cell in run:
            done[job] = cell
            tick()
    return Replay(
        folds=shared.folds,
        policies=shared.policies,
        k=shared.k,
        cells={(shared.folds[j.fold].name, shared.policies[j.policy].name, j.seed): done[j] for j in jobs},
        reused=reused,
        folder=out,
        seconds=time.perf_counter() - started,
    )


def _tell(progress: Progress, done: Mapping[_Job, CellRecord], total: int) -> None:
    progress("cells", len(done), total)


def _check(shared: _Shared, ks: Sequence[int], seeds: Sequence[int], workers: int) -> None:
    if not shared.folds or not shared.policies:
        raise UserError("a replay needs a fold and a policy at least")
    if not ks or min(ks) < 1:
        raise UserError("a list must have 1 item or more: give --k 10")
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError("the seeds must be different whole numbers of 0 or more")
    if workers < 1 or shared.rounds < 0:
        raise UserError("--workers must be 1 or more, --rounds 0 or more")
    for what, names in (("fold", [f.name for f in shared.folds]), ("policy", [p.name for p in shared.policies])):
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(f"the {what} {min(twice)!r} is there twice")
    if workers > 1:
        for policy in shared.policies:
            try:
                pickle.dumps(policy)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise ValueError(f"the policy {policy.name!r} cannot be sent to a worker process: {error}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder.parent} is a file, not a folder: choose another --out") from None
    except PermissionError:
        raise UserError(f"{folder.parent} cannot be written: choose another --out") from None


def _jobs(shared: _Shared, seeds: Sequence[int]) -> list[_Job]:
    jobs = []
    content = content_fingerprint(_inputs(shared, shared.folds[0], seeds[0], no_progress, None))
    for at, fold in enumerate(shared.folds):
        for place, policy in enumerate(shared.policies):
            for seed in seeds if policy.random else seeds[:1]:
                key = cell_key(fold, policy, seed, k=shared.k, rounds=shared.rounds, content=content)
                jobs.append(_Job(at, place, seed, key, work_key(fold, policy, seed, k=shared.k, content=content)))
    return jobs


def _inputs(shared: _Shared, fold: Fold, seed: int, progress: Progress, work: Path | None) -> PolicyInputs:
    return PolicyInputs(
        train=fold.train,
        catalogue=shared.catalogue,
        views=shared.views,
        seed=seed,
        progress=progress,
        build=shared.build,
        work=work,
        kept=shared.kept,
    )


def _run(shared: _Shared, job: _Job, progress: Progress) -> CellRecord:
    fold, policy = shared.folds[job.fold], shared.policies[job.policy]
    inputs = _inputs(shared, fold, job.seed, progress, shared.work / job.work)
    return run_cell(fold, policy, inputs, shared.cells, key=job.key, k=shared.k, rounds=shared.rounds)


def _here(shared: _Shared, jobs: Sequence[_Job], progress: Progress) -> _Cells:
    for job in jobs:
        name = shared.policies[job.policy].name

        def told(what: str, done: int, total: int | None = None, name: str = name) -> None:
            progress(f"{name}: {what}", done, total)

        yield job, _run(shared, job, told)


# Worker processes

_held: list[_Shared] = []


def _start(shared: _Shared) -> None:
    _held[:] = [shared]


def _work(job: _Job) -> CellRecord:
    return _run(_held[0], job, no_progress)


def _in_processes(shared: _Shared, jobs: Sequence[_Job], workers: int, tick: Callable[[], None]) -> _Cells:
    """Cells as they get done. A worker that dies takes no other cell with it: those unfinished are run one by one."""
    with _one_thread_each():
        left = set(jobs)
        for job, cell in _pooled(shared, jobs, min(workers, len(jobs)), tick):
            left.discard(job)
            yield job, cell
        for job in [job for job in jobs if job in left]:
            alone = dict(_pooled(shared, [job], 1, tick))
            yield job, alone.get(job) or _died(shared, job)


def _pooled(shared: _Shared, jobs: Sequence[_Job], workers: int, tick: Callable[[], None]) -> _Cells:
    """Run jobs in a pool of its own, until all are done or a worker died.

    ``tick`` is called all the while: it may raise to stop the run (Ctrl-C), which ends the workers at once.
    """
    with _ctrl_c_between_steps() as step:
        pool = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(shared,)
        )
        try:
            with _ctrl_c_later():
                waiting: dict[Future[CellRecord], _Job] = {pool.submit(_work, job): job for job in jobs}
            while waiting:
                step()
                tick()
                for future in wait(waiting, timeout=_TICK, return_when=FIRST_COMPLETED).done:
                    job = waiting.pop(future)
                    try:
                        cell = future.result()
                    except BrokenProcessPool:
                        return
                    yield job, cell
        except BaseException:  # Ctrl-C too must leave no worker behind
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _died(shared: _Shared, job: _Job) -> CellRecord:
    fold = shared.folds[job.fold]
    return CellRecord(
        key=job.key,
        fold=fold.name,
        policy=shared.policies[job.policy].name,
        seed=job.seed,
        k=shared.k,
        rounds=shared.rounds,
        status="failed",
        error="the worker process died, with no word why: killed for memory, or a fault in a library",
        queries=len(fold),
    )


@contextmanager
def _ctrl_c_between_steps() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises where the function that this yields is called, and nowhere else.

    Anywhere else it could leave the lock of a future taken: the pool's own thread would wait for it, and the end of the
    program for that thread, for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    pressed = threading.Event()
    handler = signal.signal(signal.SIGINT, lambda number, frame: pressed.set())

    def step() -> None:
        if pressed.is_set():
            pressed.clear()
            raise KeyboardInterrupt

    try:
        yield step
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed.is_set():  # after the last step: whoever listens now is to hear of it
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Ctrl-C while processes are started is heard when they all are: one that is half started could not be ended.

    Those started meanwhile never hear it themselves, though a terminal sends it to all processes of a command.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    pressed = threading.Event()
    handler = signal.signal(signal.SIGINT, lambda number, frame: pressed.set())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if pressed.is_set():
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers inherit the environment when they start: with several of them, one thread each."""
    wanted = dict.fromkeys(_ONE_THREAD, "1")
    # Of workers that were ended Python says that they left locks behind. It removes them: nobody need be told.
    wanted["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), _NO_LEFTOVERS]))
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
