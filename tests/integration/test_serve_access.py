"""Who may do what: every route by every scope, for two tenants; and that nothing widens what a tenant sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch
from hypothesis import given, settings
from hypothesis import strategies as st

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


FOREIGN = "Blue document"
QUERIES = [
    {"match_all": {}},
    {"match": {"content": "vacation employee"}},
    {"term": {"metadata.tenant": "blue"}},
    {"bool": {"should": [{"term": {"metadata.tenant": "blue"}}, {"match_all": {}}], "minimum_should_match": 0}},
    {"bool": {"must_not": [{"term": {"metadata.tenant": "red"}}]}},
    {"ids": {"values": ["blue/handbook-vacation.md/0", "blue/recipes-soup.txt/0"]}},
    {"constant_score": {"filter": {"exists": {"field": "metadata.tenant"}}}},
    {"dis_max": {"queries": [{"match_all": {}}, {"term": {"metadata.tenant": "blue"}}]}},
    {"function_score": {"query": {"match_all": {}}, "random_score": {}}},
    {"simple_query_string": {"query": "vacation | blue", "fields": ["*"]}},
    {"wildcard": {"metadata.tenant": {"value": "*"}}},
    {"knn": {"field": "semantic.vector", "query_vector": [0.125] * 64, "k": 10, "num_candidates": 50}},
]
FORBIDDEN = [
    {"query_string": {"query": "*"}},
    {"script_score": {"query": {"match_all": {}}, "script": {"source": "1"}}},
    {"script": {"script": {"source": "true"}}},
    {"terms": {"content": {"index": "INDEX", "id": "blue/handbook-vacation.md/0", "path": "content"}}},
    {"more_like_this": {"fields": ["content"], "like": [{"_id": "blue/handbook-vacation.md/0"}]}},
    {"wrapper": {"query": "eyJtYXRjaF9hbGwiOnt9fQ=="}},
    {"has_child": {"type": "x", "query": {"match_all": {}}}},
    {"percolate": {"field": "q", "index": "INDEX", "id": "1"}},
    {"geo_shape": {"place": {"indexed_shape": {"index": "INDEX", "id": "1", "path": "x"}}}},
    {"pinned": {"ids": ["blue/handbook-vacation.md/0"], "organic": {"match_all": {}}}},
]

queries = st.sampled_from(QUERIES)
filters = st.lists(queries, max_size=2)
leaves = st.one_of(
    st.builds(lambda query, filter: {"standard": {"query": query, "filter": filter}}, queries, filters),
    st.builds(
        lambda filter, k: {
            "knn": {
                "field": "semantic.vector",
                "query_vector": [0.125] * 64,
                "k": k,
                "num_candidates": 50,
                **({"filter": filter} if filter else {}),
            }
        },
        filters,
        st.integers(1, 20),
    ),
)


def compound(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(children, min_size=2, max_size=3)
    return st.one_of(
        st.builds(
            lambda below, extra: {"rrf": {"retrievers": below, "filter": extra, "rank_window_size": 50}},
            several,
            filters,
        ),
        st.builds(lambda below: {"auto": {"retrievers": below, "rank_window_size": 50}}, several),
        st.builds(
            lambda below: {"linear": {"retrievers": [{"retriever": each} for each in below], "rank_window_size": 50}},
            several,
        ),
        st.builds(
            lambda below: {
                "pinned": {
                    "ids": ["blue/handbook-vacation.md/0", "red/handbook-vacation.md/0"],
                    "retriever": below,
                    "rank_window_size": 50,
                }
            },
            children,
        ),
        st.builds(
            lambda below, query: {
                "rescorer": {
                    "retriever": below,
                    "rescore": {"window_size": 50, "query": {"rescore_query": query}},
                }
            },
            leaves,
            queries,
        ),
    )


trees = st.recursive(leaves, compound, max_leaves=4)
extras = st.fixed_dictionaries(
    {},
    optional={
        "aggs": st.sampled_from(
            [
                {"by": {"terms": {"field": "metadata.tenant"}}},
                {"by": {"filter": {"match_all": {}}, "aggs": {"hits": {"top_hits": {"size": 50}}}}},
                {
                    "by": {
                        "filters": {"filters": {"all": {"match_all": {}}}},
                        "aggs": {"t": {"terms": {"field": "metadata.tenant"}}},
                    }
                },
            ]
        ),
        "collapse": st.just({"field": "document_id", "inner_hits": {"name": "more", "size": 20}}),
        "post_filter": queries,
        "highlight": st.just({"fields": {"content": {"highlight_query": {"match_all": {}}}}}),
        "fields": st.just(["*"]),
        "track_total_hits": st.just(True),
    },
)


@settings(max_examples=60, deadline=None)
@given(tree=trees, more=extras)
def test_nothing_in_a_request_widens_what_a_tenant_sees(
    tenants: dict[str, httpx.Client], index: str, tree: dict[str, Any], more: dict[str, Any]
) -> None:
    response = tenants["red"].post("/search", json={"index": index, "retriever": tree, "size": 50, **more})
    # Some combinations are refused, as Elasticsearch does; none may fail otherwise, and none may show more.
    assert response.status_code in (200, 400), response.text
    assert "blue" not in response.text.replace(json.dumps(tree), "")
    if response.status_code == 200:
        for hit in response.json()["hits"]:
            assert hit["source"]["metadata"]["tenant"] == "red"


@pytest.mark.parametrize("query", FORBIDDEN, ids=lambda query: next(iter(query)))
@pytest.mark.parametrize("where", ["query", "filter", "rescore", "highlight", "aggs", "post_filter", "short form"])
def test_what_could_look_beyond_is_refused(
    tenants: dict[str, httpx.Client], index: str, query: dict[str, Any], where: str
) -> None:
    said = json.loads(json.dumps(query).replace("INDEX", index))
    everything: dict[str, Any] = {"standard": {"query": {"match_all": {}}}}
    nested = {"bool": {"should": [{"nested": {"path": "x", "query": {"bool": {"must": [said]}}}}]}}
    body: dict[str, Any] = {"index": index}
    match where:
        case "query":
            body["retriever"] = {"rrf": {"retrievers": [{"standard": {"query": nested}}, everything]}}
        case "filter":
            body["retriever"] = {"standard": {"query": {"match_all": {}}, "filter": said}}
        case "rescore":
            rescore = {"window_size": 10, "query": {"rescore_query": said}}
            body["retriever"] = {"rescorer": {"retriever": everything, "rescore": rescore}}
        case "highlight":
            body |= {"retriever": everything, "highlight": {"fields": {"content": {"highlight_query": said}}}}
        case "aggs":
            body |= {
                "retriever": everything,
                "aggs": {"a": {"filter": {"match_all": {}}, "aggs": {"b": {"filter": said}}}},
            }
        case "post_filter":
            body |= {"retriever": everything, "post_filter": said}
        case "short form":
            body |= {"query": "vacation", "filters": [said]}
    response = tenants["red"].post("/search", json=body)
    assert response.status_code == 400, response.text
    assert "blue" not in response.text.lower().replace("blue/handbook", "")


@pytest.mark.parametrize(
    "more",
    [
        {"aggs": {"all": {"global": {}}}},
        {"aggs": {"x": {"terms": {"field": "a"}, "aggs": {"y": {"global": {}}}}}},
        {"aggs": {"s": {"significant_terms": {"field": "metadata.tenant"}}}},
        {"aggs": {"m": {"scripted_metric": {"map_script": "1", "combine_script": "1", "reduce_script": "1"}}}},
        {"aggs": {"t": {"terms": {"script": {"source": "doc['metadata.tenant'].value"}}}}},
        {
            "aggs": {
                "w": {"terms": {"field": "a", "order": {"_key": "asc"}}, "aggs": {"k": {"children": {"type": "x"}}}}
            }
        },
    ],
)
def test_aggregations_that_look_beyond_are_refused(
    tenants: dict[str, httpx.Client], index: str, more: dict[str, Any]
) -> None:
    body = {"index": index, "retriever": {"standard": {"query": {"match_all": {}}}}, **more}
    assert tenants["red"].post("/search", json=body).status_code == 400
    for key in ("suggest", "runtime_mappings", "script_fields", "sort", "rescore", "knn", "ext", "stored_fields"):
        assert tenants["red"].post("/search", json={**body, "aggs": {}, key: {}}).status_code == 422


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
