"""The Python face of es-semantic: attach, detach, sync, follow, failures and status.

Each takes an ``Elasticsearch`` or an ``AsyncElasticsearch`` client first; with the latter, await the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from es_semantic.chosen import Model, bound, loaded, worker_for
from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Forget, Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import EsSemanticError, UsageError
from es_semantic.schema.attach import Change, attach_steps, detach_steps
from es_semantic.schema.binding import exactly, generation, number_of, read_bindings
from es_semantic.schema.target import resolve
from es_semantic.sync.analyze import AnalyzeReport, analyze_steps, unwatched
from es_semantic.sync.control import forget
from es_semantic.sync.failures import Failures, failures_steps
from es_semantic.sync.follow import UNHEARD, Events, follow_steps
from es_semantic.sync.observer import SILENT, Observer
from es_semantic.sync.once import one_sync
from es_semantic.sync.partition import parse_partition
from es_semantic.sync.purge import purge_steps
from es_semantic.sync.report import Progress, SyncReport, go_on, silent
from es_semantic.sync.status import Status, status_steps
from es_semantic.sync.worker import Options, Worker


@served
def attach(
    index: str,
    fields: str | Sequence[str],
    *,
    model: Model = None,
    name: str = DEFAULT_FIELD_NAME,
    chunk: str = "auto",
    language: str | None = None,
    template: bool = False,
    dry_run: bool = False,
) -> Steps[Change]:
    """Give an index, alias of one index, data stream or (``template=True``) index template a semantic field.

    Adds the field ``name`` to the mapping, an ingest pipeline that marks documents whose vectors are missing or no
    longer true, and the binding in the mapping's ``_meta``. A final pipeline of the owner keeps running. No document
    is changed. Doing it again changes nothing; after an interruption it completes what is missing.

    ``chunk`` says whether a document has one vector (``never``) or one for each chunk of its text (``always``).
    ``auto`` reads a sample of up to 1,000 documents and splits texts where more than 5 % are longer than the model's
    window; the change's ``notes`` tell what it found. A field that is attached already keeps what it has.

    ``language`` (``en``, ``de``, ``zh`` ...) adds a sub-field to each source field, for BM25, with Elasticsearch's
    analyser for that language, unless the owner's mapping has one. What is written from then on is in it;
    :func:`analyze` brings in the documents that were there before.

    Raises:
        UsageError: no usable field list, name, index, chunk or language, or the model's prompt leaves a chunk no room.
        IndexUnavailable: no such index, or it is closed or read-only.
        SchemaError: a source field is missing or not text, or the field's place is taken; nothing was changed.
        BindingConflict: ``name`` is bound to another model, other fields, or another ``chunk`` or ``language``.
        Forbidden: a privilege is missing; nothing was changed.
        ModelError: the model cannot be loaded.
    """
    sources = [fields] if isinstance(fields, str) else list(fields)
    change = yield from attach_steps(
        index,
        sources,
        lambda: loaded(model).profile,
        load_tokenizer=lambda: tokenizer_of(loaded(model)),
        name=name,
        chunk=chunk,
        language=language,
        template=template,
        dry_run=dry_run,
    )
    yield Forget()
    return change


@served
def detach(
    index: str,
    *,
    name: str = DEFAULT_FIELD_NAME,
    template: bool = False,
    purge: bool = False,
    dry_run: bool = False,
) -> Steps[tuple[Change, int]]:
    """Undo :func:`attach`: the owner's final pipeline comes back, binding and pipeline go.

    The mapped field remains, as Elasticsearch cannot remove one. With ``purge`` what it holds is removed from every
    document. Returns the change and the number of documents purged.

    Raises:
        NotAttached: the index has semantic fields, but none of that name.
        BindingConflict: the model of the field is being changed.
        IndexUnavailable, Forbidden: as for :func:`attach`.
    """
    if purge and template:
        raise UsageError("an index template holds no documents to purge", hint="Detach it without purge.")
    yield from server_version()
    change = yield from detach_steps(index, name=name, template=template, dry_run=dry_run)
    yield Forget()
    if change.changed and not template and not dry_run:
        yield from forget([*(yield from resolve(index)).indices], change.field)
    if not purge or dry_run:
        return change, 0
    return change, (yield from _purge_unbound(index, name, change.field))


@served
def analyze(
    index: str, *, name: str = DEFAULT_FIELD_NAME, progress: Callable[[AnalyzeReport], None] = unwatched
) -> Steps[AnalyzeReport]:
    """Bring the documents from before ``attach(language=...)`` into the analysed fields, for BM25.

    Elasticsearch indexes each of them once more as it is: no pipeline runs, and nothing is embedded. Whatever was
    written since then is in these fields anyway. Run again after an interruption, it goes on with what is left.

    Raises:
        NotAttached: the index has no semantic field of that name.
        SchemaError: the semantic field has no language.
        Forbidden: a privilege is missing.
        RequestFailed: the cluster is overloaded or read-only, or more than 1,000 documents were refused.
    """
    of = yield from bound(index, name)
    return (yield from analyze_steps(of.target, of.binding, name=of.place, progress=progress))


@served
def sync(
    index: str,
    *,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    partition: str = "1/1",
    initial_load: bool = False,
    progress: Progress = silent,
    stop: Callable[[], bool] = go_on,
) -> Steps[SyncReport]:
    """Give every document written until now vectors of its current text, unless it has them.

    Reads what was written since the last sync's checkpoint, through whatever path, judges each document by the hash of
    its text, and remembers in the index ``es-semantic-control`` how far it came. Run again after an interruption it
    goes on where it stopped; so it does where ``stop``, asked between batches, has said True. A document that somebody
    changes meanwhile is left to the next sync. ``partition`` is ``i/n``: only the documents whose id falls into part i
    of n. ``initial_load`` turns off replicas and periodic refreshes meanwhile, and restores them, even after a kill.
    While the model of the field is being changed (:func:`migrate`), the other model's vectors are brought up to date
    as well, unless a ``model`` is given; the report's ``notes`` tell.

    Raises:
        NotAttached: the index has no semantic field of that name.
        FingerprintMismatch: the model is not the one that the index is bound to.
        TooManyFailures: more than 1,000 documents failed, every document of ten batches in a row, or 15 % of a window.
        ControlDamaged: somebody has edited the checkpoint.
        ModelUnavailable, ClusterError: model or cluster failed; what was written stays.
    """
    options = Options(parse_partition(partition), progress, SILENT, stop)
    worker = yield from worker_for(index, name, model, config, options)
    report = yield from one_sync(worker, initial_load=initial_load)
    yield from _sync_beside(worker, report, index, config, options)
    return report


@served
def follow(
    indices: Sequence[str] | Mapping[str, str],
    *,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    partition: str = "1/1",
    observer: Observer = SILENT,
    events: Events = UNHEARD,
    stop: Callable[[], bool] = go_on,
) -> Steps[None]:
    """Keep indices up to date until ``stop``, asked between batches and twice a second, says True.

    ``indices`` are names, or a mapping from each to its semantic field where that is not ``name``. What can pass, such
    as an overloaded cluster or a model that does not answer, is tried again for ever; ``events`` and ``observer`` tell.
    While the model of a field is being changed (:func:`migrate`), both models' vectors are kept up to date, unless a
    ``model`` is given.

    Raises:
        Forbidden, FingerprintMismatch, ControlDamaged, TooManyFailures: somebody has to do something.
        EsSemanticError: one of the indices cannot even be started.
    """
    fields = indices if isinstance(indices, Mapping) else dict.fromkeys(indices, name)
    return follow_steps(
        list(fields.items()),
        lambda index, field, options: worker_for(index, field, model, config, options),
        Options(parse_partition(partition), silent, observer, stop),
        events,
    )


@served
def failures(index: str, *, name: str = DEFAULT_FIELD_NAME, retry: bool = False) -> Steps[Failures]:
    """List the documents that have text and no vector, with the reason; ``retry`` queues them for the next sync.

    Raises:
        NotAttached: the index has no semantic field of that name.
    """
    of = yield from bound(index, name)
    return (yield from failures_steps(of.target, of.binding, name=of.place, retry=retry))


@served
def status(index: str, *, name: str = DEFAULT_FIELD_NAME) -> Steps[Status]:
    """Count the documents by state.

    Raises:
        NotAttached: the index has no semantic field of that name.
    """
    of = yield from bound(index, name)
    return (yield from status_steps(of.target, of.binding, name=of.place))


def _sync_beside(
    worker: Worker, report: SyncReport, index: str, config: Config | None, options: Options
) -> Steps[None]:
    """While the model of a field is being changed, bring the other model's field up to date as well, if that can be."""
    for field in worker.beside if report.complete else ():
        try:
            other = yield from worker_for(index, exactly(field), None, config, options)
            done = yield from one_sync(other)
        except EsSemanticError as error:
            report.notes.append(f"{field!r}, of another model, could not be brought up to date: {error.what}")
        else:
            counts = f"{done.embedded} embedded, {done.unchanged} already true, {done.failed} failed"
            report.notes.append(f"{field!r}, of another model: {counts}")


def _purge_unbound(index: str, name: str, field: str) -> Steps[int]:
    """Remove what a detached field has stored, at whichever places changes of its model have had for it."""
    target = yield from resolve(index)
    bound = read_bindings(target.mapping, index=target.name).fields
    mapped = [each for each in target.mapping.get("properties", {}) if each not in bound]
    places = [each for each in mapped if each == field or generation(name, number_of(name, each)) == each]
    removed = 0
    for place in places:
        removed += yield from purge_steps(target, name=place)
    return removed
