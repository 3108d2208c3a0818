"""Retrieval as RAGFlow has it: every chunk has a similarity from 0 to 1 to the question, by its words and its vector.

``similarity = (1 - vector_weight) * term_similarity + vector_weight * vector_similarity``. The first is the share of
the question's words that the chunk has, by their rarity; the second the cosine, at least 0. Both are known for every
candidate, whichever search has found it, so a chunk's similarity depends on nothing but the question and the chunk.
Candidates are the best ``top_k`` by words and, independently of them, the nearest ``top_k`` by vectors.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from es_semantic.cluster.steps import Compute, Request, Steps
from es_semantic.config import KnowledgeSettings
from es_semantic.deadline import in_milliseconds
from es_semantic.embedding.protocol import Similarity
from es_semantic.errors import ClusterError, InvalidQuery, InvalidRetriever, RerankerError
from es_semantic.retrieval.chunk_space import Space
from es_semantic.retrieval.documents import documents_query
from es_semantic.retrieval.exact import scored_by_vector
from es_semantic.retrieval.found import Degraded, Key, key_of
from es_semantic.retrieval.query_vectors import NO_VECTOR, vector_in_time
from es_semantic.retrieval.refusals import refused, refused_search
from es_semantic.retrieval.reranked import Rerankers
from es_semantic.retrieval.tree.nodes import Json, Vector
from es_semantic.retrieval.weights import Word, covering, word_weights

RERANKED = 100
"""Candidates that a reranker reads; with one, no others are answered, because their similarities could not be compared.
"""

MAX_ANALYZED = 1_000_000


@dataclass(frozen=True, slots=True)
class ChunkQuery:
    """What to look for; see :func:`es_semantic.api_chunks.retrieve_chunks`."""

    question: str
    filters: tuple[Json, ...] = ()
    vector_weight: float = 0.3
    threshold: float = 0.2
    top_k: int = 1024
    start: int = 0
    size: int = 30
    rerank: str | None = None
    highlight: bool = False
    deadline: float | None = None
    allow_degraded: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk that answers: its similarity and what it is made of, and its fields as lists of values."""

    key: Key
    similarity: float
    term_similarity: float
    vector_similarity: float
    fields: Mapping[str, Sequence[Any]]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    highlight: str | None = None

    def value(self, name: str) -> Any:
        """Return the first value of a field; None where it has none."""
        return next(iter(self.fields.get(name, ())), None)


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A document, and how many of its chunks are similar enough."""

    id: str
    name: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Chunks:
    """One page of the chunks that are similar enough, best first, and ``total`` and ``documents`` over all pages."""

    total: int
    documents: tuple[FoundDocument, ...]
    chunks: tuple[Chunk, ...]
    degraded: tuple[Degraded, ...] = ()


@dataclass(slots=True)
class Candidate:
    """A chunk that a search has found; a similarity is None until it is known."""

    key: Key
    fields: Mapping[str, Sequence[Any]]
    term: float | None = None
    vector: float | None = None

    def similarity(self, vector_weight: float) -> float:
        """Return the weighted similarity."""
        return (1 - vector_weight) * (self.term or 0.0) + vector_weight * (self.vector or 0.0)


def chunk_steps(place: KnowledgeSettings, space: Space, query: ChunkQuery, rerankers: Rerankers) -> Steps[Chunks]:
    """Answer one question.

    Raises:
        InvalidQuery: the reranker is not configured, or Elasticsearch refuses a filter.
        ModelUnavailable, RerankerError, ClusterError: a part failed, and ``allow_degraded`` is off.
    """
    if query.rerank is not None and not rerankers.has(query.rerank):
        raise InvalidQuery(f"there is no reranker {query.rerank!r}", hint="Configure it under rerankers.")
    degraded: list[Degraded] = []
    vector = yield from _vector(space, query, degraded)
    weights = yield from word_weights(space.index, query.question, place.words)
    search = _Search(place, space, query, vector, weights)
    found = yield from search.candidates()
    yield from search.complete(found)
    ranked = sorted(found.values(), key=lambda each: _order(each, query.vector_weight))
    if query.rerank is not None and ranked:
        ranked = ranked[:RERANKED]
        try:
            yield from _rerank(search, ranked, rerankers)
        except RerankerError as error:
            if not query.allow_degraded:
                raise
            degraded.append(Degraded(query.rerank, error.what))
        ranked.sort(key=lambda each: _order(each, query.vector_weight))
    similar = [each for each in ranked if each.similarity(query.vector_weight) >= query.threshold]
    page = similar[query.start : query.start + query.size]
    chunks = yield from search.fetch(page)
    return Chunks(len(similar), documents_of(similar, place), tuple(chunks), tuple(degraded))


def documents_of(similar: Sequence[Candidate], place: KnowledgeSettings) -> tuple[FoundDocument, ...]:
    """Return the documents of chunks, those with most chunks first."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for each in similar:
        id = str(next(iter(each.fields.get(place.document, ())), ""))
        counts[id] += 1
        names.setdefault(id, str(next(iter(each.fields.get(place.document_name, ())), "")))
    ordered = sorted(counts, key=lambda id: (-counts[id], id))
    return tuple(FoundDocument(id, names[id], counts[id]) for id in ordered)


def vector_similarity(score: float, similarity: Similarity) -> float:
    """Return the similarity from 0 to 1 that a kNN score stands for (Elastic docs, "Dense vector field type").

    A cosine or dot product below 0 is no likeness at all. A product without bounds is brought below 1.
    """
    match similarity:
        case "cosine" | "dot_product":
            return min(1.0, max(0.0, 2 * score - 1))
        case "l2_norm":
            return min(1.0, score)
        case "max_inner_product":
            return max(0.0, 1 - 1 / score) if score > 0 else 0.0


def relevance(score: float, *, bounded: bool) -> float:
    """Return a reranker's score from 0 to 1: as it is where all its scores lie there, else by the logistic function."""
    return min(1.0, max(0.0, score)) if bounded else 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))


def _order(candidate: Candidate, vector_weight: float) -> tuple[float, float, Key]:
    return -candidate.similarity(vector_weight), -(candidate.term or 0.0), candidate.key


def _vector(space: Space, query: ChunkQuery, degraded: list[Degraded]) -> Steps[Vector | None]:
    try:
        embedder = yield Compute(space.embedder)
        vector: Vector = yield Compute(partial(vector_in_time, embedder, query.question, query.deadline))
    except NO_VECTOR as error:
        if not query.allow_degraded:
            raise
        degraded.append(Degraded("knn", error.what))
        return None
    return vector


def _rerank(search: _Search, ranked: Sequence[Candidate], rerankers: Rerankers) -> Steps[None]:
    query = search.query
    texts = {chunk.key: str(chunk.value(search.place.content) or "") for chunk in (yield from search.fetch(ranked))}
    reranker = yield Compute(partial(rerankers.load, str(query.rerank)))
    given = [texts.get(each.key, "") for each in ranked]
    scores: list[float] = yield Compute(
        partial(reranker.scores, query.question, given, **({"deadline": query.deadline} if query.deadline else {}))
    )
    for each, score in zip(ranked, scores, strict=True):
        each.vector = relevance(score, bounded=reranker.bounded)


@dataclass(frozen=True)
class _Search:
    """The searches of one question."""

    place: KnowledgeSettings
    space: Space
    query: ChunkQuery
    vector: Vector | None
    weights: Sequence[Word]

    def candidates(self) -> Steps[dict[Key, Candidate]]:
        """Search by words and by vectors, each for itself."""
        shape = {"size": self.query.top_k, "fields": [self.place.document, self.place.document_name]}
        searches = [{**shape, "query": self._words(self.query.filters)}]
        if self.vector is not None:
            searches.append({**shape, "knn": self.space.nearest(self.vector, self.query.top_k, self.query.filters)})
        found: dict[Key, Candidate] = {}
        by_words, *by_vectors = yield from self._hits(searches)
        for hit in by_words:
            self._candidate(found, hit).term = min(1.0, hit["_score"])
        for hit in by_vectors[0] if by_vectors else ():
            self._candidate(found, hit).vector = vector_similarity(hit["_score"], self.space.similarity)
        return found

    def complete(self, found: Mapping[Key, Candidate]) -> Steps[None]:
        """Look up what only one of the searches knows."""
        wordless = [each.key for each in found.values() if each.term is None]
        far = [each.key for each in found.values() if each.vector is None] if self.vector is not None else []
        searches = []
        if wordless:
            searches.append({"size": len(wordless), "query": self._words([documents_query(wordless)])})
        if far and self.vector is not None:
            filters = [*self.space.filters, documents_query(far)]
            exact = scored_by_vector(self.vector, self.space.similarity, self.space.field, filters)
            searches.append({"size": len(far), "query": exact})
        answers = list((yield from self._hits(searches)) if searches else [])
        for hit in answers.pop(0) if wordless else ():
            found[key_of(hit)].term = min(1.0, hit["_score"])
        for hit in answers.pop(0) if answers else ():
            found[key_of(hit)].vector = vector_similarity(hit["_score"], self.space.similarity)

    def fetch(self, page: Sequence[Candidate]) -> Steps[list[Chunk]]:
        """Return the chunks of a page with their fields; one that was deleted meanwhile is left out."""
        if not page:
            return []
        place = self.place
        wanted = [place.content, place.dataset, place.document, place.document_name, place.keywords, place.positions]
        keys = [each.key for each in page]
        body: Json = {
            "size": len(page),
            "query": documents_query(keys),
            "fields": [name for name in wanted if name],
            "_source": [place.metadata],
        }
        if self.query.highlight:
            body["highlight"] = {
                "fields": {name: {"number_of_fragments": 0} for name in (place.content, *place.words)},
                "highlight_query": self._words([]),
                "max_analyzed_offset": MAX_ANALYZED,
            }
        (hits,) = yield from self._hits([body], source=True)
        by_key = {key_of(hit): hit for hit in hits}
        return [self._chunk(each, by_key[each.key]) for each in page if each.key in by_key]

    @property
    def _copies(self) -> str:
        """The same copies of the shards for the same question, whatever the page: scores of others may differ."""
        asked = orjson.dumps([self.query.question, self.query.filters])
        return hashlib.blake2b(asked, digest_size=8).hexdigest()

    def _words(self, filters: Sequence[Json]) -> Json:
        return covering(self.weights, self.place.words, filters)

    def _candidate(self, found: dict[Key, Candidate], hit: Json) -> Candidate:
        key = key_of(hit)
        return found.setdefault(key, Candidate(key, hit.get("fields", {})))

    def _chunk(self, candidate: Candidate, hit: Json) -> Chunk:
        highlights = hit.get("highlight", {})
        shown = next(
            (highlights[name][0] for name in (self.place.content, *self.place.words) if name in highlights), None
        )
        return Chunk(
            candidate.key,
            candidate.similarity(self.query.vector_weight),
            candidate.term or 0.0,
            candidate.vector or 0.0,
            hit.get("fields", {}),
            _below(hit.get("_source") or {}, self.place.metadata),
            shown,
        )

    def _hits(self, searches: Sequence[Json], *, source: bool = False) -> Steps[list[list[Json]]]:
        common: Json = {"track_total_hits": False, **({} if source else {"_source": False})}
        if self.query.deadline is not None:
            common["timeout"] = in_milliseconds(self.query.deadline)
        header = orjson.dumps(
            {"index": self.place.index, "allow_partial_search_results": False, "preference": self._copies}
        )
        lines = [line for each in searches for line in (header, orjson.dumps({**common, **each}))]
        about = f"searching {self.place.index!r}"
        try:
            answer = yield Request("POST", "/_msearch", {}, lines, about=about)
            for response in answer["responses"]:
                if "error" in response:
                    raise refused_search(response, "", about)
        except ClusterError as error:
            raise _callers(refused(error, "")) from error
        except InvalidRetriever as error:
            raise _callers(error) from error
        return [response["hits"]["hits"] for response in answer["responses"]]


def _callers(error: Exception) -> Exception:
    """What Elasticsearch refuses to read can only be a value of a filter."""
    if isinstance(error, InvalidRetriever):
        return InvalidQuery(f"a condition cannot be compared: {error.reason}", hint=error.hint)
    return error


def _below(source: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    value: Any = source
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
