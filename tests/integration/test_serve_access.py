"""Who may do what: every route by every scope, for two tenants; and that nothing widens what a tenant sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from elasticsearch import Elasticsearch

from tests.chunking_index import DOCUMENTS, HANDBOOK, fill
from tests.serving import OneModel, Server, prefix, serving

TENANTS = ("red", "blue")
SCOPES = ("search", "embed", "ingest", "admin")


@pytest.fixture(scope="module")
def index(client: Elasticsearch) -> Iterator[str]:
    with prefix(client) as name:
        fill(client, f"{name}-shared", tenants=TENANTS)
        client.index(index=f"{name}-secret", id="1", document={"content": "vacation secret"}, refresh=True)
        client.indices.put_alias(index=f"{name}-shared", name=f"{name}-alias")
        client.indices.put_alias(index=f"{name}-shared,{name}-secret", name=f"{name}-both")
        yield f"{name}-shared"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str, index: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, node_url, knowledge={"chunks": {"index": index}}) as running:
        running.key("admin")
        yield running


@pytest.fixture(scope="module")
def tenants(server: Server, index: str) -> Iterator[dict[str, httpx.Client]]:
    filters = {tenant: [{"term": {"metadata.tenant": tenant}}] for tenant in TENANTS}
    tokens = {tenant: server.key("search", indices=(index,), filters=filters[tenant]) for tenant in TENANTS}
    clients = {tenant: server.client(token) for tenant, token in tokens.items()}
    yield clients
    for each in clients.values():
        each.close()


def routes(index: str) -> Mapping[str, tuple[str, Callable[[httpx.Client], httpx.Response]]]:
    """Every route that needs a scope, and a request of it that is in order."""
    return {
        "POST /search": ("search", lambda http: http.post("/search", json={"index": index, "query": "vacation"})),
        "GET /indices": ("search", lambda http: http.get("/indices")),
        "POST /api/v1/retrieval": (
            "search",
            lambda http: http.post("/api/v1/retrieval", json={"question": "vacation", "dataset_ids": [HANDBOOK]}),
        ),
        "GET /api/v1/datasets": ("search", lambda http: http.get("/api/v1/datasets")),
        "POST /dify/retrieval": (
            "search",
            lambda http: http.post(
                "/dify/retrieval",
                json={"knowledge_id": HANDBOOK, "query": "vacation", "retrieval_setting": {"top_k": 3}},
            ),
        ),
        "POST /v1/embeddings": ("embed", lambda http: http.post("/v1/embeddings", json={"input": "vacation"})),
        "GET /v1/models": ("embed", lambda http: http.get("/v1/models")),
        "GET /v1/models/{model}": ("embed", lambda http: http.get("/v1/models/default")),
        "POST /v1/rerank": (
            "embed",
            lambda http: http.post("/v1/rerank", json={"query": "vacation", "documents": ["a"]}),
        ),
        "POST /rerank": ("embed", lambda http: http.post("/rerank", json={"query": "vacation", "texts": ["a"]})),
        "POST /api/v1/datasets/{dataset_id}/documents": (
            "ingest",
            lambda http: http.post("/api/v1/datasets/none/documents", files={"file": ("a.exe", b"x")}),
        ),
        "GET /metrics": ("admin", lambda http: http.get("/metrics")),
    }


OPEN = {"GET /healthz", "GET /readyz", "GET /", "GET /docs", "GET /openapi.json", "GET /docs/oauth2-redirect"}


def test_no_route_is_left_out_of_the_matrix(server: Server, index: str) -> None:
    paths = server.client().get("/openapi.json").json()["paths"]
    declared = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert declared - OPEN == set(routes(index))


@pytest.mark.parametrize("scope", [None, *SCOPES])
def test_every_route_by_every_scope_for_two_tenants(server: Server, index: str, scope: str | None) -> None:
    for tenant in TENANTS:
        filters = [{"term": {"metadata.tenant": tenant}}]
        token = None if scope is None else server.key(scope, indices=(index,), filters=filters)
        with server.client(token) as http:
            for name, (needed, ask) in routes(index).items():
                response = ask(http)
                allowed = scope in (needed, "admin")
                if scope is None:
                    assert response.status_code == (403 if "dify" in name else 401), name
                elif not allowed and "/api/v1" in name:
                    assert (response.status_code, response.json()["code"]) == (200, 102), name
                elif not allowed:
                    assert response.status_code == 403, name
                elif "documents" in name:
                    # Who has a filter may not replace what he does not see.
                    assert (response.json()["code"], "filter" in response.text) == (102, True), name
                elif "rerank" in name:
                    # None is configured, which is told to those alone who may ask.
                    assert (response.status_code, "reranker" in response.text) == (400, True), name
                else:
                    assert response.status_code == 200, (name, response.text)
                    others = set(TENANTS) - {tenant}
                    assert not any(f'"{other}' in response.text for other in others), name


@pytest.mark.parametrize("kind", ["expired", "revoked", "wrong", "other scheme", "another's secret", "no text"])
def test_keys_that_do_not_let_in(server: Server, index: str, kind: str) -> None:
    token = server.key("search", indices=(index,), expires_at=datetime.now(UTC) + timedelta(hours=1))
    header = f"Bearer {token}"
    with server.client() as http:
        body = {"index": index, "query": "vacation"}
        assert http.post("/search", json=body, headers={"Authorization": header}).status_code == 200
        match kind:
            case "expired":
                late = server.key("search", indices=(index,), expires_at=datetime.now(UTC) - timedelta(seconds=1))
                header = f"Bearer {late}"
            case "revoked":
                server.keys.revoke(token.split("_")[1])
            case "wrong":
                header = f"{header[:-1]}{'a' if header[-1] != 'a' else 'b'}"
            case "other scheme":
                header = f"Basic {token}"
            case "another's secret":
                other = server.key("search", indices=(index,))
                header = f"Bearer ess_{token.split('_')[1]}_{other.split('_', 2)[2]}"
            case "no text":
                header = "Bearer"
        response = http.post("/search", json=body, headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert token.split("_", 2)[2] not in response.text


def test_secrets_are_not_kept_and_the_file_is_its_owners(server: Server, index: str) -> None:
    token = server.key("search", indices=(index,))
    kept = server.keys.path.read_text()
    assert token.split("_", 2)[2] not in kept
    assert server.keys.path.stat().st_mode & 0o077 == 0
    assert "hash" not in repr(server.keys.all()[0])


@pytest.mark.parametrize(
    ("indices", "asked", "status"),
    [
        (("P-shared",), "P-shared", 200),
        (("P-shared",), "P-alias", 403),
        (("P-shared",), "P-secret", 403),
        (("P-shared",), "P-shared,P-secret", 403),
        (("P-shared",), "P-*", 403),
        (("P-shared",), "*", 403),
        (("P-shared",), "_all", 403),
        (("P-shared",), "P-shared,-P-none", 403),
        (("P-shared",), "<P-shared>", 403),
        (("P-shared",), "other:P-shared", 403),
        (("P-shared",), "P-shared/../P-secret", 403),
        (("P-shared",), "p-shared%2cp-secret", 403),
        (("P-shared",), ".security", 403),
        (("P-shared",), "es-semantic-control", 403),
        (("P-shared",), "", 403),
        (("P-alias",), "P-alias", 200),
        (("P-alias",), "P-shared", 403),
        # The pattern covers the aliases' names, and not the index behind one of them.
        (("P-sh*", "P-a*"), "P-sh*", 200),
        (("P-sh*", "P-bo*"), "P-both", 403),
        (("P-*",), "P-both", 200),
        (("P-*",), "P-secret", 200),
        (("*",), "es-semantic-control*", 403),
        (("*",), ".*", 403),
    ],
)
def test_no_name_leads_beyond_a_keys_indices(
    server: Server, index: str, indices: tuple[str, ...], asked: str, status: int
) -> None:
    start = index.removesuffix("-shared")
    token = server.key("search", indices=tuple(each.replace("P", start) for each in indices))
    tree = {"standard": {"query": {"match": {"content": "vacation"}}}}
    with server.client(token) as http:
        response = http.post("/search", json={"index": asked.replace("P", start), "retriever": tree})
    assert response.status_code == status, response.text
    if status == 200 and "P-*" not in indices:
        assert {hit["index"] for hit in response.json()["hits"]} == {index}


@pytest.mark.parametrize("tenant", TENANTS)
def test_knowledge_is_the_tenants_own(tenants: dict[str, httpx.Client], tenant: str) -> None:
    chunks = sum(len(texts) for dataset, _, texts in DOCUMENTS.values() if dataset == HANDBOOK)
    body = {"question": "vacation", "dataset_ids": [HANDBOOK], "similarity_threshold": 0}
    data = tenants[tenant].post("/api/v1/retrieval", json=body).json()["data"]
    assert data["total"] == chunks
    assert all(chunk["id"].startswith(f"{tenant}/") for chunk in data["chunks"])
    foreign = {**body, "metadata_condition": {"conditions": [{"name": "tenant", "comparison_operator": "not empty"}]}}
    again = tenants[tenant].post("/api/v1/retrieval", json=foreign).json()["data"]
    assert [chunk["id"] for chunk in again["chunks"]] == [chunk["id"] for chunk in data["chunks"]]
    listed = tenants[tenant].get("/api/v1/datasets").json()["data"]
    assert sum(each["chunk_count"] for each in listed) == chunks + 3


def test_a_dataset_of_others_is_not_there(server: Server, index: str) -> None:
    nobody = server.key("search", indices=(index,), filters=[{"term": {"metadata.tenant": "green"}}])
    with server.client(nobody) as http:
        answer = http.post("/api/v1/retrieval", json={"question": "vacation", "dataset_ids": [HANDBOOK]}).json()
        assert answer["code"] == 102
        dify = {"knowledge_id": HANDBOOK, "query": "vacation", "retrieval_setting": {"top_k": 3}}
        response = http.post("/dify/retrieval", json=dify)
        assert (response.status_code, response.json()["error_code"]) == (404, 2001)
        assert http.get("/api/v1/datasets").json()["data"] == []


def test_keys_gone_astray_open_nothing_beyond_this_machine(tmp_path: Path, node_url: str) -> None:
    from es_semantic.errors import UsageError

    with pytest.raises(UsageError, match="without API keys"), serving(tmp_path, node_url, settings={"host": "0.0.0.0"}):
        pass
    with serving(tmp_path, node_url, source=OneModel()) as server, server.client() as http:
        assert http.get("/v1/models").status_code == 200
        server.key("embed")
        assert http.get("/v1/models").status_code == 401


@pytest.mark.parametrize("asked", ["es-semantic*", "*", "es-semantic-control-1", "*-control*"])
def test_nobody_but_elasticsearchs_own_users_sees_the_control_index(server: Server, index: str, asked: str) -> None:
    assert index
    with server.client(server.key("search", indices=("*",))) as http:
        tree = {"standard": {"query": {"exists": {"field": "kind"}}}}
        response = http.post("/search", json={"index": asked, "retriever": tree, "size": 100})
    assert response.status_code in (200, 403, 404), response.text
    assert "es-semantic-control-1" not in response.text.replace(f"'{asked}'", "")


def test_a_key_of_no_index_lists_and_finds_nothing(server: Server, index: str) -> None:
    with server.client(server.key("search", indices=())) as http:
        assert http.get("/indices").json() == []
        assert http.post("/search", json={"index": index, "query": "vacation"}).status_code == 403
        answer = http.post("/api/v1/retrieval", json={"question": "vacation", "dataset_ids": [HANDBOOK]})
        assert answer.json()["code"] == 102


def test_what_is_listed_is_what_may_be_searched(server: Server, index: str, client: Elasticsearch) -> None:
    start = index.removesuffix("-shared")
    client.indices.put_alias(index=index, name=f"{start}-pub-x")
    with server.client(server.key("search", indices=(f"{start}-pub-*",))) as http:
        assert http.get("/indices").json() == []
        refused = http.post("/search", json={"index": f"{start}-pub-x", "query": "vacation"})
        assert refused.status_code == 403
        assert index not in refused.text
        answer = http.post("/api/v1/retrieval", json={"question": "vacation", "dataset_ids": [HANDBOOK]})
        assert answer.json()["code"] == 102
        assert index not in answer.text
    with server.client(server.key("search", indices=(f"{start}-pub-x",))) as http:
        assert [each["index"] for each in http.get("/indices").json()] == [index]


def test_vectors_of_nested_hits_do_not_come_back(server: Server, index: str, client: Elasticsearch) -> None:
    name = f"{index}-nested"
    vector = {"type": "dense_vector", "dims": 2, "index": False}
    properties = {"parts": {"type": "nested", "properties": {"text": {"type": "text"}, "vector": vector}}}
    settings = {"index.mapping.exclude_source_vectors": False}
    client.indices.create(index=name, mappings={"properties": properties}, settings=settings)
    client.index(index=name, document={"parts": [{"text": "part", "vector": [1.0, 0.5]}]}, refresh=True)
    query = {"nested": {"path": "parts", "query": {"match_all": {}}, "inner_hits": {}}}
    aggs = {"n": {"nested": {"path": "parts"}, "aggs": {"t": {"top_hits": {}}}}}
    with server.client(server.key("search", indices=("*",))) as http:
        response = http.post("/search", json={"index": name, "retriever": {"standard": {"query": query}}, "aggs": aggs})
    assert response.status_code == 200, response.text
    assert response.text.count('"part"') == 3
    assert "vector" not in response.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_web_pages_of_other_origins_are_not_let_in(server: Server, headers: dict[str, str], status: int) -> None:
    with server.client(server.key("embed")) as http:
        assert http.get("/v1/models", headers=headers).status_code == status


def test_a_file_of_keys_that_goes_astray_opens_nothing(tmp_path: Path, node_url: str) -> None:
    with serving(tmp_path, node_url) as server, server.client(server.key("embed")) as http:
        assert http.get("/v1/models").status_code == 200
        server.keys.path.unlink()
        assert http.get("/v1/models").status_code == 401
        server.keys.path.write_text("{")
        broken = http.get("/v1/models")
        assert broken.status_code == 500
        assert str(tmp_path) not in broken.text
