"""``es-semantic migrate`` as somebody types it, with two real SentenceTransformers models."""

from __future__ import annotations

from pathlib import Path

from elasticsearch import Elasticsearch

from tests.integration.test_cli import Cli, cli
from tests.migrating import NEW
from tests.nodes import MakeIndex
from tests.small_models import small_model

__all__ = ["cli"]

TEXTS = {"1": "a quokka on an island", "2": "a wombat under the ground", "3": "rain over the harbour"}


def test_by_command_line(client: Elasticsearch, cli: Cli, make_index: MakeIndex, tmp_path: Path) -> None:
    old = small_model(tmp_path / "old", pooling="mean")
    new = small_model(tmp_path / "new", pooling="mean", dense=True)
    index = make_index({"title": {"type": "text"}})
    for doc_id, text in TEXTS.items():
        client.index(index=index, id=doc_id, document={"title": text}, refresh=True)
    assert cli("attach", index, "--fields", "title", "--model", old, "--chunk", "never").code == 0
    assert cli("sync", index).code == 0

    begun = cli("migrate", index, "--model", new, "--chunk", "never", "--json")
    assert (begun.json["field"], begun.json["report"]["embedded"]) == (NEW, 3)
    state = cli("migrate", index)
    assert (state.code, f"{index}, semantic: ready" in state.out) == (0, True)
    assert f"es-semantic migrate {index} switch" in state.err

    queries = tmp_path / "queries.txt"
    queries.write_text("an island\nthe harbour\n")
    compared = cli("migrate", index, "compare", "--queries", str(queries), "--json").json
    assert {name: each["dims"] for name, each in compared["models"].items()} == {"model (serves)": 32, "model": 24}
    assert [each["bytes_per_vector"] > 0 for each in compared["models"].values()] == [True, True]
    assert compared["queries"] == 2

    assert cli("migrate", index, "switch", "--json").json["phase"] == "switched"
    found = cli("search", index, TEXTS["1"], "--mode", "knn", "--json").json
    assert (found["hits"][0]["id"], found["hits"][0]["source"]) == ("1", {"title": TEXTS["1"]})
    assert found["hits"][0]["score"] > 0.99
    assert cli("status", index, "--json").json["field"] == NEW
    assert cli("migrate", index, "rollback", "--json").json["serving"]["field"] == "semantic"
    assert cli("migrate", index, "switch").code == 0
    dropped = cli("migrate", index, "drop")
    assert "the values of semantic were removed from 3 documents" in dropped.err
    assert f"{index}, semantic: none" in dropped.out
    assert cli("migrate", index, "cancel", "--json").json["notes"] == ["there is nothing to remove"]
    assert cli("migrate", index, "prepare").code == 2
