"""What the fault tests share: an owner with documents, a counting embedder, and workers as threads and as processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

import es_semantic
from es_semantic.embedding import PROBE_TEXT, Embeddings
from es_semantic.errors import EsSemanticError, InputRejected
from es_semantic.reindex import copy
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.sync import feed, window
from es_semantic.sync.follow import Events
from es_semantic.sync.report import SyncReport
from tests.embedder import TinyEmbedder
from tests.truth import untrue

ROOT = Path(__file__).parents[2]

PAGE = 32
WINDOW = 32
"""What the ``impatient`` fixture makes of the worker's sizes, so that few documents make many windows."""

IN_FLIGHT = 4 * 64
"""Documents that a worker of these sizes holds at most: a window is full at 32, the first page is one of 64, one window
is being embedded and three are being written."""

POISON = "poison"


def seeded() -> random.Random:
    """A generator with the run's seed, which is printed."""
    seed = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))
    print(f"seed {seed} (set ES_SEMANTIC_SEED to repeat)")
    return random.Random(seed)


class Counting(TinyEmbedder):
    """Counts what it embeds, calls ``meanwhile`` with the texts before it does, and refuses some texts."""

    def __init__(self, meanwhile: Callable[[Sequence[str]], None] = lambda _texts: None) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        self.meanwhile(texts)
        if any(POISON in text for text in texts):
            raise InputRejected("this text is refused")
        return super().embed_documents(texts)

    @property
    def embedded(self) -> list[str]:
        """The texts that were embedded, as often as they were, without the probe."""
        return [text for text in self.texts if text != PROBE_TEXT]


class Owner:
    """Writes to an index with a field ``title``, and knows what must be in it."""

    def __init__(self, client: Elasticsearch, index: str, documents: int = 0) -> None:
        self.client = client
        self.index = index
        self.model: dict[str, dict[str, Any]] = {}
        self.versions = 0
        """Documents written or written again, so many texts may have to be embedded."""
        self.put({str(i): {"title": f"document number {i}", "count": i} for i in range(documents)})

    def put(self, documents: Mapping[str, dict[str, Any]]) -> None:
        """Index whole documents."""
        lines: list[dict[str, Any]] = []
        for doc_id, document in documents.items():
            lines += [{"index": {"_id": doc_id}}, document]
        self._bulk(lines)
        self.model |= documents

    def update(self, documents: Mapping[str, dict[str, Any]]) -> None:
        """Change some fields of documents by the path that older servers run no pipeline with the whole document on."""
        lines: list[dict[str, Any]] = []
        for doc_id, part in documents.items():
            lines += [{"update": {"_id": doc_id, "retry_on_conflict": 10}}, {"doc": part}]
        self._bulk(lines)
        self.model |= {doc_id: {**self.model[doc_id], **part} for doc_id, part in documents.items()}

    def delete(self, *doc_ids: str) -> None:
        """Delete documents."""
        self._bulk([{"delete": {"_id": doc_id}} for doc_id in doc_ids])
        for doc_id in doc_ids:
            del self.model[doc_id]

    def change_some(self, generator: random.Random, most: int = 5) -> None:
        """Change, add or delete a few documents at random."""
        word = generator.randrange(1_000_000)
        chosen = generator.sample(sorted(self.model), min(most, len(self.model)))
        action = generator.randrange(5)
        if action == 0:
            self.put({f"new-{word}-{i}": {"title": f"a new text {word} {i}", "count": i} for i in range(most)})
        elif action == 1:
            self.delete(*chosen[:1])
        else:
            self.update({doc_id: {"title": f"text of {doc_id} changed {word}"} for doc_id in chosen})

    def _bulk(self, lines: Sequence[dict[str, Any]]) -> None:
        if lines:
            answer = self.client.bulk(index=self.index, operations=lines, refresh=False)
            assert not answer["errors"], answer
            self.versions += len(answer["items"])

    def documents(self) -> dict[str, dict[str, Any]]:
        """What is in the index, without what es-semantic keeps there."""
        self.client.indices.refresh(index=self.index)
        hits = scan(self.client, {"_source": {"excludes": ["semantic"]}}, index=self.index)
        return {hit["_id"]: hit["_source"] for hit in hits}


def attached(client: Elasticsearch, index: str, documents: int) -> Owner:
    """The owner of an index with so many documents and a semantic field over ``title``, none embedded yet."""
    owner = Owner(client, index, documents)
    es_semantic.attach(client, index, ["title"], model=TinyEmbedder(), chunk="never")
    return owner


def check(owner: Owner, *, dead: Mapping[str, str] | None = None, marked: bool = True) -> None:
    """Hold the guarantee: every document is true, but those ``dead`` have one dead letter each whose reason says that.

    ``marked`` says whether the dead are also marked as failed, as they are unless Elasticsearch refuses to change them.
    The owner's fields are as the owner left them.
    """
    dead = dead or {}
    assert owner.documents() == owner.model
    problems = untrue(owner.client, owner.index, ["title"], TinyEmbedder())
    assert sorted(problems) == sorted(dead), problems
    assert not marked or all(what.startswith("failed by ") for what in problems.values()), problems
    letters = letters_of(owner.client, owner.index)
    assert Counter(letter["id"] for letter in letters) == Counter(list(dead))
    for letter in letters:
        assert dead[letter["id"]] in letter["reason"]
    listed = es_semantic.failures(owner.client, owner.index).failures
    assert sorted(letter.id for letter in listed) == sorted(dead)


def letters_of(client: Elasticsearch, index: str) -> list[dict[str, Any]]:
    """The dead letters of an index as they stand in the control index."""
    client.indices.refresh(index=CONTROL_INDEX)
    filters = [{"term": {"kind": "dead_letter"}}, {"term": {"index": index}}]
    hits = client.search(index=CONTROL_INDEX, query={"bool": {"filter": filters}}, size=5000)["hits"]["hits"]
    return [hit["_source"] for hit in hits]


def settle(client: Elasticsearch, owner: Owner, model: TinyEmbedder) -> SyncReport:
    """Sync once more, when nobody else writes; the checkpoint is then that of everything."""
    report = es_semantic.sync(client, owner.index, model=model)
    assert report.complete
    return report


class Follower:
    """A worker that follows in a thread while the context lasts; what it raises is raised at the end."""

    def __init__(self, client: Elasticsearch, indices: Sequence[str], model: TinyEmbedder, **options: Any) -> None:
        self.client = client
        self.indices = indices
        self.model = model
        self.options = options
        self.errors: list[EsSemanticError] = []
        self.reports: list[SyncReport] = []
        self.between: Callable[[], None] = lambda: None
        """Called in the worker's thread after each pass that has read something."""
        self.raised: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower")

    def _follow(self) -> None:
        events = Events(self._heard, lambda _index, error, _seconds: self.errors.append(error))
        try:
            es_semantic.follow(
                self.client, self.indices, model=self.model, events=events, stop=self._stop.is_set, **self.options
            )
        except BaseException as error:
            self.raised = error

    def _heard(self, report: SyncReport) -> None:
        self.reports.append(report)
        self.between()

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        if error is None and self.raised is not None:
            raise self.raised

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for a condition, and fail if the worker ends or that takes too long."""
        wait_until(lambda: condition() or not self._thread.is_alive(), seconds)
        if self.raised is not None:
            raise self.raised

    def wait_until_true(self, owner: Owner, seconds: float = 60) -> None:
        """Wait until every document is true."""
        self.wait_until(lambda: untrue(self.client, owner.index, ["title"], TinyEmbedder()) == {}, seconds)

    def join(self, seconds: float = 60) -> BaseException | None:
        """Wait for the worker to end by itself and return what it has raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        raised, self.raised = self.raised, None
        return raised


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)


_PROCESSES = multiprocessing.get_context("forkserver")
"""Workers are forked from a process that has imported everything: importing takes longer than most of them live."""

_PROCESSES.set_forkserver_preload(["tests.faults.workers"])


def _work(said: Connection, node_url: str, task: str, index: str, pause: float, options: Mapping[str, Any]) -> None:
    def meanwhile(texts: Sequence[str]) -> None:
        time.sleep(pause)
        said.send(len(texts))

    feed.LARGEST_PAGE, window.WINDOW, copy.DOCUMENTS = PAGE, WINDOW, WINDOW
    said.send(0)
    needed = {} if task == "drop_migration" else {"model": Counting(meanwhile)}
    getattr(es_semantic, task)(Elasticsearch(node_url), index, **needed, **options)


class WorkerProcess:
    """``es_semantic.sync``, or another task, in a process of its own, which tells how many texts it embeds."""

    def __init__(self, node_url: str, index: str, *, task: str = "sync", pause: float = 0, **options: Any) -> None:
        self._said, said = _PROCESSES.Pipe(duplex=False)
        self._process = _PROCESSES.Process(target=_work, args=(said, node_url, task, index, pause, options))
        self._process.start()
        said.close()
        self.embedded = 0

    def wait_for_start(self, batches: int = 0) -> None:
        """Wait until it begins its sync, and has begun to embed so many batches."""
        for _ in range(batches + 1):
            self.embedded += self._said.recv()

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        assert self._end() in (0, -signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it has done all."""
        assert self._end() == 0

    def _end(self) -> int | None:
        # It is killed while it may be telling something.
        with suppress(EOFError, OSError):
            while True:
                self.embedded += self._said.recv()
        self._process.join(180)
        self._said.close()
        return self._process.exitcode


def killed(node_url: str, index: str, generator: random.Random, *, times: int, longest: float, **options: Any) -> int:
    """Begin a task so many times, and kill it within so many seconds; return the texts that it has begun to embed."""
    embedded = 0
    for _ in range(times):
        run = WorkerProcess(node_url, index, pause=0.05, **options)
        run.wait_for_start()
        time.sleep(generator.uniform(0, longest))
        run.kill()
        embedded += run.embedded
    return embedded


_COMMAND_LINE = """
from es_semantic import chosen
from es_semantic.cli import main
from es_semantic.sync import once
from tests.faults.workers import Counting

once.FIRST_WAIT, once.LONGEST_WAIT = 0.01, 0.05
chosen.embedder_for = lambda *_, **__: Counting()
chosen.cached_embedder = lambda *_: Counting()
main()
"""


def command_line(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``es-semantic`` in a process of its own, with the tests' tiny model."""
    environment = {**os.environ, "ES_SEMANTIC_URL": url}
    command = [sys.executable, "-c", _COMMAND_LINE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=180, env=environment)


@contextmanager
def beside(action: Callable[[], None], every: float) -> Iterator[None]:
    """Repeat an action in a thread while the block runs; what it raises is raised at the end."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def repeat() -> None:
        try:
            while not stop.wait(every):
                action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=repeat, name="beside")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)
    if failures:
        raise failures[0]
