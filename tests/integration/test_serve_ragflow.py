"""RAGFlow's retrieval call: its fields, defaults and errors, and where it shall be better than the original."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chunking_index import DOCUMENTS, HANDBOOK, HIDDEN, RECIPES
from tests.serving import OneModel, Server, serving_chunks

QUESTION = "how many days of vacation has an employee"


MODEL = OneModel()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[Server]:
    with serving_chunks(tmp_path_factory.mktemp("server"), node_url, client, source=MODEL) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def retrieve(http: httpx.Client, **more: Any) -> dict[str, Any]:
    body = {"question": QUESTION, "dataset_ids": [HANDBOOK], **more}
    response = http.post("/api/v1/retrieval", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["code"] == 0, answer
    data: dict[str, Any] = answer["data"]
    return data


def refused(http: httpx.Client, **more: Any) -> str:
    response = http.post("/api/v1/retrieval", json={"question": QUESTION, "dataset_ids": [HANDBOOK], **more})
    assert (response.status_code, response.json()["code"]) == (200, 102), response.text
    return str(response.json()["message"])


def test_the_answer_has_what_clients_of_ragflow_read(http: httpx.Client) -> None:
    data = retrieve(http, highlight=True)
    first = data["chunks"][0]
    assert first["content"] == DOCUMENTS["vacation.md"][2][0]
    assert first["document_id"] == "handbook-vacation.md"
    assert first["document_keyword"] == "vacation.md"
    assert first["dataset_id"] == HANDBOOK
    assert first["important_keywords"] == ["vacation"]
    assert first["positions"] == []
    assert "<em>vacation</em>" in first["highlight"]
    mixed = 0.7 * first["term_similarity"] + 0.3 * first["vector_similarity"]
    assert first["similarity"] == pytest.approx(mixed)
    assert {"doc_id": "handbook-vacation.md", "doc_name": "vacation.md", "count": 1} in data["doc_aggs"]
    assert data["total"] == sum(each["count"] for each in data["doc_aggs"])
    assert all(each["content"] != HIDDEN for each in data["chunks"])
    assert all(each["dataset_id"] == HANDBOOK for each in data["chunks"])


def test_vectors_find_what_no_word_finds(http: httpx.Client) -> None:
    # Only the first word is known to the index; without it there is nothing to find by words.
    data = retrieve(http, question="employee", similarity_threshold=0.0, vector_similarity_weight=1.0)
    wordless = [each for each in data["chunks"] if each["term_similarity"] == 0]
    assert wordless
    assert data["total"] == 6
    assert [each["similarity"] for each in data["chunks"]] == [each["vector_similarity"] for each in data["chunks"]]


def test_pages_neither_overlap_nor_leave_a_gap(http: httpx.Client) -> None:
    whole = retrieve(http, similarity_threshold=0.0)
    ids = [each["id"] for each in whole["chunks"]]
    assert len(ids) == whole["total"] == 6
    for size in (1, 2, 5):
        pages = [retrieve(http, similarity_threshold=0.0, page=page, page_size=size) for page in range(1, 8)]
        assert [each["id"] for page in pages for each in page["chunks"]] == ids
        assert {page["total"] for page in pages} == {6}
        assert all(page["doc_aggs"] == whole["doc_aggs"] for page in pages)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_higher_threshold_only_leaves_out(http: httpx.Client, weight: float) -> None:
    before = retrieve(http, similarity_threshold=0.0, vector_similarity_weight=weight)["chunks"]
    assert all(0 <= each["similarity"] <= 1 for each in before)
    for threshold in (0.05, 0.2, 0.4, 0.8, 1.0):
        here = retrieve(http, similarity_threshold=threshold, vector_similarity_weight=weight)
        assert here["chunks"] == [each for each in before if each["similarity"] >= threshold]
        assert here["total"] == len(here["chunks"])


def test_similarities_do_not_depend_on_how_many_are_looked_at(http: httpx.Client) -> None:
    # Of few candidates each search knows but its own; what the other would say is looked up.
    whole = {each["id"]: each for each in retrieve(http, similarity_threshold=0.0)["chunks"]}
    for top_k in (1, 2, 3):
        some = retrieve(http, similarity_threshold=0.0, top_k=top_k)
        assert 1 <= some["total"] <= 2 * top_k
        for chunk in some["chunks"]:
            assert chunk["similarity"] == pytest.approx(whole[chunk["id"]]["similarity"], abs=2e-3)


@pytest.mark.parametrize(
    ("conditions", "logic", "documents"),
    [
        ([("year", "=", "2024")], "and", {"vacation.md", "security.md"}),
        ([("year", "≠", 2024)], "and", {"expenses.md"}),
        ([("year", ">", "2023.5"), ("author", "is", "Ann")], "and", {"vacation.md"}),
        ([("year", "≤", 2023), ("author", "is", "Ann")], "or", {"vacation.md", "expenses.md"}),
        ([("tags", "contains", "EAV")], "and", {"vacation.md"}),
        ([("author", "start with", "b")], "and", {"expenses.md"}),
        ([("author", "in", ["Ann", "Bob"])], "and", {"vacation.md", "expenses.md"}),
        ([("author", "not in", "Ann,Bob")], "and", {"security.md"}),
        ([("author", "empty", None)], "and", {"security.md"}),
        ([("author", "not empty", None)], "and", {"vacation.md", "expenses.md"}),
        ([("published", "before", "2024-01-01")], "and", {"expenses.md"}),
        ([("published", "after", "2024-01-01")], "and", {"vacation.md"}),
        ([("final", "is", True)], "and", {"expenses.md"}),
        ([("nowhere", "is", "x")], "and", set()),
    ],
)
def test_conditions_on_metadata(
    http: httpx.Client, conditions: list[tuple[str, str, Any]], logic: str, documents: set[str]
) -> None:
    said = [{"name": name, "comparison_operator": operator, "value": value} for name, operator, value in conditions]
    data = retrieve(http, similarity_threshold=0.0, metadata_condition={"logic": logic, "conditions": said})
    assert {each["document_keyword"] for each in data["chunks"]} == documents


def test_documents_narrow_a_dataset(http: httpx.Client) -> None:
    data = retrieve(http, similarity_threshold=0.0, document_ids=["handbook-expenses.md"])
    assert {each["document_id"] for each in data["chunks"]} == {"handbook-expenses.md"}
    alone = retrieve(http, similarity_threshold=0.0, dataset_ids=None, document_ids=["recipes-soup.txt"])
    assert alone["total"] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"dataset_ids": []}, "dataset_ids"),
        ({"dataset_ids": ["none"]}, "none"),
        ({"document_ids": ["recipes-soup.txt"]}, "recipes-soup.txt"),
        ({"question": " "}, "empty"),
        ({"similarity_threshold": 1.5}, "similarity_threshold"),
        ({"vector_similarity_weight": -0.1}, "vector_similarity_weight"),
        ({"page": 0}, "page"),
        ({"page_size": "many"}, "page_size"),
        ({"top_k": 1_000_000}, "top_k"),
        ({"rerank_id": "none"}, "none"),
        ({"dataset_ids": HANDBOOK}, "dataset_ids"),
        ({"metadata_condition": {"conditions": [{"name": "a", "comparison_operator": "like", "value": 1}]}}, "like"),
        ({"metadata_condition": {"conditions": [{"name": "year", "comparison_operator": ">"}]}}, "value"),
        ({"metadata_condition": {"logic": "xor", "conditions": []}}, "logic"),
    ],
)
def test_errors_are_ragflows(http: httpx.Client, more: dict[str, Any], said: str) -> None:
    assert said in refused(http, **more)


def test_a_page_beyond_the_end_is_empty(http: httpx.Client) -> None:
    data = retrieve(http, page=1_000_000)
    assert data["chunks"] == []
    assert data["total"] > 0


def test_datasets_are_listed(http: httpx.Client) -> None:
    listed = http.get("/api/v1/datasets").json()["data"]
    assert [(each["id"], each["chunk_count"], each["document_count"]) for each in listed] == [
        (HANDBOOK, 7, 3),
        (RECIPES, 2, 1),
    ]
    assert [each["id"] for each in http.get("/api/v1/datasets", params={"name": RECIPES}).json()["data"]] == [RECIPES]
    assert http.get("/api/v1/datasets", params={"id": "none"}).json()["code"] == 102


def test_without_the_model_words_answer(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODEL, "away", True)
    data = retrieve(http, question="vacation that nobody has asked for before", similarity_threshold=0.0)
    assert data["chunks"]
    assert data["degraded"][0]["leg"] == "knn"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.sampled_from(["vacation", "employee", "days", "expenses", "laptop", "onions", "the", "of", "zebra"]),
        min_size=1,
    ),
    weight=st.floats(0, 1),
    threshold=st.floats(0, 1),
    size=st.integers(1, 4),
)
def test_scores_pages_and_thresholds_hold_for_any_question(
    http: httpx.Client, words: list[str], weight: float, threshold: float, size: int
) -> None:
    asked = {"question": " ".join(words), "vector_similarity_weight": weight}
    whole = retrieve(http, **asked, similarity_threshold=0.0)["chunks"]
    scores = [each["similarity"] for each in whole]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= each[name] <= 1 for each in whole for name in each if name.endswith("similarity"))
    wanted = [each["id"] for each in whole if each["similarity"] >= threshold]
    paged = []
    for page in range(1, 6 // size + 3):
        here = retrieve(http, **asked, similarity_threshold=threshold, page=page, page_size=size)
        assert here["total"] == len(wanted)
        paged += [each["id"] for each in here["chunks"]]
    assert paged == wanted
