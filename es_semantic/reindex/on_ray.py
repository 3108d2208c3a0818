"""Run the first pass of a job on a Ray cluster: read tasks, a pool of actors that hold the model, write tasks.

Ray Data moves windows from one to the next and restarts what dies (Ray docs, "Ray Data internals"). Which sequence
numbers are done is noted here alone, in the job's document, once a window is written: so a job that is cut off goes on
where it was, on Ray or without it, and of a window that is worked off twice the second time changes nothing.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.config import ConnectionSettings, RaySettings
from es_semantic.embedding import Embedder
from es_semantic.errors import EsSemanticError, MissingExtra, ModelUnavailable, UsageError
from es_semantic.reindex.copy import CopyPass
from es_semantic.reindex.known import Target
from es_semantic.reindex.lanes import lanes
from es_semantic.reindex.origin import Origin
from es_semantic.reindex.tasks import PART, WINDOW, Done, EmbeddingTask, Reading, Writing
from es_semantic.schema.control import Version
from es_semantic.sync.intervals import Interval
from es_semantic.sync.shards import Shard

INSTALL = "pip install 'es-semantic[ray]'"

PART_NUMBERS = 4_096
"""Sequence numbers that one task reads, at least where there are enough for all."""

MAX_PARTS = 10_000
"""Tasks of a pass: of a huge index each reads more."""


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Where to run the first pass of a job: on the Ray cluster of ``settings``.

    The processes there reach Elasticsearch by ``connection``, and by ``source`` the cluster that the source is in,
    where that is another one.
    """

    connection: ConnectionSettings
    settings: RaySettings = field(default_factory=RaySettings)
    source: ConnectionSettings | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """What the tasks of a pass need to know: the ``engine``, and how to ``load`` the model there."""

    engine: RayEngine
    load: Callable[[], Embedder]
    origin: Origin
    target: Target
    slices: int
    rate: float | None
    letters: Mapping[str, Version]


def ray_steps(one: CopyPass, unread: Mapping[Shard, Sequence[Interval]], crew: Crew) -> Steps[None]:
    """Copy what is unread on the cluster; counted, saved and watched as by the pass ``one``, which looks for nothing.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: the model cannot be sent to other processes.
        EsSemanticError: what a task has raised, as it would have been raised here.
    """
    yield from one.through(_consume(one, unread, crew), _nothing)


def _consume(one: CopyPass, unread: Mapping[Shard, Sequence[Interval]], crew: Crew) -> Steps[None]:
    with _running(crew.engine.settings):
        results = yield Compute(lambda: _results(unread, crew, look=one.unsure))
        try:
            while (done := (yield Compute(lambda: _next(results)))) is not None:
                yield from one.finish(done.window, done.written)
                one.report.complete = not one.stop()
                if not one.report.complete:
                    return
        finally:
            # Where an event loop gives up waiting, its thread may still be in there.
            with suppress(ValueError):
                results.close()


def _nothing() -> Steps[None]:
    yield from ()


@contextmanager
def _running(settings: RaySettings) -> Iterator[None]:
    """Be connected to Ray; where this process was not, it is disconnected again, and a cluster of its own ends."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra(f"re-indexing on Ray needs its library: {error}", hint=INSTALL) from error
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Said: else Ray would join whatever cluster was last started on this machine.
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(address=address, include_dashboard=None, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError) as error:
        what = f"Ray cannot be reached at {address!r}: {error}"
        raise ModelUnavailable(what, hint="See ray.address in es-semantic.yml.") from error
    try:
        yield
    finally:
        ray.shutdown()


def _results(unread: Mapping[Shard, Sequence[Interval]], crew: Crew, *, look: bool) -> Any:
    """Begin, and return an iterator of batches with one window each."""
    import ray

    engine, settings = crew.engine, crew.engine.settings
    source = engine.source or engine.connection
    numbers = sum(last - first + 1 for intervals in unread.values() for first, last in intervals)
    parts = lanes(unread, max(crew.slices, min(MAX_PARTS, numbers // PART_NUMBERS)))
    # Each process has clients of its own.
    origin = replace(crew.origin, client=None)
    at_once = min(crew.slices, len(parts))
    rate = None if crew.rate is None else crew.rate / at_once
    reading = Reading(source, engine.connection, origin, crew.target if look else None, rate)
    writing = Writing(engine.connection, source, crew.target, origin, dict(crew.letters))
    _require_picklable(crew.load)
    data = ray.data.from_items([{PART: pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
    # Each window is handed on by itself: it is large enough, and counted as soon as it is written.
    data.context.target_max_block_size = data.context.target_min_block_size = 1
    data.context.enable_progress_bars = data.context.print_on_execution_start = False
    waiting = {"batch_size": 1, "num_cpus": 0, "compute": ray.data.TaskPoolStrategy(size=at_once)}
    model = {"num_cpus": settings.cpus_per_actor, "num_gpus": settings.gpus_per_actor}
    data = data.map_batches(reading.__call__, **waiting)
    data = data.map_batches(
        EmbeddingTask,
        fn_constructor_args=(crew.load, crew.target),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=settings.actors),
        **model,
    )
    data = data.map_batches(writing.__call__, **waiting)
    return iter(data.iter_batches(batch_size=1, prefetch_batches=1))


def _next(results: Any) -> Done | None:
    """Return the next window that is written, None at the end.

    Raises:
        EsSemanticError: a task has raised it.
        ModelUnavailable: something else went wrong there.
    """
    try:
        batch = next(results, None)
    except Exception as error:
        # Ray has many kinds, and some of its parts raise others.
        last = (str(error).strip().splitlines() or [""])[-1]
        raise ModelUnavailable(
            f"the job failed on Ray with {type(error).__name__}: {last}",
            hint="See Ray's logs; the same command goes on where it stopped.",
        ) from error
    if batch is None:
        return None
    done: Done | EsSemanticError = pickle.loads(batch[WINDOW][0])
    if isinstance(done, EsSemanticError):
        raise done
    return done


def _require_picklable(load: Callable[[], Embedder]) -> None:
    from ray import cloudpickle

    try:
        cloudpickle.dumps(load)
    except Exception as error:
        raise UsageError(
            f"the model cannot be sent to Ray's processes: {error}", hint="Give its settings instead of an object."
        ) from error
