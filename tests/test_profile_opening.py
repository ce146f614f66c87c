"""Which store is opened, by path or URL: through the option, the environment, the library; what doctor says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import profile_places
import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from llm4rec.profiles.opening import open_store
from llm4rec.profiles.store import SqliteProfileStore
from profile_cases import said
from terminal import command


@pytest.fixture
def url() -> Iterator[str]:
    with profile_places.postgres_place() as url:
        yield url


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_file(tmp_path: Path, kind: type) -> None:
    store = open_store(kind(tmp_path / "deep" / "p.sqlite"))
    assert isinstance(store, SqliteProfileStore)
    assert store.place == str(tmp_path / "deep" / "p.sqlite")
    store.close()


def test_a_url_is_a_server(url: str) -> None:
    one, other = open_store(url), open_store(url.replace("postgresql:", "postgres:"))
    one.append(said(0))
    assert other.events("ana") == (said(0),)
    one.close()
    other.close()


@pytest.mark.parametrize("wrong", ["mysql://ana:hunter2@host/db", "sqlite:///hunter2", "http://hunter2"])
def test_another_scheme_is_told_without_the_rest(wrong: str) -> None:
    with pytest.raises(UserError, match="postgresql://") as caught:
        open_store(wrong)
    assert wrong.split(":")[0] in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_workspace_may_keep_its_profiles_on_a_server(shop: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recommender.open(shop, llm="rules", profiles=url) as recommender:
        recommender.feedback("ana", "like", "p3")
        place = recommender.knowledge.store.place
    mine = ("--user", "ana", "-w", shop)
    shown = command("profile", "show", *mine, "--json", "--profiles", url).document
    assert [(event["kind"], event["item"]) for event in shown["events"]] == [("like", "p3")]
    assert command("profile", "show", *mine).code == 2, "nothing is known in the workspace's own store"
    monkeypatch.setenv("LLM4REC_PROFILES", url)
    assert "You liked" in command("profile", "show", *mine).out
    listed = command("recommend", *mine, "-k", "50", "--json").document
    assert "p3" not in {card["id"] for card in listed["cards"]}
    doctor = command("doctor", "--llm", "rules", "--json", "-w", shop).document
    (stores,) = [finding["text"] for finding in doctor["findings"] if finding["what"] == "stores"]
    assert stores.startswith(f"profiles in {place}, users with events: 1,")
    assert "1 event erased" in command("profile", "forget", *mine, "--yes").out
    assert command("profile", "show", *mine).code == 2


def test_doctor_tells_of_a_server_that_is_not_there_and_keeps_the_password(shop: Path) -> None:
    gone = command("doctor", "--llm", "rules", "-w", shop, "--profiles", "postgresql://ana:hunter2@127.0.0.1:1/db")
    assert gone.code == 1
    assert "cannot be reached" in " ".join(gone.out.split())
    assert "hunter2" not in gone.out + gone.err
    with Recommender.open(shop, llm="rules") as recommender:
        assert recommender.knowledge.store.place == str(shop / "state" / "profiles.sqlite")
