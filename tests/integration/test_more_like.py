"""More like a document: the nearest to its stored vector, never itself, with no model; and refusals that say why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.embedding.chunking import split
from es_semantic.errors import IndexUnavailable, InvalidQuery, NotAttached
from es_semantic.retrieval.results import SearchResult
from es_semantic.schema.text import source_text
from tests.embedder import TinyEmbedder
from tests.integration.test_chunks import Windowed
from tests.integration.test_passages import FIELDS, PROPERTIES, ROWS, binding_of, corpus, embed, filled
from tests.nodes import MakeIndex


def found(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def vector_of(client: Elasticsearch, index: str, doc_id: str) -> list[float]:
    """The document's vector, or the normalised mean of its chunks' vectors, from its text."""
    binding, text = binding_of(client, index), source_text(corpus()[doc_id], FIELDS)
    if binding.chunking is None:
        return [float(x) for x in Windowed().vector(text)]
    parts = [text[chunk.start : chunk.end] for chunk in split(text, binding.chunking)]
    mean = np.mean([Windowed().vector(part) for part in parts], axis=0)
    return [float(x) for x in mean / np.linalg.norm(mean)]


@pytest.mark.parametrize("kept", [False, True], ids=["vectors apart from _source", "vectors in _source"])
@pytest.mark.parametrize("chunk", ["never", "always"])
def test_the_nearest_documents_without_itself(
    client: Elasticsearch, make_index: MakeIndex, chunk: str, kept: bool
) -> None:
    index = filled(
        client, make_index, chunk, settings={"index.mapping.exclude_source_vectors": not kept, "number_of_shards": 2}
    )
    field = "semantic.vector" if chunk == "never" else "semantic.chunks.vector"
    for doc_id in ("3", "17"):
        knn = {"field": field, "query_vector": vector_of(client, index, doc_id), "k": ROWS, "num_candidates": 200}
        hits = client.search(index=index, knn=knn, size=ROWS)["hits"]["hits"]
        wanted = [(hit["_id"], hit["_score"]) for hit in hits if hit["_id"] != doc_id]
        for mode in ("knn", "exact"):
            result = es_semantic.more_like(client, index, doc_id, mode=mode, size=ROWS)
            assert [hit.score for hit in result.hits] == pytest.approx([score for _, score in wanted], abs=1e-4)
            assert found(result)[:3] == [each for each, _ in wanted[:3]]
            assert len(result.hits) == ROWS - 1
            assert (result.mode, [place.rank for place in result.hits[0].legs.values()]) == (mode, [1])
            assert set(result.hits[0].source) == set(PROPERTIES)


def test_pages_filters_and_no_documents(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "never")
    every = es_semantic.more_like(client, index, "3", size=12, rank_window_size=15)
    pages = [es_semantic.more_like(client, index, "3", size=4, from_=at, rank_window_size=15) for at in (0, 4, 8)]
    assert [hit for page in pages for hit in page.hits] == list(every.hits)
    clause = {"term": {"tenant": "t1"}}
    filtered = es_semantic.more_like(client, index, "4", size=ROWS, filters=clause, source=False)
    assert sorted(map(int, found(filtered))) == [i for i in range(1, ROWS, 3) if i != 4]
    assert all(hit.source == {} for hit in filtered.hits)
    with pytest.raises(InvalidQuery, match="trem"):
        es_semantic.more_like(client, index, "3", filters={"trem": {"tenant": "t1"}})


async def test_the_asynchronous_client_gives_the_same(
    client: Elasticsearch, node_url: str, make_index: MakeIndex
) -> None:
    index = filled(client, make_index, "always", corpus(5))
    async with AsyncElasticsearch(node_url) as asynchronous:
        theirs = await es_semantic.more_like(asynchronous, index, "3")
    assert theirs.hits == es_semantic.more_like(client, index, "3").hits
    assert len(theirs.hits) == 4


def test_one_id_with_several_routings(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, settings={"number_of_shards": 3})
    bodies = {"a": "red apple", "b": "red apple plum", "c": "swim fast", "d": "swim slow fast"}
    for routing, body in bodies.items():
        document = {"title": routing, "body": body}
        client.index(index=index, id=f"of {routing}", routing=routing, document=document)
        client.index(index=index, id="same", routing=routing, document=document, refresh=True)
    embed(client, index, "never")
    there = {hit["_routing"] for hit in client.search(index=index, query={"ids": {"values": ["same"]}})["hits"]["hits"]}
    assert len(there) > 1
    with pytest.raises(InvalidQuery, match="several documents 'same'") as caught:
        es_semantic.more_like(client, index, "same")
    assert "routing" in caught.value.hint
    for routing in there:
        hits = es_semantic.more_like(client, index, "same", routing=routing, size=20).hits
        assert {(hit.id, hit.routing) for hit in hits} == {
            *((f"of {each}", each) for each in bodies),
            *(("same", each) for each in there - {routing}),
        }
        assert hits[0].id == f"of {routing}"
    assert es_semantic.more_like(client, index, "of a").hits[0].source["title"] in "ab"
    with pytest.raises(InvalidQuery, match="no document 'of a' with routing 'b'"):
        es_semantic.more_like(client, index, "of a", routing="b")


def test_several_indices_of_one_model_and_one_of_another(client: Elasticsearch, make_index: MakeIndex) -> None:
    first, second = filled(client, make_index, "never", corpus(8)), filled(client, make_index, "never", corpus(12))
    foreign = filled(client, make_index, "never", corpus(4), embedder=TinyEmbedder("other"))
    with pytest.raises(InvalidQuery, match="several documents '3'"):
        es_semantic.more_like(client, f"{first},{second}", "3")
    for behind in (f"{first},{second}", f"{first},{second},{foreign}"):
        hits = es_semantic.more_like(client, behind, "10", size=30).hits
        assert {(hit.index, hit.id) for hit in hits} == {
            *((first, str(i)) for i in range(8)),
            *((second, str(i)) for i in range(12) if i != 10),
        }


def refused(client: Elasticsearch, index: str, doc_id: str, **options: Any) -> InvalidQuery:
    with pytest.raises(InvalidQuery) as caught:
        es_semantic.more_like(client, index, doc_id, **options)
    return caught.value


class Picky(TinyEmbedder):
    """A model that refuses texts with the word poison."""

    def embed_documents(self, texts: Any) -> Any:
        if any("poison" in text for text in texts):
            raise es_semantic.errors.InputRejected("poison")
        return super().embed_documents(texts)


def test_documents_without_a_vector_are_refused_with_the_reason(client: Elasticsearch, make_index: MakeIndex) -> None:
    documents = {
        "ready": {"title": "red"},
        "empty": {"title": ""},
        "failed": {"title": "poison"},
    }
    index = make_index(PROPERTIES, documents=documents)
    never = refused_before_attaching(client, index)
    assert "has no semantic field" in never.what
    es_semantic.attach(client, index, FIELDS, model=Picky())
    unread = refused(client, index, "ready")
    assert f"document 'ready' of {index!r} has no vector: nobody has embedded it yet" in unread.what
    assert unread.hint == f"Run: es-semantic sync {index}"
    es_semantic.sync(client, index, model=Picky())
    client.index(index=index, id="pending", document={"title": "new"}, refresh=True)
    for doc_id, hint in (
        ("pending", "es-semantic sync"),
        ("failed", "es-semantic failures"),
        ("empty", "Give it text"),
    ):
        error = refused(client, index, doc_id)
        assert f"document {doc_id!r} of {index!r} has no vector: it " in error.what
        assert doc_id in error.what.partition("no vector")[2]
        assert hint in error.hint
    missing = refused(client, index, "no such")
    assert missing.what == f"no document 'no such' in {index!r}"
    assert found(es_semantic.more_like(client, index, "ready")) == []


def refused_before_attaching(client: Elasticsearch, index: str) -> NotAttached:
    with pytest.raises(NotAttached) as caught:
        es_semantic.more_like(client, index, "ready")
    return caught.value


def test_a_vector_of_another_model_is_no_query(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "never", corpus(3), embedder=TinyEmbedder("first"))
    es_semantic.detach(client, index)
    es_semantic.attach(client, index, FIELDS, model=TinyEmbedder("second"))
    error = refused(client, index, "1")
    assert "has a vector of 'first-" in error.what
    assert "is bound to 'second-" in error.what
    assert "sync" in error.hint


@pytest.mark.parametrize(("options", "said"), [({"mode": "hybrid"}, "knn or exact"), ({"mode": "no"}, "Use one of")])
def test_modes_that_cannot_be(client: Elasticsearch, options: dict[str, Any], said: str) -> None:
    assert said in str(refused(client, "no-such-index", "1", **options))


def test_names_that_are_not_there(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "never", corpus(2))
    with pytest.raises(NotAttached, match="it has: semantic"):
        es_semantic.more_like(client, index, "1", name="other")
    with pytest.raises(IndexUnavailable):
        es_semantic.more_like(client, "no-such-index", "1")
