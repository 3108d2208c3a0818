"""A client of a real node that notes what it sends and what it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch


@dataclass(frozen=True)
class Exchanged:
    """One request, with its lines where there are several, and the bytes of its answer."""

    method: str
    path: str
    lines: list[dict[str, Any]]
    answer: bytes


class _RecordingNode(Urllib3HttpNode):
    """Urllib3's node, unchanged but for the notes."""

    exchanged: list[Exchanged]

    def perform_request(self, method: str, target: str, body: bytes | None = None, **options: Any) -> Any:  # type: ignore[override]
        answered = super().perform_request(method, target, body=body, **options)
        lines = [orjson.loads(line) for line in (body or b"").split(b"\n") if line.strip()]
        self.exchanged.append(Exchanged(method, target.partition("?")[0], lines, answered.body))
        return answered


def recording_client(url: str) -> tuple[Elasticsearch, list[Exchanged]]:
    """Return a client that never resends, and the list that it fills."""
    exchanged: list[Exchanged] = []
    node = type("RecordingNode", (_RecordingNode,), {"exchanged": exchanged})
    return Elasticsearch(url, node_class=node, max_retries=0, request_timeout=60), exchanged
