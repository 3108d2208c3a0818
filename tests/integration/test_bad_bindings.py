"""A binding that nobody can serve, two bindings on one field, parts that do not exist: clear errors, nothing lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import BindingConflict, ModelUnavailable, SchemaError, UsageError
from tests.embedder import TinyEmbedder
from tests.integration.test_bad_checkpoints import DOCUMENTS, FIELDS, control, index, refused, settled
from tests.integration.test_cli import Cli, cli

__all__ = ["cli", "control", "index"]


def bound_to(client: Elasticsearch, index: str, edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Edit the ``_meta`` of an index by hand, and return what it was."""
    before: dict[str, Any] = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    meta = json.loads(json.dumps(before))
    edit(meta["es_semantic"])
    client.indices.put_mapping(index=index, meta=meta)
    return before


def fingerprint(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda stored: stored["fields"]["semantic"]["fingerprint"].update(values)


GONE = "es-semantic-tests/no-such-model"


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("sentence-transformers", ["cannot be loaded", "offline"]),
        ("openai-compatible", ["is not configured here", "Add it to `models` in es-semantic.yml"]),
    ],
)
def test_a_binding_whose_model_is_gone(
    client: Elasticsearch, index: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, provider: str, said: list[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = bound_to(client, index, fingerprint(provider=provider, model=GONE))
    for work in (partial(es_semantic.sync, client, index), partial(es_semantic.follow, client, [index])):
        with pytest.raises(ModelUnavailable, match=GONE) as caught:
            work()
        assert [words for words in said if words not in str(caught.value)] == []
    for command in (["sync", index, "--json"], ["search", index, "text", "--json"]):
        ran = cli(*command)
        assert (ran.code, ran.json["error"]["type"]) == (1, "ModelUnavailable")
        assert [words for words in (GONE, *said) if words not in ran.err] == []
    # What needs no model still works.
    assert (cli("status", index).code, cli("failures", index).code) == (0, 0)
    client.indices.put_mapping(index=index, meta=before)
    settled(client, index)


def test_a_second_binding_of_one_name_is_refused(client: Elasticsearch, index: str) -> None:
    before = client.indices.get(index=index)[index]
    for model, fields in ((TinyEmbedder("another"), FIELDS), (TinyEmbedder(dims=32), FIELDS)):
        with pytest.raises(BindingConflict, match=index) as caught:
            es_semantic.attach(client, index, fields, model=model)
        assert caught.value.hint
    assert client.indices.get(index=index)[index] == before
    settled(client, index)


def test_two_bindings_on_the_same_source_field_do_not_disturb_each_other(client: Elasticsearch, index: str) -> None:
    other = TinyEmbedder("another")
    es_semantic.attach(client, index, FIELDS, model=other, name="meaning")
    assert es_semantic.sync(client, index, model=other, name="meaning").embedded == DOCUMENTS + 1
    settled(client, index)
    assert es_semantic.sync(client, index, model=other, name="meaning").embedded == 0
    assert es_semantic.status(client, index, name="meaning").ready == DOCUMENTS + 1


GARBAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no fingerprint": lambda stored: stored["fields"]["semantic"].pop("fingerprint"),
    "no source": lambda stored: stored["fields"]["semantic"].pop("source"),
    "no source field": lambda stored: stored["fields"]["semantic"].update(source=[]),
    "source of another type": lambda stored: stored["fields"]["semantic"].update(source={"title": 1}),
    "fingerprint of another type": lambda stored: stored["fields"]["semantic"].update(fingerprint="tiny"),
    "dims of another type": fingerprint(dims="many"),
    "a key too many": fingerprint(url="http://127.0.0.1:1"),
    "a later version": lambda stored: stored.update(version=99),
    "fields are a list": lambda stored: stored.update(fields=["semantic"]),
}


@pytest.mark.parametrize("edit", GARBAGE)
def test_a_binding_that_was_edited_to_garbage(client: Elasticsearch, index: str, edit: str) -> None:
    before = bound_to(client, index, GARBAGE[edit])
    error = refused(client, index, SchemaError, repr(index), "_meta.es_semantic")
    assert "127.0.0.1" not in str(error)
    for work in (
        lambda: es_semantic.status(client, index),
        lambda: es_semantic.failures(client, index, retry=True),
        lambda: es_semantic.search(client, index, "text", model=TinyEmbedder()),
        lambda: es_semantic.attach(client, index, FIELDS, model=TinyEmbedder()),
        lambda: es_semantic.detach(client, index),
    ):
        with pytest.raises(SchemaError, match=r"_meta\.es_semantic"):
            work()
    client.indices.put_mapping(index=index, meta=before)
    settled(client, index)


NO_PARTITIONS = [
    "0/0",
    "3/2",
    "0/2",
    "a/b",
    "",
    "1",
    "1/",
    "1/2/3",
    "-1/2",
    "1/1025",
    "1.0/2",
    "\uff11/\uff12",
    "1/2\n",
]


@pytest.mark.parametrize("partition", NO_PARTITIONS, ids=ascii)
def test_a_partition_that_does_not_exist(client: Elasticsearch, index: str, cli: Cli, partition: str) -> None:
    said = f"partition {partition!r} does not exist"
    for verb in (["sync", index, "--json"], ["sync", index, "--follow"]):
        ran = cli(*verb, f"--partition={partition}")
        assert ran.code == 2
        assert said in ran.err
        assert "Write i/n with 1 <= i <= n <= 1024" in ran.err
    for work in (partial(es_semantic.sync, client, index), partial(es_semantic.follow, client, [index])):
        with pytest.raises(UsageError, match=re.escape(said)):
            work(model=TinyEmbedder(), partition=partition)
    settled(client, index)
