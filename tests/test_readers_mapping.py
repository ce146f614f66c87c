"""Any tables by a mapping file, and mappings proposed from the tables."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog.items import Item
from llm4rec.catalog.readers import MAPPING_FILE, propose_mapping, read
from llm4rec.catalog.readers.mapping import parse_mapping
from llm4rec.errors import UserError

MAPPING = """
name = "shop"

[items]
file = "products.csv"
separator = ";"
id = "sku"
title = "label"
description = "text"
image = "photo"

[items.attributes]
price = { kind = "number" }
brand = { kind = "label", column = "maker" }
tags = { kind = "labels", separator = "|" }

[[side]]
file = "more.jsonl"
id = "product"
description = "long"

[side.attributes]
weight = { kind = "number" }
brand = { kind = "label" }

[users]
file = "people.csv"
id = "who"

[users.attributes]
age = { kind = "number" }

[interactions]
file = "log.tsv"
columns = ["who", "sku", "stars", "when"]
user = "who"
item = "sku"
value = "stars"
time = "when"
time_unit = "ms"
low = 1
high = 5

[images]
folder = "photos"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    (root / MAPPING_FILE).write_text(MAPPING)
    (root / "products.csv").write_text(
        "sku;label;text;photo;price;maker;tags\n"
        "p1;<b>Pen</b>;;one.jpg;$3.50;Pilot;blue|fine|blue\n"
        'p2;"Ink; black";"In a\nbottle";gone.jpg;cheap;N/A;\n'
        "p3;;;;;;\n"
    )
    more = [
        {"product": "p1", "long": "A pen.", "weight": 9, "brand": "Other"},
        {"product": "p2", "long": "unused", "weight": "12 g", "brand": "Quink"},
        {"product": "p2", "long": "again"},
    ]
    (root / "more.jsonl").write_text("".join(json.dumps(o) + "\n" for o in more))
    (root / "people.csv").write_text("who,age\nu9,33\nu1,\n")
    (root / "log.tsv").write_text("u1\tp1\t5\t1000\nu1\tp2\t\t2500\n")
    (root / "photos").mkdir()
    (root / "photos" / "one.jpg").write_bytes(b"x")
    return root


def test_every_entry_of_a_mapping(shop: Path) -> None:
    raw = read(shop)
    assert (raw.name, raw.kind) == ("shop", "mapping")
    assert list(raw.catalogue) == [
        Item(
            "p1",
            "Pen",
            description="A pen.",
            image="photos/one.jpg",
            attributes={"price": 3.5, "brand": "Pilot", "tags": ("blue", "fine"), "weight": 9.0},
        ),
        Item("p2", "Ink; black", description="In a bottle", attributes={"brand": "Quink", "weight": 12.0}),
        Item("p3", "p3"),
    ]
    assert raw.images == {"p1": shop.resolve() / "photos" / "one.jpg"}
    assert raw.users.rows() == [("u9", 33.0), ("u1", None)]
    assert raw.interactions.collect().rows() == [("u1", "p1", 5.0, 1, 1), ("u1", "p2", None, 2, 2)]
    assert raw.problems.settled == {
        "further rows of more.jsonl for an item that has one, left out": 1,
        "values of price that are no number, left out": 1,
        "items with no title, called by their id": 1,
        "items with no image": 2,
    }


def test_a_mapping_from_elsewhere_comes_first(shop: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(MAPPING.replace('name = "shop"', 'name = "other"'))
    assert read(shop, mapping=other).name == "other"
    with pytest.raises(UserError, match=r"none\.toml does not exist"):
        read(shop, mapping=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "shop"', "name = shop", "is not valid TOML"),
        ('title = "label"', 'titel = "label"', "entry 'items.titel'"),
        ('kind = "number" }', 'kind = "float" }', "entry 'items.attributes.price.kind'"),
        ('user = "who"\n', "", "entry 'interactions.user'"),
        ('title = "label"', 'title = "name"', r"products\.csv has no column 'name': expected .*; found sku, label"),
        ('value = "stars"', 'value = "rating"', r"log\.tsv has no column 'rating'"),
        ('description = "long"', 'description = "short"', r"more\.jsonl has no column 'short'"),
        ('file = "log.tsv"', 'file = "log2.tsv"', r"log2\.tsv does not exist"),
        ('file = "log.tsv"', 'file = "log.xlsx"', r"log\.xlsx is no table"),
        ('file = "log.tsv"', 'file = "../log.tsv"', "leaves the data folder"),
        ('file = "log.tsv"', 'file = "/etc/log.tsv"', "leaves the data folder"),
        ('folder = "photos"', 'folder = ".."', "leaves the data folder"),
        ('folder = "photos"', 'folder = "pics"', "pics is no folder"),
        ("weight =", "title =", "cannot be called title"),
        ('brand = { kind = "label" }', 'brand = { kind = "number" }', "'brand' is mapped as label and as number"),
        ('time_unit = "ms"', 'time_unit = "hours"', "entry 'interactions.time_unit'"),
    ],
)
def test_a_wrong_entry_is_one_clear_line(shop: Path, old: str, new: str, message: str) -> None:
    assert old in MAPPING
    (shop / MAPPING_FILE).write_text(MAPPING.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        read(shop)
    assert "\n" not in str(caught.value)


def test_a_mapped_file_may_not_be_a_link_out(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.tsv").write_text("u1\tp1\t5\t1000\n")
    (shop / "log.tsv").unlink()
    (shop / "log.tsv").symlink_to(tmp_path / "outside.tsv")
    with pytest.raises(UserError, match="leaves the data folder"):
        read(shop)


def test_side_rows_of_unknown_items_are_bad_rows(shop: Path) -> None:
    with (shop / "more.jsonl").open("a") as file:
        file.write('{"product": "p9"}\n')
    with pytest.raises(UserError, match=r"more\.jsonl:4: 'p9'"):
        read(shop)


def test_the_documented_mapping_is_valid_and_names_every_entry() -> None:
    page = (Path(__file__).parents[1] / "docs" / "data-formats.md").read_text(encoding="utf-8")
    block = page.split("```toml\n")[1].split("```")[0]
    mapping = parse_mapping(block, "docs/data-formats.md")
    for part in (mapping, mapping.items, mapping.interactions, mapping.side[0], mapping.users, mapping.images):
        assert part is not None
        names = set(type(part).model_fields)
        shown = {name for name in names if f"{name} = " in block or f".{name}]" in block or f"[{name}]" in block}
        assert names - shown <= {"side"}  # written [[side]]


def test_parquet_tables(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1, 2], "name": ["A", "B"], "colours": [["red"], []]}).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"user": ["u", "u"], "id": [2, 1]}).write_parquet(tmp_path / "log.parquet")
    mapping = tmp_path / MAPPING_FILE
    mapping.write_text(
        '[items]\nfile = "items.parquet"\nid = "id"\ntitle = "name"\n'
        '[items.attributes]\ncolours = { kind = "labels" }\n'
        '[interactions]\nfile = "log.parquet"\nuser = "user"\nitem = "id"\n'
    )
    raw = read(tmp_path)
    assert list(raw.catalogue) == [Item("1", "A", attributes={"colours": ("red",)}), Item("2", "B")]
    assert raw.interactions.collect()["item"].to_list() == ["2", "1"]


def test_a_proposed_mapping_is_used_and_said(tmp_path: Path) -> None:
    root = tmp_path / "cafe"
    root.mkdir()
    places = [
        {"business_id": str(n), "name": f"Place {n}", "categories": "Cafes, Bars" if n % 2 else "Bars"}
        for n in range(40)
    ]
    (root / "items.jsonl").write_text("".join(json.dumps(o) + "\n" for o in places))
    (root / "interactions.csv").write_text(
        "user_id,business_id,order\n" + "".join(f"u{n % 5},{n},{n}\n" for n in range(40))
    )
    raw = read(root)
    assert raw.kind == "mapping (proposed)"
    assert "no llm4rec.toml in cafe" in raw.notes[0]
    assert propose_mapping(root) in raw.notes[0]
    assert raw.catalogue.item(1).attributes == {"categories": ("Cafes", "Bars")}
    assert raw.interactions.collect()["order"].to_list() == list(range(40))
    (root / MAPPING_FILE).write_text(propose_mapping(root))  # unedited, it says the same
    again = read(root)
    assert again.kind == "mapping"
    assert again.catalogue.frame.equals(raw.catalogue.frame)


def test_what_a_proposal_recognises(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    (root / "images").mkdir(parents=True)
    words = ["red", "green", "blue", "black"]
    pl.DataFrame(
        {
            "productId": [f"p{n}" for n in range(60)],
            "Product Name": [f"Thing {n}" for n in range(60)],
            "Price (EUR)": [f"€{n}.50" for n in range(60)],
            "brand": [words[n % 4] for n in range(60)],
            "colours": [f"{words[n % 4]}|{words[n % 3]}" for n in range(60)],
            "code": [f"x{n}y" for n in range(60)],
            "blank": [None] * 60,
            "overview": ["Long text. " * 10] * 60,
        }
    ).write_csv(root / "products.csv")
    pl.DataFrame({"productId": ["p1", "p2"], "stock": [3, 4]}).write_csv(root / "stock.csv")
    pl.DataFrame(
        {
            "customer_id": ["a", "a", "b"],
            "productId": ["p1", "p2", "p1"],
            "stars": [1, 2, 5],
            "created_at": ["2020-01-01T00:00:00", "2020-01-02T00:00:00", "2020-01-03T00:00:00"],
        }
    ).write_csv(root / "log.csv")
    (root / "broken.json").write_text("[1]")
    text = propose_mapping(root)
    found = parse_mapping(text, "proposed").model_dump(exclude_none=True)
    assert found["items"]["attributes"] == {
        "price_eur": {"kind": "number", "column": "Price (EUR)", "separator": ","},
        "brand": {"kind": "label", "separator": ","},
        "colours": {"kind": "labels", "separator": "|"},
    }
    assert found["items"] | {"attributes": {}} == {
        "file": "products.csv",
        "id": "productId",
        "title": "Product Name",
        "description": "overview",
        "attributes": {},
    }
    assert found["interactions"] == {
        "file": "log.csv",
        "user": "customer_id",
        "item": "productId",
        "value": "stars",
        "time": "created_at",
        "time_unit": "text",
    }
    assert found["side"][0]["attributes"] == {"stock": {"kind": "number", "separator": ","}}
    assert found["images"] == {"folder": "images"}
    assert '# left out: "code" (nearly every row has another value)' in text
    assert '# left out: "blank" (empty)' in text
    assert "# left out: broken.json:1: is one JSON array" in text
    assert len(read(root).catalogue) == 60


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(name=st.text(min_size=1, max_size=12).filter(lambda s: s.strip() == s and s not in ("item_id", "title")))
def test_any_column_name_makes_a_valid_proposal(tmp_path: Path, name: str) -> None:
    rows = [{"item_id": str(n), "title": f"T{n}", name: "same"} for n in range(30)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(o) + "\n" for o in rows), encoding="utf-8")
    (tmp_path / "log.csv").write_text("user_id,item_id\n1,1\n1,2\n2,1\n")
    assert parse_mapping(propose_mapping(tmp_path), "proposed").items.file == "items.jsonl"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": "x"}, "is in no format that is read here.*MovieLens .*Amazon reviews .*Yelp .*llm4rec.toml"),
        ({"items.csv": "item_id,title\n1,A\n"}, "no table with a user's column and an item's"),
        ({"log.csv": "user_id,item_id\n1,1\n1,2\n"}, "has a log, log.csv, but no table of its items"),
        ({"data.zip": "x"}, "data.zip is packed: unpack it"),
        ({"ml/u.data": "1\t1\t5\t1", "ml/u.item": "x"}, "Its folder ml is MovieLens: give "),
    ],
)
def test_what_is_not_known_says_what_is_read(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "none")
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path)
    (tmp_path / "ml.zip").write_bytes(b"x")
    with pytest.raises(UserError, match="is a file, not a folder: unpack it"):
        read(tmp_path / "ml.zip")
    with pytest.raises(UserError, match="does not exist"):
        propose_mapping(tmp_path / "none")
