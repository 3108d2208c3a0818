"""Keep one semantic field of one index, alias or data stream up to date: once, or again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, Version
from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.embedding import Embedder, require_same_model
from es_semantic.schema.binding import Binding
from es_semantic.schema.checks import require_writable
from es_semantic.schema.target import Target
from es_semantic.sync.checkpoints import Position, binding_id, positions_of, unread_of
from es_semantic.sync.control import Checkpoints
from es_semantic.sync.dead_letters import read_letters
from es_semantic.sync.documents import Judged, Updates
from es_semantic.sync.embed import Embedding, Split, splitter
from es_semantic.sync.feed import Feed, RequestSize
from es_semantic.sync.limits import FailureLimits
from es_semantic.sync.observer import SILENT, Observer
from es_semantic.sync.one_pass import Pass, checkpoint_of
from es_semantic.sync.partition import WHOLE, Partition
from es_semantic.sync.report import Progress, SyncReport, go_on, silent
from es_semantic.sync.shards import Shard, read_shards, refresh
from es_semantic.sync.unchanged import require_same, require_unchanged
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
    request_size: RequestSize = field(default_factory=RequestSize)
    limits: FailureLimits = field(default_factory=FailureLimits)
    positions: dict[Shard, Position] = field(default_factory=dict)
    outdated: bool = False
    """Whether the target has changed since it was looked up."""
    beside: tuple[str, ...] = ()
    """Other fields to keep up to date as well, because they stand for the same name: its model is being changed."""
    looked_at: frozenset[str] = frozenset()
    """The indices at the last look: shards of one that was not among them may be about to start."""

    def catch_up(self, report: SyncReport) -> Steps[None]:
        """Go through what the change feed has now.

        Raises:
            IndexUnavailable: an index is gone, or was deleted and created again since the target was looked up.
            NotAttached: the semantic field was detached or attached otherwise since then.
        """
        yield from self._catch_up(report)
        while self.checkpoints.deleted:
            # Whoever detaches deletes them too. Else dead letters may be gone, so everything is read again.
            yield from require_unchanged(self.target, self.name)
            self.checkpoints.start_over()
            self.positions.clear()
            self.writer.letters.clear()
            yield from self._catch_up(report)

    def _catch_up(self, report: SyncReport) -> Steps[None]:
        shards = self._unblocked((yield from self._look(report)), report)
        report.checkpoint = checkpoint_of(self.positions)
        unread = sum(last - first + 1 for s in shards for first, last in self.positions[s].unread(s))
        if not unread:
            for shard in shards:
                self.positions[shard].advance(shard.global_checkpoint)
            report.checkpoint = checkpoint_of(self.positions)
            yield from self.checkpoints.save(self.positions)
            return
        yield from refresh(self.target)
        count = (yield Request("GET", url_path("/{}/_count", self.target.name)))["count"]
        report.total = report.read + min(unread, count)
        yield from self._pass(shards, report).run()

    def _look(self, report: SyncReport) -> Steps[list[Shard]]:
        """Return the shards as they are now; of each the position is known."""
        shards = yield from self._known_shards()
        while indices := sorted({shard.index for shard in shards if shard not in self.positions}):
            loaded = yield from self.checkpoints.load(indices)
            # Once more, because another worker may have saved a checkpoint beyond what was written at the first look.
            shards = yield from self._known_shards()
            for index in indices:
                new = [shard for shard in shards if shard.index == index and shard not in self.positions]
                positions, notes = positions_of(loaded.get(index), new, self.checkpoints.binding)
                self.positions |= positions
                report.notes += notes
            self._drop_positions(shards)
            letters = yield from read_letters(self.name, indices)
            # Those that could not be re-indexed are the job's alone: of such a document an older version may be here.
            self.writer.letters |= {key: stored.version for key, stored in letters.items() if stored.letter.is_there}
            # Before any dead letter: by the checkpoint it is noticed that somebody has deleted them.
            yield from self.checkpoints.save(self.positions)
        self._drop_positions(shards)
        return shards

    def _drop_positions(self, shards: Collection[Shard]) -> None:
        """Forget shards that are no more, as after a restored snapshot."""
        for gone in self.positions.keys() - set(shards):
            del self.positions[gone]

    def _known_shards(self) -> Steps[list[Shard]]:
        known = self.target.indices
        new, self.looked_at = known.keys() - self.looked_at, frozenset(known)
        shards = yield from read_shards(self.target, new)
        for shard in shards:
            if shard.index in known:
                require_same(self.target, shard.index, shard.uuid)
        # An index made by a rollover meanwhile: how it is bound is not known yet.
        self.outdated = any(shard.index not in known for shard in shards)
        return [shard for shard in shards if shard.index in known]

    def _unblocked(self, shards: list[Shard], report: SyncReport) -> list[Shard]:
        """Leave out older indices of a data stream that must not be written, and say so where that matters."""
        blocked = {index: blocks for index, gives in self.target.indices.items() if (blocks := gives.blocks)}
        for index in sorted({s.index for s in shards if s.index in blocked and self.positions[s].unread(s)}):
            report.notes.append(f"{index!r} is left out, because it is read-only: {', '.join(blocked[index])}")
        return [shard for shard in shards if shard.index not in blocked]

    def _pass(self, shards: list[Shard], report: SyncReport) -> Pass:
        # The shards as just read: only they tell up to where to read.
        positions = {shard: self.positions[shard] for shard in shards}
        max_page, reader = self.target.max_result_window, Judged(self.binding, self.name)
        return Pass(
            feed=Feed(reader, self.options.partition, max_page, unread_of(positions), self.request_size),
            target=self.target,
            embedding=Embedding(self.embedder, self.split, self.options.observer),
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
        writer=Writer(Updates(name, binding), base64, options.observer),
        checkpoints=Checkpoints(name, options.partition, binding_id(binding, name)),
    )


def _is_durable(settings: Any) -> bool:
    return str(settings.get("index.translog.durability", "request")).lower() == "request"
