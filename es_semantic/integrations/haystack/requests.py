"""What a Haystack document store asks of Elasticsearch: procedures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
from haystack import Document
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from es_semantic.chosen import choosing
from es_semantic.cluster.steps import Compute, Request, Steps, optional, url_path
from es_semantic.config import Config
from es_semantic.embedding.fingerprint import MIN_PROBE_COSINE
from es_semantic.errors import FingerprintMismatch, RequestFailed
from es_semantic.integrations.haystack.documents import Layout, encoded, read_document, require_no_clash, source_of
from es_semantic.integrations.haystack.filters import Fields, Json, read_fields
from es_semantic.resources import resource
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.render import fill
from es_semantic.schema.text import is_blank, source_text, text_hash
from es_semantic.sync import bulk
from es_semantic.sync.documents import held, marks
from es_semantic.sync.pit import every_hit

PAGE = 1000
"""Documents that one request brings where all are read."""

NAMED = 3
"""Documents that an error names."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the mappings behind a name say: its fields, and the semantic fields of each index."""

    fields: Fields
    bindings: Mapping[str, Bindings]

    def bound(self, layout: Layout) -> list[Binding]:
        """Return the bindings of the store's semantic field; none where nothing is attached.

        Raises:
            NotAttached: there are other semantic fields, but none of that name.
        """
        attached = {index: each for index, each in self.bindings.items() if each.fields}
        return [each.one(layout.name, index=index) for index, each in attached.items()]

    def holder(self, layout: Layout) -> tuple[str, Binding] | None:
        """Return the semantic field whose vectors the caller's embeddings are to be; None where they have a field of
        their own.

        Raises:
            DocumentStoreError: the index has no place for embeddings.
        """
        for each in self.bindings.values():
            for place, binding in each.fields.items():
                if layout.embedding == f"{place}.vector" and binding.chunking is None:
                    return place, binding
        if self.fields.types.get(layout.embedding, {}).get("type") != "dense_vector":
            raise DocumentStoreError(
                f"index {layout.index!r} has no dense_vector field {layout.embedding!r} for the embeddings of documents"
                "\nAdd one to its mapping, name the one that it has as embedding_field, or write without embeddings."
            )
        return None

    def hidden(self) -> set[str]:
        """Return what is no metadata wherever documents are read: es-semantic's own fields, and vectors."""
        vectors = {path for path, body in self.fields.types.items() if body.get("type") == "dense_vector"}
        return vectors.union(*(each.hidden() for each in self.bindings.values()))


def find(index: str) -> Steps[Found | None]:
    """Look up the mappings of an index, an alias or a data stream; None where there is none of that name."""
    mappings = yield from optional(Request("GET", url_path("/{}/_mapping", index)))
    if not mappings:
        return None
    bodies = {concrete: body["mappings"] for concrete, body in sorted(mappings.items())}
    every = [read_fields(body) for body in bodies.values()]
    fields = Fields(
        {path: body for each in every for path, body in each.types.items()},
        set().union(*(each.nested for each in every)),
        set().union(*(each.unindexed for each in every)),
    )
    return Found(fields, {index: read_bindings(body, index=index) for index, body in bodies.items()})


def count_steps(layout: Layout, filters: Mapping[str, Any] | None) -> Steps[int]:
    """Count the documents that match; none in an index that does not exist."""
    found = yield from find(layout.index)
    if found is None:
        return 0
    body = {"query": {"bool": {"filter": layout.clauses(filters, found.fields)}}}
    counted: int = (yield Request("POST", url_path("/{}/_count", layout.index), body=body))["count"]
    return counted


def filter_steps(layout: Layout, filters: Mapping[str, Any] | None) -> Steps[list[Document]]:
    """Return all documents that match, with their embeddings, in no particular order."""
    found = yield from find(layout.index)
    if found is None:
        return []
    body = {
        "query": {"bool": {"filter": layout.clauses(filters, found.fields)}},
        "_source": {"excludes": sorted(found.hidden())},
        "fields": [layout.embedding],
    }
    hits = yield from every_hit(layout.index, body, size=PAGE)
    return [read_document(hit, layout, found.hidden()) for hit in hits]


def write_steps(layout: Layout, documents: Sequence[Document], policy: DuplicatePolicy, config: Config) -> Steps[int]:
    """Write documents, and make them visible to searches; the index is made where there is none.

    Raises:
        DuplicateDocumentError: some were there already, and the policy is neither to overwrite nor to skip them.
        DocumentStoreError: a document cannot be stored as it is, or the index refuses it.
        FingerprintMismatch: embeddings are to be the semantic field's vectors, and are not of its model.
    """
    if not documents:
        return 0
    found = (yield from find(layout.index)) or (yield from _created(layout))
    holder = found.holder(layout) if any(each.embedding is not None for each in documents) else None
    sources = [source_of(each, layout, found.hidden()) for each in documents]
    for document, source in zip(documents, sources, strict=True):
        if document.embedding is not None:
            source |= _embedded(document, source, layout, holder)
    if holder is not None:
        yield Compute(partial(_require_of_the_model, documents, sources, layout, holder, config))
    action = "index" if policy is DuplicatePolicy.OVERWRITE else "create"
    items = [
        [orjson.dumps({action: {"_index": layout.index, "_id": each.id}}), encoded(each, source)]
        for each, source in zip(documents, sources, strict=True)
    ]
    outcomes = yield from bulk.write(items)
    yield _refresh(layout)
    there = [each.id for each, outcome in zip(documents, outcomes, strict=True) if outcome.status == 409]
    _require_written([each.id for each in documents], outcomes, layout, but=409)
    if there and policy is not DuplicatePolicy.SKIP:
        raise DuplicateDocumentError(
            f"{len(there)} of {len(documents)} documents are in index {layout.index!r} already: {_named(there)}; all "
            "others were written\nWrite with DuplicatePolicy.OVERWRITE or DuplicatePolicy.SKIP."
        )
    return len(documents) - len(there)


def delete_steps(layout: Layout, ids: Sequence[str]) -> Steps[None]:
    """Delete documents by their ids; those that are not there do not matter."""
    items = [[orjson.dumps({"delete": {"_index": layout.index, "_id": each}})] for each in ids]
    outcomes = yield from bulk.write(items)
    _require_written(ids, outcomes, layout, but=404)
    yield from optional(_refresh(layout))


def delete_by_filter_steps(layout: Layout, filters: Mapping[str, Any] | None) -> Steps[int]:
    """Delete the documents that match, and return how many they were.

    Raises:
        DocumentStoreError: somebody wrote some of them meanwhile.
    """
    return (yield from _by_query(layout, filters, "_delete_by_query", {}, "deleted"))


def update_by_filter_steps(layout: Layout, filters: Mapping[str, Any] | None, meta: Mapping[str, Any]) -> Steps[int]:
    """Set metadata of the documents that match, beside what they have, and return how many they were.

    Raises:
        DocumentStoreError: the metadata would overwrite another field, or somebody wrote some of them meanwhile.
    """
    if layout.meta is None:
        found = yield from find(layout.index)
        require_no_clash(meta, layout, found.hidden() if found else set())
    script = {"lang": "painless", "source": _PUT, "params": {"place": layout.meta, "meta": dict(meta)}}
    return (yield from _by_query(layout, filters, "_update_by_query", {"script": script}, "updated"))


_PUT = """
Map into = ctx._source;
if (params.place != null) {
  if (into[params.place] == null) { into[params.place] = new HashMap(); }
  into = into[params.place];
}
into.putAll(params.meta);
"""


def _embedded(document: Document, source: Json, layout: Layout, holder: tuple[str, Binding] | None) -> Json:
    if holder is None:
        return {layout.embedding: document.embedding}
    place, binding = holder
    text = source_text(source, binding.source)
    if is_blank(text):
        return {}
    vectors = np.asarray([document.embedding], dtype=np.float32)
    state = held(binding, vectors, [(0, len(text))], base64=False)
    return {place: {**marks(binding, text_hash(text), "ready"), **state}}


def _require_of_the_model(
    documents: Sequence[Document],
    sources: Sequence[Json],
    layout: Layout,
    holder: tuple[str, Binding],
    config: Config,
) -> None:
    """Compare the first embedding with what the bound model makes of that document's text."""
    place, binding = holder
    first = next((number for number, source in enumerate(sources) if place in source), None)
    if first is None:
        return
    embedder = choosing(None, config)(binding.fingerprint, layout.index)
    ours = embedder.embed_documents([source_text(sources[first], binding.source)]).vectors[0]
    theirs = np.asarray(documents[first].embedding, dtype=np.float32)
    cosine = _cosine(ours, theirs) if ours.shape == theirs.shape else None
    if cosine is None or cosine < MIN_PROBE_COSINE:
        told = f"{len(theirs)} dimensions, not {len(ours)}" if cosine is None else f"cosine {cosine:.3f}"
        raise FingerprintMismatch(
            f"the embedding of document {documents[first].id!r} is not what {binding.fingerprint.id}, to which index "
            f"{layout.index!r} is bound, makes of its text ({told})",
            hint="Embed with that model and the text alone, or keep embeddings in a field of their own.",
        )


def _cosine(one: Any, other: Any) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))


def _created(layout: Layout) -> Steps[Found]:
    if "." in layout.embedding or "." in layout.content:
        raise DocumentStoreError(
            f"there is no index {layout.index!r}, and one with fields such as {layout.embedding!r} is not made here"
            "\nCreate it and attach the semantic field first, or use a store with the default fields once."
        )
    values = {
        "content": layout.content,
        "embedding": layout.embedding,
        "paths": "*" if layout.meta is None else f"{layout.meta}.*",
    }
    body = fill(orjson.loads(resource("mappings/haystack.json").read_bytes()), values)
    try:
        yield Request("PUT", url_path("/{}", layout.index), body=body)
    except RequestFailed as error:
        if error.error_type != "resource_already_exists_exception":
            raise
    return (yield from find(layout.index)) or Found(Fields(), {})


def _by_query(layout: Layout, filters: Mapping[str, Any] | None, way: str, more: Json, counted: str) -> Steps[int]:
    found = yield from find(layout.index)
    if found is None:
        return 0
    yield _refresh(layout)
    body = {"query": {"bool": {"filter": layout.clauses(filters, found.fields)}}, **more}
    answer = yield Request(
        "POST", url_path("/{}/" + way, layout.index), {"refresh": "true", "conflicts": "proceed"}, body
    )
    if answer["version_conflicts"] or answer["failures"]:
        missed = answer["version_conflicts"] + len(answer["failures"])
        raise DocumentStoreError(
            f"{missed} documents of index {layout.index!r} could not be {counted}, {answer[counted]} were: somebody "
            "else wrote them meanwhile\nDo the same again."
        )
    return int(answer[counted])


def _refresh(layout: Layout) -> Request:
    return Request("POST", url_path("/{}/_refresh", layout.index))


def _require_written(ids: Sequence[str], outcomes: Sequence[bulk.Outcome], layout: Layout, *, but: int) -> None:
    refused = [(each, outcome) for each, outcome in zip(ids, outcomes, strict=True) if not outcome.ok]
    refused = [(each, outcome) for each, outcome in refused if outcome.status != but]
    if refused:
        first = refused[0][1]
        raise DocumentStoreError(
            f"index {layout.index!r} refuses {len(refused)} of {len(ids)} documents "
            f"({_named([each for each, _ in refused])}): {first.error_type}: {first.reason}"
        )


def _named(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:NAMED])) + (", ..." if len(ids) > NAMED else "")
