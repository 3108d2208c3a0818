"""Where datasets of chunks are: which index has them, and what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from es_semantic.cluster.failures import failure
from es_semantic.cluster.steps import Request, Steps
from es_semantic.config import KnowledgeSettings
from es_semantic.errors import IndexUnavailable, InvalidQuery
from es_semantic.retrieval.tree.nodes import Json
from es_semantic.schema.lookup import bindings_of

MAX_DATASETS = 10_000


class UnknownDataset(InvalidQuery):
    """No chunk of this dataset, or of this document in it, is there; ``id`` is the one."""

    def __init__(self, what: str, id: str) -> None:
        super().__init__(what, hint="list_datasets() tells which there are.")
        self.id = id


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its id: the index that has it, and how many chunks and (about) how many documents it has there."""

    id: str
    index: str
    chunks: int
    documents: int
    model: str


def datasets_of(places: Sequence[KnowledgeSettings]) -> Steps[list[Dataset]]:
    """Return the datasets in these indices, by id; an index may not be there yet.

    Raises:
        ClusterError: Elasticsearch refuses, or does not answer.
    """
    found: list[Dataset] = []
    for place in places:
        body = {
            "size": 0,
            "track_total_hits": False,
            "query": {"match_all": {}},
            "aggs": {
                "datasets": {
                    "terms": {"field": place.dataset, "size": MAX_DATASETS},
                    "aggs": {"documents": {"cardinality": {"field": place.document}}},
                }
            },
        }
        try:
            (answer,) = yield from _msearch([(place.index, body)])
            bindings = yield from bindings_of(place.index)
        except IndexUnavailable:
            continue
        model = place.model or next(
            (each.fields[each.place(place.name)].fingerprint.model for each in bindings.values() if each.fields),
            "",
        )
        found += [
            Dataset(str(each["key"]), place.index, each["doc_count"], each["documents"]["value"], model)
            for each in answer["aggregations"]["datasets"]["buckets"]
        ]
    return sorted(found, key=lambda each: (each.id, each.index))


def scope_of(
    place: KnowledgeSettings, datasets: Sequence[str], documents: Sequence[str], types: Mapping[str, str]
) -> tuple[Json, ...]:
    """Return the filters for datasets and documents, and for chunks that are available."""
    scope: list[Json] = []
    if datasets:
        scope.append({"terms": {place.dataset: list(datasets)}})
    if documents:
        scope.append({"terms": {place.document: list(documents)}})
    if place.available is not None:
        hidden = False if types.get(place.available) == "boolean" else 0
        scope.append({"bool": {"must_not": [{"term": {place.available: hidden}}]}})
    return tuple(scope)


def located(
    places: Sequence[KnowledgeSettings], datasets: Sequence[str], documents: Sequence[str]
) -> Steps[KnowledgeSettings]:
    """Return the one index that has all these datasets, and all these documents in them.

    Raises:
        InvalidQuery: no dataset or document is named, or the datasets are in different indices.
        UnknownDataset: one of them is nowhere.
    """
    if not datasets and not documents:
        raise InvalidQuery("`dataset_ids` is required", hint="Or name documents.")
    known: dict[str, KnowledgeSettings] = {}
    ids = datasets or documents
    for place in places:
        field = place.dataset if datasets else place.document
        try:
            (answer,) = yield from _msearch([(place.index, _having(field, ids))])
        except IndexUnavailable:
            continue
        for id in _had(answer, ids):
            known.setdefault(id, place)
    for id in ids:
        if id not in known:
            raise UnknownDataset(f"there is no {'dataset' if datasets else 'document'} {id!r}", id)
    place = known[ids[0]]
    if any(known[id] is not place for id in ids):
        raise InvalidQuery("these datasets are in different indices", hint="Ask for them one by one.")
    if datasets and documents:
        body = _having(place.document, documents, [{"terms": {place.dataset: list(datasets)}}])
        (answer,) = yield from _msearch([(place.index, body)])
        missing = [id for id in documents if id not in _had(answer, documents)]
        if missing:
            raise UnknownDataset(f"the datasets have no document {missing[0]!r}", missing[0])
    return place


def _having(field: str, ids: Sequence[str], filters: Sequence[Json] = ()) -> Json:
    by_id = {str(place): {"term": {field: id}} for place, id in enumerate(ids)}
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {"bool": {"filter": [{"terms": {field: list(ids)}}, *filters]}},
        "aggs": {"ids": {"filters": {"filters": by_id}}},
    }


def _had(answer: Mapping[str, Any], ids: Sequence[str]) -> list[str]:
    buckets = answer["aggregations"]["ids"]["buckets"]
    return [id for place, id in enumerate(ids) if buckets[str(place)]["doc_count"]]


def _msearch(searches: Sequence[tuple[str, Json]]) -> Steps[list[Json]]:
    lines = [line for index, body in searches for line in (orjson.dumps({"index": index}), orjson.dumps(body))]
    about = f"searching {', '.join(repr(index) for index, _ in searches)}"
    answer = yield Request("POST", "/_msearch", {}, lines, about=about)
    for response in answer["responses"]:
        if "error" in response:
            raise failure(int(response.get("status", 500)), response, about)
    responses: list[Json] = answer["responses"]
    return responses
