"""See that the target has what the source has: numbers, documents one by one, and answers to probe queries."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import JobStopped
from es_semantic.reindex.document import Copied
from es_semantic.reindex.known import Target, stored
from es_semantic.reindex.lanes import lanes
from es_semantic.reindex.origin import Origin, count
from es_semantic.reindex.report import Check
from es_semantic.schema.text import source_text
from es_semantic.schema.vectors import vector_field
from es_semantic.sync.feed import Feed
from es_semantic.sync.intervals import Interval, Intervals
from es_semantic.sync.partition import WHOLE
from es_semantic.sync.shards import Shard

SAMPLE = 1000
"""Documents compared unless all are."""

PLACES = 40
"""Where a sample is taken: so many runs of documents that were written one after the other."""

PROBES = 10
HITS = 10
PROBE_WORDS = 12
PROBE_CHARACTERS = 200
Done = Mapping[Shard, Sequence[Interval]]
"""By shard, the sequence numbers whose documents are in the target."""

NAMED = 5
"""Documents that differ named in an error."""


def check_counts(origin: Origin, target: Target) -> Steps[Check]:
    """Compare the numbers of documents, of a source that takes no writes."""
    yield from origin.shards()
    yield Request("POST", url_path("/{}/_refresh", target.alias))
    there, here = (yield from origin.count()), (yield from count(target.alias))
    return Check("documents", f"{there:,} in the source, {here:,} in the target", there == here)


def require_same_counts(origin: Origin, target: Target) -> Steps[None]:
    """Refuse to switch where the numbers of documents differ.

    Raises:
        JobStopped: they do.
    """
    check = yield from check_counts(origin, target)
    require_ok([check], origin, target)


def require_ok(checks: Sequence[Check], origin: Origin, target: Target) -> None:
    """Refuse to switch where something is not as it must be.

    Raises:
        JobStopped: with every check that failed.
    """
    bad = [check for check in checks if not check.ok]
    if bad:
        raise JobStopped(
            f"{target.index!r} is not what {origin.label!r} is: "
            + "; ".join(f"{check.what}: {check.found}" for check in bad),
            hint="Nothing was switched. Two documents of one id and different routing become one where the number "
            "of shards is another. Otherwise run the same command again; it compares anew.",
        )


def check_documents(
    origin: Origin, target: Target, done: Done, *, slices: int, sample: bool
) -> Steps[tuple[list[Check], list[Copied]]]:
    """Compare documents of the source with the target's, slice by slice: all, or a sample in a few dozen places.

    Only those that are ``done`` are looked at: what was written since is not in the target yet. Returns also some
    documents to ask about.
    """
    parts = lanes(done, slices)
    name = "documents compared"
    if sample:
        parts = [drawn(done, (yield from origin.count()))]
        name = "sampled documents compared"
    checks: list[Check] = []
    probes: list[Copied] = []
    for number, part in enumerate(parts, 1):
        feed = Feed(origin.reader, WHOLE, origin.target.max_result_window, part)
        found: Counter[str] = Counter()
        named: list[str] = []
        while page := (yield from origin.there(feed.next_page())):
            yield from _compare(origin, target, page.documents, found, named)
            probes += page.documents[: max(0, PROBES - len(probes))]
        checks.append(_check(f"slice {number}, {name}" if len(parts) > 1 else name, found, named))
    return checks, probes


def drawn(done: Done, documents: int) -> dict[Shard, list[Interval]]:
    """Return parts of what is done, at random places, that hold about :data:`SAMPLE` of so many documents."""
    every = [(shard, first, last) for shard, intervals in done.items() for first, last in intervals]
    total = sum(last - first + 1 for _, first, last in every)
    if documents <= SAMPLE or total <= SAMPLE:
        return {shard: list(intervals) for shard, intervals in done.items()}
    length = max(1, total * SAMPLE // documents // PLACES)
    starts = sorted(random.randrange(total) for _ in range(PLACES))
    chosen: dict[Shard, Intervals] = {}
    passed = 0
    for shard, first, last in every:
        size = last - first + 1
        for start in starts:
            begin, end = max(first, first + start - passed), min(last, first + start - passed + length - 1)
            if begin <= end:
                chosen.setdefault(shard, Intervals()).add(begin, end)
        passed += size
    return {shard: list(intervals) for shard, intervals in chosen.items()}


def check_probes(origin: Origin, target: Target, documents: Sequence[Copied]) -> Steps[list[Check]]:
    """Ask source and target the same: words of some documents by BM25, and on the target their own vectors by kNN.

    What is found is told, not judged: other analysers, other shards and an approximate index change an order.
    """
    binding = target.binding
    if binding is None:
        return []
    same, asked = 0, 0
    for text in filter(None, (_words(document, binding.source) for document in documents)):
        body = {"query": {"multi_match": {"query": text, "fields": list(binding.source)}}, **_few(target)}
        before = _ids((yield from origin.there(_search(origin.index, body))))
        after = _ids((yield from _search(target.alias, body)))
        same, asked = same + len(before & after), asked + max(len(before), len(after))
    own, vectors = 0, 0
    there = yield from stored(target, documents, [target.name])
    for found in filter(None, there):
        vector = _vector_of(found.get("_source", {}).get(target.name))
        if vector is not None:
            vectors += 1
            own += found["_id"] in _ids((yield from _search(target.alias, _knn(target, vector))))
    return [
        Check("probe queries, BM25", f"{same} of {asked} hits on both", True),
        Check("probe queries, kNN", f"{own} of {vectors} documents found by their own vector", True),
    ]


def _compare(
    origin: Origin, target: Target, documents: Sequence[Copied], found: Counter[str], named: list[str]
) -> Steps[None]:
    there = yield from stored(target, documents, [])
    pairs = list(zip(documents, there, strict=True))
    equal = [answer is not None and same_document(doc.body, target.reader.read(answer).body) for doc, answer in pairs]
    odd = [pair for pair, is_equal in zip(pairs, equal, strict=True) if not is_equal]
    found["equal"] += len(pairs) - len(odd)
    # A search shows documents that were deleted, or written again, since the last refresh.
    now = yield from origin.versions([document.place for document, _ in odd])
    for (document, answer), version in zip(odd, now, strict=True):
        if version != document.version:
            found["written meanwhile"] += 1
            continue
        kind = "missing" if answer is None else "different"
        found[kind] += 1
        if len(named) < NAMED:
            named.append(f"{document.id!r} is {kind}")


def same_document(one: bytes, other: bytes) -> bool:
    """Say whether two documents are the same JSON, but for the last digit of vectors."""
    # Where _source is synthetic, keys come in another order.
    return one == other or _alike(json.loads(one), json.loads(other))


def _alike(one: Any, other: Any) -> bool:
    """Say whether two JSON values are the same, but for the last digit of numbers in a list.

    Elasticsearch stores a vector for cosine at length 1, and gives back the product with its length (9.4.3).
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike_in_list, one, other))
    return bool(one == other)


def _alike_in_list(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-7)
    return _alike(one, other)


def _check(what: str, found: Counter[str], named: Sequence[str]) -> Check:
    bad = found["missing"] + found["different"]
    parts = [f"{number:,} {kind}" for kind, number in sorted(found.items())] or ["none"]
    return Check(what, ", ".join(parts) + (f" ({'; '.join(named)})" if named else ""), bad == 0)


def _search(index: str, body: Mapping[str, Any]) -> Steps[Mapping[str, Any]]:
    answer: Mapping[str, Any] = yield Request("POST", url_path("/{}/_search", index), body=body)
    return answer


def _few(target: Target) -> dict[str, Any]:
    return {"size": min(HITS, target.max_page), "_source": False, "track_total_hits": False}


def _knn(target: Target, vector: Any) -> dict[str, Any]:
    assert target.binding is not None
    path = vector_field(target.name, target.binding)
    return {"knn": {"field": path, "query_vector": vector, "k": HITS, "num_candidates": 100}, **_few(target)}


def _vector_of(state: Any) -> Any:
    if not isinstance(state, Mapping):
        return None
    chunks = state.get("chunks") or [{}]
    return state.get("vector") or chunks[0].get("vector")


def _words(document: Copied, fields: Sequence[str]) -> str:
    return " ".join(source_text(json.loads(document.body), fields)[:PROBE_CHARACTERS].split()[:PROBE_WORDS])


def _ids(answer: Mapping[str, Any]) -> set[str]:
    return {hit["_id"] for hit in answer["hits"]["hits"]}
