"""Keep many semantic fields up to date for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from es_semantic.cluster.steps import Pause, Steps, refused_once
from es_semantic.errors import (
    ClusterError,
    ControlDamaged,
    EsSemanticError,
    FingerprintMismatch,
    Forbidden,
    TooManyFailures,
)
from es_semantic.schema.binding import exactly
from es_semantic.sync.bulk import full_jitter
from es_semantic.sync.initial_load import give_back
from es_semantic.sync.report import SyncReport
from es_semantic.sync.worker import Options, Worker

POLL = 0.5
"""Seconds between two looks at an index that is up to date."""

SOON = 0.05
"""Seconds until the next look at an index that somebody is writing to."""

LOOK_UP_EVERY = 5.0
"""Seconds after which index and binding are looked up again. What was written by an outdated binding carries its
model's stamp, and is embedded again."""

TURN = 10.0
"""Seconds that one of several indices may take before the next has its turn."""

TURN_BESIDE = 2.0
"""Seconds for a field that does not serve: what is written meanwhile waits for the one that does."""

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0

FATAL = (Forbidden, FingerprintMismatch, ControlDamaged, TooManyFailures)
"""What waiting does not mend: somebody has to do something."""

Start = Callable[[str, str, Options], Steps[Worker]]
"""Look up an index and its semantic field of a name, and return a worker for it."""


@dataclass(frozen=True, slots=True)
class Events:
    """Called with what people may want to read in a log: no texts, no secrets."""

    caught_up: Callable[[SyncReport], None]
    failed: Callable[[str, EsSemanticError, float], None]
    """Index, what happened, and the seconds until the next try."""


UNHEARD = Events(lambda _report: None, lambda _index, _error, _seconds: None)
"""The default: nobody listens."""


@dataclass(slots=True)
class _Subject:
    index: str
    name: str
    beside: bool = False
    """Whether it is kept up to date because another field stands for the same name: its model is being changed."""
    worker: Worker | None = None
    looked_up: float = 0.0
    attempts: int = 0
    error: str = ""
    """Why the last try failed; empty where it did not."""
    not_before: float = 0.0
    unread: int = 0
    caught_up_at: float = field(default_factory=time.monotonic)

    @property
    def place(self) -> str:
        """The field's place in the mapping, as far as it is known."""
        return self.worker.name if self.worker is not None else self.name


def follow_steps(subjects: Sequence[tuple[str, str]], start: Start, options: Options, events: Events) -> Steps[None]:
    """Bring each subject (index, semantic field) up to date in turn until ``options.stop`` says so.

    What can pass is tried again for ever, with pauses of up to a minute: no answer, an overloaded or read-only cluster,
    an index that is gone, a model that does not answer. While the model of a field is being changed, the field of the
    other model is followed as well; whatever is wrong with that one is only told, because queries do not need it.

    Raises:
        Forbidden, FingerprintMismatch, ControlDamaged, TooManyFailures: somebody has to do something.
        EsSemanticError: a subject cannot even be started.
    """
    following = _Following([_Subject(*subject) for subject in subjects], start, options, events)
    for subject in list(following.subjects):
        if not options.stop():
            yield from following.look_up(subject)
    while not options.stop():
        pause = POLL
        for subject in list(following.subjects):
            if not options.stop() and time.monotonic() >= subject.not_before:
                pause = min(pause, (yield from following.turn(subject)))
        if pause:
            yield Pause(pause)


@dataclass(slots=True)
class _Following:
    subjects: list[_Subject]
    start: Start
    options: Options
    events: Events
    beside: dict[tuple[str, str], list[_Subject]] = field(default_factory=dict)

    def turn(self, subject: _Subject) -> Steps[float]:
        """Bring one subject up to date and return the seconds until the next look at it."""
        try:
            report = yield from self._catch_up(subject)
        except EsSemanticError as error:
            if isinstance(error, FATAL) and not subject.beside:
                raise
            self._fail(subject, error)
            return POLL
        self._works(subject)
        if report.complete and subject.worker is not None:
            subject.unread, subject.caught_up_at = 0, time.monotonic()
            subject.worker.limits.new_run()
            self.options.observer.lag(subject.index, subject.place, 0, 0.0)
        if report.read:
            self.events.caught_up(report)
        if not report.complete:
            return 0.0
        return SOON if report.read else POLL

    def look_up(self, subject: _Subject) -> Steps[Worker]:
        """Look up the index and its binding, and keep the worker unless they have changed."""
        fresh = yield from self.start(subject.index, subject.name, self._turn_options(subject))
        worker = subject.worker
        if worker is None:
            yield from give_back(list(fresh.target.indices))
        if worker is None or (worker.name, worker.binding) != (fresh.name, fresh.binding):
            worker = fresh
        else:
            worker.target, worker.options = fresh.target, fresh.options
        if not subject.beside:
            self._go_along(subject.index, subject.name, fresh.beside)
        subject.worker, subject.looked_up = worker, time.monotonic()
        return worker

    def _go_along(self, index: str, name: str, fields: Sequence[str]) -> None:
        """Follow these fields as well, beside the one that serves under the name, and no others any more."""
        key = (index, name)
        known = {subject.name: subject for subject in self.beside.get(key, ())}
        wanted = list(map(exactly, fields))
        self.beside[key] = [known.get(each) or _Subject(index, each, beside=True) for each in wanted]
        for gone in known.keys() - set(wanted):
            self.options.observer.lag(index, known[gone].place, 0, 0.0)
        own = [subject for subject in self.subjects if not subject.beside]
        self.subjects = own + [subject for several in self.beside.values() for subject in several]

    def _catch_up(self, subject: _Subject) -> Steps[SyncReport]:
        worker = subject.worker
        if worker is None or worker.outdated or time.monotonic() - subject.looked_up > LOOK_UP_EVERY:
            worker = yield from refused_once(self.look_up(subject))
        worker.options = replace(self._turn_options(subject), progress=lambda report: self._observe(subject, report))
        report = SyncReport(worker.target.name, worker.name, worker.binding.stamp)
        yield from refused_once(worker.catch_up(report))
        return report

    def _turn_options(self, subject: _Subject) -> Options:
        if len(self.subjects) == 1:
            return self.options
        end = time.monotonic() + (TURN_BESIDE if subject.beside else TURN)
        return replace(self.options, stop=lambda: self.options.stop() or time.monotonic() > end)

    def _works(self, subject: _Subject) -> None:
        subject.attempts, subject.error = 0, ""
        self._tell_health()

    def _tell_health(self) -> None:
        serving = (subject for subject in self.subjects if not subject.beside)
        errors = [f"{subject.index}: {subject.error}" for subject in serving if subject.error]
        self.options.observer.healthy(not errors, "; ".join(errors))

    def _fail(self, subject: _Subject, error: EsSemanticError) -> None:
        subject.attempts += 1
        seconds = full_jitter(subject.attempts, FIRST_WAIT, LONGEST_WAIT)
        subject.not_before = time.monotonic() + seconds
        subject.looked_up = float("-inf")
        what = type(error).__name__ if not isinstance(error, ClusterError) else f"{type(error).__name__} {error.status}"
        subject.error = what
        self.options.observer.retry("pass")
        self._tell_lag(subject)
        self._tell_health()
        self.events.failed(subject.index, error, seconds)

    def _observe(self, subject: _Subject, report: SyncReport) -> None:
        # It reads, embeds and writes: that the first pass over many documents takes hours is no illness.
        self._works(subject)
        subject.unread = max(0, report.total - report.done)
        self._tell_lag(subject)

    def _tell_lag(self, subject: _Subject) -> None:
        behind = time.monotonic() - subject.caught_up_at
        self.options.observer.lag(subject.index, subject.place, subject.unread, behind)
