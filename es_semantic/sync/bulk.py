"""Send prepared ``_bulk`` lines and say what became of each item."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from es_semantic.cluster.failures import document_reason_of
from es_semantic.cluster.steps import Pause, Request, Steps
from es_semantic.errors import ClusterError, RequestFailed
from es_semantic.sync.observer import SILENT, Observer
from es_semantic.sync.tracing import record_span

LARGEST_BODY = 8 * 1024 * 1024
"""Bytes; Elasticsearch refuses bodies over ``http.max_content_length``, 100 MB by default."""

SMALLEST_BODY = 64 * 1024
SLOW_ANSWER = 5.0
"""Seconds. A body that took longer is followed by smaller ones."""

MAX_TRIES = 8
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0

OVERLOADED = (429, 503)
TOO_LARGE = 413

Item = list[bytes]
"""The lines of one operation: the action, and the document where it has one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: HTTP ``status``, the error's type and reason where it failed, else its new version.

    The reason quotes nothing of the document.
    """

    status: int
    error_type: str = ""
    reason: str = ""
    seq_no: int = -1
    primary_term: int = 0
    index_uuid: str | None = None
    """Of the index that has answered; told for errors only."""

    @property
    def ok(self) -> bool:
        """Whether the write is in the index."""
        return self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether the same write may be accepted soon, because the cluster is overloaded.

        A block lasts longer, though that of the flood-stage disk watermark answers with 429 as well.
        """
        return self.status in OVERLOADED and not self.blocked

    @property
    def blocked(self) -> bool:
        """Whether the index is under a block."""
        return self.error_type == "cluster_block_exception"

    @property
    def superseded(self) -> bool:
        """Whether somebody has written (409) or deleted (404) the document meanwhile."""
        return self.error_type in ("version_conflict_engine_exception", "document_missing_exception") or (
            self.status == 404 and not self.error_type
        )


class BodySize:
    """How many bytes to send at once: halved when Elasticsearch is overloaded or slow, else it grows again slowly.

    It never grows again to what was once refused as too large: a limit on the way there, of the cluster or of a proxy,
    does not go away. ``ceiling`` is at least half of that limit.
    """

    def __init__(self) -> None:
        """Start with the largest body."""
        self.limit = self.ceiling = LARGEST_BODY

    def learn(self, *, overloaded: bool, seconds: float) -> None:
        """Take one answer into account."""
        if overloaded or seconds > SLOW_ANSWER:
            self.limit = min(self.limit, max(SMALLEST_BODY, self.limit // 2))
        else:
            self.limit = min(self.ceiling, self.limit + SMALLEST_BODY)

    def refused(self, size: int) -> None:
        """A body of so many bytes and more than one item was too large."""
        self.ceiling = min(self.ceiling, size // 2)
        self.limit = min(self.limit, self.ceiling)


def write(
    items: Sequence[Item],
    *,
    size: BodySize | None = None,
    require_alias: bool = False,
    observer: Observer = SILENT,
) -> Steps[list[Outcome]]:
    """Send all items and return their outcomes in order.

    What is refused with 429 or 503, item by item or as a whole, is sent again after a pause with full jitter
    ("Exponential Backoff And Jitter", AWS Architecture Blog); the client itself does not. A body that is too
    large for Elasticsearch is halved, and so are those after it.

    Raises:
        RequestFailed: Elasticsearch is still overloaded after eight tries; some items may have been written.
        ClusterError: a whole request failed; what became of its items is unknown.
    """
    return _Writing(items, size or BodySize(), require_alias, observer).all()


def full_jitter(attempt: int, first: float, longest: float) -> float:
    """Return the seconds to wait after try ``attempt`` (from 0): anything up to ``first`` doubled each time."""
    return random.uniform(0, min(longest, first * 2.0 ** min(attempt, 30)))


def cut(items: Sequence[Item], left: deque[int], limit: int) -> list[int]:
    """Take the next body's items from ``left``: at most ``limit`` bytes, or one item that alone is larger."""
    body = [left.popleft()]
    size = _bytes(items[body[0]])
    while left and (size := size + _bytes(items[left[0]])) <= limit:
        body.append(left.popleft())
    return body


def _bytes(item: Item) -> int:
    return sum(len(line) + 1 for line in item)


@dataclass(slots=True)
class _Writing:
    items: Sequence[Item]
    size: BodySize
    require_alias: bool
    observer: Observer
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def all(self) -> Steps[list[Outcome]]:
        waiting = list(range(len(self.items)))
        for attempt in range(MAX_TRIES):
            yield from self._send_all(waiting)
            waiting = [i for i in waiting if self.outcomes[i].may_pass]
            if not waiting:
                return [self.outcomes[i] for i in range(len(self.items))]
            self.observer.retry("bulk")
            if attempt < MAX_TRIES - 1:
                yield Pause(full_jitter(attempt, FIRST_WAIT, LONGEST_WAIT))
        last = self.outcomes[waiting[0]]
        raise RequestFailed(
            f"{len(waiting)} of {len(self.items)} writes were refused {MAX_TRIES} times: {last.reason}",
            status=last.status,
            error_type=last.error_type,
            hint="The cluster is overloaded. Nothing is lost: run sync again when it is not.",
        )

    def _send_all(self, wanted: Sequence[int]) -> Steps[None]:
        left = deque(wanted)
        while left:
            # Cut one by one, because each answer may change the size of the next.
            body = cut(self.items, left, self.size.limit)
            if not (yield from self._send(body)):
                left.extendleft(reversed(body))

    def _send(self, body: list[int]) -> Steps[bool]:
        """Send a body and say whether it was taken; it is not where it is too large and can be cut smaller."""
        started = time.monotonic()
        params = {"filter_path": _KEPT, **({"require_alias": "true"} if self.require_alias else {})}
        lines = [line for i in body for line in self.items[i]]
        try:
            answers = (yield Request("POST", "/_bulk", params, lines, resend_refused=False))["items"]
            outcomes = [_outcome(next(iter(answer.values()))) for answer in answers]
        except ClusterError as error:
            if error.status == TOO_LARGE and len(body) > 1:
                self.size.refused(sum(_bytes(self.items[i]) for i in body))
                return False
            if error.status not in (*OVERLOADED, TOO_LARGE):
                raise
            outcomes = [Outcome(error.status, error.error_type, error.what)] * len(body)
        self._learn(outcomes, time.monotonic() - started)
        self.outcomes |= dict(zip(body, outcomes, strict=True))
        return True

    def _learn(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        rejected = sum(outcome.status in OVERLOADED for outcome in outcomes)
        self.size.learn(overloaded=rejected > 0, seconds=seconds)
        self.observer.bulk_seconds(seconds)
        record_span("bulk", seconds, items=len(outcomes), rejected=rejected)
        if rejected:
            self.observer.overload(rejected)


def _outcome(item: dict[str, Any]) -> Outcome:
    if "error" not in item:
        return Outcome(item["status"], seq_no=item.get("_seq_no", -1), primary_term=item.get("_primary_term", 0))
    kind, reason = document_reason_of(item["error"])
    return Outcome(item["status"], kind, reason, index_uuid=item["error"].get("index_uuid"))


_KEPT = "items.*.status,items.*.error,items.*._seq_no,items.*._primary_term"
