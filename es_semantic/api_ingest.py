"""The Python face of es-semantic: documents become chunks in an index."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from es_semantic.chosen import Model, choosing, loaded, worker_for
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import DEFAULT_CHUNKS, DEFAULT_FIELD_NAME, Config
from es_semantic.embedding import Embedder, Fingerprint
from es_semantic.errors import UsageError
from es_semantic.ingest.convert import Converters, converter_version
from es_semantic.ingest.documents import Document, Unreadable, details_of, id_of, identity, require_dataset, text_of
from es_semantic.ingest.files import CONVERTED, KINDS, LARGEST, Found, find_files, read_files, source_of
from es_semantic.ingest.index import Choose, ChunkIndex, open_index
from es_semantic.ingest.letters import Letters
from es_semantic.ingest.lines import read_lines, require_lines
from es_semantic.ingest.procedure import Ingestion
from es_semantic.ingest.report import IngestReport, Watcher, unwatched
from es_semantic.ingest.seen import Seen
from es_semantic.sync.once import one_sync
from es_semantic.sync.report import SyncReport
from es_semantic.sync.worker import Options


@served
def ingest(
    sources: str | Path | Sequence[str | Path] = (),
    *,
    dataset: str,
    jsonl: str | Path | None = None,
    index: str = DEFAULT_CHUNKS,
    model: Model = None,
    config: Config | None = None,
    retry: bool = False,
    progress: Watcher = unwatched,
) -> Steps[IngestReport]:
    """Bring files and folders, or the documents of a JSONL file, into a dataset of the chunk index, with vectors.

    The index is created where it is missing, and bound to ``model``; later calls take the model that it is bound to.
    PDF, DOCX, HTML, Markdown and text are read, folders with all that is below them but hidden files and symbolic
    links. Each line of ``jsonl`` is one document: ``{"id", "name", "text", "metadata"?, "keywords"?, "questions"?,
    "available"?}``. Texts are cut into chunks that the model can look at as a whole.

    What has not changed is left alone. A document that has is replaced, so that it can be found at any time: its new
    chunks are written and embedded, then the older ones deleted. One whose file is gone below a folder is deleted;
    lines that are gone delete nothing. One that cannot be read is a dead letter, keeps the chunks that it had, and is
    tried again when it has changed, or with ``retry``. Called again after an interruption, it completes what is
    missing.

    Raises:
        UsageError: no source, one that does not exist, or no usable name of a dataset.
        SchemaError: the index is not a chunk index.
        BindingConflict, FingerprintMismatch: the index is bound to another model.
        TooManyFailures: more than 1,000 documents failed that had not failed before, or as for :func:`sync`.
        MissingExtra: reading PDF, DOCX and HTML takes markitdown.
        Forbidden: a privilege is missing.
        ModelError, ClusterError: model or cluster failed; what was written stays, and the next call goes on.
    """
    require_dataset(dataset)
    paths = [Path(each) for each in ([sources] if isinstance(sources, (str, Path)) else sources)]
    if not paths and jsonl is None:
        raise UsageError("what shall be ingested?", hint="Give files or folders, or --jsonl FILE.")
    found = yield Compute(lambda: find_files(paths))
    lines = None if jsonl is None else (yield Compute(lambda: require_lines(Path(jsonl))))
    if any(path.suffix.lower() in CONVERTED for path in found.files):
        converter_version()
    into = yield from open_index(index, _choose(index, model, config), chosen=model is not None)
    report = IngestReport(into.target.name, dataset, total=len(found.files), skipped=dict(found.skipped))
    with _ingesting(into, report, progress, again=retry) as run:
        yield from run.begin()
        yield from run.write(_documents(found, lines, dataset))
        yield from _embed(run, model, config)
        yield from run.remove()
        yield from _follow_deletions(run, found, lines)
    return _ended(run)


@served
def ingest_document(
    *,
    dataset: str,
    name: str,
    data: bytes,
    id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    keywords: Sequence[str] = (),
    questions: Sequence[str] = (),
    available: bool | None = None,
    index: str = DEFAULT_CHUNKS,
    model: Model = None,
    config: Config | None = None,
) -> Steps[DocumentReport]:
    """Bring one document into a dataset of the chunk index, with vectors; ``name``'s suffix tells what ``data`` is.

    As for :func:`ingest`; but a document that cannot be read is an error, and leaves no dead letter. Without an ``id``
    it is the dataset's one document that was given under this name.

    Raises:
        UsageError: the name has no known suffix, the document cannot be read, or holds no text; the index keeps what it
            had of it.
        SchemaError, BindingConflict, FingerprintMismatch, MissingExtra, Forbidden, ModelError, ClusterError: as for
            :func:`ingest`.
    """
    document = _uploaded(dataset, name, data, id, (metadata, list(keywords), list(questions), available))
    if document.kind in CONVERTED:
        converter_version()
    into = yield from open_index(index, _choose(index, model, config), chosen=model is not None)
    with _ingesting(into, IngestReport(into.target.name, dataset), unwatched, strict=True) as run:
        yield from run.begin()
        yield from run.write(iter([document]))
        yield from _embed(run, model, config)
        yield from run.remove()
    return DocumentReport(document.id, run.report.chunks > 0, _ended(run))


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """What became of one document: its id in the dataset, whether anything was ``written``, and the whole report."""

    id: str
    written: bool
    report: IngestReport


@contextmanager
def _ingesting(
    into: ChunkIndex, report: IngestReport, progress: Watcher, *, again: bool = False, strict: bool = False
) -> Iterator[Ingestion]:
    started = time.monotonic()

    def watch(report: IngestReport) -> None:
        report.seconds = time.monotonic() - started
        progress(report)

    letters = Letters(into.place, into.target.name, report.dataset)
    with Seen() as seen, Converters() as converters:
        yield Ingestion(into, letters, seen, converters, report, watch, again, strict)


def _choose(index: str, model: Model, config: Config | None) -> Choose:
    """Return how the embedder is chosen: the caller's, else that of the index's binding, else the default."""

    def choose(bound: Fingerprint | None) -> Embedder:
        if bound is not None:
            return choosing(model, config)(bound, index)
        return loaded(model if model is not None or config is None else config.model())

    return choose


def _documents(found: Found, lines: Path | None, dataset: str) -> Iterator[Document]:
    for folder, why in found.closed.items():
        place = source_of(folder)
        yield Document("", "", place, place, "", b"", broken=why)
    yield from read_files(found.files, dataset)
    if lines is not None:
        yield from read_lines(lines)


def _uploaded(dataset: str, name: str, data: bytes, id: str | None, details: tuple[Any, ...]) -> Document:
    require_dataset(dataset)
    kind = PurePath(name).suffix.lower()
    if kind not in KINDS:
        raise UsageError(f"nothing tells what {name!r} is", hint=f"Known suffixes: {', '.join(sorted(KINDS))}.")
    if len(data) > LARGEST:
        raise UsageError(f"{name!r} is larger than {LARGEST >> 20} MiB")
    try:
        source = f"upload:{text_of(name, 'the name of a document')}"
        known = identity(dataset, source) if id is None else id_of(id)
        return Document(known, name, source, source, kind, data, details_of(*details))
    except Unreadable as error:
        raise UsageError(f"document {name!r} cannot be ingested: {error}") from error


def _embed(run: Ingestion, model: Model, config: Config | None) -> Steps[None]:
    report = run.report
    report.stage = "embedding"

    def watch(sync: SyncReport) -> None:
        report.sync, report.embedded = sync, sync.embedded
        run.watch(report)

    worker = yield from worker_for(report.index, DEFAULT_FIELD_NAME, model, config, Options(progress=watch))
    watch((yield from one_sync(worker)))
    report.stage = "removing"


def _follow_deletions(run: Ingestion, found: Found, lines: Path | None) -> Steps[None]:
    """Remove what came from files that are gone, and the dead letters of what can be read again."""
    closed = [source_of(folder) for folder in found.closed]
    for root in found.roots:
        yield from run.remove_gone(source_of(root), closed)
    files = {source_of(path) for path in found.files}
    yield from run.clear(files.__contains__)
    if lines is not None:
        place = source_of(lines)
        yield from run.clear(lambda label: label.rpartition(":")[0] == place)


def _ended(run: Ingestion) -> IngestReport:
    run.report.stage = "done"
    run.watch(run.report)
    return run.report
