"""``es-semantic failures``: every dead letter is listed, queued again on demand, and gone once it holds no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.embedding import Embeddings
from es_semantic.errors import InputRejected, TooManyFailures
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync.dead_letters import PAGE
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import MakeIndex
from tests.truth import untrue

__all__ = ["cli"]

TEXT = {"type": "text"}
REASON = "this text is refused"
TITLES = {"good": "a good text", "bad": "poison", "[/]": "poison of another [bold] id"}
DEAD = ["[/]", "bad"]


class Picky(TinyEmbedder):
    """Refuses every text with this word."""

    def __init__(self, word: str = "poison") -> None:
        super().__init__()
        self.word = word

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any(self.word in text for text in texts):
            raise InputRejected(REASON)
        return super().embed_documents(texts)


@pytest.fixture
def index(client: Elasticsearch, make_index: MakeIndex) -> str:
    """Synced: one document is true, two are dead letters."""
    name = make_index({"title": TEXT}, documents={doc_id: {"title": title} for doc_id, title in TITLES.items()})
    es_semantic.attach(client, name, ["title"], model=Picky())
    assert es_semantic.sync(client, name, model=Picky()).failed == 2
    return name


def ids(listed: dict[str, Any]) -> list[str]:
    return sorted(letter["id"] for letter in listed["failures"])


def kept(client: Elasticsearch, index: str) -> int:
    """How many dead letters of an index the control index has."""
    client.indices.refresh(index=CONTROL_INDEX)
    filters = [{"term": {"kind": "dead_letter"}}, {"term": {"index": index}}]
    return int(client.count(index=CONTROL_INDEX, query={"bool": {"filter": filters}})["count"])


def is_true(client: Elasticsearch, index: str) -> bool:
    return untrue(client, index, ["title"], TinyEmbedder()) == {}


def test_the_table_names_every_letter_and_what_to_do_next(cli: Cli, index: str) -> None:
    ran = cli("failures", index)
    assert ran.code == 0
    rows = [line for line in ran.out.splitlines() if REASON in line]
    assert sorted(row.replace("│", " ").split()[1] for row in rows) == DEAD
    assert all(row.replace("│", " ").split()[0] == index for row in rows)
    assert all(heading in ran.out for heading in ("index", "id", "since (UTC)", "reason"))
    assert f"es-semantic failures {index} --retry, then es-semantic sync {index}" in ran.err
    assert [title for title in TITLES.values() if title in ran.out + ran.err] == []


def test_the_document_for_scripts_has_every_key(cli: Cli, index: str) -> None:
    ran = cli("failures", index, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert list(ran.json) == ["index", "field", "failures", "queued"]
    assert (ran.json["index"], ran.json["field"], ran.json["queued"]) == (index, "semantic", 0)
    assert ids(ran.json) == DEAD
    for letter in ran.json["failures"]:
        assert list(letter) == ["index", "id", "routing", "model", "reason", "at"]
        stamp = TinyEmbedder().profile.fingerprint.id
        assert (letter["index"], letter["routing"], letter["model"], letter["reason"]) == (index, None, stamp, REASON)
        assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(letter["at"]) < timedelta(hours=1)


def test_the_routing_tells_two_documents_of_one_id_apart(
    cli: Cli, client: Elasticsearch, make_index: MakeIndex
) -> None:
    name = make_index({"title": TEXT}, settings={"number_of_shards": 4}, _routing={"required": True})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    for routing, title in (("one", "poison"), ("other", "poison too"), ("third", "fine")):
        client.index(index=name, id="same", routing=routing, document={"title": title})
    es_semantic.sync(client, name, model=Picky())
    letters = cli("failures", name, "--json").json["failures"]
    assert sorted((letter["id"], letter["routing"]) for letter in letters) == [("same", "one"), ("same", "other")]
    assert cli("failures", name, "--retry", "--json").json["queued"] == 2
    assert es_semantic.sync(client, name, model=TinyEmbedder()).embedded == 2
    assert is_true(client, name)


def test_nothing_there(cli: Cli, client: Elasticsearch, make_index: MakeIndex) -> None:
    name = make_index({"title": TEXT}, documents={"1": {"title": "fine"}})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    for _ in ("before the first sync", "after it"):
        for retry in ([], ["--retry"]):
            ran = cli("failures", name, *retry)
            assert (ran.code, ran.out, ran.err) == (0, "", f"{name}: no dead letters\n")
            listed = cli("failures", name, "--json", *retry).json
            assert listed == {"index": name, "field": "semantic", "failures": [], "queued": 0}
        es_semantic.sync(client, name, model=TinyEmbedder())


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "said"),
    [
        (["no-such-index"], 1, "IndexUnavailable", "no index, alias or data stream 'no-such-index'"),
        (["PLAIN"], 1, "NotAttached", "has no semantic field"),
        (["INDEX", "--name", "other"], 1, "NotAttached", "has no semantic field 'other' (it has: semantic)"),
        (["*"], 2, "UsageError", "not the name of one index"),
        ([], 2, "UsageError", "Missing argument"),
        (["INDEX", "--no-such"], 2, "UsageError", "No such option"),
    ],
)
def test_wrong_use(
    cli: Cli, make_index: MakeIndex, index: str, arguments: list[str], code: int, kind: str, said: str
) -> None:
    names = {"INDEX": index, "PLAIN": make_index({"title": TEXT})}
    for retry in ([], ["--retry"]):
        ran = cli("failures", *[names.get(argument, argument) for argument in arguments], *retry, "--json")
        assert (ran.code, ran.json["error"]["type"]) == (code, kind)
        assert said in ran.json["error"]["what"]
        assert said in ran.err
    assert ids(cli("failures", index, "--json").json) == DEAD


def test_what_is_queued_again_is_written_once_its_cause_is_mended(cli: Cli, client: Elasticsearch, index: str) -> None:
    # Without --retry a failed document is not embedded again, however often somebody syncs.
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 0
    ran = cli("failures", index, "--retry")
    assert ran.code == 0
    assert f"2 of 2 queued again.\nNext: es-semantic sync {index}" in ran.err
    # Queued is no dead letter; until the next sync it is pending.
    assert ids(cli("failures", index, "--json").json) == []
    client.indices.refresh(index=index)
    state = es_semantic.status(client, index)
    assert (state.pending, state.failed) == (2, 0)

    half_mended = es_semantic.sync(client, index, model=Picky("another"))
    assert (half_mended.embedded, half_mended.failed) == (1, 1)
    assert ids(cli("failures", index, "--json").json) == ["[/]"]
    again = cli("failures", index, "--retry", "--json").json
    assert (ids(again), again["queued"]) == (["[/]"], 1)
    assert es_semantic.sync(client, index, model=TinyEmbedder()).embedded == 1
    assert is_true(client, index)
    assert kept(client, index) == 0


@pytest.mark.parametrize("retry", [False, True])
def test_the_letter_of_a_deleted_document_disappears(
    cli: Cli, client: Elasticsearch, index: str, *, retry: bool
) -> None:
    client.delete(index=index, id="bad")
    listed = cli("failures", index, "--json", *(["--retry"] if retry else [])).json
    assert (ids(listed), listed["queued"]) == (["[/]"], int(retry))
    assert kept(client, index) == (0 if retry else 1)


def edit(client: Elasticsearch, index: str) -> None:
    client.index(index=index, id="bad", document={"title": "a good text by now"})


def edit_past_the_pipeline(client: Elasticsearch, index: str) -> None:
    lines = [{"update": {"_id": "bad"}}, {"doc": {"title": "a good text by now"}}]
    assert not client.bulk(index=index, operations=lines)["errors"]


def edit_into_nothing(client: Elasticsearch, index: str) -> None:
    client.index(index=index, id="bad", document={"title": None})


@pytest.mark.parametrize("change", [edit, edit_past_the_pipeline, edit_into_nothing])
def test_the_letter_of_a_document_that_was_edited_into_a_good_one_disappears_after_sync(
    cli: Cli, client: Elasticsearch, index: str, change: Callable[[Elasticsearch, str], None]
) -> None:
    change(client, index)
    report = es_semantic.sync(client, index, model=Picky())
    assert (report.embedded + report.empty + report.unchanged, report.failed) == (1, 0)
    assert kept(client, index) == 1
    assert ids(cli("failures", index, "--json").json) == ["[/]"]
    assert set(untrue(client, index, ["title"], TinyEmbedder())) == {"[/]"}


def test_the_letter_of_a_document_that_is_as_bad_after_an_edit_stays_one(
    cli: Cli, client: Elasticsearch, index: str
) -> None:
    client.index(index=index, id="bad", document={"title": "poison again"})
    assert es_semantic.sync(client, index, model=Picky()).failed == 1
    assert (ids(cli("failures", index, "--json").json), kept(client, index)) == (DEAD, 2)


def test_each_semantic_field_has_its_own_letters(cli: Cli, client: Elasticsearch, index: str) -> None:
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), name="meaning")
    es_semantic.sync(client, index, model=TinyEmbedder(), name="meaning")
    assert cli("failures", index, "--name", "meaning", "--json").json["failures"] == []
    assert cli("failures", index, "--name", "meaning", "--retry", "--json").json["queued"] == 0
    assert ids(cli("failures", index, "--name", "semantic", "--json").json) == DEAD


def test_what_cannot_be_queued_is_counted_and_stays(cli: Cli, client: Elasticsearch, make_index: MakeIndex) -> None:
    documents = {"1": {"title": "written before `count` was mapped", "count": "many"}}
    name = make_index({"title": TEXT}, documents=documents, dynamic=False)
    client.indices.put_mapping(index=name, properties={"count": {"type": "integer"}})
    es_semantic.attach(client, name, ["title"], model=TinyEmbedder())
    assert es_semantic.sync(client, name, model=TinyEmbedder()).failed == 1
    ran = cli("failures", name, "--retry")
    assert (ran.code, "0 of 1 queued again" in ran.err) == (0, True)
    listed = cli("failures", name, "--json").json
    assert [letter["reason"].split(":")[0] for letter in listed["failures"]] == ["document_parsing_exception"]
    client.index(index=name, id="1", document={"title": "mended", "count": 1})
    es_semantic.sync(client, name, model=TinyEmbedder())
    assert (ids(cli("failures", name, "--json").json), kept(client, name)) == ([], 0)
    assert is_true(client, name)


def fill_with_dead_letters(client: Elasticsearch, index: str, count: int) -> None:
    lines: list[dict[str, Any]] = []
    for number in range(count):
        lines += [{"index": {"_id": str(number)}}, {"title": f"poison {number}"}]
    assert not client.bulk(index=index, operations=lines, refresh=True)["errors"]
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder())
    # A sync stops when too many fail; the next one goes on behind them.
    for _ in range(count):
        try:
            es_semantic.sync(client, index, model=Picky())
        except TooManyFailures:
            continue
        return


def test_more_letters_than_a_page(cli: Cli, client: Elasticsearch, make_index: MakeIndex) -> None:
    count = PAGE + 234
    name = make_index({"title": TEXT})
    fill_with_dead_letters(client, name, count)
    wanted = sorted(map(str, range(count)))
    listed = cli("failures", name, "--json").json
    assert ids(listed) == wanted
    assert [letter["at"] for letter in listed["failures"]] == sorted(letter["at"] for letter in listed["failures"])
    assert sum(REASON in line for line in cli("failures", name).out.splitlines()) == count
    retried = cli("failures", name, "--retry", "--json")
    assert (ids(json.loads(retried.out)), retried.json["queued"]) == (wanted, count)
    assert es_semantic.sync(client, name, model=TinyEmbedder()).embedded == count
    assert (cli("failures", name, "--json").json["failures"], kept(client, name)) == ([], 0)
    assert is_true(client, name)
