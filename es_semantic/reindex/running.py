"""One run of a job: copy, catch up, verify, switch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from es_semantic.cluster.capabilities import Version
from es_semantic.cluster.steps import Forget, Request, Steps, optional, url_path
from es_semantic.embedding import Embedder
from es_semantic.errors import ClusterError, JobStopped, JobTaken, TooManyFailures
from es_semantic.reindex import switch as switching
from es_semantic.reindex import verify
from es_semantic.reindex.copy import CopyPass, CopyWindow
from es_semantic.reindex.deletes import delete_what_is_gone, delete_what_went_late, positions_in, positions_of
from es_semantic.reindex.job import Progress, Record, Switched
from es_semantic.reindex.known import Target
from es_semantic.reindex.lanes import Rate, open_lanes
from es_semantic.reindex.on_ray import Crew, RayEngine, ray_steps
from es_semantic.reindex.origin import Origin, count
from es_semantic.reindex.refused import refused_letters, retry_refused
from es_semantic.reindex.report import Check, ReindexReport, Watcher
from es_semantic.reindex.setup import hold_open, restore_pipeline, restore_replicas
from es_semantic.reindex.wanted import Plan
from es_semantic.reindex.writer import CopyWriter
from es_semantic.schema.target import resolve
from es_semantic.sync.embed import Embedding
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.observer import Observer
from es_semantic.sync.once import with_patience
from es_semantic.sync.report import SyncReport, go_on
from es_semantic.sync.worker import Options as SyncOptions
from es_semantic.sync.worker import start

FEW = 512
"""Sequence numbers that a catching-up pass may leave to the next: those of the last seconds."""

MAX_ROUNDS = 50
"""Passes that catch up with a source that is written to faster than it is embedded."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a job runs: ``slices`` are read at once, ``rate`` is documents a second at most.

    ``verify`` is ``sample`` or ``all``. ``switch`` is how the last writes come along, ``keep_old`` whether the old
    index stays. The first pass runs on the ``engine``, None for this process.
    """

    slices: int
    rate: float | None
    verify: str
    switch: switching.Switch
    keep_old: bool
    watch: Watcher
    stop: Callable[[], bool]
    engine: RayEngine | None = None


@dataclass(slots=True)
class Running:
    """A job that is going on."""

    origin: Origin
    target: Target
    plan: Plan
    record: Record
    report: ReindexReport
    options: Options
    writer: CopyWriter
    embedding: Embedding
    load: Callable[[], Embedder]
    """Loads the model once more, in another process."""
    version: Version | None
    progress: Progress = field(default_factory=Progress)
    limits: FailureLimits = field(default_factory=FailureLimits)

    def run(self) -> Steps[None]:
        """Do whatever is left to do.

        Raises:
            JobStopped: the target is not what the source is; nothing was switched.
            JobTaken: another run goes on with this job.
            TooManyFailures, ClusterError, ModelError: something failed; the next run goes on.
        """
        yield from hold_open(self.record, at_once=self.record.job.phase == "copying")
        self.report.done = yield from count(self.target.alias)
        yield from self._catch_up(leave=FEW)
        if not self.report.complete:
            return
        yield from retry_refused(self)
        yield from self._delete_gone()
        yield from self._verify()
        yield from self.record.save(phase="ready")
        yield from restore_replicas(self.record)
        if self.options.switch == "none":
            yield from restore_pipeline(self.record)
            yield from self.record.save(ready=(yield from positions_in(self.target.index)))
            self._tell("ready")
            return
        # From here on it is a matter of seconds, and of all or nothing.
        self.options = replace(self.options, stop=go_on)
        yield from self._switch()

    def copy_pass(self, *, slices: int, unsure: bool = True, until_sure: bool = False) -> CopyPass:
        """Return a pass over what is not done."""
        lanes = open_lanes(
            self.origin.reader,
            self.progress.unread(),
            count=slices,
            max_page=self.origin.target.max_result_window,
            rate=Rate(self.options.rate),
            there=self.origin.there,
        )
        return CopyPass(
            lanes=lanes,
            embedding=self.embedding,
            writer=self.writer,
            record=self.record,
            progress=self.progress,
            report=self.report,
            watch=self.options.watch,
            stop=self.options.stop,
            limits=self.limits,
            unsure=unsure,
            until_sure=until_sure,
        )

    def copy(self, window: CopyWindow) -> Steps[None]:
        """Embed, write and count one window of documents that were read otherwise than by a feed."""
        one = self.copy_pass(slices=1)
        yield from one.embed(window)
        yield from one.finish(window, (yield from one.write(window)))

    def _catch_up(self, *, leave: int) -> Steps[None]:
        """Copy what there is, until at most ``leave`` sequence numbers are not done; through short troubles."""
        observer = self.writer.observer
        yield from with_patience(lambda: self._rounds(leave), self.progress.numbers, observer=observer)

    def _rounds(self, leave: int) -> Steps[None]:
        filling = self.record.job.phase == "copying"
        for number in range(MAX_ROUNDS):
            shards = yield from self.origin.shards()
            self.report.notes += self.progress.look(shards, self.record.job)
            unread = self.progress.numbers()[1]
            if unread <= (leave if number else 0):
                return
            self.report.total = yield from self.origin.count()
            self._tell("copying" if filling else "catching up")
            yield from self._copy(filling=filling)
            if not self.report.complete:
                return
            filling = False
        raise JobStopped(
            f"{self.origin.label!r} is written to faster than its documents can be embedded",
            hint="Run the same command again when less is written, with a faster model, or without --rate-limit.",
        )

    def _copy(self, *, filling: bool) -> Steps[None]:
        """Copy what is unread now; once a part of it is done, vectors may be in the target already."""
        begun = any(len(done) for done in self.progress.done.values()) or self.report.resumed
        slices = self.options.slices if filling else 1
        one = self.copy_pass(slices=slices, unsure=begun or not filling, until_sure=filling)
        try:
            # What is left after the first pass is little, and by then the model is loaded here.
            if filling and self.options.engine is not None:
                yield from self.writer.look_for_letters()
                yield from ray_steps(one, self.progress.unread(), self._crew(self.options.engine))
                yield from self.writer.look_for_letters()
            else:
                yield from one.run()
        except TooManyFailures as error:
            error.hint = (
                f"See `es-semantic failures {self.target.index}`; mend the cause and run the same command again, or "
                "begin with other changes after --cancel."
            )
            raise

    def _crew(self, engine: RayEngine) -> Crew:
        return Crew(
            engine=engine,
            load=self.load,
            origin=self.origin,
            target=self.target,
            slices=self.options.slices,
            rate=self.options.rate,
            letters=self.writer.letters,
        )

    def _delete_gone(self) -> Steps[None]:
        self._tell("deletes")
        complete = self.progress.numbers()[1] == 0
        self.report.counts.deleted += yield from delete_what_is_gone(self.origin, self.target, complete=complete)

    def _verify(self) -> Steps[None]:
        self._tell("verifying")
        # First, because a worker sees only the older version of a document that was refused.
        yield from self._require_complete()
        checks = [
            (
                yield from check_vectors(
                    self.plan, self.target.index, self.target.name, self.version, self.writer.observer
                )
            )
        ]
        compared, documents = yield from verify.check_documents(
            self.origin,
            self.target,
            {shard: list(intervals) for shard, intervals in self.progress.done.items()},
            slices=self.options.slices,
            sample=self.options.verify == "sample",
        )
        checks += compared
        checks += yield from verify.check_probes(self.origin, self.target, documents)
        self.report.checks = checks
        yield from self._require_complete()
        verify.require_ok(checks, self.origin, self.target)

    def _require_complete(self) -> Steps[None]:
        """Refuse to go on while a document of the source is not in the target."""
        letters = yield from refused_letters(self.target)
        self.report.refused = len(letters)
        if letters:
            first = next(iter(letters.values())).letter
            raise JobStopped(
                f"{len(letters)} documents of {self.origin.label!r} are not in {self.target.index!r}, for instance "
                f"{first.id!r}: {first.reason}",
                hint=f"List them: es-semantic failures {self.target.index}. Mend or delete these documents in the "
                "source and run the same command again; or start over with --cancel and other changes.",
            )

    def _switch(self) -> Steps[None]:
        """Bring the last writes along, and let the target take the source's place."""
        self._tell("switching")
        aliases = yield from switching.require_switchable(self.origin.index)
        try:
            blocked = self.options.switch == "block" and (yield from self._block())
            yield from self._come_together()
            yield from self._move(aliases, blocked=blocked)
        except JobTaken:
            # The block may be the other run's by now.
            raise
        except (Exception, KeyboardInterrupt, asyncio.CancelledError):
            if not self.report.switched:
                yield from self._unblock_if_possible()
            raise
        yield from self.finish()

    def finish(self) -> Steps[None]:
        """After the switch, copy what reached the source while it took effect; what programs wrote since then holds."""
        self.options = replace(self.options, stop=go_on)
        switched = self.record.job.switched
        assert switched is not None
        if switched.late:
            yield from self._fetch_late_writes(switched)
        yield from self.record.save(phase="switched", counts=self.report.counts)
        marks = [self.target.alias, self.record.job.fence]
        yield switching.update_aliases(
            [{"remove": {"index": self.target.index, "alias": mark, "must_exist": False}} for mark in marks]
        )
        self.report.switched, self.report.old = True, switched.old
        self.report.aliases = sorted(switched.aliases)
        yield Forget()
        self._tell("switched")

    def _fetch_late_writes(self, switched: Switched) -> Steps[None]:
        """Let the old index take no more writes, and copy the last ones; then it may go, if it is not to be kept."""
        self._tell("late writes")
        # Also those are waited for that had found their way before the switch.
        yield from switching.block_writes(self.origin.index)
        self.writer.shared = switched.positions
        yield from self._catch_up(leave=0)
        self.report.counts.deleted += yield from delete_what_went_late(
            self.origin, self.target, swept=switched.swept, positions=switched.positions
        )
        yield from self._require_complete()
        if switched.old is None:
            yield from optional(Request("DELETE", url_path("/{}", self.origin.index)))

    def _block(self) -> Steps[bool]:
        """Refuse writes to the source; say whether the job did that, or its owner had."""
        ours = not (yield from switching.is_blocked(self.origin.index))
        if ours:
            # Noted first, so that whoever comes next allows writes again.
            yield from self.record.save(phase="blocked")
        yield from switching.block_writes(self.origin.index)
        return ours

    def _come_together(self) -> Steps[None]:
        """Bring source and target to the same documents, and the target into use."""
        block = self.options.switch == "block"
        # Without a block there may always be something new; what is left is fetched after the switch.
        yield from self._catch_up(leave=0 if block else FEW)
        yield from self._delete_gone()
        if block:
            yield from verify.require_same_counts(self.origin, self.target)
        yield from self._require_complete()
        yield from restore_pipeline(self.record)

    def _move(self, aliases: dict[str, dict[str, Any]], *, blocked: bool) -> Steps[None]:
        index, target = self.origin.index, self.target.index
        keep, late = self.options.keep_old, self.options.switch == "caught-up"
        replaced = self.origin.named == index
        old = None if not keep else switching.kept_name(index, target) if replaced else index
        if old is not None and replaced:
            yield from self.record.save(kept=old)
            yield from switching.clone(self.origin.target, old)
        moved = {**aliases, **({index: {}} if replaced else {})}
        state = Switched(
            aliases=moved,
            old=old,
            positions=(yield from positions_in(target)),
            swept=positions_of(self.origin.last),
            late=late,
            blocked=not replaced and (late or blocked),
        )
        yield from self.record.save(switched=state)
        drop = replaced or (not keep and not late)
        fence = {"remove": {"index": target, "alias": self.record.job.fence, "must_exist": True}}
        yield switching.update_aliases([fence, *switching.switch_actions(index, target, moved, drop=drop)])
        self.report.switched = True

    def _unblock_if_possible(self) -> Steps[None]:
        try:
            yield from allow_writes(self.record, self.origin.index)
        except ClusterError:
            # What went wrong first matters more; the next run, or `--cancel`, allows writes again.
            return

    def _tell(self, stage: str) -> None:
        self.report.stage = stage
        self.options.watch(self.report)


def allow_writes(record: Record, index: str) -> Steps[None]:
    """Lift the block that this job, or an earlier run of it, has set."""
    if record.job.phase == "blocked":
        yield from switching.unblock_writes(index)
        yield from record.save(phase="ready")


def check_vectors(plan: Plan, index: str, name: str, version: Version | None, observer: Observer) -> Steps[Check]:
    """Let a worker go over the whole index: it judges every document by the hash of its text.

    Afterwards its checkpoint says so, and whoever follows the index goes on from there.
    """
    target = yield from resolve(index)
    options = SyncOptions(observer=observer)
    worker = yield from start(target, plan.binding, plan.embedder, version, name=name, options=options)
    report = SyncReport(target.name, name, plan.binding.stamp)
    yield from worker.catch_up(report)
    found = f"{report.read:,} documents read, {report.unchanged:,} true"
    found += f", {report.embedded:,} made true" if report.embedded else ""
    return Check("vectors", found, True)
