"""A context on a real node: within its tokens by the model's own tokenizer, and every citation leads to its source."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

import es_semantic
from es_semantic.embedding.chunking import TokenCounter, document_tokenizer
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.assembly import estimated_tokens
from es_semantic.retrieval.context import Context
from es_semantic.schema.text import source_text
from tests.integration.test_chunks import Windowed
from tests.integration.test_passages import QUERY, ROWS, binding_of, corpus, filled
from tests.nodes import MakeIndex


class Counting(Windowed):
    """A local model, whose tokens are words."""

    @cached_property
    def document_tokenizer(self) -> TokenCounter:
        tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        return document_tokenizer(tokenizer)


def assert_true(client: Elasticsearch, found: Context, budget: int) -> None:
    """Within the budget, numbered, without repetitions, and each citation is the slice of a hit's current text."""
    assert found.tokens <= budget
    assert found.text == "\n\n".join(f"[{each.number}] {each.title}\n{each.text}" for each in found.citations)
    hits = [(hit.index, hit.id, hit.routing) for hit in found.result.hits]
    places = []
    for each in found.citations:
        source = client.get(index=each.index, id=each.id, routing=each.routing)["_source"]
        text = source_text(source, binding_of(client, each.index, each.field).source)
        assert text[each.start : each.end] == each.text
        places.append((hits.index((each.index, each.id, each.routing)), each.start))
    assert places == sorted(places)
    assert len({" ".join(each.text.split()) for each in found.citations}) == len(found.citations)


@pytest.mark.parametrize("chunk", ["never", "always"])
def test_the_model_s_own_tokenizer_counts(client: Elasticsearch, make_index: MakeIndex, chunk: str) -> None:
    index = filled(client, make_index, chunk, embedder=Counting())
    for budget in (5, 40, 300, 100_000):
        found = es_semantic.context(client, index, QUERY, max_tokens=budget, size=ROWS, model=Counting())
        assert_true(client, found, budget)
        assert found.tokens == len(found.text.split())
        assert bool(found.text) == (budget > 2)
    everything = {each.id for each in found.citations}
    assert everything == {hit.id for hit in found.result.hits}
    assert len(everything) == ROWS


def test_titles_ids_and_a_count_of_one_s_own(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "always", corpus(4))
    found = es_semantic.context(client, index, QUERY, max_tokens=400, count_tokens=len, model=Windowed(), passages=1)
    assert_true(client, found, 400)
    assert found.tokens == len(found.text)
    assert {each.title for each in found.citations} <= set(corpus(4))
    titled = es_semantic.context(client, index, QUERY, max_tokens=9_999, title="title", model=Windowed())
    assert {each.title for each in titled.citations} == {f"T{i} 😀" for i in range(4)}
    nowhere = es_semantic.context(client, index, QUERY, max_tokens=9_999, title="nowhere", model=Windowed())
    assert {each.title for each in nowhere.citations} == set(corpus(4))


def test_without_a_tokenizer_two_bytes_are_a_token(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "never", corpus(4))
    for mode in ("hybrid", "bm25"):
        found = es_semantic.context(client, index, QUERY, max_tokens=150, mode=mode, model=Windowed())
        assert_true(client, found, 150)
        assert found.tokens == estimated_tokens(found.text) > 50


def test_two_indices_of_two_models_and_the_same_text_once(client: Elasticsearch, make_index: MakeIndex) -> None:
    same = {"title": "T", "body": "A red apple at night. " * 3}
    first = filled(client, make_index, "never", {"1": same, "2": {"title": "U", "body": "A plum."}})
    second = filled(client, make_index, "never", {"3": same, "4": {"title": "V", "body": "A red pear."}})
    found = es_semantic.context(client, f"{first},{second}", "red apple", max_tokens=2_000, model=Windowed())
    assert_true(client, found, 2_000)
    assert {hit.id for hit in found.result.hits} == {"1", "2", "3", "4"}
    assert len({each.id for each in found.citations} & {"1", "3"}) == 1
    assert found.text.count(same["body"].strip()) == 1


def test_a_changed_document_is_cited_as_it_is_now(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = filled(client, make_index, "always", corpus(3))
    client.index(index=index, id="1", document={"title": "😀", "body": "now a red apple"}, refresh=True)
    found = es_semantic.context(client, index, "red apple", max_tokens=3_000, model=Windowed())
    assert_true(client, found, 3_000)
    assert [each.text for each in found.citations if each.id == "1"] == ["now a red apple"]


async def test_the_asynchronous_client_gives_the_same(
    client: Elasticsearch, node_url: str, make_index: MakeIndex
) -> None:
    index = filled(client, make_index, "always", corpus(6), embedder=Counting())
    async with AsyncElasticsearch(node_url) as asynchronous:
        theirs = await es_semantic.context(asynchronous, index, QUERY, max_tokens=90, model=Counting())
    ours = es_semantic.context(client, index, QUERY, max_tokens=90, model=Counting())
    assert (theirs.text, theirs.citations, theirs.tokens) == (ours.text, ours.citations, ours.tokens)
    assert 45 < ours.tokens <= 90


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"max_tokens": 2.5}, {"max_tokens": 10, "passages": 0}])
def test_numbers_that_cannot_be(client: Elasticsearch, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery, match="must be 1 or more"):
        es_semantic.context(client, "no-such-index", QUERY, model=Windowed(), **options)
