"""What users say when a policy is asked in words: the requests of a fold.

A *bare* request names nothing ("recommend me something"). A request of *genre and decade* names a label of the item
held out and the decade it is of, as somebody does who knows roughly what they are after. Of several labels it is the
one that the fewest items carry, among those that 1 item in 100 carries; where none is that common, the most common one.
Where the items have no years, the label alone is named. A user whose item lacks what is to be named is asked the bare
request, and is counted. Phrasings go by the user's index, so that they do not depend on who else is asked.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog.filters import Filter, mask
from ..catalog.items import Catalogue
from ..errors import UserError
from ..ranking.labels import LABELS, labelling
from .policies import AGENT, Policy

if TYPE_CHECKING:
    from .folds import Fold

RequestKind = Literal["bare", "genre-decade"]
#: Longest list that a turn of a conversation can show.
MOST_ITEMS = 50
#: Share of the catalogue that carries a label people would name.
_COMMON = 0.01
_BARE = (
    "recommend me something",
    "what would you recommend?",
    "surprise me",
    "any recommendations for me?",
    "what should I try next?",
    "show me something I might like",
)
_LABEL = (
    "recommend me some {label}",
    "I'm in the mood for {label}",
    "{label} please",
    "any good {label}?",
    "show me {label}",
    "what {label} would I like?",
)
_DECADE = (
    "recommend me some {label} from the {decade}",
    "I'm in the mood for {label} from the {word}",
    "{label} from the {short} please",
    "any good {label} from the {decade}?",
    "show me {short} {label}",
    "what {label} of the {word} would I like?",
)
_WORDS = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")


@dataclass(frozen=True, slots=True)
class Request:
    """What one user says.

    Attributes:
        text: the words.
        kind: what they name.
        filters: the same as conditions that an oracle would read from them; none where nothing is named.
    """

    text: str
    kind: RequestKind = "bare"
    filters: tuple[Filter, ...] = ()


def with_requests(fold: Fold, kind: RequestKind, catalogue: Catalogue | None = None) -> Fold:
    """The fold, with something to say for every query.

    Args:
        fold: each query has one target or more; the first one is what a request names.
        kind: of the requests.
        catalogue: the items; needed by ``genre-decade``.

    Raises:
        UserError: the items have no labels that could be named.
    """
    if kind == "bare":
        requests = tuple(_bare(int(user)) for user in fold.users)
        note = f"every user says a bare request, such as “{_BARE[0]}”; policies that give scores hear none"
        return replace(fold, requests=requests, notes=(*fold.notes, note))
    named = _labels_of(catalogue)
    if catalogue is None or named is None:
        raise UserError(
            f"--requests genre-decade: the items have no labels to name ({', '.join(LABELS)}): ask the bare one"
        )
    firsts = fold.targets[fold.target_offsets[:-1]]
    column = catalogue.frame[named]
    decades = _decades(catalogue, firsts)
    counts = _counts(column)
    found = []
    for user, row, decade in zip(fold.users.tolist(), firsts.tolist(), decades, strict=True):
        label = _label(column[row], counts, len(catalogue))
        timed = "year" in catalogue.attributes
        found.append(_bare(user) if label is None or (timed and decade is None) else _named(user, named, label, decade))
    return replace(
        fold, requests=tuple(found), notes=(*fold.notes, _note(found, named, "year" in catalogue.attributes))
    )


def request_kind(
    asked: RequestKind | None,
    policies: Sequence[Policy],
    *,
    protocol: str,
    llm: str | None,
    ks: Sequence[int],
    workers: int,
) -> RequestKind | None:
    """What is said to policies that are asked in words: as asked for, else the bare request; None where none listens.

    Args:
        asked: what ``--requests`` says.
        policies: that are replayed.
        protocol: its name.
        llm: what ``--llm`` says.
        ks: list lengths. workers: processes.

    Raises:
        UserError: an option has no use, or a policy that listens cannot be asked that way.
    """
    hearing = [policy for policy in policies if policy.hears]
    agent = next((policy for policy in hearing if policy.name == AGENT), None)
    if llm is not None and agent is None:
        raise UserError(f"--llm is the language model of the policy {AGENT!r}, and it is not among the policies")
    if not hearing:
        if asked is not None:
            raise UserError(f"--requests has no use: none of the policies is asked in words, as {AGENT!r} is")
        return None
    if protocol != "loo":
        raise UserError(f"the policy {hearing[0].name!r} is asked in words, which --protocol loo alone does")
    for policy in hearing:
        if policy.filtered and asked != "genre-decade":
            raise UserError(f"the policy {policy.name!r} reads what requests name: give --requests genre-decade")
    if agent is not None and workers > 1:
        raise UserError(
            f"the policy {AGENT!r} runs its language model with all threads of one process: leave out --workers"
        )
    if agent is not None and max(ks) > MOST_ITEMS:
        raise UserError(f"the policy {AGENT!r} lists {MOST_ITEMS} items at most, not {max(ks)}: give a smaller -k")
    return asked or "bare"


def requests_fingerprint(requests: Sequence[Request] | None) -> str:
    """Of all that a policy could hear: equal requests have equal ones."""
    said = None if requests is None else [[one.text, [str(f) for f in one.filters]] for one in requests]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def wanted_rows(requests: Sequence[Request], catalogue: Catalogue) -> NDArray[np.bool_]:
    """(b, n_items): the items that meet each request; all of them where nothing is named."""
    rows = [mask(catalogue, request.filters) for request in requests]
    return np.stack(rows) if rows else np.empty((0, len(catalogue)), dtype=np.bool_)


def kinds_of(requests: Sequence[Request] | None) -> dict[str, int]:
    """How many requests there are of each kind."""
    return dict(Counter(request.kind for request in requests or ()))


def _bare(user: int) -> Request:
    return Request(_BARE[user % len(_BARE)])


def _named(user: int, attribute: str, label: str, decade: int | None) -> Request:
    filters = [Filter(attribute=attribute, op="is", value=label)]
    templates = _LABEL
    if decade is not None:
        templates = _DECADE
        filters += [
            Filter(attribute="year", op="at_least", value=float(decade)),
            Filter(attribute="year", op="at_most", value=float(decade + 9)),
        ]
    words = {"label": label.lower(), **(_spoken(decade) if decade is not None else {})}
    return Request(templates[user % len(templates)].format(**words), "genre-decade", tuple(filters))


def _spoken(decade: int) -> dict[str, str]:
    """A decade as people write it; those of other centuries than the last are written out."""
    full = f"{decade}s"
    last = 1920 <= decade < 2000
    return {
        "decade": full,
        "short": f"{decade % 100}s" if last else full,
        "word": _WORDS[(decade - 1920) // 10] if last else full,
    }


def _labels_of(catalogue: Catalogue | None) -> str | None:
    """The attribute whose labels are named."""
    return labelling(catalogue.attributes) if catalogue is not None else None


def _counts(column: pl.Series) -> Mapping[str, int]:
    labels = column.explode() if isinstance(column.dtype, pl.List) else column
    return Counter(labels.drop_nulls().to_list())


def _label(value: object, counts: Mapping[str, int], n_items: int) -> str | None:
    labels = [value] if isinstance(value, str) else sorted(value) if isinstance(value, pl.Series) else []
    if not labels:
        return None
    common = [label for label in labels if counts[label] >= _COMMON * n_items]
    if common:
        return min(common, key=lambda label: (counts[label], label))
    return max(labels, key=lambda label: (counts[label], label))


def _decades(catalogue: Catalogue, rows: NDArray[np.int64]) -> list[int | None]:
    if "year" not in catalogue.attributes:
        return [None] * len(rows)
    years = catalogue.frame["year"].cast(pl.Float64).to_list()
    return [int(years[row]) // 10 * 10 if years[row] is not None else None for row in rows.tolist()]


def _note(requests: Sequence[Request], attribute: str, timed: bool) -> str:
    bare = sum(request.kind == "bare" for request in requests)
    example = next((request.text for request in requests if request.kind != "bare"), "")
    named = f"a label ({attribute}) and the decade" if timed else f"a label ({attribute}; the items have no years)"
    lacking = f"{attribute} or a year" if timed else attribute
    return (
        f"{len(requests) - bare} of {len(requests)} users name {named} of the item held out"
        + (f", such as “{example}”" if example else "")
        + (f"; {bare}, whose item lacks {lacking}, say a bare request" if bare else "")
        + "; policies that give scores hear none"
    )
