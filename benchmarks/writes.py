"""How much of Elasticsearch's own write speed is left once the worker prepares its requests and reads the answers.

Documents lie in an index without vectors, and the vectors are ready. Our side hands windows of them to the worker's own
writer, as many at once as the worker has under way. The other side posts bodies of the very same operations that were
built beforehand, as many at once, and looks only whether any of them failed: the least that any program must do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from elasticsearch.helpers import scan

from benchmarks.harness import Rows, alternate, arguments, medians, report, texts
from benchmarks.memory import DIMS, WORDS, ReadyVectors
from benchmarks.node import Node, open_node
from es_semantic.cluster.capabilities import BASE64_VECTORS_SINCE, server_version
from es_semantic.cluster.steps import JSON, NDJSON, Handle, Join, Spawn, Steps, run
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding.protocol import Vectors
from es_semantic.schema.binding import read_bindings
from es_semantic.schema.target import resolve
from es_semantic.sync.documents import Document, Updates, Verdict, read_document, search_body
from es_semantic.sync.embed import Embedded, whole
from es_semantic.sync.observer import SILENT
from es_semantic.sync.pump import MAX_WRITING
from es_semantic.sync.shards import read_shards
from es_semantic.sync.window import WINDOW, Window, Work
from es_semantic.sync.writer import Result, Writer

GOALS = {"writes_vs_prebuilt_bulk": 0.9}
OURS, LIMIT = "es-semantic", "pre-built bodies"

SCAN = 2000
"""Documents a page while the index is read, which is not timed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything but the writing is done: the worker's writer, and its windows with their vectors."""

    writer: Writer
    windows: Sequence[Window]
    base64: bool

    def bodies(self) -> list[bytes]:
        """Return the ``_bulk`` body that each window comes to."""
        return [b"".join(self._lines(window)) for window in self.windows]

    def _lines(self, window: Window) -> Iterator[bytes]:
        for work, embedded in zip(window.work, window.embedded, strict=True):
            assert embedded.vectors is not None
            update = self.writer.updates.ready(work.document, embedded.vectors, embedded.spans, base64=self.base64)
            yield from (line + b"\n" for line in update)


def prepare(node: Node, index: str, passages: Sequence[str], vectors: Vectors) -> Prepared:
    """Fill and attach the index, and read its documents as the worker would; ``vectors`` of shape (texts, dims).

    Raises:
        SystemExit: the documents are not there, or have vectors already.
    """
    node.fill(index, passages)
    node.attach(index, ReadyVectors(vectors.shape[1]))
    target = run(node.client, resolve(index))
    binding = read_bindings(target.mapping, index=index).one(DEFAULT_FIELD_NAME, index=index)
    (shard,) = run(node.client, read_shards(target))
    # The worker does without totals; a scroll insists on them.
    query = {**search_body(binding, DEFAULT_FIELD_NAME, [{"match_all": {}}]), "track_total_hits": True}
    hits = scan(node.client, query, index=index, size=SCAN)
    documents = [read_document(hit, binding, DEFAULT_FIELD_NAME) for hit in hits]
    if [document.verdict for document in documents] != [Verdict.STALE] * len(passages):
        raise SystemExit(f"{len(documents)} documents were read, not {len(passages)} without vectors")
    version = run(node.client, server_version())
    base64 = version is not None and version >= BASE64_VECTORS_SINCE
    writer = Writer(Updates(DEFAULT_FIELD_NAME, binding), base64, observer=SILENT)
    windows = [
        Window([Work(shard, document) for document in part], embedded=_embedded(part, vectors))
        for part in (documents[at : at + WINDOW] for at in range(0, len(documents), WINDOW))
    ]
    return Prepared(writer, windows, base64)


def ours(node: Node, passages: Sequence[str], vectors: Vectors) -> float:
    """Write with the worker's writer and return documents a second.

    Raises:
        SystemExit: a document was not written.
    """
    with node.scratch() as index:
        prepared = prepare(node, index, passages, vectors)
        started = time.perf_counter()
        results = run(node.client, _write_all(prepared))
        seconds = time.perf_counter() - started
    written = sum(result.outcome is not None and result.outcome.ok for result in results)
    if written != len(passages):
        reasons = {result.failure or str(result.work.document.verdict) for result in results}
        raise SystemExit(f"{written} of {len(passages)} documents were written: {', '.join(sorted(reasons)[:3])}")
    return written / seconds


def limit(node: Node, passages: Sequence[str], vectors: Vectors) -> float:
    """Post bodies that are built already and return documents a second.

    Raises:
        SystemExit: an operation failed.
    """
    with node.scratch() as index:
        bodies = prepare(node, index, passages, vectors).bodies()
        with ThreadPoolExecutor(max_workers=MAX_WRITING) as pool:
            started = time.perf_counter()
            failed = sum(pool.map(partial(_post, node), bodies))
            seconds = time.perf_counter() - started
    if failed:
        raise SystemExit(f"operations failed in {failed} of {len(bodies)} bodies")
    return len(passages) / seconds


def _write_all(prepared: Prepared) -> Steps[list[Result]]:
    writing: deque[Handle] = deque()
    results: list[Result] = []
    for window in prepared.windows:
        if len(writing) == MAX_WRITING:
            results += yield Join(writing.popleft())
        writing.append((yield Spawn(prepared.writer.write(window))))
    while writing:
        results += yield Join(writing.popleft())
    return results


def _post(node: Node, body: bytes) -> bool:
    headers = {"accept": JSON, "content-type": NDJSON}
    answer = node.client.perform_request("POST", "/_bulk", params={"filter_path": "errors"}, headers=headers, body=body)
    return bool(answer.body["errors"])


def _embedded(documents: Sequence[Document], vectors: Vectors) -> list[Embedded]:
    return [Embedded(vectors[int(d.id)][np.newaxis], whole(d.text)) for d in documents]


def main() -> None:
    """Measure both and report."""
    options = arguments("The worker's writes against pre-built bulk bodies", documents=20_000).parse_args()
    size = (WORDS, WORDS)
    passages = texts(options.documents, dataset=options.dataset, seed=options.seed, words=size)
    drawn = np.random.default_rng(options.seed).standard_normal((options.documents, DIMS)).astype(np.float32)
    vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    with open_node() as node:
        rates = medians(
            alternate(
                {OURS: partial(ours, node, passages, vectors), LIMIT: partial(limit, node, passages, vectors)},
                options.rounds,
            )
        )
    rows = [[name, f"{options.documents}", f"{rate:.0f}"] for name, rate in rates.items()]
    ratios = {"writes_vs_prebuilt_bulk": rates[OURS] / rates[LIMIT]}
    report("writes", Rows(("way", "documents", "docs/s"), rows), ratios, GOALS)


if __name__ == "__main__":
    main()
