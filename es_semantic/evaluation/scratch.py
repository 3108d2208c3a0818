"""A scratch index: filled, embedded, used and removed, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import orjson

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import Embedder
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import ClusterError, EsSemanticError, RequestFailed, UsageError
from es_semantic.evaluation.watch import Watch
from es_semantic.schema.attach import attach_steps
from es_semantic.schema.chunks import require_chunk_mode
from es_semantic.schema.owner import PREFIX as PIPELINE_PREFIX
from es_semantic.schema.target import resolve
from es_semantic.sync import bulk
from es_semantic.sync.control import forget
from es_semantic.sync.once import one_sync
from es_semantic.sync.report import SyncReport
from es_semantic.sync.worker import Options, start

T = TypeVar("T")

PREFIX = "es-semantic-eval-"
NAME = DEFAULT_FIELD_NAME

DEFAULT_ANALYZER = "english"
"""The published figures of BEIR are of English text that is stemmed, without stop words."""

FLAT = "contents"
"""Title and text of a corpus as one field. The BM25 figures that are published for BEIR are of such an index, called
"flat" (Kamalloo et al., "Resources for Brewing BEIR", 2023)."""

PAGE = 500
"""Documents written at once."""

Document = tuple[str, Mapping[str, Any]]
"""Id and ``_source``."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a scratch index holds: mapped ``properties``, ``settings``, the ``documents`` (read anew by each call), the
    ``sources`` to embed and the ``fields`` for BM25, None for the sources.

    ``chunk`` is as for :func:`es_semantic.attach`.
    """

    properties: Mapping[str, Any]
    settings: Mapping[str, Any]
    documents: Callable[[], Iterable[Document]]
    sources: Sequence[str]
    fields: Sequence[str] | None
    chunk: str


@dataclass(frozen=True, slots=True)
class Scratch:
    """A scratch index that is ready for searches; ``report`` is that of its sync."""

    index: str
    report: SyncReport

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of it."""
        report = self.report
        notes = []
        if report.failed:
            notes.append(f"{report.failed} documents were not embedded: {report.failures[0].reason}")
        if report.over_long:
            notes.append(
                f"{report.over_long} documents are longer than the model's window; their vectors stand for their "
                "beginning"
            )
        return tuple(notes)


def corpus_content(documents: Callable[[], Iterable[Document]], *, analyzer: str, chunk: str) -> Content:
    """Return the content for documents with ``title`` and ``text``."""
    text = {"type": "text", "analyzer": analyzer}
    into_flat = {**text, "copy_to": FLAT}
    properties = {"title": into_flat, "text": into_flat, FLAT: text}
    return Content(properties, {}, documents, ("title", "text"), (FLAT,), chunk)


def with_scratch(
    content: Content, embedder: Embedder, use: Callable[[Scratch], Steps[T]], watch: Watch
) -> Steps[tuple[T, tuple[str, ...]]]:
    """Create a scratch index, fill it, embed its documents, ``use`` it, and remove it.

    Returns what ``use`` returns, and a note where something could not be removed.

    Raises:
        UsageError: no such ``chunk`` or analyzer.
        RequestFailed: Elasticsearch refuses the mapping or a document.
    """
    require_chunk_mode(content.chunk)
    index = f"{PREFIX}{uuid.uuid4().hex[:12]}"
    try:
        yield from _create(index, content)
        yield from _fill(index, content, watch)
        report = yield from _embed(index, content, embedder, watch)
        result = yield from use(Scratch(index, report))
    except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
        left = yield from _remove(index)
        if isinstance(error, EsSemanticError):
            error.hint = "\n".join(filter(None, (error.hint, *left)))
        raise
    return result, (yield from _remove(index))


def create_request(index: str, content: Content) -> Request:
    """Return the request that creates the index: hidden, so that patterns do not find it."""
    settings = {
        **content.settings,
        "index.hidden": True,
        "index.number_of_shards": 1,
        "index.number_of_replicas": 0,
        "index.refresh_interval": "-1",
    }
    body = {"settings": settings, "mappings": {"dynamic": False, "properties": dict(content.properties)}}
    return Request("PUT", url_path("/{}", index), body=body)


def lines(index: str, document: Document) -> bulk.Item:
    """Return the ``_bulk`` lines that write a document."""
    doc_id, source = document
    return [_line({"index": {"_index": index, "_id": doc_id}}), _line(source)]


def pages(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield the documents, so many at once."""
    iterator = iter(documents)
    while page := list(islice(iterator, PAGE)):
        yield page


def _create(index: str, content: Content) -> Steps[None]:
    try:
        yield create_request(index, content)
    except RequestFailed as error:
        if "analyzer" in error.what:
            raise UsageError(error.what, hint="Name one of Elasticsearch's own analyzers, such as english.") from error
        raise


def _fill(index: str, content: Content, watch: Watch) -> Steps[None]:
    written = 0
    size = bulk.BodySize()
    for page in pages(content.documents()):
        outcomes = yield from bulk.write([lines(index, document) for document in page], size=size)
        for (doc_id, _), outcome in zip(page, outcomes, strict=True):
            if not outcome.ok:
                raise RequestFailed(f"document {doc_id!r} was not taken into a scratch index: {outcome.reason}")
        written += len(page)
        watch("writing documents", written, 0)


def _embed(index: str, content: Content, embedder: Embedder, watch: Watch) -> Steps[SyncReport]:
    change = yield from attach_steps(
        index,
        content.sources,
        lambda: embedder.profile,
        load_tokenizer=lambda: tokenizer_of(embedder),
        chunk=content.chunk,
        name=NAME,
    )
    assert change.binding is not None
    version = yield from server_version()
    target = yield from resolve(index)
    options = Options(progress=lambda report: watch("embedding", report.done, max(report.total, report.done)))
    worker = yield from start(target, change.binding, embedder, version, name=NAME, options=options)
    report = yield from one_sync(worker)
    # A document that is in the index only since its own refresh would be missing from some searches.
    yield Request("POST", url_path("/{}/_refresh", index))
    return report


def _remove(index: str) -> Steps[tuple[str, ...]]:
    """Remove all of it that can be removed, and note what was left; nothing that came before is lost by that.

    The index goes first: a pipeline that an index runs cannot be deleted.
    """
    pipeline = f"{PIPELINE_PREFIX}{index}"
    parts = {
        f"index {index}": optional(Request("DELETE", url_path("/{}", index))),
        f"pipeline {pipeline}": optional(Request("DELETE", url_path("/_ingest/pipeline/{}", pipeline))),
        "its checkpoints": forget([index], NAME),
    }
    left = []
    for what, steps in parts.items():
        try:
            yield from steps
        except ClusterError:
            left.append(what)
    return (f"could not be removed, please do: {', '.join(left)}",) if left else ()


def _line(value: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # Integers beyond 64 bits and lone surrogates.
        return json.dumps(value).encode("ascii")
