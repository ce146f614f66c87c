"""The users in a graph, made to agree with a log that somebody was taken out of.

Of all that a build fits only the graph keeps single users: a node each, joined to the items they chose. (Popularity,
EASE, transitions, the item space and the transformer hold sums and weights over all users, by item.) So the nodes go
with the user's interactions. Chances to step from an item to one of its users are shared among those that are left,
exactly as in a graph of the log that is left. The kernel, and the discount for an item's number of edges, are sums over
users like the other models: they stay as fitted until the next build.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..catalog import durable
from ..catalog.interactions import Interactions
from ..errors import UserError
from .graph import USERS, GraphModel
from .graph_ranker import load_graph, save_graph
from .models import METADATA, part_file, sha256_of

_GRAPH = "graph"


def drop_from_models(models_dir: Path, log: Interactions) -> bool:
    """Leave nothing of single users in the models of a build that its log does not hold; whether anything was changed.

    The graph is written anew under another name, then the metadata, which name it, are swapped, then the old file goes:
    readers and kills find the one or the other. Doing it again finishes what a kill cut off. Only one process at a time
    may do this.

    Raises:
        UserError: the models are missing or damaged, or cannot be written.
    """
    metadata = _noted(models_dir)
    files: dict[str, str] = metadata["sha256"]
    path = part_file(models_dir, _GRAPH, files)
    for other in models_dir.glob(f"{_GRAPH}*.safetensors"):
        if other != path:  # of a call that was cut off
            other.unlink()
    if path.name not in files:
        return False  # this build has none
    chosen = _chosen_by_users(path)
    if chosen is None or np.array_equal(chosen, np.diff(log.offsets)):
        return False
    target = path.with_name(f"{_GRAPH}-{_edition(path) + 1}.safetensors")
    try:
        save_graph(with_users(load_graph(path), log.matrix()), target)
        durable.sync(target)
        others = {name: found for name, found in files.items() if name != path.name}
        renewed = {**metadata, "sha256": {**others, target.name: sha256_of(target)}}
        durable.replace(models_dir / METADATA, (json.dumps(renewed, indent=2) + "\n").encode())
        path.unlink()
        durable.sync(models_dir)
    except OSError as error:
        raise UserError(f"{path} cannot be written anew: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is of another log ({error}): build the workspace again") from error
    return True


def fitted(models_dir: Path) -> tuple[str, ...]:
    """Names of the parts of a build's ranker, in whichever version of the metadata they are noted.

    Raises:
        UserError: the metadata are missing or damaged.
    """
    return tuple(_noted(models_dir)["parts"])


def with_users(model: GraphModel, log: sp.csr_matrix) -> GraphModel:
    """The graph with the users of a log in the place of its own.

    Args:
        model: a graph with users, whose items they chose.
        log: (n_users, n_items), what is left of the interactions the graph was made of.

    Raises:
        ValueError: an item has more users in the log than in the graph.
    """
    own = model.relation_of == model.relations.index(USERS)
    before, labels = model.steps[:, np.flatnonzero(own)], model.steps[:, np.flatnonzero(~own)]
    chosen = log.T.tocsr().astype(np.float32)
    chosen.sort_indices()
    had, has = np.diff(before.indptr).astype(np.int64), np.diff(chosen.indptr).astype(np.int64)
    if log.shape[1] != model.n_items or (has > had).any():
        raise ValueError("it has interactions that the graph has not")
    # All users of an item are as likely; with none left, its labels share out what they had.
    share = np.zeros(model.n_items)
    some = had > 0
    share[some] = before.data[before.indptr[:-1][some]].astype(np.float64) * had[some]
    chosen.data = np.repeat(share / np.maximum(has, 1), has).astype(np.float32)
    scale = np.ones(model.n_items)
    alone = some & (has == 0) & (share < 1)
    scale[alone] = 1 / (1 - share[alone])
    labels.data = (labels.data * np.repeat(scale, np.diff(labels.indptr))).astype(np.float32)
    steps = sp.hstack([chosen, labels], format="csr").astype(np.float32)
    steps.sort_indices()
    users = log.shape[0]
    kept: list[str] = [label for label, user in zip(model.labels, own.tolist(), strict=True) if not user]
    return replace(
        model,
        steps=steps,
        sizes=np.concatenate([np.diff(log.indptr).astype(np.float32), model.sizes[~own]]),
        relation_of=np.concatenate([np.full(users, model.relations.index(USERS), np.int16), model.relation_of[~own]]),
        labels=("",) * users + tuple(kept),
    )


def _noted(models_dir: Path) -> dict[str, Any]:
    """The metadata as they are: those of an older version, which cannot be opened any more, say this much too."""
    path = models_dir / METADATA
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if not (isinstance(found, dict) and isinstance(found.get("sha256"), dict) and isinstance(found.get("parts"), list)):
        raise UserError(f"{path} is missing or damaged: build the workspace again, and remove {models_dir.parent}")
    return found


def _chosen_by_users(path: Path) -> NDArray[np.float32] | None:
    """(n_users,): items of each user's node, read without the rest; None where a graph has no users."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            relations = json.loads((file.metadata() or {})["graph"])["relations"]
            if USERS not in relations:
                return None
            of_users = file.get_tensor("relation_of") == relations.index(USERS)
            chosen: NDArray[np.float32] = file.get_tensor("sizes")[of_users]
            return chosen
    except FileNotFoundError:
        raise UserError(f"{path} is missing: build the workspace again") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no graph or is damaged ({error}): build the workspace again") from None


def _edition(path: Path) -> int:
    found = re.search(r"-(\d+)$", path.stem)
    return int(found[1]) if found else 0
