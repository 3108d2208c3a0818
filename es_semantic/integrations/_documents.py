"""What the integrations share: an index as a store of documents that have a text and metadata.

One rule for indices made here and for those that were there before: a document's text is what its semantic field
embeds, its metadata is the rest of its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from elasticsearch import AsyncElasticsearch, Elasticsearch

from es_semantic.api import attach, sync
from es_semantic.api_search import search
from es_semantic.chosen import Model
from es_semantic.cluster.failures import document_reason_of
from es_semantic.cluster.steps import Request, Steps, run, run_async, url_path
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.errors import ClusterError, RequestFailed, UsageError
from es_semantic.resources import resource
from es_semantic.retrieval.results import Hit, SearchResult
from es_semantic.schema.binding import Bindings, places_of
from es_semantic.schema.lookup import bindings_of, read_now
from es_semantic.schema.render import fill
from es_semantic.schema.text import source_text
from es_semantic.sync import bulk
from es_semantic.sync.pit import every_hit

T = TypeVar("T")
Json = dict[str, Any]

KEY = "es_semantic"
"""Where a retriever's documents carry what is known of the hit, beside their own metadata."""

RANKING = ("mode", "rank_window_size", "fields", "ranking", "rerank", "deadline", "allow_degraded")
"""Arguments of :func:`es_semantic.search` that decide which documents are found, and in which order."""

SHOWN = ("highlight", "passages")
"""Arguments of :func:`es_semantic.search` for what is told of a document beside its text."""

DEFAULT_TEXT_FIELD = "text"
PAGE = 500
DELETE_TRIES = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """A document: ``text`` is what the semantic field embeds, ``metadata`` the rest of its source."""

    id: str
    text: str
    metadata: Mapping[str, Any]


Read = Callable[[str, str, Mapping[str, Any]], Stored]
"""Makes a document of its index, id and source."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients that somebody has given; synchronous and asynchronous methods each need their own."""

    client: Elasticsearch | None
    async_client: AsyncElasticsearch | None

    def __post_init__(self) -> None:
        if self.client is None and self.async_client is None:
            raise UsageError("there is no client", hint="Give client=Elasticsearch(...) or async_client=...")

    def run(self, steps: Steps[T]) -> T:
        """Run a procedure with the synchronous client.

        Raises:
            UsageError: there is none.
        """
        if self.client is None:
            raise UsageError("a synchronous call needs a synchronous client", hint="Give client=Elasticsearch(...).")
        return run(self.client, steps)

    async def run_async(self, steps: Steps[T]) -> T:
        """Run a procedure with the asynchronous client.

        Raises:
            UsageError: there is none.
        """
        if self.async_client is None:
            hint = "Give async_client=AsyncElasticsearch(...)."
            raise UsageError("an asynchronous call needs an asynchronous client", hint=hint)
        return await run_async(self.async_client, steps)


@dataclass(frozen=True, slots=True)
class Documents:
    """Procedures over the documents of ``index``, whose semantic field is ``name``.

    Without ``text_fields`` the text is in the semantic field's source fields, and in ``text`` where the index is made
    here. Without a ``model`` the bound one embeds. ``properties`` are fields that must be mapped before writing.
    """

    index: str
    text_fields: tuple[str, ...] | None
    name: str = DEFAULT_FIELD_NAME
    model: Model = None
    config: Config | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    def attach(self, **options: Any) -> Steps[None]:
        """Create the index where there is none, attach the semantic field, and embed what is there.

        ``options`` are those of :func:`es_semantic.attach`, such as ``chunk`` and ``language``.

        Raises:
            UsageError: nobody says which fields of an existing index hold the text.
            EsSemanticError: as for :func:`es_semantic.attach` and :func:`es_semantic.sync`.
        """
        bindings = yield from self._bindings_now()
        fields = self.text_fields or self._sources(bindings or {})
        if bindings is None:
            fields = fields or (DEFAULT_TEXT_FIELD,)
            yield from self._create(fields)
        if not fields:
            raise UsageError(f"which fields of {self.index!r} hold the text?", hint="Give text_fields=[...].")
        yield from attach.steps(self.index, fields, model=self.model, name=self.name, **options)
        yield from self._embed()

    def write(self, documents: Sequence[Stored]) -> Steps[None]:
        """Write documents, each as a whole, and embed them, so that searches find them.

        The index is created where there is none. A text that cannot be embedded is kept, found by its words alone, and
        listed by :func:`es_semantic.failures`.

        Raises:
            NotAttached: the index is there, but has no semantic field of that name.
            UsageError: there are several text fields, or metadata have no place beside the text, or are not JSON.
            RequestFailed: Elasticsearch refuses documents; the others are written and embedded.
        """
        if not documents:
            return
        text_field, own = yield from self._ready_to_write()
        items = [lines(self.index, each, text_field, own) for each in documents]
        outcomes = yield from bulk.write(items)
        yield from self._embed()
        refused = [(each, outcome) for each, outcome in zip(documents, outcomes, strict=True) if not outcome.ok]
        if refused:
            first, outcome = refused[0]
            raise RequestFailed(
                f"{self.index!r} refused {len(refused)} of {len(documents)} documents; {first.id!r}: {outcome.reason}",
                status=outcome.status,
                error_type=outcome.error_type,
                hint="The others are written. Do the metadata fit the index's mapping?",
            )

    def search(self, text: str, **arguments: Any) -> Steps[SearchResult]:
        """Search as :func:`es_semantic.search` does, with this model, configuration and semantic field."""
        return search.steps(self.index, text, model=self.model, config=self.config, name=self.name, **arguments)

    def read(self, query: Mapping[str, Any]) -> Steps[list[Stored]]:
        """Return all documents that match a query clause, in no particular order."""
        read = yield from self.reader()
        body = {"query": query, "_source": {"excludes": (yield from self.own_fields())}}
        hits = yield from every_hit(self.index, body, size=PAGE)
        return [read(hit["_index"], hit["_id"], hit["_source"]) for hit in hits]

    def delete(self, query: Mapping[str, Any]) -> Steps[None]:
        """Delete all documents that match a query clause.

        Raises:
            RequestFailed: somebody kept changing them meanwhile, or Elasticsearch refuses; some may be left.
        """
        yield Request("POST", url_path("/{}/_refresh", self.index))
        path = url_path("/{}/_delete_by_query", self.index)
        for _ in range(DELETE_TRIES):
            answer = yield Request("POST", path, {"conflicts": "proceed", "refresh": "true"}, {"query": query})
            for failure in answer["failures"]:
                kind, reason = document_reason_of(failure["cause"])
                raise RequestFailed(f"POST {path}: {reason}", status=failure["status"], error_type=kind)
            if not answer["version_conflicts"]:
                return
        raise RequestFailed(
            f"{answer['version_conflicts']} documents of {self.index!r} were changed while they were to be deleted",
            hint="Delete them again when nobody writes to them.",
        )

    def reader(self) -> Steps[Read]:
        """Return what makes documents of hits, by the bindings of this moment."""
        bindings = yield from bindings_of(self.index)

        def read(index: str, doc_id: str, source: Mapping[str, Any]) -> Stored:
            here = {index: bindings[index]} if index in bindings else bindings
            fields = self.text_fields or self._sources(here)
            return Stored(doc_id, source_text(source, fields), without(source, fields))

        return read

    def own_fields(self) -> Steps[list[str]]:
        """Return the fields of documents that are es-semantic's own."""
        bindings = yield from bindings_of(self.index)
        return sorted({name for each in bindings.values() for name in each.hidden()})

    def _bindings_now(self) -> Steps[dict[str, Bindings] | None]:
        """Return the bindings of the index; None where there is no such index."""
        try:
            return (yield from read_now(self.index))
        except ClusterError as error:
            if error.status != 404:
                raise
            return None

    def _sources(self, bindings: Mapping[str, Bindings]) -> tuple[str, ...]:
        places = places_of(bindings, self.name)
        return tuple(dict.fromkeys(f for index, place in places.items() for f in bindings[index].fields[place].source))

    def _ready_to_write(self) -> Steps[tuple[str, list[str]]]:
        """Return the field that texts are written to, and the fields that are es-semantic's own."""
        bindings = yield from self._bindings_now()
        if bindings is None:
            yield from self.attach()
            bindings = yield from read_now(self.index)
        for index, each in bindings.items():
            each.one(self.name, index=index)
        fields = self.text_fields or self._sources(bindings)
        if len(fields) != 1:
            raise UsageError(
                f"a text is written to one field, but {self.index!r} has its texts in {', '.join(fields)}",
                hint="Write such documents with your own program, and embed them with attach() or es_semantic.sync.",
            )
        if fields[0] not in self._sources(bindings):
            raise UsageError(
                f"texts were to be written to field {fields[0]!r} of {self.index!r}, which is not embedded",
                hint=f"Use a source field of the semantic field {self.name!r}: {', '.join(self._sources(bindings))}.",
            )
        if self.properties:
            yield Request("PUT", url_path("/{}/_mapping", self.index), body={"properties": dict(self.properties)})
        return fields[0], sorted({name for each in bindings.values() for name in each.hidden()})

    def _create(self, fields: Sequence[str]) -> Steps[None]:
        if len(fields) != 1:
            raise UsageError(
                f"there is no index {self.index!r} yet, and a new one has its texts in one field",
                hint="Check the name; or create the index with your own mapping first.",
            )
        body = fill(orjson.loads(resource("mappings/documents.json").read_bytes()), {"text_field": fields[0]})
        try:
            yield Request("PUT", url_path("/{}", self.index), body=body)
        except ClusterError as error:
            if error.error_type != "resource_already_exists_exception":
                raise

    def _embed(self) -> Steps[None]:
        yield from sync.steps(self.index, model=self.model, config=self.config, name=self.name)
        yield Request("POST", url_path("/{}/_refresh", self.index))


def lines(index: str, document: Stored, text_field: str, own: Sequence[str]) -> bulk.Item:
    """Return the ``_bulk`` lines that write a document.

    Raises:
        UsageError: a key of the metadata is the text's or es-semantic's own, or they are not JSON.
    """
    taken = {text_field.split(".")[0], *own} & {key.split(".")[0] for key in document.metadata}
    if taken:
        raise UsageError(
            f"document {document.id!r} has metadata under {sorted(taken)[0]!r}, where {index!r} keeps something else",
            hint="Rename that key of the metadata.",
        )
    action = {"index": {"_index": index, "_id": document.id}}
    try:
        return [orjson.dumps(action), orjson.dumps({**document.metadata, text_field: document.text})]
    except TypeError as error:
        raise UsageError(f"document {document.id!r} cannot be written as JSON: {error}") from error


def require_allowed(given: Iterable[str], allowed: Sequence[str], *, also: Sequence[str]) -> None:
    """Check the names of a search's arguments; ``also`` are those that the library itself has.

    Raises:
        UsageError: one is not among them.
    """
    for key in given:
        if key not in allowed:
            raise UsageError(f"a search takes no {key!r}", hint=f"It takes: {', '.join((*also, *allowed))}.")


def told(hit: Hit, result: SearchResult) -> Json:
    """Return what a retriever tells of a hit, as JSON."""
    facts = {
        "index": hit.index,
        "score": hit.score,
        "legs": {leg: {"rank": place.rank, "score": place.score} for leg, place in hit.legs.items()},
    }
    more = {
        "passages": [
            {"text": each.text, "start": each.start, "end": each.end, "score": each.score} for each in hit.passages
        ],
        "highlights": dict(hit.highlights),
        "degraded": [{"leg": each.leg, "reason": each.reason} for each in result.degraded],
    }
    return {**facts, **{key: value for key, value in more.items() if value}}


def without(source: Mapping[str, Any], fields: Sequence[str]) -> Json:
    """Return a source without these fields, which may be paths through objects; no object is left empty by it."""
    left: Json = {}
    for key, value in source.items():
        if key in fields:
            continue
        inner = [path[len(key) + 1 :] for path in fields if path.startswith(f"{key}.")]
        if inner and isinstance(value, Mapping):
            value = without(value, inner)
            if not value:
                continue
        left[key] = value
    return left
