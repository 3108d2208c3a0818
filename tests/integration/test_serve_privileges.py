"""The server with an API key of Elasticsearch's that has nothing but what ``es-semantic roles api`` prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import AuthorizationException, Elasticsearch

import es_semantic
from es_semantic.schema.roles import API, INGEST, api_role
from tests.chunking_index import HANDBOOK, fill
from tests.embedder import TinyEmbedder
from tests.serving import prefix, serving
from tests.workers_key import Keys, client, keys, node_url

__all__ = ["client", "keys", "node_url"]

Json = dict[str, Any]
Asked = tuple[str, Json | None]
"""A route and the body to post; None to get it."""

TEXTS = {"1": "cancel a subscription", "2": "reset a password", "3": "subscription prices"}
MATCH: Json = {"standard": {"query": {"match": {"body": "subscription"}}}}
KNN: Json = {
    "knn": {
        "field": "semantic.vector",
        "query_vector_builder": {"text_embedding": {"model_text": "cancel"}},
        "k": 3,
        "num_candidates": 10,
    }
}


@pytest.fixture(scope="module")
def names(client: Elasticsearch) -> Iterator[Json]:
    """An attached index, an alias of it, an index of chunks, and an index that is nobody's business."""
    with prefix(client) as name:
        for index in (f"{name}-articles", f"{name}-private"):
            client.indices.create(index=index, mappings={"properties": {"body": {"type": "text"}}})
            for id, text in TEXTS.items():
                client.index(index=index, id=id, document={"body": text}, refresh=True)
            es_semantic.attach(client, index, ["body"], model=TinyEmbedder())
            es_semantic.sync(client, index, model=TinyEmbedder())
        client.indices.put_alias(index=f"{name}-articles", name=f"{name}-alias")
        fill(client, f"{name}-chunks")
        yield {each: f"{name}-{each}" for each in ("articles", "private", "alias", "chunks")} | {"prefix": name}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@contextmanager
def serving_with(folder: Path, node_url: str, key: str, names: Json) -> Iterator[httpx.Client]:
    """Serve without keys of our own: everybody may do what Elasticsearch lets the server do."""
    with (
        serving(folder, node_url, connection={"api_key": key}, knowledge={"c": {"index": names["chunks"]}}) as server,
        server.client() as http,
    ):
        yield http


@pytest.fixture(scope="module")
def restricted(folder: Path, node_url: str, keys: Keys, names: Json) -> Iterator[httpx.Client]:
    """A client of a server that may search three names."""
    key = keys.of_role(api_role([names["articles"], names["alias"], names["chunks"]]))
    with serving_with(folder, node_url, key, names) as http:
        yield http


@pytest.fixture(scope="module")
def unrestricted(folder: Path, node_url: str, client: Elasticsearch, names: Json) -> Iterator[httpx.Client]:
    """A client of a server that may do everything."""
    with serving_with(folder, node_url, client.security.create_api_key(name="all")["encoded"], names) as http:
        yield http


def searches(names: Json) -> dict[str, Asked]:
    """Requests that read indices; none lets a failure pass as a degraded answer."""
    strict = {"allow_degraded": False}
    text = {"query": "cancel subscription", **strict}
    rag = {"question": "days of vacation", "dataset_ids": [HANDBOOK]}
    page = {"aggs": {"n": {"value_count": {"field": "_index"}}}, "track_total_hits": True, "highlight": {"fields": {}}}
    return {
        "hybrid": ("/search", {"index": names["articles"], **text, "passages": 2, "highlight": True}),
        "knn": ("/search", {"index": names["articles"], **text, "mode": "knn"}),
        "bm25": ("/search", {"index": names["articles"], **text, "mode": "bm25"}),
        "exact": ("/search", {"index": names["articles"], **text, "mode": "exact"}),
        "alias": ("/search", {"index": names["alias"], **text, "passages": 2}),
        "pattern": ("/search", {"index": f"{names['prefix']}-a*", **text}),
        "two indices": ("/search", {"index": [names["articles"], names["alias"]], **text, "mode": "bm25"}),
        "tree": ("/search", {"index": names["articles"], "retriever": MATCH, **page, **strict}),
        "rrf": ("/search", {"index": names["articles"], "retriever": {"rrf": {"retrievers": [MATCH, KNN]}}, **strict}),
        "ragflow": ("/api/v1/retrieval", {**rag, "highlight": True}),
        "datasets": ("/api/v1/datasets", None),
        "dify": (
            "/dify/retrieval",
            {"knowledge_id": HANDBOOK, "query": "vacation", "retrieval_setting": {"top_k": 3, "score_threshold": 0.1}},
        ),
        "indices": ("/indices", None),
    }


def ask(http: httpx.Client, asked: Asked) -> httpx.Response:
    path, body = asked
    return http.get(path) if body is None else http.post(path, json=body)


def answered(response: httpx.Response) -> bool:
    """Whether it was; RAGFlow's errors come with status 200 and a code."""
    body = response.json()
    return response.status_code == 200 and not (isinstance(body, dict) and body.get("code"))


def lasting(value: Any) -> Any:
    """An answer without the times it took."""
    if isinstance(value, list):
        return [lasting(each) for each in value]
    if isinstance(value, dict):
        return {name: lasting(each) for name, each in value.items() if name not in ("took_ms", "timings")}
    return value


NAMES = {each: each for each in ("articles", "alias", "chunks", "private", "prefix")}


@pytest.mark.parametrize("what", sorted(searches(NAMES).keys() - {"indices"}))
def test_the_printed_role_is_enough(
    restricted: httpx.Client, unrestricted: httpx.Client, names: Json, what: str
) -> None:
    asked = searches(names)[what]
    answers = [ask(http, asked) for http in (restricted, unrestricted)]
    assert all(answered(answer) for answer in answers), [answer.text for answer in answers]
    assert lasting(answers[0].json()) == lasting(answers[1].json())


def test_other_indices_stay_hidden(restricted: httpx.Client, unrestricted: httpx.Client, names: Json) -> None:
    listed = {each["index"] for each in restricted.get("/indices").json()}
    assert listed == {names["articles"], names["chunks"]}
    assert names["private"] in {each["index"] for each in unrestricted.get("/indices").json()}
    refused = restricted.post("/search", json={"index": names["private"], "query": "password"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "Forbidden")
    everything = restricted.post("/search", json={"index": f"{names['prefix']}-*", "retriever": MATCH})
    assert {hit["index"] for hit in everything.json()["hits"]} == {names["articles"]}


@pytest.mark.parametrize("missing", API)
def test_less_is_not_enough_and_what_is_missing_is_said(
    folder: Path, node_url: str, keys: Keys, names: Json, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    role = api_role([names["articles"], names["alias"], names["chunks"]])
    role["indices"][0]["privileges"].remove(missing)
    with serving_with(folder, node_url, keys.of_role(role), names) as http:
        wanted = {what: asked for what, asked in searches(names).items() if what != "indices"}
        for what, asked in wanted.items():
            response = ask(http, asked)
            assert not answered(response), what
            assert "server's own credentials" in response.text
            # What Elasticsearch says of the server's key is for the log.
            assert "API key" not in response.text
            assert missing in caplog.text


def test_an_alias_needs_no_privilege_on_its_index(folder: Path, node_url: str, keys: Keys, names: Json) -> None:
    with serving_with(folder, node_url, keys.of_role(api_role([names["alias"]])), names) as http:
        assert answered(ask(http, searches(names)["alias"]))
        assert not answered(ask(http, searches(names)["hybrid"]))


def test_a_pattern_covers_what_comes_later(
    client: Elasticsearch, folder: Path, node_url: str, keys: Keys, names: Json
) -> None:
    with serving_with(folder, node_url, keys.of_role(api_role([f"{names['prefix']}-l*"])), names) as http:
        later = f"{names['prefix']}-later"
        client.indices.create(index=later, mappings={"properties": {"body": {"type": "text"}}})
        client.index(index=later, id="1", document={"body": TEXTS["1"]}, refresh=True)
        found = http.post("/search", json={"index": later, "retriever": MATCH})
        assert [hit["id"] for hit in found.json()["hits"]] == ["1"]


def upload(http: httpx.Client, text: str) -> httpx.Response:
    return http.post(f"/api/v1/datasets/{HANDBOOK}/documents", files={"file": ("bread.md", text.encode())})


def test_documents_are_uploaded_with_the_printed_role(folder: Path, node_url: str, keys: Keys, names: Json) -> None:
    role = api_role([names["articles"]], ingest=[names["chunks"]])
    with serving_with(folder, node_url, keys.of_role(role), names) as http:
        for text in ("flour and water " * 400, "only rye"):
            assert answered(upload(http, text))
        asked = {"question": "only rye", "dataset_ids": [HANDBOOK]}
        found = http.post("/api/v1/retrieval", json=asked).json()["data"]["chunks"]
        assert [chunk["content"] for chunk in found if chunk["document_name"] == "bread.md"] == ["only rye"]


@pytest.mark.parametrize("missing", INGEST)
def test_less_is_not_enough_to_upload(folder: Path, node_url: str, keys: Keys, names: Json, missing: str) -> None:
    role = api_role([], ingest=[names["chunks"]])
    role["indices"] = [place for place in role["indices"] if place["names"]]
    role["indices"][0]["privileges"].remove(missing)
    with serving_with(folder, node_url, keys.of_role(role), names) as http:
        answers = [upload(http, text) for text in (f"flour {missing} " * 400, f"only rye {missing}")]
        assert not all(answered(answer) for answer in answers)
        assert "server's own credentials" in "".join(answer.text for answer in answers)


def test_texts_are_embedded_without_any_privilege(folder: Path, node_url: str, keys: Keys, names: Json) -> None:
    nothing = keys.of_role({"cluster": [], "indices": [{"names": ["no-such-index"], "privileges": ["read"]}]})
    with serving_with(folder, node_url, nothing, names) as http:
        assert len(http.post("/v1/embeddings", json={"input": "a text"}).json()["data"][0]["embedding"]) == 64
        assert answered(http.get("/v1/models"))


def test_the_server_is_ready_with_the_printed_role(restricted: httpx.Client) -> None:
    assert restricted.get("/healthz").text == "ok\n"
    assert restricted.get("/readyz").text == "ok\n"


def test_the_printed_role_can_change_nothing(client: Elasticsearch, keys: Keys, names: Json) -> None:
    own = client.options(api_key=keys.of_role(api_role([names["articles"]])))
    assert own.count(index=names["articles"])["count"] == len(TEXTS)
    changes: list[Callable[[], object]] = [
        lambda: own.index(index=names["articles"], id="1", document={"body": "changed"}),
        lambda: own.update(index=names["articles"], id="1", doc={"body": "changed"}),
        lambda: own.delete(index=names["articles"], id="1"),
        lambda: own.indices.put_mapping(index=names["articles"], properties={"more": {"type": "text"}}),
        lambda: own.indices.refresh(index=names["articles"]),
        lambda: own.indices.delete(index=names["articles"]),
        lambda: own.indices.create(index=f"{names['prefix']}-new"),
        lambda: own.get(index=names["private"], id="1"),
        lambda: own.security.create_api_key(name="another"),
        lambda: own.cluster.health(),
    ]
    for change in changes:
        with pytest.raises(AuthorizationException):
            change()


def test_the_command_prints_the_role_that_elasticsearch_takes(
    client: Elasticsearch, folder: Path, node_url: str, names: Json
) -> None:
    command = [str(Path(sys.executable).with_name("es-semantic")), "roles", "api", names["articles"], names["alias"]]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    role = json.loads(ran.stdout)
    assert role == api_role([names["articles"], names["alias"]])
    more = subprocess.run([*command, "--ingest", "chunks"], capture_output=True, text=True, check=True)
    assert json.loads(more.stdout) == api_role([names["articles"], names["alias"]], ingest=["chunks"])
    made = client.security.create_api_key(name="es-semantic-api", role_descriptors={"api": role})
    with serving_with(folder, node_url, made["encoded"], names) as http:
        assert answered(ask(http, searches(names)["hybrid"]))
