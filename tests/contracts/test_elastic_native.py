"""Elastic's own ``_inference`` and ``semantic_text`` on a trial licence: Elastic is the client, our server embeds."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from pydantic import SecretStr

from es_semantic.api_native import native, remove_native
from es_semantic.cli.main import main
from es_semantic.config import Config, SentenceTransformersModel
from es_semantic.embedding import Embedder
from es_semantic.errors import BindingConflict, ModelUnavailable, RequestFailed, SchemaError, UsageError
from es_semantic.server.models import ConfiguredModels
from tests.elastic_native import cosine, endpoints, forwarding, ids, operations, refused, stored_vectors
from tests.native_node import native_node
from tests.nodes import MakeIndex
from tests.serving import OneModel, Server, serving

__all__ = ["native_node"]

Json = dict[str, Any]

TEXTS = {
    "1": "The cat sleeps on the sofa all afternoon.",
    "2": "Interest rates were raised by the central bank on Thursday.",
    "3": "Simmer the tomatoes with garlic and basil for twenty minutes.",
    "4": "The telescope photographed a galaxy twelve billion light years away.",
    "5": "To reset your password, follow the link in the mail.",
    "6": "The striker scored twice in the second half.",
    "7": "Heavy rain flooded the streets of the old town.",
    "8": "Her violin concerto was first performed in Vienna.",
    "9": "The vaccine protects children against measles.",
    "10": "Train services were cancelled because of a strike.",
}
QUESTIONS = {
    "my pet is taking a nap": "1",
    "monetary policy": "2",
    "a recipe for pasta sauce": "3",
    "astronomy": "4",
    "I cannot log in any more": "5",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our server with a quick model, and with keys."""
    with serving(tmp_path_factory.mktemp("server"), "http://127.0.0.1:1", source=OneModel()) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> SecretStr:
    return SecretStr(server.key("embed"))


@pytest.fixture
def name(native_node: Elasticsearch) -> Iterator[str]:
    """A name for an index; every index and endpoint whose names begin so are removed."""
    unique = f"test-{uuid.uuid4().hex[:12]}"
    yield unique
    for index in native_node.indices.get(index=f"{unique}*", expand_wildcards="all"):
        native_node.indices.delete(index=index)
    for id in endpoints(native_node, unique):
        native_node.inference.delete(inference_id=id, force=True)


# Torch gives the same vectors whatever else is in the batch; quicker engines differ in the fifth digit of the cosine.
TORCH = SentenceTransformersModel(engine="torch")
MODELS = ConfiguredModels(Config(models={"default": TORCH}))


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    embedder = MODELS.named("default")
    assert embedder is not None
    return embedder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our server with the real model, and with keys."""
    with serving(tmp_path_factory.mktemp("real"), "http://127.0.0.1:1", source=MODELS) as running:
        yield running


class TestWithMiniLM:
    """The real model: what Elastic stores and finds is what we would."""

    def test_what_anybody_writes_is_found_by_meaning(
        self, native_node: Elasticsearch, real: Server, minilm: Embedder, name: str
    ) -> None:
        change = native(native_node, name, "body", server=real.url, key=SecretStr(real.key("embed")))
        assert change.changed
        assert change.endpoint is not None
        assert (change.endpoint.dims, change.endpoint.words, change.notes) == (384, 150, ())
        assert not native_node.bulk(index=name, operations=operations(TEXTS), refresh=True)["errors"]

        ours = dict(zip(TEXTS, minilm.embed_documents(list(TEXTS.values())).vectors, strict=True))
        stored = stored_vectors(native_node, name, "body")
        assert {id: (chunk[0][:2], len(chunk)) for id, chunk in stored.items()} == {
            id: ((0, len(text)), 1) for id, text in TEXTS.items()
        }
        # Elastic stores bfloat16 unless told otherwise: eight bits of each number.
        assert min(cosine(chunk[0][2], ours[id]) for id, chunk in stored.items()) > 0.99999

        for question, wanted in QUESTIONS.items():
            vector = minilm.embed_queries([question]).vectors[0]
            ranked = sorted(TEXTS, key=lambda id, vector=vector: -cosine(ours[id], vector))  # type: ignore[misc]
            by_semantic = ids(native_node, name, {"semantic": {"field": "body", "query": question}})
            assert by_semantic[:3] == ranked[:3]
            assert ids(native_node, name, {"match": {"body": question}}) == by_semantic
            assert by_semantic[0] == wanted
        mapping = native_node.indices.get_mapping(index=name)[name]["mappings"]["properties"]["body"]
        assert mapping["index_options"]["dense_vector"]["type"] == "int8_hnsw"
        assert (mapping["model_settings"]["dimensions"], mapping["model_settings"]["similarity"]) == (384, "cosine")

    def test_long_texts_are_cut_where_the_model_would_stop_reading(
        self, native_node: Elasticsearch, real: Server, minilm: Embedder, name: str
    ) -> None:
        native(native_node, name, "body", server=real.url, key=SecretStr(real.key("embed")))
        text = " ".join(TEXTS.values()) * 6
        native_node.index(index=name, id="long", document={"body": text}, refresh=True)
        chunks = stored_vectors(native_node, name, "body")["long"]
        assert len(chunks) > 2
        parts = [text[start:end] for start, end, _ in chunks]
        assert max(len(part.split()) for part in parts) <= 150
        embedded = minilm.embed_documents(parts)
        assert embedded.over_long == ()
        for (_, _, vector), ours in zip(chunks, embedded.vectors, strict=True):
            assert cosine(vector, ours) > 0.99999

    def test_inference_itself_gives_our_vectors(
        self, native_node: Elasticsearch, real: Server, minilm: Embedder, name: str
    ) -> None:
        native(native_node, name, "body", server=real.url, key=SecretStr(real.key("embed")))
        texts = list(TEXTS.values())
        answer = native_node.inference.text_embedding(inference_id=f"es-semantic-{name}", input=texts)
        vectors = [row["embedding"] for row in answer["text_embedding"]]
        assert np.allclose(vectors, minilm.embed_documents(texts).vectors, atol=1e-5)


def test_what_is_registered(native_node: Elasticsearch, server: Server, key: SecretStr, name: str) -> None:
    change = native(native_node, name, ["title", "meta.body"], server=f"{server.url}/", key=key)
    stored = endpoints(native_node, name)[f"es-semantic-{name}"]
    assert stored["service"] == "openai"
    assert stored["service_settings"] == {
        "model_id": "default",
        "url": f"{server.url}/v1/embeddings",
        "similarity": "cosine",
        "dimensions": 64,
        "rate_limit": {"requests_per_minute": 3000},
    }
    assert stored["chunking_settings"] == {"strategy": "sentence", "max_chunk_size": 250, "sentence_overlap": 1}
    properties = native_node.indices.get_mapping(index=name)[name]["mappings"]["properties"]
    assert properties["title"]["inference_id"] == f"es-semantic-{name}"
    assert properties["meta"]["properties"]["body"]["type"] == "semantic_text"
    native_node.index(index=name, id="1", document={"meta": {"body": "an old oak"}}, refresh=True)
    assert ids(native_node, name, {"match": {"meta.body": "oak"}}) == ["1"]
    assert key.get_secret_value() not in repr(change)


def test_doing_it_again_changes_nothing(native_node: Elasticsearch, server: Server, key: SecretStr, name: str) -> None:
    native(native_node, name, "body", server=server.url, key=key)
    native_node.index(index=name, id="1", document={"body": "an old oak"}, refresh=True)
    before = native_node.indices.get(index=name)[name], endpoints(native_node, name)
    again = native(native_node, name, "body", server=server.url, key=key)
    assert not again.changed
    assert [request.path for request in again.requests] == [f"/_inference/text_embedding/es-semantic-{name}/_update"]
    assert (native_node.indices.get(index=name)[name], endpoints(native_node, name)) == before
    # After a loss of the index alone, the rest is completed.
    native_node.indices.delete(index=name)
    assert native(native_node, name, "body", server=server.url, key=key).changed
    assert native_node.indices.exists(index=name)


def test_a_new_key_takes_the_place_of_a_revoked_one(native_node: Elasticsearch, server: Server, name: str) -> None:
    first, second = SecretStr(server.key("embed")), SecretStr(server.key("embed"))
    native(native_node, name, "body", server=server.url, key=first)
    server.keys.revoke(first.get_secret_value().split("_")[1])
    status, reason = refused(lambda: native_node.index(index=name, document={"body": "an old oak"}))
    assert (status, "the API key is not valid" in reason) == (401, True)
    with pytest.raises(ModelUnavailable, match="401"):
        native(native_node, name, "body", server=server.url, key=first)
    native(native_node, name, "body", server=server.url, key=second)
    native_node.index(index=name, id="1", document={"body": "an old oak"}, refresh=True)
    assert ids(native_node, name, {"semantic": {"field": "body", "query": "oak"}}) == ["1"]


def test_a_dry_run_asks_and_changes_nothing(
    native_node: Elasticsearch, server: Server, key: SecretStr, name: str
) -> None:
    change = native(native_node, name, "body", server=server.url, key=key, dry_run=True)
    assert change.changed
    assert [(request.method, request.path) for request in change.requests] == [
        ("PUT", f"/_inference/text_embedding/es-semantic-{name}"),
        ("PUT", f"/{name}"),
    ]
    assert key.get_secret_value() not in repr(change)
    assert not native_node.indices.exists(index=name)
    assert endpoints(native_node, name) == {}


def test_what_elasticsearch_sends(native_node: Elasticsearch, server: Server, key: SecretStr, name: str) -> None:
    """Neither ``dimensions`` nor ``encoding_format``, ``user`` or ``input_type``: see docs/elasticsearch-facts.md."""
    with forwarding(server.url) as between:
        native(native_node, name, "body", server=between.url, key=key)
        asked_by_us = sum("Java" not in agent for agent in between.agents)
        assert between.bodies[asked_by_us:] == [{"input": ["how big"], "model": "default"}]
        native_node.bulk(index=name, operations=operations(TEXTS), refresh=True)
        native_node.search(index=name, query={"semantic": {"field": "body", "query": "a nap"}})
        native_node.search(index=name, query={"match": {"body": "a nap"}})
        by_elasticsearch = between.bodies[asked_by_us + 1 :]
    assert by_elasticsearch == [
        # All texts of a bulk request at once.
        {"input": list(TEXTS.values()), "model": "default"},
        {"input": ["a nap"], "model": "default"},
        {"input": ["a nap"], "model": "default"},
    ]
    assert all("Apache-HttpAsyncClient" in agent for agent in between.agents[asked_by_us:])


def test_how_much_elasticsearch_sends_at_once(
    native_node: Elasticsearch, server: Server, key: SecretStr, name: str
) -> None:
    """All of a bulk request, unless the setting that docs/native.md names says less."""

    def sizes(limit: str | None) -> list[int]:
        native_node.cluster.put_settings(transient={"indices.inference.batch_size": limit})
        with forwarding(server.url) as between:
            native(native_node, f"{name}-{limit or 'all'}", "body", server=between.url, key=key)
            before = len(between.bodies)
            texts = {str(number): "word " * 50 for number in range(40)}
            native_node.bulk(index=f"{name}-{limit or 'all'}", operations=operations(texts))
            return [len(body["input"]) for body in between.bodies[before:]]

    try:
        assert sizes(None) == [40]
        assert sizes("1kb") == [5] * 8
    finally:
        native_node.cluster.put_settings(transient={"indices.inference.batch_size": None})


def test_while_the_server_is_away_writes_and_queries_are_refused(
    native_node: Elasticsearch, server: Server, key: SecretStr, name: str
) -> None:
    with forwarding(server.url) as between:
        port = between.server_port
        native(native_node, name, "body", server=between.url, key=key)
        native_node.index(index=name, id="1", document={"body": "an old oak"}, refresh=True)
    for call in (
        lambda: native_node.index(index=name, id="2", document={"body": "an old wall"}),
        lambda: native_node.search(index=name, query={"semantic": {"field": "body", "query": "oak"}}),
    ):
        status, reason = refused(call)
        assert (status, "Failed to send OpenAI embeddings request" in reason) == (500, True)
    # In a bulk request only the documents with a text fail.
    some = [*operations({"3": "a wall"}), {"index": {"_id": "4"}}, {"other": 1}]
    items = native_node.bulk(index=name, operations=some)["items"]
    assert [item["index"]["status"] for item in items] == [500, 201]
    with pytest.raises(ModelUnavailable, match="es-semantic serve"):
        native(native_node, name, "body", server=f"http://127.0.0.1:{port}", key=key)
    with forwarding(server.url, port):
        native_node.index(index=name, id="2", document={"body": "an old wall"}, refresh=True)
        assert ids(native_node, name, {"semantic": {"field": "body", "query": "wall"}})[0] == "2"


def test_what_reaches_us_and_not_elasticsearch_is_said(
    native_node: Elasticsearch, server: Server, key: SecretStr, name: str
) -> None:
    with forwarding(server.url) as between:
        between.deaf_to_java = True
        with pytest.raises(RequestFailed, match="not from here") as caught:
            native(native_node, name, "body", server=between.url, key=key)
    assert "nodes must reach" in caught.value.hint
    assert key.get_secret_value() not in str(caught.value)
    assert endpoints(native_node, name) == {}
    assert not native_node.indices.exists(index=name)


class TestRefused:
    """Nothing is changed by what is refused."""

    @pytest.fixture(autouse=True)
    def _no_endpoint_is_made(self, native_node: Elasticsearch) -> Iterator[None]:
        before = endpoints(native_node, "")
        yield
        assert endpoints(native_node, "") == before

    @pytest.mark.parametrize(
        ("wrong", "error", "said"),
        [
            ({"index": "Upper"}, UsageError, "cannot name an index"),
            ({"index": "a,b"}, UsageError, "cannot name an index"),
            ({"fields": []}, UsageError, "at least one field"),
            ({"fields": ["a", "a"]}, UsageError, "none twice"),
            ({"server": "localhost:8600"}, UsageError, "--server"),
            ({"server": "http://user:secret@host:8600"}, UsageError, "user name or password"),
            ({"endpoint": "Upper case"}, UsageError, "cannot name an inference endpoint"),
            ({"model": "none-such"}, UsageError, "there is no model 'none-such'"),
            ({"key": SecretStr("line\nbreak")}, UsageError, "ES_SEMANTIC_SERVER_KEY"),
            ({"key": SecretStr("ess_wrong_key")}, ModelUnavailable, "401"),
            ({"key": None}, ModelUnavailable, "401"),
        ],
    )
    def test_what_cannot_be(
        self,
        native_node: Elasticsearch,
        server: Server,
        key: SecretStr,
        name: str,
        wrong: Json,
        error: type[Exception],
        said: str,
    ) -> None:
        given = {"index": name, "fields": ["body"], "server": server.url, "key": key, **wrong}
        with pytest.raises(error, match=said) as caught:
            native(native_node, given.pop("index"), given.pop("fields"), **given)
        assert "secret" not in str(caught.value)
        assert not native_node.indices.exists(index=name)

    def test_a_key_for_something_else(self, native_node: Elasticsearch, server: Server, name: str) -> None:
        with pytest.raises(ModelUnavailable, match="403") as caught:
            native(native_node, name, "body", server=server.url, key=SecretStr(server.key("search")))
        assert "scope embed" in caught.value.hint

    @pytest.mark.parametrize(
        ("properties", "said"),
        [
            ({"body": {"type": "text"}}, "'body' is text"),
            ({"title": {"type": "text"}}, "has no field 'body'"),
            ({"body": {"type": "semantic_text", "inference_id": "another"}}, "'another'"),
        ],
    )
    def test_an_index_of_another_shape(
        self, native_node: Elasticsearch, server: Server, key: SecretStr, name: str, properties: Json, said: str
    ) -> None:
        native_node.indices.create(index=name, mappings={"properties": properties})
        with pytest.raises(SchemaError, match=said) as caught:
            native(native_node, name, "body", server=server.url, key=key)
        assert f"es-semantic attach {name}" in caught.value.hint

    def test_an_alias(self, native_node: Elasticsearch, server: Server, key: SecretStr, name: str) -> None:
        native_node.indices.create(index=f"{name}-1", aliases={name: {}})
        with pytest.raises(SchemaError, match="is an alias"):
            native(native_node, name, "body", server=server.url, key=key)

    def test_something_that_is_no_such_server(self, native_node: Elasticsearch, node_url: str, name: str) -> None:
        with pytest.raises(UsageError, match="no handler found") as caught:
            native(native_node, name, "body", server=node_url)
        assert "--server" in caught.value.hint


def test_an_endpoint_for_something_else_is_left_alone(
    native_node: Elasticsearch, server: Server, key: SecretStr, name: str
) -> None:
    native(native_node, f"{name}-1", "body", server=server.url, key=key, endpoint=f"{name}-shared")
    before = endpoints(native_node, name)
    with forwarding(server.url) as between, pytest.raises(BindingConflict, match="url: there") as caught:
        native(native_node, f"{name}-2", "body", server=between.url, key=key, endpoint=f"{name}-shared")
    assert "--endpoint" in caught.value.hint
    assert endpoints(native_node, name) == before
    assert not native_node.indices.exists(index=f"{name}-2")


def test_a_basic_licence_is_told_what_works_without_it(
    client: Elasticsearch, server: Server, key: SecretStr, unique: str, make_index: MakeIndex
) -> None:
    make_index({"title": {"type": "text"}})
    before = set(endpoints(client, ""))
    with pytest.raises(RequestFailed, match="licence has no inference endpoints") as caught:
        native(client, unique, ["title", "body"], server=server.url, key=key)
    assert f"es-semantic attach {unique} --fields title,body" in caught.value.hint
    assert "Nothing was changed" in caught.value.what
    assert not client.indices.exists(index=unique)
    assert set(endpoints(client, "")) == before


class TestRemove:
    """What is used stays."""

    def test_an_index_without_documents_goes_with_its_endpoint(
        self, native_node: Elasticsearch, server: Server, key: SecretStr, name: str
    ) -> None:
        native(native_node, name, "body", server=server.url, key=key)
        planned = remove_native(native_node, name, dry_run=True)
        assert [request.method for request in planned.requests] == ["DELETE", "DELETE"]
        assert native_node.indices.exists(index=name)
        assert remove_native(native_node, name).changed
        assert not native_node.indices.exists(index=name)
        assert endpoints(native_node, name) == {}
        assert not remove_native(native_node, name).changed

    def test_documents_stay(self, native_node: Elasticsearch, server: Server, key: SecretStr, name: str) -> None:
        native(native_node, name, "body", server=server.url, key=key)
        native_node.index(index=name, document={"body": "an old oak"}, refresh=True)
        with pytest.raises(SchemaError, match="holds 1 documents; nothing was removed"):
            remove_native(native_node, name)
        assert native_node.count(index=name)["count"] == 1
        native_node.indices.delete(index=name)
        assert remove_native(native_node, name).changed
        assert endpoints(native_node, name) == {}

    def test_an_endpoint_of_several_stays_for_the_others(
        self, native_node: Elasticsearch, server: Server, key: SecretStr, name: str
    ) -> None:
        for index in (f"{name}-1", f"{name}-2"):
            native(native_node, index, "body", server=server.url, key=key, endpoint=f"{name}-shared")
        change = remove_native(native_node, f"{name}-1")
        assert change.notes == (f"the endpoint '{name}-shared' stays: {name}-2 use it",)
        assert not native_node.indices.exists(index=f"{name}-1")
        assert list(endpoints(native_node, name)) == [f"{name}-shared"]

    def test_another_index_is_left_alone(self, native_node: Elasticsearch, name: str) -> None:
        native_node.indices.create(index=name, mappings={"properties": {"body": {"type": "text"}}})
        with pytest.raises(SchemaError, match="no semantic_text field"):
            remove_native(native_node, name)
        assert native_node.indices.exists(index=name)


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(
    native_node: Elasticsearch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Run a command in this process, in an empty folder, and return its code, its output and its errors."""
    host = next(iter(native_node.transport.node_pool.all())).base_url
    monkeypatch.setenv("ES_SEMANTIC_URL", host)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["es-semantic", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def test_the_command(
    cli: Cli, native_node: Elasticsearch, server: Server, key: SecretStr, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = key.get_secret_value()
    monkeypatch.setenv("ES_SEMANTIC_SERVER_KEY", token)
    given = ("native", name, "--fields", "title,body", "--server", server.url)
    said = ""

    code, out, err = cli(*given, "--dry-run")
    assert code == 0
    assert f"PUT /{name}\n{{" in out
    assert "${ES_SEMANTIC_SERVER_KEY}" in out
    said += out + err

    code, out, err = cli("-v", *given, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["changed"], told["endpoint"], told["dims"]) == (True, f"es-semantic-{name}", 64)
    assert told["fields"] == ["title", "body"]
    said += out + err

    code, out, err = cli(*given)
    assert (code, "there already" in out, "given this one" in err) == (0, True, True)
    said += out + err

    native_node.index(index=name, id="1", document={"title": "an old oak"}, refresh=True)
    code, out, err = cli("native", name, "--remove")
    assert (code, "holds 1 documents" in err) == (1, True)
    native_node.delete(index=name, id="1", refresh=True)
    code, out, err = cli("native", name, "--remove", "--json")
    assert (code, json.loads(out)["changed"]) == (0, True)
    said += out + err
    assert endpoints(native_node, name) == {}
    assert token not in said
    assert token.split("_", 2)[2] not in said


@pytest.mark.parametrize("arguments", [("--fields", "body"), ("--server", "http://x"), ("--remove", "--fields", "a")])
def test_the_command_says_what_it_needs(cli: Cli, arguments: tuple[str, ...]) -> None:
    code, _, err = cli("native", "articles", *arguments)
    assert (code, "es-semantic native" in err) == (2, True)
