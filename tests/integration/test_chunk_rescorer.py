"""``chunk_rescorer``: the parts of a text are ranked as Elasticsearch ranks them, and the best of them counts."""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.config import Config, CrossEncoderSettings
from es_semantic.errors import InvalidRetriever
from es_semantic.reranking import load_reranker
from es_semantic.retrieval.best_chunks import K1, best_chunks, bm25
from es_semantic.retrieval.tree.chunking import Chunking
from tests.nodes import MakeIndex
from tests.small_rerankers import small_cross_encoder

LONG = " ".join(f"Paragraph {number} tells of stones and of sand number {number}." for number in range(60))
DOCUMENTS = {
    "late": f"{LONG} An old oak stands in the garden. {LONG}",
    "short": "A young birch stands by the road.",
    "none": LONG,
}
QUERY = "the old oak in the garden"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    model = small_cross_encoder(tmp_path_factory.mktemp("reranker"))
    return Config(rerankers={"mine": CrossEncoderSettings(provider="cross-encoder", name=model, offline=True)})


def tree(**more: Any) -> dict[str, Any]:
    everything: dict[str, Any] = {"standard": {"query": {"match_all": {}}}}
    asked = {"retriever": everything, "field": "body", "inference_id": "mine", "inference_text": QUERY, **more}
    return {"text_similarity_reranker": asked}


def test_chunks_are_ranked_as_by_elasticsearch(client: Elasticsearch, make_index: MakeIndex) -> None:
    chunks = best_chunks(DOCUMENTS["late"], "", Chunking(1_000, "word", 10, 3))
    # Elasticsearch keeps lengths up to 40 words as they are.
    index = make_index(
        {"body": {"type": "text"}}, documents={str(place): {"body": chunk} for place, chunk in enumerate(chunks)}
    )
    query = {"match": {"body": f"{QUERY} stones, number 7"}}
    hits = client.search(index=index, query=query, size=len(chunks))["hits"]["hits"]
    ours = {str(place): score for place, score in enumerate(bm25(chunks, f"{QUERY} stones, number 7")) if score}
    assert len(hits) > 20
    # Elasticsearch multiplies all scores by k1 + 1.
    assert {hit["_id"]: hit["_score"] / (K1 + 1) for hit in hits} == pytest.approx(ours, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "chunking"),
    [
        ({}, Chunking()),
        ({"size": 3, "chunking_settings": {"max_chunk_size": 20}}, Chunking(3, words=20)),
        (
            {"chunking_settings": {"strategy": "word", "max_chunk_size": 12, "overlap": 4}},
            Chunking(1, "word", 12, 4),
        ),
    ],
)
def test_the_best_part_of_a_text_counts(
    client: Elasticsearch, make_index: MakeIndex, config: Config, given: dict[str, Any], chunking: Chunking
) -> None:
    index = make_index({"body": {"type": "text"}}, documents={key: {"body": text} for key, text in DOCUMENTS.items()})
    found = es_semantic.retrieve(client, index, retriever=tree(chunk_rescorer=given), config=config)
    model = load_reranker(config.rerankers["mine"])
    said = {key: max(model.scores(QUERY, best_chunks(text, QUERY, chunking))) for key, text in DOCUMENTS.items()}
    assert [hit["_id"] for hit in found["hits"]["hits"]] == sorted(said, key=lambda key: -said[key])
    assert "An old oak stands in the garden." in best_chunks(DOCUMENTS["late"], QUERY, chunking)[0]


def test_what_only_elasticsearch_runs_is_refused(client: Elasticsearch, make_index: MakeIndex, config: Config) -> None:
    index = make_index({"body": {"type": "text"}}, documents={"1": {"body": "a text"}})
    settings = {"strategy": "recursive", "max_chunk_size": 50, "separators": ["\n"]}
    with pytest.raises(InvalidRetriever, match=r"recursive\] is run by Elasticsearch alone") as caught:
        es_semantic.retrieve(
            client, index, retriever=tree(chunk_rescorer={"chunking_settings": settings}), config=config
        )
    assert caught.value.path == "text_similarity_reranker.chunk_rescorer.chunking_settings.strategy"
