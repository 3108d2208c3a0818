"""The Python face of changing a model: migrate, migration, compare_migration, switch_migration and what undoes them.

As in :mod:`es_semantic.api` each takes an ``Elasticsearch`` or an ``AsyncElasticsearch`` client first.
"""

from __future__ import annotations

from collections.abc import Callable

from es_semantic.api_evaluation import File, asked_for, bound_candidate
from es_semantic.chosen import Model, loaded, worker_for
from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.evaluation.beir import DEFAULT_QRELS
from es_semantic.evaluation.beside import compare_beside_steps
from es_semantic.evaluation.compare import ModelComparison
from es_semantic.evaluation.metrics import require_libraries
from es_semantic.evaluation.watch import Watch, unwatched
from es_semantic.migration.prepare import Preparation, WorkerFor, prepare_steps
from es_semantic.migration.remove import cancel_steps, drop_steps
from es_semantic.migration.serve import rollback_steps, switch_steps
from es_semantic.migration.state import Migration, state_steps
from es_semantic.sync import purge
from es_semantic.sync.observer import SILENT
from es_semantic.sync.partition import WHOLE
from es_semantic.sync.report import Progress, go_on, silent
from es_semantic.sync.worker import Options


@served
def migrate(
    index: str,
    *,
    model: Model,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    chunk: str = "auto",
    progress: Progress = silent,
    stop: Callable[[], bool] = go_on,
) -> Steps[Preparation]:
    """Prepare another model for a live semantic field, and change nothing for queries yet.

    A second field of the same source fields is attached beside the first (``semantic_2``), for the new model, and all
    documents are embedded into it. From then on whoever syncs or follows the field keeps both up to date. Run again
    after an interruption it goes on where it stopped. ``chunk`` is as for :func:`attach`.

    Raises:
        NotAttached: the index has no semantic field of that name.
        BindingConflict: the model serves already, or a change to another model is under way.
        SchemaError, Forbidden: the mapping has no place for another field; nothing was changed.
        ModelError: the model cannot be loaded.
        TooManyFailures, ClusterError: as for :func:`sync`; what was written stays.
    """
    options = Options(WHOLE, progress, SILENT, stop)
    of = _workers(index, model, config, options)
    return (yield from prepare_steps(index, name, lambda: loaded(model), of, chunk=chunk))


@served
def migration(index: str, *, name: str = DEFAULT_FIELD_NAME) -> Steps[Migration]:
    """Say where the change of a semantic field's model stands.

    Raises:
        NotAttached: the index has no semantic field of that name.
    """
    return state_steps(index, name)


@served
def compare_migration(
    index: str,
    *,
    dataset: File | None = None,
    judgements: File | None = None,
    qrels: str = DEFAULT_QRELS,
    queries: File | None = None,
    config: Config | None = None,
    name: str = DEFAULT_FIELD_NAME,
    progress: Watch = unwatched,
) -> Steps[ModelComparison]:
    """Put the model that serves and the other one side by side, by their vectors in the index itself.

    The result tells how much of the first ten hits they have in common, the percentiles of their searches' time, the
    bytes and the number of their vectors, their own speed, and with judgements (see :func:`evaluate`) all metrics.
    Queries are those judged, those of the file ``queries`` (one a line), or the first words of some documents.

    Raises:
        UsageError: the field has one model alone, or a file is missing or broken.
        ModelError: one of the models cannot be loaded.
    """
    require_libraries()
    asked = yield Compute(lambda: asked_for(dataset, judgements, qrels, queries, of_index=True))
    compared = compare_beside_steps(
        index, name, lambda binding: bound_candidate(binding, index, config), asked, progress
    )
    return (yield from compared)


@served
def switch_migration(
    index: str,
    *,
    config: Config | None = None,
    model: Model = None,
    name: str = DEFAULT_FIELD_NAME,
    allow_missing: bool = False,
    progress: Progress = silent,
) -> Steps[Migration]:
    """Let the prepared model serve all queries from now on, by one change of the mapping's ``_meta``.

    First the prepared field is brought up to date. Queries that run finish with the old model, whose field is still
    there and kept up to date; the next ones, and within two seconds those of every other process, use the new one. So
    every process that searches must be able to load it: settings first, then the switch.

    Raises:
        UsageError: no other model is prepared.
        JobStopped: documents have a vector of the old model and cannot have one of the new, and not ``allow_missing``.
        SchemaError: somebody else has changed ``_meta`` at the same time.
        ModelError, TooManyFailures, ClusterError: as for :func:`sync`; nothing was switched.
    """
    of = _workers(index, model, config, Options(WHOLE, progress, SILENT, go_on))
    return (yield from switch_steps(index, name, of, allow_missing=allow_missing))


@served
def roll_back_migration(index: str, *, name: str = DEFAULT_FIELD_NAME) -> Steps[Migration]:
    """Let the old model serve again, at once: possible until its field is dropped.

    Raises:
        UsageError: there is no field of an earlier model.
        SchemaError: somebody else has changed ``_meta`` at the same time.
    """
    return rollback_steps(index, name)


@served
def drop_migration(
    index: str, *, name: str = DEFAULT_FIELD_NAME, progress: purge.Watch = purge.unwatched
) -> Steps[Migration]:
    """Remove the old model's field after the switch: its binding at once, its values document by document.

    Queries and writes go on meanwhile. Run again after an interruption it goes on. The mapped field remains, empty, as
    Elasticsearch cannot remove one.

    Raises:
        UsageError: the new model does not serve yet.
        RequestFailed: some documents could not be changed; running it again goes on with these.
    """
    return drop_steps(index, name, progress)


@served
def cancel_migration(
    index: str, *, name: str = DEFAULT_FIELD_NAME, progress: purge.Watch = purge.unwatched
) -> Steps[Migration]:
    """Give up a prepared model that does not serve, and remove its field as :func:`drop_migration` does.

    Raises:
        UsageError: the new model serves already.
        RequestFailed: some documents could not be changed; running it again goes on with these.
    """
    return cancel_steps(index, name, progress)


def _workers(index: str, model: Model, config: Config | None, options: Options) -> WorkerFor:
    return lambda field: worker_for(index, field, model, config, options)
