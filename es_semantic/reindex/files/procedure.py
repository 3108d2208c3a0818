"""Fill a new index from files: begin a job, or go on with it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version, server_version
from es_semantic.cluster.steps import Compute, Forget, Steps
from es_semantic.embedding import Embedder
from es_semantic.embedding.chunking import default_chunking, is_longer, tokenizer_of
from es_semantic.errors import SchemaError, UsageError
from es_semantic.reindex.body import Changes, merged, with_index_type
from es_semantic.reindex.copy import CopyPass
from es_semantic.reindex.deletes import positions_in
from es_semantic.reindex.files.columns import BadRow, Columns, document_of, vector_of
from es_semantic.reindex.files.rows import File
from es_semantic.reindex.files.source import FILES, RowReader, open_files, sample_rows, shard_of
from es_semantic.reindex.job import Job, Progress, Record, find_record, prepare_control
from es_semantic.reindex.known import Target
from es_semantic.reindex.lanes import Rate
from es_semantic.reindex.origin import count, hides_vectors
from es_semantic.reindex.procedure import settled
from es_semantic.reindex.refused import refused_letters
from es_semantic.reindex.report import Check, ReindexReport
from es_semantic.reindex.running import Options, check_vectors
from es_semantic.reindex.setup import (
    go_on_with,
    hold_open,
    open_target,
    restore_pipeline,
    restore_replicas,
)
from es_semantic.reindex.wanted import ChooseEmbedder, Plan, Wanted, settled_mode
from es_semantic.reindex.writer import CopyWriter
from es_semantic.schema import target as targets
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.checks import require_text_fields, require_usable_name
from es_semantic.schema.chunks import Choice, Sample, chosen, require_chunk_mode
from es_semantic.schema.index_options import index_options
from es_semantic.schema.privileges import require_privileges
from es_semantic.schema.text import is_blank, source_text
from es_semantic.sync.control import write_control
from es_semantic.sync.dead_letters import Stored, delete_letter, read_letters
from es_semantic.sync.embed import Embedding, splitter
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.observer import SILENT
from es_semantic.sync.once import with_patience

SAME = 0.999
"""Least cosine between a vector of a file and the model's own of the same text for which the file's are kept."""

COMPARED = 32
"""Vectors of a file that are compared."""

TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
"""How Elasticsearch itself maps a string that nobody has mapped (Elastic docs, "Dynamic field mapping")."""


@dataclass(frozen=True, slots=True)
class Source:
    """Files to read and which column is what; ``label`` is how errors and reports name them together."""

    files: Sequence[File]
    columns: Columns
    label: str


def files_steps(
    source: Source, to: str, wanted: Wanted, choose: ChooseEmbedder, options: Options
) -> Steps[ReindexReport]:
    """Begin the job that fills ``to``, or go on with it; see :func:`es_semantic.reindex_files`."""
    version = yield from server_version()
    targets.require_one_name(to)
    new = targets.Target("index", to, {}, {})
    yield from require_privileges(new)
    gives = _gives(source.columns, wanted)
    plan = yield from _plan(source, gives, wanted, choose, version, settled((yield from find_record(to))))
    yield from _require_own_vectors(source, plan)
    yield from prepare_control()
    record = yield from _take_over(source, to, wanted, plan, gives)
    if record.version is None:
        yield from record.save()
    there = yield from open_target(plan, gives, wanted, record)
    return (yield from _fill(source, plan, record, version, options, resumed=there))


def _fill(
    source: Source, plan: Plan, record: Record, version: Version | None, options: Options, *, resumed: bool
) -> Steps[ReindexReport]:
    job = record.job
    base64 = version is not None and version >= BASE64_VECTORS_SINCE
    filled = yield from targets.resolve(job.target)
    hidden = yield from hides_vectors(job.target)
    target = Target(job.alias, job.target, job.name, plan.binding, hidden, base64, filled.max_result_window)
    letters = yield from read_letters(job.name, [job.target])
    report = ReindexReport(job.source, job.target, job.name, plan.binding.stamp, resumed=resumed)
    report.counts, report.notes = job.counts.model_copy(), list(plan.notes)
    yield from hold_open(record, at_once=job.phase == "copying")
    progress = Progress()
    shards = yield Compute(lambda: [shard_of(n, file, file.count()) for n, file in enumerate(source.files)])
    report.notes += progress.look(shards, job)
    yield from _forget_broken_rows(letters, progress)
    report.done, left = progress.numbers()
    report.total = report.done + left
    writer = CopyWriter(target, SILENT, letters={key: stored.version for key, stored in letters.items()})
    reader = RowReader(source.columns, plan.binding, job.name, base64)
    limits = FailureLimits()

    def attempt() -> Steps[None]:
        one = CopyPass(
            lanes=open_files(source.files, reader, progress.unread(), Rate(options.rate)),
            embedding=Embedding(plan.embedder, splitter(plan.embedder, plan.binding.chunking), SILENT),
            writer=writer,
            record=record,
            progress=progress,
            report=report,
            watch=options.watch,
            stop=options.stop,
            limits=limits,
            unsure=resumed,
            until_sure=True,
        )
        yield from one.run()

    yield from with_patience(attempt, progress.numbers)
    if report.complete:
        report.stage = "verifying"
        options.watch(report)
        yield from restore_replicas(record)
        yield from restore_pipeline(record)
        report.checks.append((yield from check_vectors(plan, job.target, job.name, version, SILENT)))
        documents = yield from count(job.target)
        report.refused = len((yield from refused_letters(target)))
        rows = f"{report.total:,} rows, {documents:,} documents, {report.refused:,} rows broken or refused"
        report.checks.append(Check("documents", rows, True))
        yield from record.save(phase="ready", ready=(yield from positions_in(job.target)))
        report.stage = "filled"
        options.watch(report)
    yield Forget()
    return report


def _forget_broken_rows(letters: dict[str, Stored], progress: Progress) -> Steps[None]:
    """Delete the dead letters of rows of files that are read from their beginning: they may be mended."""
    anew = tuple(f"{shard.index}:" for shard, done in progress.done.items() if not len(done))
    gone = [key for key, stored in letters.items() if stored.letter.id.startswith(anew)] if anew else []
    yield from write_control([delete_letter(key, letters.pop(key).version) for key in gone])


def _gives(columns: Columns, wanted: Wanted) -> targets.Target:
    """Return the new index's mapping and settings, as if it were the one to copy."""
    mapping = merged({"properties": {}}, columns.mappings)
    for path in wanted.fields or ():
        _map_text(mapping, path.split("."))
    flat = Changes(settings=columns.settings).flat
    return targets.Target("index", "the files", mapping, flat)


def _map_text(mapping: dict[str, Any], parts: Sequence[str]) -> None:
    node = mapping
    for part in parts[:-1]:
        node = node.setdefault("properties", {}).setdefault(part, {})
    node.setdefault("properties", {}).setdefault(parts[-1], dict(TEXT))


def _plan(
    source: Source,
    gives: targets.Target,
    wanted: Wanted,
    choose: ChooseEmbedder,
    version: Version | None,
    settled: Binding | None,
) -> Steps[Plan]:
    require_usable_name(wanted.name)
    if not wanted.fields:
        raise UsageError("which fields of the documents hold the text?", hint="Use --fields.")
    fields = list(wanted.fields)
    if wanted.name in gives.mapping["properties"]:
        raise SchemaError(f"the semantic field {wanted.name!r} cannot be mapped by the file that --map names")
    require_text_fields(gives, fields, name=wanted.name)
    embedder: Embedder = yield Compute(lambda: choose(None))
    model = yield Compute(lambda: embedder.profile)
    mode = settled_mode(require_chunk_mode(wanted.chunk or "auto"), fields, settled)
    choice = yield Compute(lambda: _choose_chunks(source, fields, mode, embedder))
    binding = Binding(
        source=fields,
        fingerprint=model.fingerprint,
        similarity=model.similarity,
        index_options=with_index_type(index_options(model.dims, version), wanted.changes.index_type),
        chunking=choice.chunking,
    )
    return Plan(None, binding, Bindings(fields={wanted.name: binding}), embedder, (choice.note,) if choice.note else ())


def _choose_chunks(source: Source, fields: list[str], mode: str, embedder: Embedder) -> Choice:
    """As for an index: by how many of the texts are longer than the model's window, where nobody has said."""
    window = embedder.profile.max_tokens
    match require_chunk_mode(mode):
        case "never":
            return Choice(None)
        case "always":
            return Choice(default_chunking(window))
    texts = [source_text(document, fields) for document in _documents(source)]
    texts = [text for text in texts if not is_blank(text)]
    if window is None or not texts or source.columns.vector is not None:
        return Choice(None)
    tokenizer = tokenizer_of(embedder)
    longer = sum(is_longer(text, window, tokenizer) for text in texts)
    return chosen(Sample(len(texts), longer), window, estimated=tokenizer is None)


def _documents(source: Source) -> list[dict[str, Any]]:
    documents = []
    for row in sample_rows(source.files):
        try:
            documents.append(document_of(row.value or {}, source.columns))
        except BadRow:
            continue
    return documents


def _require_own_vectors(source: Source, plan: Plan) -> Steps[None]:
    """See that vectors that come with the documents are what the model makes of their texts.

    Raises:
        UsageError: they are another model's, or of other texts, or they cannot be kept in chunks.
    """
    if source.columns.vector is None:
        return
    if plan.binding.chunking is not None:
        raise UsageError("vectors of whole documents cannot be kept where texts are cut into chunks")
    found = yield Compute(lambda: _cosines(source, plan))
    if found is None:
        raise UsageError(
            f"no row of {source.label} has a vector of {plan.binding.fingerprint.dims} numbers in column "
            f"{source.columns.vector!r} beside a text",
            hint="Leave out `vector` in the file that --map names: then the texts are embedded.",
        )
    if found.min() < SAME:
        raise UsageError(
            f"the vectors in column {source.columns.vector!r} of {source.label} are not what "
            f"{plan.binding.fingerprint.model} makes of {', '.join(plan.binding.source)}: of {len(found)} the least "
            f"cosine is {found.min():.3f}, the mean {found.mean():.3f}",
            hint="Choose the model, its prompts and the fields that they were made with; or leave out `vector` in the "
            "file that --map names: then the texts are embedded.",
        )


def _cosines(source: Source, plan: Plan) -> Any:
    texts, vectors = [], []
    for row in sample_rows(source.files):
        try:
            vector = vector_of(row.value or {}, source.columns, plan.binding.fingerprint.dims)
            text = source_text(document_of(row.value or {}, source.columns), plan.binding.source)
        except BadRow:
            continue
        if vector is not None and not is_blank(text):
            texts.append(text)
            vectors.append(vector)
        if len(texts) >= COMPARED:
            break
    if not texts:
        return None
    own, given = plan.embedder.embed_documents(texts).vectors, np.stack(vectors)
    norms = np.linalg.norm(own, axis=1) * np.linalg.norm(given, axis=1)
    return (own * given).sum(axis=1) / norms


def _take_over(source: Source, to: str, wanted: Wanted, plan: Plan, gives: targets.Target) -> Steps[Record]:
    record = yield from find_record(to)
    named = replace(gives, settings={**gives.settings, "index.uuid": _id(source)})
    if record is None:
        job = Job(
            id=uuid.uuid4().hex[:12],
            run=uuid.uuid4().hex,
            source=source.label,
            uuid=FILES,
            target=to,
            name=wanted.name,
            plan=plan.id(named, wanted),
            binding=plan.binding.model_dump(),
        )
        return Record(job)
    yield from go_on_with(record, plan.id(named, wanted))
    return record


def _id(source: Source) -> str:
    """Return what two calls share that read the same columns; the files may have grown, or become more."""
    return hashlib.sha256(orjson.dumps(source.columns.model_dump(), option=orjson.OPT_SORT_KEYS)).hexdigest()
