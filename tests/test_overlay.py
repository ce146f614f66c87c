"""Live changes: rows stay put, nothing is half done, and what was removed comes back."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog.changes import Changes, ItemRecord, LiveVector
from llm4rec.catalog.filters import mask, parse_filter
from llm4rec.catalog.index import build_view, open_view
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.overlay import Overlay
from llm4rec.catalog.words import build_words, open_words
from llm4rec.errors import UserError
from pydantic import ValidationError


def base() -> Catalogue:
    return Catalogue.of(
        [
            Item("a", "Lamp", "gives light", attributes={"price": 20.0, "brand": "Luxo", "tags": ("home", "desk")}),
            Item("b", "Chair", attributes={"price": 90.0}, available=False),
            Item("c", "Table", attributes={"tags": ("home",)}),
        ]
    )


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    with Overlay(tmp_path / "state" / "catalogue.sqlite") as overlay:
        yield overlay


def unit(*values: float) -> LiveVector:
    return LiveVector("m", np.array(values, dtype=np.float32))


def test_nothing_changed(overlay: Overlay) -> None:
    items = base()
    assert overlay.version() == 0
    assert overlay.apply(items) is items


def test_added_updated_removed(overlay: Overlay) -> None:
    items = base()
    overlay.add(Item("z", "Rug", attributes={"price": 5.0, "pile": "deep"}), base=items)
    overlay.update(Item("a", "Lamp II", attributes={"price": 25.0, "tags": "home"}), base=items)
    overlay.add(Item("d", "Bed", "to sleep in", image="live-1.jpg"), base=items)
    overlay.remove("c", base=items)
    applied = overlay.apply(items)
    assert applied.ids == ("a", "b", "c", "z", "d")
    assert applied.available.tolist() == [True, False, False, True, True]
    assert applied.item(0) == Item("a", "Lamp II", attributes={"price": 25.0, "tags": ("home",)})
    assert applied.item(2).title == "Table"
    assert applied.item(3) == Item("z", "Rug", attributes={"price": 5.0, "pile": "deep"})
    assert applied.item(4) == Item("d", "Bed", "to sleep in", image="live-1.jpg")
    assert applied.frame.schema == {**items.frame.schema, "pile": applied.frame.schema["pile"]}
    assert mask(applied, [parse_filter("pile=deep")]).tolist() == [False, False, False, True, False]
    assert items.ids == ("a", "b", "c")  # the build is as it was


def test_an_update_of_what_was_added_keeps_its_place(overlay: Overlay) -> None:
    items = base()
    for name in ("x", "y"):
        overlay.add(Item(name, name), base=items)
    overlay.remove("x", base=items)
    overlay.update(Item("x", "new"), base=overlay.apply(items))
    applied = overlay.apply(items)
    assert applied.ids[3:] == ("x", "y")
    assert applied.item(3).title == "new"
    assert not applied.item(3).available  # an update does not bring back
    overlay.restore("x", base=items)
    assert overlay.apply(items).available[3]


def test_a_later_build(overlay: Overlay) -> None:
    overlay.add(Item("z", "Rug"), base=base())
    overlay.update(Item("a", "Lamp II"), base=base())
    overlay.remove("c", base=base())
    later = Catalogue.of([Item("z", "Rug as built", attributes={"price": 1.0}), Item("n", "New")])
    applied = overlay.apply(later)
    assert applied.ids == ("z", "n", "a")
    assert [applied.item(row).title for row in range(3)] == ["Rug", "New", "Lamp II"]


def test_values_that_no_longer_fit_are_told(overlay: Overlay) -> None:
    overlay.add(Item("z", "Rug", attributes={"brand": "Weft", "tags": ("a", "b"), "price": 3.0}), base=base())
    later = Catalogue.of([Item("a", "Lamp", attributes={"brand": 7.0, "tags": "x", "price": "dear"})])
    changes = overlay.snapshot()
    assert changes.apply(later).item(1) == Item("z", "Rug", attributes={"price": "3"})
    assert list(changes.misfits(later)) == [
        "live item z: brand is a number in this build, 'Weft' is left out",
        "live item z: tags is a label in this build, ('a', 'b') is left out",
    ]
    assert changes.misfits(base()) == ()


def test_kinds_of_new_attributes_that_differ_become_labels(overlay: Overlay) -> None:
    overlay.add(Item("x", "X", attributes={"size": 4.5}), base=base())
    overlay.add(Item("y", "Y", attributes={"size": "large"}), base=base())
    applied = overlay.apply(base())
    assert [applied.item(row).attributes["size"] for row in (3, 4)] == [("4.5",), ("large",)]


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (lambda o: o.add(Item("a", "A"), base=base()), "there is an item 'a' already"),
        (lambda o: o.add(Item("x", "X"), base=base()), "there is an item 'x' already"),
        (lambda o: o.update(Item("q", "Q"), base=base()), "no item 'q'"),
        (lambda o: o.remove("q", base=base()), "no item 'q'"),
        (lambda o: o.restore("q", base=base()), "no item 'q'"),
        (lambda o: o.restore("a", base=base()), "'a' is not removed"),
        (lambda o: o.remove("c", base=base()), "'c' is removed already"),
        (lambda o: o.embed("a", {}), "'a' has no live change"),
        (lambda o: o.add(Item("n", "N", attributes={"price": "dear"}), base=base()), "price is a number.*'dear'"),
        (lambda o: o.add(Item("n", "N", attributes={"brand": ("a", "b")}), base=base()), "brand is a label"),
        (lambda o: o.add(Item("n", " "), base=base()), "title"),
        (lambda o: o.add(Item("n", "N", image="../x.jpg"), base=base()), "image.*not a path"),
    ],
)
def test_refusals_change_nothing(overlay: Overlay, action: object, says: str) -> None:
    overlay.add(Item("x", "X"), base=base())
    overlay.remove("c", base=base())
    before = overlay.snapshot()
    with pytest.raises(UserError, match=says):
        action(overlay)  # type: ignore[operator]
    assert overlay.snapshot() == before


def test_together_is_all_or_nothing(overlay: Overlay) -> None:
    def half_wrong() -> None:
        with overlay.together():
            overlay.add(Item("x", "X"), base=base())
            overlay.remove("q", base=base())

    with pytest.raises(UserError, match="no item 'q'"):
        half_wrong()
    assert (overlay.version(), len(overlay.snapshot())) == (0, 0)
    with overlay.together():
        overlay.add(Item("x", "X"), base=base())
        overlay.add(Item("y", "Y"), base=base())
    assert (overlay.version(), len(overlay.snapshot())) == (1, 2)


# -- what comes from outside ------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=[]), max_size=40)


@given(text, text, text, st.dictionaries(text, st.one_of(text, st.lists(text, max_size=3)), max_size=3))
def test_records_are_clean_and_survive_storage(
    item_id: str, title: str, description: str, attributes: dict[str, object]
) -> None:
    try:
        record = ItemRecord.model_validate(
            {"id": item_id, "title": title, "description": description, "attributes": attributes}
        )
    except ValidationError:
        return
    texts = [record.id, record.title, *record.attributes]
    texts += [v for value in record.attributes.values() for v in (value if isinstance(value, tuple) else [value])]
    for line in texts:
        assert line == " ".join(line.split()) != ""
    for line in [*texts, record.description.replace("\n", "")]:
        assert not any(c in line for c in "\x00\x07\x1b\x7f\x9b\u202e\u2066\r\n")
        line.encode()  # no lone surrogates
    assert record.id == item_id
    assert ItemRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    "bad",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"id": " a"},
        {"id": "x" * 201},
        {"title": "\x00\x1b"},
        {"title": "x" * 501},
        {"description": "x" * 20_001},
        {"image": "/etc/passwd"},
        {"image": ".hidden"},
        {"image": "a\\b"},
        {"image": "c:b"},
        {"attributes": {"x": True}},
        {"attributes": {"x": float("inf")}},
        {"attributes": {"x": None}},
        {"attributes": {"x": "y" * 301}},
        {"attributes": {"x": ["y"] * 201}},
        {"attributes": {str(i): "y" for i in range(101)}},
        {"attributes": {"A": 1, "a": 2}},
        {"attributes": {"Title": "x"}},
        {"price": 3},
    ],
)
def test_records_are_bounded(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ItemRecord.model_validate({"id": "a", "title": "A", **bad})


# -- removal and restoring --------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.sampled_from(["add", "update", "remove", "restore"]), st.sampled_from("abcxyz")), max_size=14
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(steps)
def test_any_sequence_is_what_a_dictionary_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    items = base()
    titles = {item.id: item.title for item in items}
    order = list(titles)
    removed: set[str] = set()
    with Overlay(tmp_path_factory.mktemp("o") / "c.sqlite") as overlay:
        for number, (action, name) in enumerate(steps):
            version = overlay.version()
            allowed = {
                "add": name not in titles,
                "update": name in titles,
                "remove": name in titles and name not in removed,
                "restore": name in removed,
            }[action]
            try:
                if action in ("add", "update"):
                    getattr(overlay, action)(Item(name, f"{name}{number}", available=name != "b"), base=items)
                else:
                    getattr(overlay, action)(name, base=items)
            except UserError:
                assert not allowed
                assert overlay.version() == version
                continue
            assert allowed
            assert overlay.version() == version + 1
            if action in ("add", "update"):
                titles[name] = f"{name}{number}"
                order += [name] if name not in order else []
            elif action == "remove":
                removed.add(name)
            else:
                removed.discard(name)
        applied = overlay.apply(items)
    assert list(applied.ids) == order
    assert [applied.item(row).title for row in range(len(applied))] == [titles[name] for name in order]
    assert applied.available.tolist() == [name not in removed and name != "b" for name in order]


@given(st.sets(st.sampled_from("abc")))
@settings(deadline=None, max_examples=8)
def test_removing_and_restoring_is_nothing(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    items = base()
    with Overlay(tmp_path_factory.mktemp("o") / "c.sqlite") as overlay:
        for name in sorted(names):
            overlay.remove(name, base=items)
        assert overlay.apply(items).available.tolist() == [n not in names and n != "b" for n in "abc"]
        for name in sorted(names):
            overlay.restore(name, base=items)
        assert len(overlay.snapshot()) == 0
        assert overlay.apply(items).frame.equals(items.frame)


# -- vectors and words ------------------------------------------------------------------------------------------------


def test_views_follow(overlay: Overlay, tmp_path: Path) -> None:
    items = base()
    build_view(tmp_path, "text", np.eye(3, dtype=np.float32), "m")
    view = open_view(tmp_path, "text", "m")
    overlay.add(Item("z", "Rug"), {"text": unit(0, 0.1, 1)}, base=items)
    overlay.update(Item("a", "Lamp II"), {"text": unit(0, 1, 0.1)}, base=items)
    overlay.update(Item("b", "Chair II"), {"text": LiveVector("old model", np.ones(3, dtype=np.float32))}, base=items)
    overlay.add(Item("y", "Cup"), base=items)
    overlay.add(Item("x", "Mug"), {"text": LiveVector("m", None)}, base=items)
    changes = overlay.snapshot()
    applied = changes.apply(items)
    changed = changes.apply_view(view, applied)
    assert applied.ids == ("a", "b", "c", "z", "y", "x")
    assert changed.nearest(np.array([0, 0, 1], dtype=np.float32), 9)[0].tolist() == [2, 3, 0]
    assert changed.nearest(np.array([1, 0, 0], dtype=np.float32), 1)[1].tolist() == [
        0.0
    ]  # the lamp's old vector is gone
    assert [item.id for item in changes.unembedded("text", "m")] == ["b", "y"]
    overlay.embed("y", {"text": unit(1, 0, 0)})
    changes = overlay.snapshot()
    assert changes.apply_view(view, applied).nearest(np.array([1, 0, 0], dtype=np.float32), 1)[0].tolist() == [4]
    assert [item.id for item in changes.unembedded("text", "m")] == ["b"]
    overlay.update(Item("z", "Rug II"), base=items)  # its vector was of another text
    assert [item.id for item in overlay.snapshot().unembedded("text", "m")] == ["z", "b"]
    view.close()


def test_a_vector_of_another_length_is_told(overlay: Overlay, tmp_path: Path) -> None:
    build_view(tmp_path, "text", np.eye(3, dtype=np.float32), "m")
    view = open_view(tmp_path, "text")
    overlay.add(Item("z", "Rug"), {"text": unit(1, 0)}, base=base())
    changes = overlay.snapshot()
    with pytest.raises(UserError, match="item z: its text vector has 2 dimensions, the view 3"):
        changes.apply_view(view, changes.apply(base()))
    view.close()


@pytest.mark.parametrize("vector", [np.array([np.nan]), np.ones((2, 2))])
def test_vectors_are_checked(overlay: Overlay, vector: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="finite"):
        overlay.add(Item("z", "Rug"), {"text": LiveVector("m", vector.astype(np.float32))}, base=base())
    assert overlay.version() == 0


def test_words_follow(overlay: Overlay, tmp_path: Path) -> None:
    items = base()
    build_words(tmp_path / "words", ["Lamp. gives light", "Chair", "Table"])
    overlay.update(Item("a", "Lantern"), base=items)
    overlay.add(Item("z", "Rug", "woven in Persia"), base=items)
    changes = overlay.snapshot()
    words = changes.apply_words(open_words(tmp_path / "words"), changes.apply(items))
    assert words.nearest("light lamp", 5)[0].tolist() == []
    assert words.nearest("lantern", 5)[0].tolist() == [0]
    assert words.nearest("persia chair", 5)[0].tolist() in ([1, 3], [3, 1])


# -- the file ---------------------------------------------------------------------------------------------------------


def test_others_see_it(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Overlay(path) as one, Overlay(path) as two:
        one.add(Item("z", "Rug"), {"text": unit(1, 2, 3)}, base=base())
        assert two.version() == one.version() == 1
        assert two.apply(base()).ids[-1] == "z"
        vector = two.snapshot().all[0].vectors["text"].vector
        assert vector is not None
        assert vector.tolist() == [1, 2, 3]
    with Overlay(path) as again:
        assert again.version() == 1


def test_many_writers(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"

    def write(name: str) -> None:
        with Overlay(path) as overlay:
            for number in range(10):
                overlay.add(Item(f"{name}{number}", "x"), base=base())

    threads = [threading.Thread(target=write, args=(name,)) for name in "pqrs"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Overlay(path) as overlay:
        assert overlay.version() == 40
        changes: Changes = overlay.snapshot()
        for name in "pqrs":
            mine = [c.item_id for c in changes.all if c.item_id.startswith(name)]
            assert mine == [f"{name}{number}" for number in range(10)]


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_text("no database at all, but long enough to be looked at" * 50)
    with pytest.raises(UserError, match="cannot open the live catalogue changes"):
        Overlay(tmp_path / "c.sqlite")


def test_from_a_newer_version(tmp_path: Path) -> None:
    Overlay(tmp_path / "c.sqlite").close()
    with sqlite3.connect(tmp_path / "c.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="version 99"):
        Overlay(tmp_path / "c.sqlite")
