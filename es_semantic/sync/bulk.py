"""Send prepared ``_bulk`` lines and say what became of each item."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.failures import reason_of
from es_semantic.cluster.steps import Pause, Request, Steps

MAX_BODY = 8 * 1024 * 1024
"""Bytes; Elasticsearch refuses bodies over ``http.max_content_length``, 100 MB by default."""

MAX_TRIES = 8
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0

Item = list[bytes]
"""The lines of one operation: the action, and the document where it has one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: HTTP ``status``, and ``error`` (type and reason) where it failed."""

    status: int
    error_type: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the write is in the index."""
        return self.status < 300

    @property
    def blocked(self) -> bool:
        """Whether the index is under a block."""
        return self.error_type == "cluster_block_exception"

    @property
    def superseded(self) -> bool:
        """Whether somebody has written (409) or deleted (404) the document meanwhile."""
        return self.status in (404, 409)


def write(items: Sequence[Item]) -> Steps[list[Outcome]]:
    """Send all items, in bodies of at most 8 MiB, and return their outcomes in order.

    Items refused with 429 or 503 are sent again after a pause with full jitter ("Exponential Backoff And Jitter", AWS
    Architecture Blog), eight times in all.

    Raises:
        ClusterError: a whole request failed.
    """
    outcomes: list[Outcome] = []
    for body in bodies(items):
        outcomes += yield from _write_body(body)
    return outcomes


def bodies(items: Sequence[Item], max_body: int = MAX_BODY) -> Iterator[list[Item]]:
    """Split items into bodies of at most ``max_body`` bytes; an item that alone is larger gets its own."""
    body: list[Item] = []
    size = 0
    for item in items:
        item_size = sum(len(line) + 1 for line in item)
        if body and size + item_size > max_body:
            yield body
            body, size = [], 0
        body.append(item)
        size += item_size
    if body:
        yield body


def _write_body(items: list[Item]) -> Steps[list[Outcome]]:
    outcomes: list[Outcome | None] = [None] * len(items)
    waiting = list(range(len(items)))
    for attempt in range(MAX_TRIES):
        answers = yield Request(
            "POST",
            "/_bulk",
            params={"filter_path": "items.*.status,items.*.error"},
            body=[line for i in waiting for line in items[i]],
        )
        for i, answer in zip(waiting, answers["items"], strict=True):
            outcomes[i] = _outcome(next(iter(answer.values())))
        waiting = [i for i in waiting if (o := outcomes[i]) is not None and o.status in (429, 503)]
        if not waiting:
            break
        if attempt < MAX_TRIES - 1:
            yield Pause(random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)))
    return [outcome for outcome in outcomes if outcome is not None]


def _outcome(item: dict[str, Any]) -> Outcome:
    if "error" not in item:
        return Outcome(item["status"])
    kind, reason = reason_of(item["error"])
    return Outcome(item["status"], kind, reason)
