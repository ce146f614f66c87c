"""Search over several views: what is fused, what is left out, and what is said of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.catalog.filters import parse_filter
from llm4rec.catalog.index import ViewIndex, build_view, open_view
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.search import Hit, Query, SearchConfig, Searcher
from llm4rec.catalog.views import item_text
from llm4rec.catalog.words import build_words, open_words
from llm4rec.errors import UserError
from numpy.typing import NDArray
from PIL import Image

D = 64


class WordEncoder:
    """Stands in for both encoders: texts that share words are alike, and a picture is the word in its ``info``."""

    model_id = "words"
    dimension = D

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.full((len(texts), D), 0.01, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(".", " ").split():
                row += np.random.default_rng(zlib.crc32(word.encode())).normal(size=D)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return self.encode([image.info["word"] for image in images])


def picture(word: str) -> Image.Image:
    image = Image.new("RGB", (2, 2))
    image.info["word"] = word
    return image


ITEMS = [
    Item("heat", "Heat", "bank robbers and a detective", image="red", attributes={"year": 1995.0}),
    Item("jaws", "Jaws", "a shark at the beach", image="blue", attributes={"year": 1975.0, "genres": ("Horror",)}),
    Item("fire", "Fireplace", "heat and light at home", image="red"),
    Item("deep", "The Deep", "a shark and sunken gold", attributes={"year": 1977.0}),
    Item("gone", "Gone", "a shark nobody may see", available=False),
    Item("bare", "Bare"),
]


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ViewIndex]]:
    folder = tmp_path_factory.mktemp("views")
    encoder = WordEncoder()
    texts = encoder.encode([item_text(item) for item in ITEMS])
    texts[5] = 0.0
    images = encoder.encode([item.image or "" for item in ITEMS])
    images[[item.image is None for item in ITEMS]] = 0.0
    build_view(folder, "text", texts, encoder.model_id)
    build_view(folder, "image", images, encoder.model_id)
    views = {name: open_view(folder, name, encoder.model_id) for name in ("text", "image")}
    yield views
    for view in views.values():
        view.close()


@pytest.fixture(scope="module")
def searcher(views: dict[str, ViewIndex], tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    folder = tmp_path_factory.mktemp("words") / "w"
    build_words(folder, [item_text(item) for item in ITEMS])
    return Searcher(Catalogue.of(ITEMS), views, WordEncoder(), WordEncoder(), words=open_words(folder))


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.item_id for hit in hits]


def test_words_find_by_meaning_title_and_words(searcher: Searcher) -> None:
    hits = searcher.search(Query(text="heat"))
    assert ids(hits)[:2] == ["heat", "fire"]
    first = hits[0]
    assert first.row == 0
    assert first.ranks.keys() == {"text", "image", "words", "title"}
    assert first.ranks["title"] == 1
    assert first.similarities["title"] == 1.0
    assert "title" not in hits[1].ranks
    assert ids(searcher.search(Query(text="shark beach")))[:2] == ["jaws", "deep"]


def test_a_picture(searcher: Searcher) -> None:
    hits = searcher.search(Query(image=picture("red")))
    assert ids(hits) == ["heat", "fire", "jaws"]  # equal ones by row
    assert [hit.ranks for hit in hits] == [{"image": 1}, {"image": 2}, {"image": 3}]
    assert hits[0].similarities["image"] == pytest.approx(1.0)


def test_items_to_be_like(searcher: Searcher) -> None:
    hits = {hit.item_id: hit for hit in searcher.search(Query(like=("jaws",)))}
    assert hits["deep"].ranks == {"text": 1}  # it has no picture
    assert hits["heat"].ranks.keys() == {"text", "image"}
    assert "jaws" not in hits
    assert set(ids(searcher.search(Query(like=("heat", "deep", "heat"))))) == {"jaws", "fire"}


def test_several_at_once(searcher: Searcher) -> None:
    hits = searcher.search(Query(text="shark", image=picture("blue"), like=("deep",)))
    assert ids(hits)[0] == "jaws"
    assert hits[0].ranks["image"] == 1


def test_what_is_left_out(searcher: Searcher) -> None:
    assert "gone" not in ids(searcher.search(Query(text="shark")))
    assert "bare" in ids(searcher.search(Query(text="bare")))  # by its title alone
    assert ids(searcher.search(Query(text="shark", filters=(parse_filter("year<=1976"),)))) == ["jaws"]
    assert "jaws" not in ids(searcher.search(Query(text="shark", exclude=frozenset({"jaws", "unheard of"}))))
    only = np.array([True, False, False, False, True, False])
    assert ids(searcher.search(Query(text="shark", mask=only))) == ["heat"]
    assert searcher.search(Query(text="shark", filters=(parse_filter("genres=Comedy"),))) == []


def test_filters_alone(searcher: Searcher) -> None:
    hits = searcher.search(Query(filters=(parse_filter("year>=1976"),)))
    assert ids(hits) == ["heat", "deep"]
    assert {hit.score for hit in hits} == {0.0}


def test_without_the_optional_parts(views: dict[str, ViewIndex]) -> None:
    plain = Searcher(Catalogue.of(ITEMS), {"text": views["text"]}, WordEncoder())
    assert plain.search(Query(text="shark"))[0].ranks.keys() == {"text"}
    with pytest.raises(UserError, match="no pictures to compare"):
        plain.search(Query(image=picture("red")))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (Query(), "nothing to search by"),
        (Query(text="  "), "nothing to search by"),
        (Query(exclude=frozenset({"heat"})), "nothing to search by"),
        (Query(text="x", k=0), "k is 0"),
        (Query(text="x", k=1001), "k is 1001"),
        (Query(text="x" * 10_001), "10001 characters"),
        (Query(like=("nobody",)), "no item 'nobody'"),
        (Query(like=("bare",)), "'bare' has nothing to be compared by"),
        (Query(like=tuple("abcdefghijk")), "11 items to be like"),
        (Query(text="x", filters=(parse_filter("price<=3"),)), "no attribute 'price'"),
    ],
)
def test_refusals(searcher: Searcher, query: Query, says: str) -> None:
    with pytest.raises(UserError, match=says):
        searcher.search(query)


def test_sizes_are_checked(searcher: Searcher, views: dict[str, ViewIndex]) -> None:
    with pytest.raises(ValueError, match="the text view covers 6 rows, the catalogue has 5"):
        Searcher(Catalogue.of(ITEMS[:5]), views, WordEncoder())
    with pytest.raises(ValueError, match="mask"):
        searcher.search(Query(text="x", mask=np.ones(3, dtype=np.bool_)))


queries = st.builds(
    Query,
    text=st.sampled_from([None, "heat", "shark", "gold at home", "?"]),
    image=st.sampled_from([None, picture("red"), picture("green")]),
    like=st.sampled_from([(), ("jaws",), ("deep", "fire")]),
    exclude=st.frozensets(st.sampled_from([item.id for item in ITEMS])),
    k=st.integers(1, 8),
).filter(lambda q: bool(q.text or q.image or q.like))


@settings(deadline=None)
@given(queries, st.builds(SearchConfig, rrf=st.sampled_from([1.0, 60.0]), image_weight=st.floats(0.1, 2)))
def test_fusion_is_the_sum_of_reciprocal_ranks(searcher: Searcher, query: Query, config: SearchConfig) -> None:
    other = Searcher(
        searcher.catalogue, searcher.views, WordEncoder(), WordEncoder(), words=searcher.words, config=config
    )
    hits = other.search(query)
    assert len(hits) <= query.k
    assert [(-hit.score, hit.row) for hit in hits] == sorted((-hit.score, hit.row) for hit in hits)
    assert not set(ids(hits)) & (query.exclude | set(query.like) | {"gone"})
    # fewer hits wanted: the same list, cut
    fewer = Query(text=query.text, image=query.image, like=query.like, exclude=query.exclude, k=1)
    assert ids(other.search(fewer)) == ids(hits)[:1]
    if query.text and not query.image and not query.like:
        weights = {
            "text": config.text_weight,
            "image": config.image_weight,
            "words": config.words_weight,
            "title": config.title_weight,
        }
        for hit in hits:
            expected = sum(
                weights[view] * (hit.similarities[view] if view in ("words", "title") else 1) / (config.rrf + rank)
                for view, rank in hit.ranks.items()
            )
            assert hit.score == pytest.approx(expected)


@settings(deadline=None)
@given(queries)
def test_an_item_better_everywhere_comes_first(searcher: Searcher, query: Query) -> None:
    hits = searcher.search(query)
    for better, worse in pairwise(hits):
        dominated = worse.ranks.keys() >= better.ranks.keys() and all(
            worse.ranks[view] < better.ranks[view] and worse.similarities[view] >= better.similarities[view]
            for view in better.ranks
        )
        assert not dominated or query.like  # with several to be like, only the best rank in a view is told


def test_the_same_twice(searcher: Searcher, views: dict[str, ViewIndex]) -> None:
    again = Searcher(searcher.catalogue, views, WordEncoder(), WordEncoder(), words=searcher.words)
    for text in ("heat", "shark", "bank gold"):
        assert searcher.search(Query(text=text)) == again.search(Query(text=text))
