"""An index that RAGFlow has made is queried in place: a field map says which of its fields is what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch, helpers

from tests.configs import parse
from tests.embedder import TinyEmbedder
from tests.serving import OneModel, prefix, serving

FIELD_MAP = """
knowledge:
  ragflow:
    index: INDEX
    dataset: kb_id
    document: doc_id
    document_name: docnm_kwd
    content: content_with_weight
    words: [content_ltks, title_tks]
    keywords: important_kwd
    positions: position_int
    available: available_int
    metadata: meta_fields
    vector: q_64_vec
    model: default
"""

MAPPING: dict[str, Any] = {
    "content_with_weight": {"type": "text", "index": False},
    # RAGFlow's own similarity: a word counts once, by its rarity.
    "content_ltks": {"type": "text", "analyzer": "whitespace", "similarity": "scripted_sim"},
    "title_tks": {"type": "text", "analyzer": "whitespace", "similarity": "scripted_sim"},
    "kb_id": {"type": "keyword"},
    "doc_id": {"type": "keyword"},
    "docnm_kwd": {"type": "keyword"},
    "important_kwd": {"type": "keyword"},
    "position_int": {"type": "integer"},
    "available_int": {"type": "integer"},
    "meta_fields": {"properties": {"year": {"type": "long"}, "author": {"type": "keyword"}}},
    "q_64_vec": {"type": "dense_vector", "dims": 64, "index": True, "similarity": "cosine"},
}
SIMILARITY = {
    "type": "scripted",
    "script": {
        "source": "double idf = Math.log(1+(field.docCount-term.docFreq+0.5)/(term.docFreq + 0.5))"
        "/Math.log(1+((field.docCount-0.5)/1.5)); return query.boost * idf * Math.min(doc.freq, 1);"
    },
}
CHUNKS = [
    ("1", "Thirty days of Vacation", "kb1", "d1", "vacation.pdf", 1, {"year": 2024, "author": "Ann"}),
    ("2", "Vacation begins on a Monday", "kb1", "d1", "vacation.pdf", 1, {"year": 2024, "author": "Ann"}),
    ("3", "Travel expenses are paid back", "kb1", "d2", "expenses.pdf", 1, {"year": 2023, "author": "Bob"}),
    ("4", "Vacation that nobody may see", "kb1", "d2", "expenses.pdf", 0, {"year": 2023, "author": "Bob"}),
    ("5", "Vacation of another tenant", "kb2", "d3", "other.pdf", 1, {}),
]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[httpx.Client]:
    model = TinyEmbedder()
    with prefix(client) as index:
        settings = {"similarity": {"scripted_sim": SIMILARITY}}
        client.indices.create(index=index, mappings={"properties": MAPPING}, settings=settings)
        actions = [
            {
                "_index": index,
                "_id": id,
                "content_with_weight": text,
                "content_ltks": text.lower(),
                "title_tks": name.split(".")[0],
                "kb_id": dataset,
                "doc_id": document,
                "docnm_kwd": name,
                "important_kwd": ["days"] if id == "1" else [],
                "position_int": [[1, 10, 20, 30, 40]] if id == "1" else [],
                "available_int": available,
                "meta_fields": metadata,
                "q_64_vec": model.vector(text).tolist(),
            }
            for id, text, dataset, document, name, available, metadata in CHUNKS
        ]
        helpers.bulk(client, actions, refresh=True)
        config = parse(FIELD_MAP.replace("INDEX", index))
        folder = tmp_path_factory.mktemp("server")
        with (
            serving(folder, node_url, source=OneModel(model), knowledge=config.model_dump()["knowledge"]) as server,
            server.client() as opened,
        ):
            yield opened


def retrieve(http: httpx.Client, question: str, **more: Any) -> dict[str, Any]:
    answer = http.post("/api/v1/retrieval", json={"question": question, "dataset_ids": ["kb1"], **more}).json()
    assert answer["code"] == 0, answer
    data: dict[str, Any] = answer["data"]
    return data


def test_chunks_of_ragflow_are_found_by_words_and_vectors(http: httpx.Client) -> None:
    data = retrieve(http, "Days of VACATION", highlight=True, similarity_threshold=0.0)
    first = data["chunks"][0]
    assert first["id"] == "1"
    assert first["content"] == "Thirty days of Vacation"
    assert first["document_keyword"] == "vacation.pdf"
    assert first["important_keywords"] == ["days"]
    assert first["positions"] == [1, 10, 20, 30, 40]
    assert first["highlight"] == "thirty <em>days</em> <em>of</em> <em>vacation</em>"
    assert first["term_similarity"] == pytest.approx(1.0)
    assert 0 < first["vector_similarity"] <= 1
    # The hidden chunk and the other tenant's are not among them; the one without a word of the question is.
    assert {each["id"] for each in data["chunks"]} == {"1", "2", "3"}
    assert data["doc_aggs"] == [
        {"doc_id": "d1", "doc_name": "vacation.pdf", "count": 2},
        {"doc_id": "d2", "doc_name": "expenses.pdf", "count": 1},
    ]


def test_words_in_a_title_count(http: httpx.Client) -> None:
    (only,) = retrieve(http, "expenses", vector_similarity_weight=0.0)["chunks"]
    assert only["id"] == "3"


def test_conditions_on_its_metadata(http: httpx.Client) -> None:
    condition = {"conditions": [{"name": "year", "comparison_operator": "<", "value": "2024"}]}
    data = retrieve(http, "vacation", similarity_threshold=0.0, metadata_condition=condition)
    assert [each["id"] for each in data["chunks"]] == ["3"]
    wrong = {"conditions": [{"name": "year", "comparison_operator": "contains", "value": "2"}]}
    body = {"question": "vacation", "dataset_ids": ["kb1"], "metadata_condition": wrong}
    assert http.post("/api/v1/retrieval", json=body).json()["code"] == 102


def test_its_datasets_are_listed(http: httpx.Client) -> None:
    listed = http.get("/api/v1/datasets").json()["data"]
    assert [(each["id"], each["chunk_count"]) for each in listed] == [("kb1", 4), ("kb2", 1)]
