"""Passages are true slices of each hit's text as it is now: the nearest chunks, else fragments, else the beginning."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, Step
from es_semantic.embedding.chunking import split
from es_semantic.errors import InvalidQuery, RequestFailed
from es_semantic.retrieval.passages import LONGEST, Passage
from es_semantic.retrieval.results import Hit, SearchResult
from es_semantic.retrieval.search import search_steps
from es_semantic.schema.binding import Binding, read_bindings
from es_semantic.schema.text import source_text
from tests.embedder import TinyEmbedder
from tests.integration.test_chunks import Windowed
from tests.integration.test_search import drive
from tests.nodes import MakeIndex, remove_everything

TEXT = {"type": "text"}
PROPERTIES = {"title": TEXT, "body": TEXT, "tenant": {"type": "keyword"}}
FIELDS = ["title", "body"]
WORDS = "red green blue apple pear plum run walk swim fast slow big small old new day night 😀 𠮷野家".split()  # noqa: SIM905 (short)
ROWS = 20
QUERY = "red apple at night"


def sentences(seed: int, count: int) -> str:
    random = np.random.default_rng(seed)
    return " ".join(f"{' '.join(random.choice(WORDS, size=7))}." for _ in range(count))


def corpus(rows: int = ROWS) -> dict[str, dict[str, Any]]:
    return {str(i): {"title": f"T{i} 😀", "body": sentences(i, 2 + i), "tenant": f"t{i % 3}"} for i in range(rows)}


def filled(
    client: Elasticsearch,
    make_index: MakeIndex,
    chunk: str,
    documents: dict[str, dict[str, Any]] | None = None,
    embedder: TinyEmbedder | None = None,
    **options: Any,
) -> str:
    name = make_index(PROPERTIES, documents=corpus() if documents is None else documents, **options)
    embed(client, name, chunk, embedder=embedder)
    return name


@pytest.fixture(scope="module")
def indices(client: Elasticsearch) -> Iterator[dict[str, str]]:
    """The same documents with one vector each and in chunks, for tests that change nothing: names by ``--chunk``."""
    prefix = f"test-passages-{uuid.uuid4().hex[:12]}"
    try:
        for chunk in ("never", "always"):
            client.indices.create(index=f"{prefix}-{chunk}", mappings={"properties": PROPERTIES})
            lines = [line for key, document in corpus().items() for line in ({"index": {"_id": key}}, document)]
            client.bulk(index=f"{prefix}-{chunk}", operations=lines, refresh=True)
            embed(client, f"{prefix}-{chunk}", chunk)
        yield {chunk: f"{prefix}-{chunk}" for chunk in ("never", "always")}
    finally:
        remove_everything(client, prefix)


def embed(
    client: Elasticsearch,
    index: str,
    chunk: str,
    *,
    embedder: TinyEmbedder | None = None,
    fields: list[str] = FIELDS,
    name: str = "semantic",
) -> None:
    model = embedder or Windowed()
    es_semantic.attach(client, index, fields, model=model, chunk=chunk, name=name)
    es_semantic.sync(client, index, model=model, name=name)


def search(client: Elasticsearch, index: str, text: str = QUERY, **options: Any) -> SearchResult:
    return es_semantic.search(client, index, text, **{"model": Windowed(), "passages": 3, **options})


def assert_slices(client: Elasticsearch, hits: tuple[Hit, ...]) -> None:
    """Every passage is the slice of the canonical text that it says, by the hit's own binding and current document."""
    for hit in hits:
        routing = {"routing": hit.routing} if hit.routing else {}
        source = client.get(index=hit.index, id=hit.id, **routing)["_source"]  # type: ignore[arg-type]
        for each in hit.passages:
            text = source_text(source, binding_of(client, hit.index, each.field).source)
            assert text[each.start : each.end] == each.text != ""


def binding_of(client: Elasticsearch, index: str, name: str = "semantic") -> Binding:
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    return read_bindings(mapping, index=index).one(name, index=index)


def nearest(document: dict[str, Any], binding: Binding, count: int, text: str = QUERY) -> list[tuple[int, int, float]]:
    """The best chunks of a document by what kNN scores are: (1 + cosine) / 2."""
    assert binding.chunking is not None
    canonical, query = source_text(document, binding.source), Windowed().vector(text)
    chunks = split(canonical, binding.chunking)
    vectors = [Windowed().vector(canonical[chunk.start : chunk.end]) for chunk in chunks]
    scored = [(c.start, c.end, float(1 + v @ query) / 2) for c, v in zip(chunks, vectors, strict=True)]
    return sorted(scored, key=lambda one: (-one[2], one[0]))[:count]


def spans(passages: tuple[Passage, ...]) -> list[tuple[int, int]]:
    return [(each.start, each.end) for each in passages]


@pytest.mark.parametrize("mode", ["hybrid", "knn", "exact"])
def test_a_document_in_chunks_has_its_nearest_chunks_with_their_scores(
    client: Elasticsearch, indices: dict[str, str], mode: str
) -> None:
    index = indices["always"]
    binding = binding_of(client, index)
    hits = search(client, index, mode=mode, size=ROWS).hits
    assert len(hits) == ROWS
    for hit in hits:
        wanted = nearest(corpus()[hit.id], binding, 3)
        assert spans(hit.passages) == [one[:2] for one in wanted]
        assert [each.score for each in hit.passages] == pytest.approx([score for *_, score in wanted], abs=1e-5)
        for leg in hit.legs.keys() - {"bm25"}:
            assert hit.passages[0].score == pytest.approx(hit.legs[leg].score, abs=1e-4)
    assert_slices(client, hits)


def test_one_vector_has_fragments_with_words_of_the_query(client: Elasticsearch, indices: dict[str, str]) -> None:
    hits = search(client, indices["never"], "night apple", size=ROWS, mode="bm25").hits
    assert hits
    for hit in hits:
        assert 1 <= len(hit.passages) <= 3
        for each in hit.passages:
            assert {"night", "apple"} & set(each.text.replace(".", "").split())
            assert len(each.text) <= LONGEST
            assert each.score is None
    assert_slices(client, hits)


def test_fields_that_hold_tags_and_markup_come_as_they_are(client: Elasticsearch, make_index: MakeIndex) -> None:
    document = {"title": "a <em>red</em> & 𠮷 title", "body": ["several", "values: <b>red</b> 😀"]}
    index = filled(client, make_index, "never", {"1": document})
    (hit,) = search(client, index, "red", mode="bm25").hits
    assert {each.text for each in hit.passages} == {"a <em>red</em> & 𠮷 title", "values: <b>red</b> 😀"}
    assert_slices(client, (hit,))


def test_a_hit_by_meaning_alone_has_the_beginning_of_its_text(client: Elasticsearch, indices: dict[str, str]) -> None:
    hits = search(client, indices["never"], "unheard-of", mode="knn", size=ROWS).hits
    assert len(hits) == ROWS
    for hit in hits:
        text = source_text(corpus()[hit.id], FIELDS)
        (passage,) = hit.passages
        assert text.startswith(passage.text)
        assert passage.text == text or (LONGEST / 2 <= len(passage.text) <= LONGEST and passage.text.endswith("."))


def test_a_changed_document_has_no_chunks_of_its_old_text(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "always", corpus(6))
    client.index(index=index, id="5", document={"title": "😀", "body": "shorter, with a red apple"}, refresh=True)
    hits = {hit.id: hit for hit in search(client, index).hits}
    assert all(each.score is not None for doc_id in "01234" for each in hits[doc_id].passages)
    assert [(each.text, each.start, each.score) for each in hits["5"].passages] == [
        ("shorter, with a red apple", 2, None)
    ]
    assert_slices(client, tuple(hits.values()))


def test_chunks_that_are_not_of_the_text_as_it_is_do_not_count(client: Elasticsearch, make_index: MakeIndex) -> None:
    """Written where no pipeline sees it: the document keeps its chunks, and says that it is ready."""
    index = filled(client, make_index, "always", corpus(6))
    client.indices.put_settings(index=index, settings={"index.final_pipeline": "_none"})
    client.update(index=index, id="5", doc={"body": "night. " + corpus(6)["5"]["body"]}, refresh=True)
    stored = client.search(index=index, query={"ids": {"values": ["5"]}}, source_includes="semantic.status")["hits"][
        "hits"
    ][0]
    assert stored["_source"]["semantic"]["status"] == "ready"
    hits = search(client, index, mode="knn").hits
    assert [[each.score is None for each in hit.passages] for hit in hits if hit.id == "5"] == [[True]]
    assert all(each.score is not None for hit in hits if hit.id != "5" for each in hit.passages)
    assert_slices(client, hits)


def test_documents_without_text_have_no_passages(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "always", {"1": {"title": "", "tenant": "red"}, "2": {"title": "red"}})
    hits = search(client, index, "red", mode="bm25", fields=["tenant", "title"]).hits
    assert {hit.id: [each.text for each in hit.passages] for hit in hits} == {"1": [], "2": ["red"]}


def test_two_indices_each_by_its_own_binding(client: Elasticsearch, indices: dict[str, str]) -> None:
    whole, chunked = indices["never"], indices["always"]
    result = search(client, f"{whole},{chunked}", "red apple", size=2 * ROWS)
    assert {hit.index for hit in result.hits} == {whole, chunked}
    for hit in result.hits:
        assert hit.passages
        assert all((each.score is None) == (hit.index == whole) for each in hit.passages)
    assert_slices(client, result.hits)


@pytest.mark.parametrize("mode", ["knn", "exact"])
def test_several_semantic_fields_the_one_that_ranks_the_hit_best(
    client: Elasticsearch, make_index: MakeIndex, mode: str
) -> None:
    documents = {
        "by title": {"title": "red apple", "body": "swim slow. " * 30},
        "by body": {"title": "swim", "body": "walk big. " * 20 + "red apple. " * 9},
    }
    index = make_index(PROPERTIES, documents=documents)
    embed(client, index, "never", fields=["title"], name="titles")
    embed(client, index, "always", fields=["body"], name="bodies")
    found = search(client, index, "red apple", mode=mode, name=["titles", "bodies"]).hits
    hits = {hit.id: hit for hit in found}
    assert {leg for hit in found for leg in hit.legs} == {f"{mode}:titles", f"{mode}:bodies"}
    assert {each.field for each in hits["by title"].passages} == {"titles"}
    assert [each.text for each in hits["by title"].passages] == ["red apple"]
    assert {each.field for each in hits["by body"].passages} == {"bodies"}
    assert hits["by body"].passages[0].text.count("red apple") > 1
    assert_slices(client, tuple(hits.values()))


def test_one_id_in_two_shards(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index(PROPERTIES, settings={"number_of_shards": 3})
    texts = {
        routing: f"{routing} red apple. " + sentences(i, 12) for i, routing in enumerate(("a", "b", "c", "d", "e"))
    }
    for routing, text in texts.items():
        client.index(index=index, id="same", routing=routing, document={"title": routing, "body": text}, refresh=True)
    embed(client, index, "always")
    hits = search(client, index, mode="exact").hits
    assert sorted(hit.routing or "" for hit in hits) == sorted(hit.source["title"] for hit in hits)
    assert len(hits) > 1
    for hit in hits:
        wanted = nearest({"title": hit.routing, "body": texts[hit.routing or ""]}, binding_of(client, index), 3)
        assert spans(hit.passages) == [one[:2] for one in wanted]


def test_the_filter_of_an_alias_holds(client: Elasticsearch, indices: dict[str, str]) -> None:
    name = f"{indices['always']}-some"
    client.indices.put_alias(index=indices["always"], name=name, filter={"term": {"tenant": "t1"}})
    hits = search(client, name, size=ROWS).hits
    assert {hit.source["tenant"] for hit in hits} == {"t1"}
    assert all(hit.passages for hit in hits)


@pytest.mark.parametrize("chunk", ["never", "always"])
def test_passages_come_without_documents_too(client: Elasticsearch, indices: dict[str, str], chunk: str) -> None:
    index = indices[chunk]
    without = search(client, index, source=False).hits
    assert all(hit.source == {} for hit in without)
    assert [hit.passages for hit in without] == [hit.passages for hit in search(client, index).hits]


@pytest.mark.parametrize("chunk", ["never", "always"])
async def test_the_asynchronous_client_gives_the_same(
    client: Elasticsearch, node_url: str, indices: dict[str, str], chunk: str
) -> None:
    index = indices[chunk]
    async with AsyncElasticsearch(node_url) as asynchronous:
        theirs = await es_semantic.search(asynchronous, index, QUERY, passages=3, model=Windowed())
    assert theirs.hits == search(client, index).hits
    assert all(hit.passages for hit in theirs.hits)


@pytest.mark.parametrize("chunk", ["never", "always"])
def test_they_cost_one_request_and_none_where_nobody_asks(
    client: Elasticsearch, indices: dict[str, str], chunk: str
) -> None:
    index = indices[chunk]
    counts = []
    for passages in (0, 3):
        asked: list[Step] = []
        drive(client, search_steps(index, QUERY, lambda _: Windowed(), passages=passages), asked)
        counts.append(sum(isinstance(step, Request) for step in asked))
    assert counts[1] == counts[0] + 1


def test_what_fails_is_an_error_or_named(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "never")
    client.indices.put_settings(index=index, settings={"index.highlight.max_analyzed_offset": 10})
    with pytest.raises(RequestFailed, match="max_analyzed_offset"):
        search(client, index)
    result = search(client, index, allow_degraded=True)
    assert [each.leg for each in result.degraded] == ["passages"]
    assert len(result.hits) == 10
    assert all(hit.passages == () for hit in result.hits)


@pytest.mark.parametrize("count", [-1, 101])
def test_numbers_of_passages_that_cannot_be(client: Elasticsearch, count: int) -> None:
    with pytest.raises(InvalidQuery, match="passages must be between 0 and 100"):
        search(client, "no-such-index", passages=count)


def test_the_most_passages(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "always", {"1": {"title": "long", "body": sentences(1, 300)}})
    (hit,) = search(client, index, passages=100).hits
    assert len(hit.passages) == 100
    assert spans(hit.passages) == [one[:2] for one in nearest(dict(hit.source), binding_of(client, index), 100)]


def test_words_that_only_an_analysed_sub_field_knows(client: Elasticsearch, make_index: MakeIndex) -> None:
    body = "The weather was fine. " * 40 + "Two horses were running home. " + "Nothing more. " * 60
    index = make_index(PROPERTIES)
    es_semantic.attach(client, index, FIELDS, model=Windowed(), chunk="never", language="en")
    client.index(index=index, id="1", document={"title": "A title", "body": body}, refresh=True)
    es_semantic.sync(client, index, model=Windowed())
    (hit,) = search(client, index, "horse run", mode="bm25", fields=binding_of(client, index).bm25_fields).hits
    assert [each.text[:29] for each in hit.passages] == ["Two horses were running home."]
    assert_slices(client, (hit,))
