"""What a job would take, from a sample: documents, tokens, hours, disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Compute, Request, Steps, url_path
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.reindex import disk
from es_semantic.reindex.document import Copied, Whole
from es_semantic.reindex.origin import Origin, hides_vectors
from es_semantic.reindex.procedure import Place, looked_at
from es_semantic.reindex.wanted import ChooseEmbedder, Plan, Wanted
from es_semantic.sync.documents import Verdict
from es_semantic.sync.embed import Split, embed_documents, splitter

SAMPLE = 256
"""Documents looked at: enough for an engine to be chosen as a job would."""

PAGE = 32
SECONDS = 20.0
"""Longest time spent on embedding a sample."""

CHARACTERS_A_TOKEN = 4.0
"""Where nothing tells how a model cuts a text."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was found and follows from it.

    ``documents`` are all of the source's. ``to_embed`` of them, by the share of those ``sampled``, get new vectors; the
    others are copied with the vectors they have, or have no text. ``vectors`` is how many there will be, ``tokens``
    those of all texts to embed (``counted`` by the model's tokenizer, else guessed). ``documents_a_second`` was
    measured on the sample, ``seconds`` follows. ``disk_needed`` and ``disk_free`` are bytes, replicas included;
    ``disk_free`` is None where it may not be known. ``body`` is that of the request that will create the new index.
    """

    source: str
    target: str
    model: str
    documents: int
    sampled: int
    to_embed: int
    vectors: int
    tokens: int
    counted: bool
    documents_a_second: float
    seconds: float
    disk_needed: int
    disk_free: int | None
    body: dict[str, Any]
    notes: tuple[str, ...]


def estimate_steps(place: Place, to: str, wanted: Wanted, choose: ChooseEmbedder) -> Steps[Estimate]:
    """Look at a sample and change nothing; see :func:`es_semantic.reindex`."""
    version = yield from server_version()
    source, wanted, plan = yield from looked_at(place, to, wanted, choose, version)
    reader = Whole(wanted.name, plan.binding, (yield from place.there(hides_vectors(source.name))), base64=True)
    origin = Origin(place.source, source, place.client, reader, source.name)
    documents = yield from origin.count()
    sample = yield from origin.there(_sample(origin))
    stale = [document.text for document in sample if document.verdict is Verdict.STALE]
    split = splitter(plan.embedder, plan.binding.chunking)
    measured = yield Compute(lambda: _measure(plan, stale, split))
    share = documents / len(sample) if sample else 0.0
    kept = sum(document.verdict is Verdict.TRUE for document in sample)
    vectors = round(share * (measured.pieces * len(stale) / max(1, measured.texts) + kept))
    body = plan.body(source, wanted, alias="es-semantic-reindex-...")
    replicas = int(body["settings"].get("index.number_of_replicas", 1))
    room = yield from place.there(
        disk.room_for(source.name, plan.bound, plan.binding, vectors=vectors, replicas=replicas)
    )
    rate = measured.texts / measured.seconds if measured.texts else 0.0
    to_embed = round(share * len(stale))
    return Estimate(
        source=source.name,
        target=to,
        model=plan.binding.stamp,
        documents=documents,
        sampled=len(sample),
        to_embed=to_embed,
        vectors=vectors,
        tokens=round(measured.tokens * to_embed / max(1, measured.texts)),
        counted=measured.counted,
        documents_a_second=rate,
        seconds=to_embed / rate if rate else 0.0,
        disk_needed=room.needed,
        disk_free=room.free if place.client is None else (yield from disk.free_bytes()),
        body=body,
        notes=plan.notes,
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    texts: int
    pieces: int
    tokens: float
    counted: bool
    seconds: float


def _measure(plan: Plan, texts: Sequence[str], split: Split) -> _Measured:
    """Embed a sample once to warm up, and again for the time it takes; as many texts as there is time for."""
    tokenizer = tokenizer_of(plan.embedder)
    some = list(texts)
    started = time.monotonic()
    embedded = embed_documents(plan.embedder, some, split)
    if some and time.monotonic() - started > SECONDS:
        some = some[:PAGE]
    started = time.monotonic()
    embedded = embed_documents(plan.embedder, some, split)
    seconds = max(1e-9, time.monotonic() - started)
    counts = tokenizer.counts(some) if tokenizer is not None and some else None
    tokens = float(sum(counts)) if counts is not None else sum(map(len, some)) / CHARACTERS_A_TOKEN
    pieces = sum(len(each.spans) for each in embedded)
    return _Measured(len(some), pieces, tokens, counts is not None, seconds)


def _sample(origin: Origin) -> Steps[list[Copied]]:
    """Return documents drawn at random, the same ones while nothing is written."""
    found: list[Copied] = []
    after: Sequence[Any] | None = None
    while len(found) < SAMPLE:
        body = {
            **origin.reader.body([]),
            "query": {"function_score": {"random_score": {"seed": 1, "field": "_seq_no"}, "boost_mode": "replace"}},
            "sort": [{"_score": "desc"}, {"_seq_no": "asc"}],
            "size": min(PAGE, origin.target.max_result_window),
        }
        if after is not None:
            body["search_after"] = list(after)
        hits = (yield Request("POST", url_path("/{}/_search", origin.index), body=body))["hits"]["hits"]
        if not hits:
            break
        found += [origin.reader.read(hit) for hit in hits]
        after = hits[-1]["sort"]
    return found
