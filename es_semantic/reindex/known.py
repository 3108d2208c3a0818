"""What the target has already: vectors of the same text need not be made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.reindex.document import Copied, Whole, holds_vectors, state_bytes
from es_semantic.reindex.mget import Place, documents_at
from es_semantic.schema.binding import Binding
from es_semantic.sync.documents import Verdict, judge

AT_ONCE = 128
"""Documents in one request; their vectors come as decimal numbers, some kilobytes each."""

COPIES = 4
"""Documents that one id may stand for, by custom routing."""


@dataclass(frozen=True, slots=True)
class Target:
    """The index that is filled, reached through the job's alias, and how documents are read and written there."""

    alias: str
    index: str
    name: str
    binding: Binding | None
    vectors_hidden: bool
    base64: bool
    max_page: int
    """Its ``index.max_result_window``."""

    @property
    def reader(self) -> Whole:
        """What reads its documents."""
        return Whole(self.name, self.binding, self.vectors_hidden, self.base64)


def with_known(target: Target, documents: Sequence[Copied]) -> Steps[list[Copied]]:
    """Return the documents, those to embed with the vectors that the target has of the same text by the same model."""
    binding = target.binding
    wanted = [document for document in documents if document.verdict is Verdict.STALE]
    if binding is None or not wanted:
        return list(documents)
    found = yield from stored(target, wanted, [target.name])
    known: dict[Place, bytes] = {}
    for document, there in zip(wanted, found, strict=True):
        state = (there or {}).get("_source", {}).get(target.name)
        true = judge(document.text, document.hash, state, holds_vectors(state, binding), binding.stamp)
        if true is Verdict.TRUE:
            known[document.place] = state_bytes(state, base64=target.base64)
    return [d.true(known[d.place]) if d.place in known else d for d in documents]


def stored(target: Target, documents: Sequence[Copied], fields: Sequence[str]) -> Steps[list[dict[str, Any] | None]]:
    """Return what the target has in place of each document, as it is at this moment; None where there is none.

    Of ``_source`` only the ``fields`` are read, all without any.

    Raises:
        ClusterError: they could not be read.
    """
    answers: list[dict[str, Any] | None] = []
    for part in _parts(documents):
        places = [document.place for document in part]
        source, hidden = list(fields) or None, target.vectors_hidden
        answers += yield from documents_at(
            target.alias, places, source=source, vectors_hidden=hidden, about=target.index
        )
    return answers


def standing(target: Target, documents: Sequence[Copied]) -> Steps[dict[Place, dict[str, Any]]]:
    """Return by place the sequence number, primary term and ``shard`` of those documents that the target has."""
    yield Request("POST", url_path("/{}/_refresh", target.alias))
    found: dict[Place, dict[str, Any]] = {}
    for part in _parts(documents, at_once=max(1, min(AT_ONCE, target.max_page // COPIES))):
        body = {
            "size": min(COPIES * len(part), target.max_page),
            "query": {"ids": {"values": [document.id for document in part]}},
            "_source": False,
            "stored_fields": ["_routing"],
            "seq_no_primary_term": True,
            # Tells the shard of each hit.
            "explain": True,
        }
        params = {"allow_partial_search_results": "false"}
        answer = yield Request("POST", url_path("/{}/_search", target.alias), params, body)
        for hit in answer["hits"]["hits"]:
            shard = hit["_shard"].rpartition("[")[2].rstrip("]")
            found[hit["_id"], hit.get("_routing")] = {**hit, "shard": shard}
    return found


def _parts(documents: Sequence[Copied], *, at_once: int = AT_ONCE) -> Iterator[Sequence[Copied]]:
    for start in range(0, len(documents), at_once):
        yield documents[start : start + at_once]
