"""The transformer as a part of the fused model: trained once, gone on with once, and not trained twice for nothing."""

from __future__ import annotations

import fcntl
import hashlib
import json
from dataclasses import asdict, replace
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..catalog.readers.raw import Progress
from .log import Log, Pasts
from .sequence import SequenceConfig, SequenceModel, fit_sequence, load_sequence

#: Share of the epochs that a model which has learned all but the latest events is trained on with them. On the
#: validation part of MovieLens 100K 60 epochs without them and 15 with them rank like 60 with them (NDCG@10 0.145;
#: 0.146 and 0.142 with two seeds).
AGAIN = 0.25

#: What decides a training.
_CODE = ("sequence.py", "_sequence_net.py", "_sequence_loss.py", "_sequence_batches.py", "_sequence_buckets.py")


class Blind:
    """A trained model that is kept from some items, as if it had never met them.

    The transformer is trained on them all the same: it takes minutes, and is gone on with afterwards.

    Args:
        model: trained on everything. hidden: (n_items,) what it is not to know.
    """

    def __init__(self, model: SequenceModel, hidden: NDArray[np.bool_]) -> None:
        self.name = model.name
        self.n_items = model.n_items
        self.model = model
        self.hidden = hidden

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items): hidden items have the lowest score of their row, as those never trained on."""
        unread = np.where(self.hidden[pasts.rows], np.float32(0), pasts.behaviour)
        scores = self.model.score_many(replace(pasts, behaviour=unread))
        scores[:, self.hidden] = scores.min(axis=1, keepdims=True, initial=0.0)
        return scores


def fit_once(
    log: Log,
    config: SequenceConfig,
    *,
    seed: int,
    start: SequenceModel | None,
    kept: Path | None,
    progress: Progress,
) -> SequenceModel:
    """:func:`.sequence.fit_sequence`, or what it gave before for the same arguments.

    Args:
        kept: folder of models trained before, made if it is not there; None trains always.
    """
    if kept is None:
        return fit_sequence(log, config, seed=seed, start=start, progress=progress)
    path = kept / f"sequence-{_key(log, config, seed, start)}.safetensors"
    kept.mkdir(parents=True, exist_ok=True)
    # Two processes that want the same model at once: one trains it, the other waits.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            fit_sequence(log, config, seed=seed, start=start, progress=progress).save(temporary)
            temporary.replace(path)
    return load_sequence(path)


def _key(log: Log, config: SequenceConfig, seed: int, start: SequenceModel | None) -> str:
    """Names a training: everything that decides its weights, but for the machine and its number of threads."""
    found = hashlib.sha256(json.dumps([_code(), log.n_items, asdict(config), seed]).encode())
    for column in (log.offsets, log.items):
        found.update(np.ascontiguousarray(column).tobytes())
    if start is not None:
        for name, tensor in sorted(start.weights().items()):
            found.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
    return found.hexdigest()[:24]


@cache
def _code() -> str:
    found = hashlib.sha256(metadata.version("torch").encode())
    for name in _CODE:
        found.update(Path(__file__).with_name(name).read_bytes())
    return found.hexdigest()
