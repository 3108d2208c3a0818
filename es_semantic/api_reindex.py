"""The Python face of es-semantic: re-index into a new index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from elasticsearch import Elasticsearch

from es_semantic.chosen import Model, behind_cache, choosing, loaded
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.embedding import Embedder, Fingerprint
from es_semantic.errors import UsageError
from es_semantic.reindex.back import cancel_steps, undo_steps
from es_semantic.reindex.body import Changes
from es_semantic.reindex.estimate import Estimate, estimate_steps
from es_semantic.reindex.files.columns import read_columns
from es_semantic.reindex.files.procedure import Source, files_steps
from es_semantic.reindex.files.rows import find_files
from es_semantic.reindex.on_ray import RayEngine
from es_semantic.reindex.procedure import Place, reindex_steps
from es_semantic.reindex.report import ReindexReport, Watcher, unwatched
from es_semantic.reindex.running import Options
from es_semantic.reindex.switch import Switch
from es_semantic.reindex.wanted import ChooseEmbedder, Wanted
from es_semantic.sync.report import go_on


@served
def reindex(
    source: str,
    to: str,
    *,
    fields: str | Sequence[str] | None = None,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    chunk: str | None = None,
    language: str | None = None,
    settings: Mapping[str, Any] | None = None,
    mappings: Mapping[str, Any] | None = None,
    shards: int | None = None,
    index_type: str | None = None,
    remote: Elasticsearch | None = None,
    slices: int = 1,
    rate_limit: float | None = None,
    verify: Literal["sample", "all"] = "sample",
    switch: Switch | None = None,
    keep_old: bool = True,
    engine: RayEngine | None = None,
    progress: Watcher = unwatched,
    stop: Callable[[], bool] = go_on,
) -> Steps[ReindexReport]:
    """Copy an index into the new index ``to`` with true vectors, verify it, and let it take the source's place.

    The new index has the source's settings and mapping, with ``settings`` and ``mappings`` (as in the create index API)
    laid over them, ``shards`` primary shards, and the semantic field ``name``: its ``fields``, ``model``, ``chunk`` and
    ``language`` are those that the source is bound to where they are not given. Vectors that are true already are
    copied. Documents keep their ids, routing and versions.

    ``slices`` parts of the source are read at once, ``rate_limit`` documents a second at most. Whatever is written to
    the source, or deleted, meanwhile comes along. ``verify`` compares a sample of 1,000 documents, or all.

    ``switch``: ``block`` (the default) refuses writes to the source for the last seconds, ``caught-up`` never does and
    fetches what came late after the switch, ``none`` leaves the target beside the source; called again it catches up
    and switches. Where ``source`` is an alias, all aliases of its index move to the target in one step; where it is an
    index, its name becomes an alias as well, for which the index is cloned under another name first, or deleted without
    ``keep_old``.

    ``remote`` is a client of another cluster where the source is. Names of two clusters cannot be switched in one step:
    there it is always ``none``. When nothing writes to the source any more, a last call makes the target complete.

    With an ``engine``, documents are read, embedded and written by the processes of a Ray cluster: ``slices`` tasks
    read and as many write at once. What was written meanwhile, verification and switch are this process's.

    Called again after an interruption, however it ended, it goes on where it stopped.

    Raises:
        UsageError: the target is there and not this job's, an alias stands for several indices, or an argument.
        SchemaError: the source keeps no whole documents, or the target cannot take the semantic field.
        JobStopped: documents are not in the target, or differ; nothing was switched.
        JobTaken: another run goes on with this job.
        TooManyFailures: more than 1,000 documents failed, every document of ten batches in a row, or 15 % of a window.
        Forbidden: a privilege is missing.
        ModelError, ClusterError: model or cluster failed; the next call goes on.
        MissingExtra: the library of the engine is not installed.
    """
    _require(slices >= 1, f"slices must be 1 or more, not {slices}")
    _require(rate_limit is None or rate_limit > 0, f"a rate limit of {rate_limit} documents a second never ends")
    _require(verify in ("sample", "all"), f"verify {verify!r} does not exist: sample or all")
    switch = switch or ("block" if remote is None else "none")
    _require(switch in ("block", "caught-up", "none"), f"switch {switch!r} does not exist: block, caught-up or none")
    _require(
        remote is None or isinstance(remote, Elasticsearch),
        "remote must be a synchronous Elasticsearch client, whichever kind the first one is",
    )
    _require(remote is None or switch == "none", "names of two clusters cannot be switched in one step: switch none")
    changes = Changes(settings or {}, mappings or {}, shards, index_type)
    wanted = Wanted([fields] if isinstance(fields, str) else fields, name, chunk, language, changes)
    _require(
        engine is None or (remote is None) == (engine.source is None),
        "the engine's processes need the settings of the source's cluster: give remote and engine.source together",
    )
    options = Options(slices, rate_limit, verify, switch, keep_old, progress, stop, engine)
    choose = _choosing(source, model, config)
    place = Place(source, remote)
    return (
        yield from reindex_steps(place, to, wanted, lambda bound: behind_cache(choose(bound), model, config), options)
    )


@served
def reindex_files(
    source: str | Path,
    to: str,
    *,
    fields: str | Sequence[str],
    columns: Mapping[str, Any] | None = None,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    chunk: str = "auto",
    language: str | None = None,
    index_type: str | None = None,
    rate_limit: float | None = None,
    progress: Watcher = unwatched,
    stop: Callable[[], bool] = go_on,
) -> Steps[ReindexReport]:
    """Fill the new index ``to`` from a file, or all files of a folder: JSONL, CSV, TSV, Parquet, JSON.

    ``columns`` says which column is what (:class:`~es_semantic.reindex.files.columns.Columns`); by default each row is
    a document, and named by file and row. Vectors that come along are kept where the model makes the same of some of
    the texts. A row that cannot be read or is refused is a dead letter with its line, and the rest goes on. ``fields``
    that ``columns`` does not map are mapped as Elasticsearch maps strings.

    Called again, it goes on where it stopped, and reads files that are new or have changed.

    Raises:
        UsageError: no such file, a file or ``columns`` cannot be read, the target is there and not this job's, or
            vectors that come along are not the model's.
        SchemaError: a field cannot be embedded.
        TooManyFailures: more than 1,000 rows are broken, or 15 % of a window.
        MissingExtra: reading Parquet takes pyarrow.
    """
    _require(rate_limit is None or rate_limit > 0, f"a rate limit of {rate_limit} documents a second never ends")
    read = read_columns(columns, "columns")
    files = find_files(Path(source), read.format)
    changes = Changes(index_type=index_type)
    wanted = Wanted([fields] if isinstance(fields, str) else fields, name, chunk, language, changes)
    options = Options(1, rate_limit, "sample", "none", True, progress, stop)
    every = Source(files, read, str(source))
    return (yield from files_steps(every, to, wanted, lambda _: behind_cache(loaded(model), model, config), options))


@served
def estimate_reindex(
    source: str,
    to: str,
    *,
    fields: str | Sequence[str] | None = None,
    model: Model = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    chunk: str | None = None,
    language: str | None = None,
    settings: Mapping[str, Any] | None = None,
    mappings: Mapping[str, Any] | None = None,
    shards: int | None = None,
    index_type: str | None = None,
    remote: Elasticsearch | None = None,
) -> Steps[Estimate]:
    """Say what :func:`reindex` would take: documents, tokens, hours and disk, from a sample of 256 documents.

    Nothing is changed; the sample is embedded to measure how fast the model is here.

    Raises:
        UsageError, SchemaError, Forbidden: as for :func:`reindex`.
    """
    changes = Changes(settings or {}, mappings or {}, shards, index_type)
    wanted = Wanted([fields] if isinstance(fields, str) else fields, name, chunk, language, changes)
    place = Place(source, remote)
    return (yield from estimate_steps(place, to, wanted, _choosing(source, model, config)))


@served
def cancel_reindex(to: str) -> Steps[ReindexReport]:
    """Give up the unfinished job that fills ``to``: its index is deleted, writes to the source are allowed again.

    Raises:
        UsageError: there is no such job, or its index is in use already.
    """
    return cancel_steps(to)


@served
def undo_reindex(to: str) -> Steps[ReindexReport]:
    """Put the index that ``to`` has replaced back into its place, with everything that was written since.

    Writes are refused for as long as that takes; the new index stays, with no name but its own.

    Raises:
        UsageError: ``to`` has replaced nothing, the old index was not kept, or cannot take a document of the new one.
        IndexUnavailable: the old index is gone.
        JobStopped: the two differ afterwards; nothing was switched back.
    """
    return undo_steps(to)


def _choosing(source: str, model: Model, config: Config | None) -> ChooseEmbedder:
    """Return how the embedder is chosen: the caller's, else that of the source's binding, else the default."""

    def choose(bound: Fingerprint | None) -> Embedder:
        return loaded(model) if model is not None or bound is None else choosing(None, config)(bound, source)

    return choose


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise UsageError(what)
