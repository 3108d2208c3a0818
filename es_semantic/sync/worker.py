"""Keep one semantic field of one index, alias or data stream up to date: once, or again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version
from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.errors import IndexUnavailable
from es_semantic.schema.binding import Binding
from es_semantic.schema.checks import require_writable
from es_semantic.schema.target import Gives, Target
from es_semantic.sync.checkpoints import Position, binding_id
from es_semantic.sync.control import Checkpoints
from es_semantic.sync.dead_letters import read_letters
from es_semantic.sync.documents import Updates
from es_semantic.sync.embed import Split, splitter
from es_semantic.sync.feed import Feed
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.observer import SILENT, Observer
from es_semantic.sync.one_pass import Pass, checkpoint_of
from es_semantic.sync.partition import WHOLE, Partition
from es_semantic.sync.report import Progress, SyncReport, go_on, silent
from es_semantic.sync.shards import Shard, read_shards, refresh
from es_semantic.sync.writer import Writer


@dataclass(frozen=True, slots=True)
class Options:
    """How to sync: which part of the documents, who watches, and who may ask to stop."""

    partition: Partition = WHOLE
    progress: Progress = silent
    observer: Observer = SILENT
    stop: Callable[[], bool] = go_on


@dataclass(slots=True)
class Worker:
    """What stays between two passes over one target."""

    target: Target
    binding: Binding
    name: str
    embedder: Embedder
    split: Split
    options: Options
    writer: Writer
    checkpoints: Checkpoints
    limits: FailureLimits = field(default_factory=FailureLimits)
    positions: dict[Shard, Position] = field(default_factory=dict)
    outdated: bool = False
    """Whether the target has changed since it was looked up."""

    def catch_up(self, report: SyncReport) -> Steps[int]:
        """Go through what the change feed has now, and return how many sequence numbers that was.

        Raises:
            IndexUnavailable: an index is gone, or was deleted and created again since the target was looked up.
        """
        unread = yield from self._catch_up(report)
        while self.checkpoints.deleted:
            # Dead letters may have gone with it: only reading everything again tells.
            self.checkpoints.deleted = False
            self.positions.clear()
            self.writer.letters.clear()
            unread += yield from self._catch_up(report)
        return unread

    def _catch_up(self, report: SyncReport) -> Steps[int]:
        known = self.target.indices
        started = yield from read_shards(self.target)
        for shard in started:
            _require_same_index(shard, known.get(shard.index))
        # An index made by a rollover meanwhile: how it is bound is not known yet.
        self.outdated = any(shard.index not in known for shard in started)
        shards = [shard for shard in started if shard.index in known]
        yield from self._load_positions(shards, report)
        report.checkpoint = checkpoint_of(self.positions)
        unread = sum(last - first + 1 for s in shards for first, last in self.positions[s].unread(s))
        if not unread:
            for shard in shards:
                self.positions[shard].advance(shard.global_checkpoint)
            report.checkpoint = checkpoint_of(self.positions)
            yield from self.checkpoints.save(self.positions)
            return 0
        yield from refresh(self.target)
        count = (yield Request("GET", url_path("/{}/_count", self.target.name)))["count"]
        report.total = report.read + min(unread, count)
        yield from self._pass(shards, report).run()
        return unread

    def _pass(self, shards: list[Shard], report: SyncReport) -> Pass:
        # The shards as just read: only they tell up to where to read.
        positions = {shard: self.positions[shard] for shard in shards}
        max_page = self.target.max_result_window
        return Pass(
            feed=Feed(self.binding, self.name, self.options.partition, max_page, positions),
            embedder=self.embedder,
            split=self.split,
            writer=self.writer,
            checkpoints=self.checkpoints,
            positions=positions,
            durable={index: _is_durable(gives.settings) for index, gives in self.target.indices.items()},
            limits=self.limits,
            report=report,
            progress=self.options.progress,
            observer=self.options.observer,
            stop=self.options.stop,
        )

    def _load_positions(self, shards: list[Shard], report: SyncReport) -> Steps[None]:
        """Learn where to go on in shards that are new, as after a rollover or a restored snapshot."""
        new = [shard for shard in shards if shard not in self.positions]
        gone = [shard for shard in self.positions if shard not in shards]
        for shard in gone:
            del self.positions[shard]
        if new:
            loaded, notes = yield from self.checkpoints.load(new)
            self.positions |= loaded
            report.notes += notes
            indices = {shard.index for shard in shards}
            self.writer.letters |= (yield from read_letters(self.name, indices)).keys()


def start(
    target: Target, binding: Binding, embedder: Embedder, version: Version | None, *, name: str, options: Options
) -> Steps[Worker]:
    """Return a worker for a semantic field; ``version`` is the server's, None where these credentials may not know it.

    Raises:
        IndexUnavailable: the index is read-only.
        FingerprintMismatch: the model is not the one that the index is bound to.
        ModelUnavailable: the model does not work.
    """
    require_writable(target)
    profile = yield Compute(lambda: embedder.profile)
    require_same_model(binding.fingerprint, profile.fingerprint, index=target.name)
    base64 = None if version is None else version >= BASE64_VECTORS_SINCE
    return Worker(
        target=target,
        binding=binding,
        name=name,
        embedder=embedder,
        split=splitter(embedder, binding.chunking),
        options=options,
        writer=Writer(Updates(name, binding), base64, target.kind == "index", options.observer),
        checkpoints=Checkpoints(name, options.partition, binding_id(binding, name)),
    )


def _require_same_index(shard: Shard, gives: Gives | None) -> None:
    """Refuse an index of which only the name is that of the one looked up: it may not be attached, or otherwise."""
    if gives is not None and gives.settings.get("index.uuid", shard.uuid) != shard.uuid:
        raise IndexUnavailable(
            f"index {shard.index!r} was deleted and created again meanwhile",
            hint="If it was created without an index template that is attached, attach it again; then sync.",
        )


def _is_durable(settings: Any) -> bool:
    return str(settings.get("index.translog.durability", "request")).lower() == "request"
