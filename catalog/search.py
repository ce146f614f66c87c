"""Search: words, a picture, items to be like, or several at once, over all views, fused into one list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .filters import Filter, mask
from .items import Catalogue
from .titles import TitleIndex

if TYPE_CHECKING:
    from PIL.Image import Image

    from .encoders import ImageEncoder, TextEncoder
    from .index import ViewIndex
    from .words import WordIndex

#: The view of titles matched by their words, and that of texts matched by their words.
TITLE, WORDS = "title", "words"


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched for. At least one of text, image, like and filters must be given."""

    text: str | None = None
    """In words, at most 10,000 characters."""
    image: Image | None = None
    """A picture to look like."""
    like: tuple[str, ...] = ()
    """Ids of items to be like; they are not found themselves."""
    filters: tuple[Filter, ...] = ()
    """All must pass."""
    exclude: frozenset[str] = frozenset()
    """Ids of items not to find, such as those the user has seen. Unknown ids do no harm."""
    mask: NDArray[np.bool_] | None = None
    """Shape (n_items,): rows that may be found, besides what filters and exclude say."""
    k: int = 10
    """Hits wanted, 1 to 1,000."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One item found.

    Attributes:
        row: its row in the catalogue.
        item_id: its id.
        score: fused score, at least 0; 0 where only filters were given.
        ranks: its rank (1 = best) in each view that found it.
        similarities: by the same views: cosine in [-1, 1], or for ``title`` and ``words`` the share in (0, 1] of what
            was asked that matches.
    """

    row: int
    item_id: str
    score: float
    ranks: Mapping[str, int]
    similarities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Settings of the fusion. Measured on films: names, genres and plots in other words, against their texts."""

    rrf: float = 60.0
    """Added to every rank (Cormack, Clarke & Büttcher 2009): the larger, the less the first ranks stand out."""
    depth: int = 100
    """Items fetched from each view at least; more where more hits are wanted."""
    text_weight: float = 1.0
    """Meaning of the words against the items' texts."""
    words_weight: float = 1.5
    """The words themselves in the items' texts, times the share that matches. Names are found by this."""
    title_weight: float = 1.5
    """The words in the titles, times the share that matches: a whole title comes first."""
    image_weight: float = 0.1
    """Meaning of the words against pictures. With the bundled image encoder more than this did harm: of 199 film plots
    the film's mean reciprocal rank was 0.69 without and at 0.1, 0.65 at 0.5. A better encoder deserves more."""
    picture_weight: float = 2.5
    """A picture that was given against the items' pictures, times how far each stands out: the strongest of signs."""
    least_lead: float = 0.15
    """Cosine by which the best picture is taken to stand out at least: below, even the best counts less."""
    like_weights: Mapping[str, float] = field(default_factory=lambda: {"text": 1.0, "image": 0.25})
    """Views by which items are alike; 1 for views not named."""
    least_title: float = 0.65
    """Share of a title that must match for the title to count."""
    most_like: int = 10
    """Items to be like in one query at most."""


@dataclass(frozen=True, slots=True)
class _Ranking:
    """What one view answers to one part of the query, best first."""

    view: str
    weight: float
    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]
    strengths: NDArray[np.float32] | None = None


class Searcher:
    """Searches one catalogue. Safe to use from many threads.

    Args:
        catalogue: with live changes applied.
        views: by name; each covers the catalogue's rows.
        text_encoder: made the ``text`` view.
        image_encoder: made the ``image`` view; None where there is none.
        words: index of the items' texts by word; None leaves that signal out.
        config: settings of the fusion.

    Raises:
        ValueError: a view covers another number of rows.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        views: Mapping[str, ViewIndex],
        text_encoder: TextEncoder,
        image_encoder: ImageEncoder | None = None,
        *,
        words: WordIndex | None = None,
        config: SearchConfig | None = None,
    ) -> None:
        for name, covered in (*((n, len(v)) for n, v in views.items()), *((WORDS, len(w)) for w in (words,) if w)):
            if covered != len(catalogue):
                raise ValueError(f"the {name} view covers {covered} rows, the catalogue has {len(catalogue)}")
        self.catalogue = catalogue
        self.views = views
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.words = words
        self.config = config or SearchConfig()

    @cached_property
    def titles(self) -> TitleIndex:
        """Made at the first search by words (0.5 s for 100,000 titles)."""
        return TitleIndex(self.catalogue.frame["title"].to_list())

    def search(self, query: Query) -> list[Hit]:
        """The best k hits, best first, equal ones by row; fewer where fewer pass.

        Unavailable items are never found. An item that lacks a view is found by its other views. With filters alone,
        hits come in catalogue order.

        Each view ranks the items; an item's score is the sum over views of weight / (rrf + rank): weighted reciprocal
        rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009). Where a view says how well it matches, its weight is
        multiplied by that: the share of the words that match, or how far a picture stands out.

        Raises:
            UserError: nothing to search by, k out of range, an item to be like is unknown or has no vectors, an unknown
                filter, or a picture where no item has one.
        """
        text = (query.text or "").strip()
        self._check(query, text)
        allowed = self._allowed(query)
        depth = max(self.config.depth, query.k)
        rankings: list[_Ranking] = []
        if text:
            rankings.extend(self._by_text(text, depth, allowed))
        if query.image is not None:
            rankings.append(self._by_image(query.image, depth, allowed))
        if query.like:
            rankings.extend(self._by_likeness(query.like, depth, allowed))
        if not (text or query.image is not None or query.like):
            return [self._hit(row, 0.0, {}, {}) for row in np.flatnonzero(allowed)[: query.k]]
        return self._fuse(rankings, query.k)

    def _check(self, query: Query, text: str) -> None:
        if not (text or query.image is not None or query.like or query.filters):
            raise UserError("nothing to search by: give words, a picture, items to be like, or filters")
        if len(text) > 10_000:
            raise UserError(f"the words to search by have {len(text)} characters: at most 10000")
        if not 1 <= query.k <= 1000:
            raise UserError(f"k is {query.k}: it must be from 1 to 1000")
        if len(query.like) > self.config.most_like:
            raise UserError(f"{len(query.like)} items to be like: at most {self.config.most_like}")
        if query.mask is not None and query.mask.shape != (len(self.catalogue),):
            raise ValueError(f"a mask of shape {query.mask.shape} for {len(self.catalogue)} items")

    def _allowed(self, query: Query) -> NDArray[np.bool_]:
        allowed = self.catalogue.available & mask(self.catalogue, query.filters)
        if query.mask is not None:
            allowed &= query.mask
        row_of = self.catalogue.row_of
        allowed[[row_of[item_id] for item_id in (*query.exclude, *query.like) if item_id in row_of]] = False
        return allowed

    def _by_text(self, text: str, depth: int, allowed: NDArray[np.bool_]) -> Iterator[_Ranking]:
        config = self.config
        if "text" in self.views:
            vector = self.text_encoder.encode([text])[0]
            yield _Ranking("text", config.text_weight, *self.views["text"].nearest(vector, depth, allowed))
        if "image" in self.views and self.image_encoder is not None:
            vector = self.image_encoder.encode_texts([text])[0]
            yield _Ranking("image", config.image_weight, *self.views["image"].nearest(vector, depth, allowed))
        if self.words is not None:
            rows, shares = self.words.nearest(text, depth, allowed)
            yield _Ranking(WORDS, config.words_weight, rows, shares, shares)
        rows, shares = self.titles.nearest(text, depth, allowed, config.least_title)
        yield _Ranking(TITLE, config.title_weight, rows, shares, shares)

    def _by_image(self, image: Image, depth: int, allowed: NDArray[np.bool_]) -> _Ranking:
        if "image" not in self.views or self.image_encoder is None:
            raise UserError(
                "this workspace has no pictures to compare yours with: build it from data with images, or use words"
            )
        vector = self.image_encoder.encode_images([image])[0]
        rows, similarities = self.views["image"].nearest(vector, depth, allowed)
        # Pictures are all somewhat alike. What counts is how far one stands out from the last that was fetched, so that
        # the very picture weighs and the crowd behind it does not.
        crowd = float(similarities[-1]) if len(similarities) == depth else 0.0
        lead = max(float(similarities[0]) - crowd, self.config.least_lead) if len(similarities) else 1.0
        strengths = np.clip((similarities - crowd) / lead, 0.0, 1.0).astype(np.float32)
        return _Ranking("image", self.config.picture_weight, rows, similarities, strengths)

    def _by_likeness(self, like: tuple[str, ...], depth: int, allowed: NDArray[np.bool_]) -> Iterator[_Ranking]:
        like = tuple(dict.fromkeys(like))
        for item_id in like:
            row = self.catalogue.row_of.get(item_id)
            if row is None:
                raise UserError(f"no item {item_id[:200]!r} in the catalogue")
            vectors = {name: view.vector(row) for name, view in self.views.items()}
            if all(vector is None for vector in vectors.values()):
                raise UserError(f"item {item_id!r} has nothing to be compared by: no view holds it")
            for name, vector in vectors.items():
                if vector is not None:
                    weight = self.config.like_weights.get(name, 1.0) / len(like)
                    yield _Ranking(name, weight, *self.views[name].nearest(vector, depth, allowed))

    def _fuse(self, rankings: list[_Ranking], k: int) -> list[Hit]:
        scores: dict[int, float] = {}
        ranks: dict[int, dict[str, int]] = {}
        similarities: dict[int, dict[str, float]] = {}
        for ranking in rankings:
            for position, row in enumerate(ranking.rows.tolist()):
                strength = 1.0 if ranking.strengths is None else float(ranking.strengths[position])
                gain = ranking.weight * strength / (self.config.rrf + position + 1)
                scores[row] = scores.get(row, 0.0) + gain
                # Several items to be like ask one view several times: the best of its answers is kept.
                of_row = ranks.setdefault(row, {})
                of_row[ranking.view] = min(position + 1, of_row.get(ranking.view, position + 1))
                alike = similarities.setdefault(row, {})
                found = float(ranking.similarities[position])
                alike[ranking.view] = max(found, alike.get(ranking.view, found))
        best = sorted(scores, key=lambda row: (-scores[row], row))[:k]
        return [self._hit(row, scores[row], ranks[row], similarities[row]) for row in best]

    def _hit(self, row: int, score: float, ranks: Mapping[str, int], similarities: Mapping[str, float]) -> Hit:
        row = int(row)
        return Hit(row=row, item_id=self.catalogue.ids[row], score=score, ranks=ranks, similarities=similarities)
