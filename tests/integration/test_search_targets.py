"""Lists of indices that are bound differently: every leg reaches its own, and an alias keeps its filter."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import run
from es_semantic.embedding import Embedder, Embeddings
from es_semantic.errors import FingerprintMismatch, InvalidQuery, ModelUnavailable
from es_semantic.retrieval.more_like import more_like_steps
from es_semantic.retrieval.results import SearchResult
from es_semantic.retrieval.search import search_steps
from es_semantic.retrieval.wish import read_wish
from es_semantic.schema.binding import Binding
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex

PROPERTIES = {"title": {"type": "text"}, "lang": {"type": "keyword"}}
DOCUMENTS = {str(i): {"title": f"red apple {i}", "lang": "de" if i % 2 else "en"} for i in range(40)}
MODELS = {model.profile.fingerprint.id: model for model in (TinyEmbedder(), TinyEmbedder("other"))}


def bound(binding: Binding) -> Embedder:
    return MODELS[binding.fingerprint.id]


@pytest.fixture
def pair(client: Elasticsearch, make_index: MakeIndex, unique: str) -> tuple[str, str]:
    """An alias that shows the German half of one index, and an index in chunks, by another model."""
    one, other = (make_index(PROPERTIES, documents=DOCUMENTS) for _ in range(2))
    for index, model, chunk in zip((one, other), MODELS.values(), ("never", "always"), strict=True):
        es_semantic.attach(client, index, ["title"], model=model, chunk=chunk)
        es_semantic.sync(client, index, model=model)
    alias = f"{unique}-german"
    client.indices.put_alias(index=one, name=alias, filter={"term": {"lang": "de"}})
    return alias, other


def search(client: Elasticsearch, index: str, text: str, **options: object) -> SearchResult:
    return run(client, search_steps(index, text, bound, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["hybrid", "knn", "bm25", "exact"])
def test_an_alias_keeps_its_filter_and_pages_are_full(client: Elasticsearch, pair: tuple[str, str], mode: str) -> None:
    alias, other = pair
    pages = [
        search(client, f"{alias},{other}", "red apple", mode=mode, size=10, from_=start) for start in range(0, 60, 10)
    ]
    hits = [hit for page in pages for hit in page.hits]
    assert [len(page.hits) for page in pages] == [10] * 6
    assert len({(hit.index, hit.id) for hit in hits}) == 60
    assert {hit.source["lang"] for hit in hits if hit.index != other} == {"de"}


def test_more_like_keeps_to_the_alias(client: Elasticsearch, pair: tuple[str, str]) -> None:
    alias, other = pair
    client.index(index=other, id="own", document={"title": "pear"}, refresh=True)
    wish = read_wish(mode="knn", size=40, from_=0, rank_window_size=None, filters=None, fields=None, name="semantic")
    steps = more_like_steps(f"{alias},{other}", "1", None, wish)
    with pytest.raises(InvalidQuery, match="several documents"):
        run(client, steps)
    client.delete(index=other, id="1", refresh=True)
    found = run(client, more_like_steps(f"{alias},{other}", "1", None, wish))
    assert {hit.source["lang"] for hit in found.hits} == {"de"}
    assert len(found.hits) == 19


def test_an_alias_of_both_is_refused_by_name(client: Elasticsearch, pair: tuple[str, str], unique: str) -> None:
    alias, other = pair
    behind = next(iter(client.indices.get_alias(name=alias)))
    for index in (behind, other):
        client.indices.put_alias(index=index, name=f"{unique}-both")
    with pytest.raises(FingerprintMismatch, match=f"{unique}-both"):
        search(client, f"{unique}-both", "red")
    assert search(client, f"{behind},{other}", "red", size=80).hits


class Slow(TinyEmbedder):
    """Never ready in time, or never at all."""

    def __init__(self, model: str, *, down: bool) -> None:
        super().__init__(model)
        self.down = down

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        if self.down:
            raise ModelUnavailable("it is down")
        time.sleep(0.5)
        return super().embed_queries(texts)


@pytest.mark.parametrize("down", [True, False])
def test_a_model_that_fails_leaves_the_other_legs(client: Elasticsearch, pair: tuple[str, str], down: bool) -> None:
    alias, other = pair
    working, failing = MODELS.values()
    chosen = {
        working.profile.fingerprint.id: working,
        failing.profile.fingerprint.id: Slow(failing.profile.fingerprint.model, down=down),
    }
    index, text = f"{alias},{other}", f"red apple {math.pi if down else math.e}"
    with pytest.raises(ModelUnavailable):
        run(client, search_steps(index, text, lambda b: chosen[b.fingerprint.id], mode="knn", deadline=0.1))
    found = run(
        client,
        search_steps(index, text, lambda b: chosen[b.fingerprint.id], mode="knn", deadline=0.1, allow_degraded=True),
    )
    assert len(found.hits) == 10
    assert [each.leg for each in found.degraded] == [f"knn:semantic:{_stamp(client, other)}"]


def _stamp(client: Elasticsearch, index: str) -> str:
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["es_semantic"]["fields"]["semantic"]
    return Binding.model_validate(meta).stamp


def test_a_degraded_hybrid_says_which_leg_is_left(client: Elasticsearch, pair: tuple[str, str]) -> None:
    alias, _ = pair
    down = Slow("tiny", down=True)
    found = es_semantic.search(client, alias, "red apple down", model=down, allow_degraded=True)
    assert {tuple(hit.legs) for hit in found.hits} == {("bm25",)}
    assert [each.leg for each in found.degraded] == ["knn"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "10"},
        {"size": 1.5},
        {"size": True},
        {"from_": "0"},
        {"rank_window_size": "x"},
        {"deadline": float("inf")},
        {"deadline": float("nan")},
        {"deadline": 0},
        {"deadline": "1"},
        {"filters": 5},
        {"filters": {"term": {"lang": {1, 2}}}},
        {"ranking": "rrf"},
        {"rerank": 5},
        {"rerank": ""},
        {"name": 5},
        {"name": []},
        {"fields": [3]},
        {"index": None},
        {"index": []},
        {"index": [""]},
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(client: Elasticsearch, wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"index": "nowhere", "text": "red", **wrong}
    with pytest.raises(InvalidQuery):
        es_semantic.search(client, **arguments)  # type: ignore[call-overload]


class Broken(TinyEmbedder):
    """Raises what is not ours, with the text in it."""

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        raise RuntimeError(f"cannot embed {texts[0]}")


def test_an_embedder_s_own_exception_is_one_of_ours_and_quotes_no_text(
    client: Elasticsearch, pair: tuple[str, str]
) -> None:
    alias, _ = pair
    with pytest.raises(ModelUnavailable, match="RuntimeError") as caught:
        es_semantic.search(client, alias, "a private question", model=Broken())
    assert "private" not in str(caught.value)
    found = es_semantic.search(client, alias, "red private apple", model=Broken(), allow_degraded=True)
    assert [each.leg for each in found.degraded] == ["knn"]


def test_highlights_come_once_and_survive_a_long_text(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": {"type": "text"}})
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), chunk="never", language="en")
    client.index(index=index, id="1", document={"title": "running shoes " + "and more " * 150_000})
    client.index(index=index, id="2", document={"title": "she runs"}, refresh=True)
    hits = es_semantic.search(client, index, "runs", mode="bm25", highlight=True, source=False).hits
    assert {hit.id: set(hit.highlights) for hit in hits} == {"1": {"title"}, "2": {"title"}}
    assert next(hit for hit in hits if hit.id == "2").highlights["title"] == ["she <em>runs</em>"]
