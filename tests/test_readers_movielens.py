"""MovieLens in its three forms, with side files, tags, users and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llm4rec.catalog.items import Item
from llm4rec.catalog.readers import RawData, read
from llm4rec.errors import UserError

FLAGS = ["unknown", "Action", "Children's", "Sci-Fi"]


def u_item(item_id: int, title: str, *genres: str) -> str:
    flags = "|".join("1" if genre in genres else "0" for genre in FLAGS)
    return f"{item_id}|{title}|01-Jan-1995||http://x|{flags}"


@pytest.fixture
def ml100k(tmp_path: Path) -> Path:
    root = tmp_path / "ml"
    root.mkdir()
    films = [
        u_item(1, "Matrix, The (1999)", "Action", "Sci-Fi"),
        u_item(2, "Cérémonie, La (1995)"),
        u_item(3, "unknown", "unknown"),
        u_item(4, "Mask, The (1994)", "Children's"),
        u_item(5, "Pulp (1994)"),
    ]
    (root / "u.item").write_bytes(("\n".join(films) + "\n").encode("latin-1"))
    (root / "u.genre").write_text("".join(f"{name}|{n}\n" for n, name in enumerate(FLAGS)) + "\n")
    (root / "u.user").write_text("7|24|M|technician|85711\n8|53|F|other|94043\n")
    (root / "u.data").write_text("8\t1\t5\t200\n7\t1\t4\t100\n7\t3\t1\t100\n7\t2\t3\t50\n")
    return root


def item(raw: RawData, item_id: str) -> Item:
    return raw.catalogue.item(raw.catalogue.row_of[item_id])


def write_omdb(root: Path, *answers: dict[str, Any]) -> None:
    (root / "omdb.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")


def write_metadata(root: Path, *rows: str) -> None:
    head = "movie_id,title,year,overview,original_language,runtime,vote_average,vote_count"
    (root / "metadata.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def test_100k(ml100k: Path) -> None:
    raw = read(ml100k)
    assert (raw.name, raw.kind, raw.simulated) == ("ml", "movielens-100k", False)
    assert raw.catalogue.ids == ("1", "2", "3", "4", "5")  # items without interactions stay
    matrix = item(raw, "1")
    assert matrix.title == "The Matrix"
    assert matrix.attributes == {"year": 1999.0, "genres": ("Action", "Sci-Fi")}
    assert item(raw, "2").title == "La Cérémonie"
    assert item(raw, "2").attributes == {"year": 1995.0}
    assert raw.users.rows() == [("7", 24.0, "M", "technician"), ("8", 53.0, "F", "other")]
    assert raw.users.columns == ["user", "age", "sex", "occupation"]  # not the zip code
    assert raw.interactions.collect().rows() == [
        ("8", "1", 5.0, 200, 1),
        ("7", "1", 4.0, 100, 2),
        ("7", "3", 1.0, 100, 3),
        ("7", "2", 3.0, 50, 4),
    ]
    assert raw.problems.settled["lines of u.item that are not UTF-8, read as Latin-1"] == 1


def test_a_film_that_the_source_calls_unknown_is_kept_but_not_available(ml100k: Path) -> None:
    write_omdb(ml100k, {"movie_id": 3, "Title": "Unknown", "Year": "2011", "Type": "movie", "Plot": "A coma."})
    write_metadata(ml100k, "3,unknown,nan,A coma.,en,113.0,6.6,2115.0")
    raw = read(ml100k)
    assert item(raw, "3") == Item("3", "unknown", available=False)
    assert [found.available for found in raw.catalogue] == [True, True, False, True, True]


def test_side_files_are_joined_by_id(ml100k: Path) -> None:
    write_omdb(
        ml100k,
        {
            "movie_id": 1,
            "Title": "The Matrix",
            "Year": "1999",
            "Type": "movie",
            "Runtime": "136 min",
            "Director": "Lana Wachowski, Lilly Wachowski",
            "Writer": "Lilly Wachowski (written by), Lana Wachowski (written by), Lilly Wachowski (story)",
            "Actors": "Keanu Reeves, N/A",
            "Country": "USA",
            "Language": "N/A",
            "Rated": "R",
            "Awards": "Won 4 Oscars.",
            "Plot": "The plot.",
        },
        {"movie_id": 5, "Title": "Pulp", "Year": "1994", "Type": "movie", "Plot": "N/A", "Director": "N/A"},
    )
    write_metadata(
        ml100k,
        '1,"Matrix, The (1999)",1999,"An overview, with a comma.",en,130.0,8.1,10000',
        "2,x,1995,,fr,0.0,7,10",
    )
    raw = read(ml100k)
    matrix = item(raw, "1")
    assert matrix.description == "An overview, with a comma."
    assert matrix.attributes == {
        "year": 1999.0,
        "genres": ("Action", "Sci-Fi"),
        "director": ("Lana Wachowski", "Lilly Wachowski"),
        "cast": ("Keanu Reeves",),
        "writer": ("Lilly Wachowski", "Lana Wachowski"),
        "country": ("USA",),
        "language": ("English",),  # OMDb does not say
        "runtime": 136.0,  # OMDb before TMDB
        "certificate": "R",
        "awards": "Won 4 Oscars.",
    }
    assert item(raw, "2").attributes == {"year": 1995.0, "language": ("French",)}  # a runtime of 0 is none
    assert item(raw, "5").attributes == {"year": 1994.0}
    assert item(raw, "5").description == ""


def test_of_several_rows_the_closest_title_then_year_then_most_votes(ml100k: Path) -> None:
    write_metadata(
        ml100k,
        "4,Another film,1994,Wrong title.,en,100,9,99999",
        '4,"Mask, The (1994)",1990,Wrong year.,en,100,9,99999',
        '4,"Mask, The (1994)",1994,Few votes.,en,100,9,5',
        '4,"Mask, The (1994)",1994,Right.,en,100,9,50',
        '4,"Mask, The (1994)",1994,Right but later.,en,100,9,50',
    )
    raw = read(ml100k)
    assert item(raw, "4").description == "Right."
    assert raw.problems.settled["further rows of metadata.csv for a film that has one, left out"] == 4


def test_a_row_given_to_two_films_goes_to_the_one_whose_runtime_agrees(ml100k: Path) -> None:
    pulp = "A burger-loving hit man.,en,154.0,8.5,15972"
    write_metadata(ml100k, f'4,"Mask, The (1994)",1994,{pulp}', f"5,Pulp (1994),1994,{pulp}")
    answers = [
        {"movie_id": 4, "Title": "The Mask", "Year": "1994", "Type": "movie", "Runtime": "101 min", "Plot": "A mask."},
        {"movie_id": 5, "Title": "Pulp", "Year": "1994", "Type": "movie", "Runtime": "154 min"},
    ]
    write_omdb(ml100k, *answers)
    raw = read(ml100k)
    assert item(raw, "5").description == "A burger-loving hit man."
    assert item(raw, "4").description == "A mask."
    assert raw.problems.settled["rows of metadata.csv that describe another film, left out"] == 1
    (ml100k / "omdb.jsonl").unlink()
    raw = read(ml100k)  # nothing tells whose it is
    assert item(raw, "4").description == item(raw, "5").description == ""


def test_a_making_of_is_refused_by_its_runtime(ml100k: Path) -> None:
    write_metadata(ml100k, '1,"Matrix, The (1999)",1999,A documentary about the making of it.,en,25.0,9,9')
    write_omdb(ml100k, {"movie_id": 1, "Title": "The Matrix", "Year": "1999", "Type": "movie", "Runtime": "136 min"})
    assert item(read(ml100k), "1").description == ""


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ({"Title": "Anything", "Year": "1997", "Type": "movie"}, True),
        ({"Title": "The Matrix", "Year": "1991", "Type": "movie"}, True),
        ({"Title": "Matrix", "Year": "1991", "Type": "movie"}, True),
        ({"Title": "Anything", "Year": "1991", "Type": "movie"}, False),
        ({"Title": "The Matrix", "Year": "1979", "Type": "movie"}, False),
        ({"Title": "The Matrix", "Year": "1999–2003", "Type": "series"}, False),
        ({"Response": "False", "Error": "Movie not found!"}, False),
    ],
)
def test_an_answer_must_fit_the_film(ml100k: Path, answer: dict[str, str], fits: bool) -> None:
    write_omdb(ml100k, {"movie_id": 1, **answer, "Plot": "The plot."})
    raw = read(ml100k)
    assert item(raw, "1").description == ("The plot." if fits else "")
    settled = raw.problems.settled.get("rows of omdb.jsonl that describe another film or no film, left out", 0)
    assert settled == (0 if fits else 1)


def test_pictures_are_joined_by_id(ml100k: Path) -> None:
    (ml100k / "posters").mkdir()
    for name in ("1.jpg", "2.PNG", "99.jpg", "notes.txt"):
        (ml100k / "posters" / name).write_bytes(b"x")
    raw = read(ml100k)
    assert raw.images == {"1": ml100k / "posters/1.jpg", "2": ml100k / "posters/2.PNG"}
    assert all(path.is_absolute() for path in raw.images.values())
    assert item(raw, "1").image == "posters/1.jpg"
    assert item(raw, "4").image is None
    assert raw.problems.settled["items with no image"] == 3
    assert raw.problems.settled["images of no item, left out"] == 1


def test_a_picture_that_is_a_link_out_of_the_folder_is_refused(ml100k: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (ml100k / "posters").mkdir()
    (ml100k / "posters" / "1.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(UserError, match=r"1\.jpg leaves the data folder"):
        read(ml100k)
    (ml100k / "posters" / "1.jpg").unlink()
    (ml100k / "posters" / "2.jpg").write_bytes(b"x")
    (ml100k / "posters" / "1.jpg").symlink_to("2.jpg")  # within the folder is fine
    assert set(read(ml100k).images) == {"1", "2"}


def test_a_whole_folder_of_pictures_may_not_be_a_link_out_either(ml100k: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (ml100k / "posters").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="posters leaves the data folder"):
        read(ml100k)


def test_a_data_file_may_not_be_a_link_out(ml100k: Path, tmp_path: Path) -> None:
    (ml100k / "u.data").rename(tmp_path / "u.data")
    (ml100k / "u.data").symlink_to(tmp_path / "u.data")
    with pytest.raises(UserError, match=r"u\.data leaves the data folder"):
        read(ml100k)


def test_missing_half(ml100k: Path) -> None:
    (ml100k / "u.item").unlink()
    with pytest.raises(UserError, match=r"has u\.data but no u\.item"):
        read(ml100k)


def test_bad_films_and_ratings_stop_with_their_lines(ml100k: Path) -> None:
    with (ml100k / "u.item").open("a") as file:
        file.write("6|Cut (1990)|01-\n")
    with pytest.raises(UserError, match=r"u\.item:6: '6\|Cut"):
        read(ml100k)


def test_1m_and_10m(tmp_path: Path) -> None:
    films = [
        "1::Toy Story (1995)::Animation|Children's|Comedy",
        "2::Misérables, Les (1995)::Drama",
        "3::X: Y (2000)::(no genres listed)",
    ]
    (tmp_path / "movies.dat").write_bytes("\n".join(films).encode("latin-1"))
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n1::2::0.5::978302109\n")
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    (tmp_path / "tags.dat").write_text("1::1::Pixar!::10\n2::1::pixar!::11\n2::2::once::12\n")
    raw = read(tmp_path)
    assert raw.kind == "movielens-dat"
    assert [found.title for found in raw.catalogue] == ["Toy Story", "Les Misérables", "X: Y"]
    assert item(raw, "1").attributes == {
        "year": 1995.0,
        "genres": ("Animation", "Children's", "Comedy"),
        "tags": ("pixar!",),
    }
    assert item(raw, "3").attributes == {"year": 2000.0}
    assert raw.users.rows() == [("1", 1.0, "F", "K-12 student"), ("2", 56.0, "M", "self-employed")]
    assert raw.interactions.collect()["value"].to_list() == [5.0, 0.5]


def test_csv_editions_with_tags_and_links(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n1,Toy Story (1995),Animation|Comedy\n9,"American President, The (1995)",Drama\n'
    )
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,9,4.0,964982703\n")
    (tmp_path / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n9,0112346,\n")
    tags = ["3,1,Pixar,5", '4,1,"pixar ",6', "4,1,fun,7", "5,9,fun,8", "6,9,lonely,9", "6,9,,9"]
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n" + "\n".join(tags) + "\n")
    raw = read(tmp_path)
    assert raw.kind == "movielens-csv"
    assert item(raw, "1").attributes["tags"] == ("pixar", "fun")
    assert item(raw, "9").attributes["tags"] == ("fun",)
    assert item(raw, "9").title == "The American President"
    assert raw.problems.settled == {
        "tags that are empty or over 60 letters long, left out": 1,
        "tags given only once, left out": 1,
        "rows of links.csv, not used": 2,
    }
    assert raw.users.rows() == []


def test_a_csv_edition_with_another_column_says_which(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,Toy Story (1995),Comedy\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,stars,timestamp\n1,1,4.0,964982703\n")
    with pytest.raises(
        UserError, match=r"ratings\.csv has no column 'rating'.*found userId, movieId, stars, timestamp"
    ):
        read(tmp_path)
    (tmp_path / "movies.csv").write_text("id,title,genres\n1,Toy Story (1995),Comedy\n")
    with pytest.raises(UserError, match=r"movies\.csv has no column 'movieId'"):
        read(tmp_path)


def test_a_film_named_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,First (1995),Comedy\n1,Second (1996),Drama\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,964982703\n")
    raw = read(tmp_path)
    assert [found.title for found in raw.catalogue] == ["First"]
    assert raw.problems.settled == {"items whose id came before, left out (the first one counts)": 1}
