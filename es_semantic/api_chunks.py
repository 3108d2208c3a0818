"""The Python face of indices of chunks: retrieve_chunks and list_datasets, in RAGFlow's terms.

As in :mod:`es_semantic.api` each takes an ``Elasticsearch`` or an ``AsyncElasticsearch`` client first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from es_semantic.chosen import Model, models_for, rerankers_for
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Steps
from es_semantic.config import Config, KnowledgeSettings
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.chunk_search import ChunkQuery, Chunks, chunk_steps
from es_semantic.retrieval.chunk_space import space_of, types_of
from es_semantic.retrieval.conditions import Condition, conditions_clause
from es_semantic.retrieval.datasets import Dataset, datasets_of, located, scope_of
from es_semantic.retrieval.fresh import with_fresh_bindings
from es_semantic.retrieval.query import Filters, require_query, require_whole
from es_semantic.retrieval.wish import require_deadline, require_filters
from es_semantic.schema.lookup import mapped

MAX_IDS = 1_000
MAX_WINDOW = 10_000


@served
def retrieve_chunks(
    question: str,
    *,
    dataset_ids: Sequence[str],
    document_ids: Sequence[str] = (),
    conditions: Sequence[Condition] = (),
    logic: Literal["and", "or"] = "and",
    filters: Filters = None,
    size: int = 30,
    from_: int = 0,
    similarity_threshold: float = 0.2,
    vector_similarity_weight: float = 0.3,
    top_k: int = 1024,
    rerank: str | None = None,
    highlight: bool = False,
    deadline: float | None = None,
    allow_degraded: bool = False,
    model: Model = None,
    config: Config | None = None,
) -> Steps[tuple[KnowledgeSettings, Chunks]]:
    """Return the chunks of datasets that answer a question, and the settings of the index that they are in.

    A chunk's ``similarity`` is from 0 to 1: ``1 - vector_similarity_weight`` times the share of the question's words
    that it has, by rarity, plus ``vector_similarity_weight`` times its cosine. It depends on nothing else; so a higher
    ``similarity_threshold`` only leaves out, ``total`` and ``documents`` are those of all pages, and pages neither
    overlap nor leave a gap. The best ``top_k`` by words and, whatever their words, the nearest ``top_k`` by vectors are
    looked at. With ``rerank``, a configured reranker, its score stands for the cosine, and only the best 100 count.

    ``conditions`` are on metadata (see :class:`Condition`), ``filters`` are Elasticsearch query clauses. Chunks that
    are not available are never found. Datasets are looked for in the indices under ``knowledge`` in the configuration,
    by default in that of ``ingest``; all of one call must be in one of them.

    Raises:
        UnknownDataset: there is no such dataset, or no such document in them.
        InvalidQuery: a number is out of its range, or a condition cannot be read.
        NotAttached: the index has no semantic field.
        ModelUnavailable, RerankerError, ClusterError: a part failed, and ``allow_degraded`` is off.
    """
    query = ChunkQuery(
        require_query(question),
        vector_weight=_share("vector_similarity_weight", vector_similarity_weight),
        threshold=_share("similarity_threshold", similarity_threshold),
        top_k=_whole("top_k", top_k, 1),
        start=_whole("from_", from_, 0),
        size=_whole("size", size, 1),
        rerank=rerank,
        highlight=highlight,
        deadline=require_deadline(deadline),
        allow_degraded=allow_degraded,
    )
    datasets, documents = _ids("dataset_ids", dataset_ids), _ids("document_ids", document_ids)
    place = yield from located(places_of(config), datasets, documents)
    given = require_filters(filters)
    models = models_for(model, config, place.index)

    def attempt(_: Any) -> Steps[Chunks]:
        maps = yield from mapped(place.index)
        types = types_of(maps)
        clause = conditions_clause(conditions, logic, below=place.metadata, types=types)
        scope = scope_of(place, datasets, documents, types)
        wanted = (*scope, *given, *([clause] if clause is not None else []))
        space = space_of(place, maps, models)
        return (yield from chunk_steps(place, space, replace(query, filters=wanted), rerankers_for(config)))

    chunks = yield from with_fresh_bindings(place.index, attempt, lambda found: [each.key[0] for each in found.chunks])
    return place, chunks


@served
def list_datasets(*, config: Config | None = None) -> Steps[list[Dataset]]:
    """List the datasets in the indices under ``knowledge`` in the configuration, by id; an index may not be there yet.

    Raises:
        ClusterError: Elasticsearch refuses, or does not answer.
    """
    return datasets_of(places_of(config))


def places_of(config: Config | None) -> list[KnowledgeSettings]:
    """Return the indices of chunks that are configured, else that of ``ingest``."""
    configured = list(config.knowledge.values()) if config is not None else []
    return configured or [KnowledgeSettings()]


def _ids(name: str, ids: Sequence[str]) -> list[str]:
    if isinstance(ids, str) or not all(isinstance(id, str) and id for id in ids):
        raise InvalidQuery(f"{name} must be a list of ids")
    if len(ids) > MAX_IDS:
        raise InvalidQuery(f"{name} has {len(ids):,} ids; at most {MAX_IDS:,} are allowed")
    return list(dict.fromkeys(ids))


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidQuery(f"{name} must be between 0 and 1, not {value!r}")
    return float(value)


def _whole(name: str, value: int, least: int) -> int:
    if not least <= require_whole(name, value) <= MAX_WINDOW:
        raise InvalidQuery(f"{name} must be between {least} and {MAX_WINDOW:,}, not {value}")
    return value
