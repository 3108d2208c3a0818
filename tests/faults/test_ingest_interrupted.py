"""An ingestion cut off before every request that changes something: the next one completes it, and nothing vanishes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.api_ingest import ingest, ingest_document
from es_semantic.cluster.steps import Request, Steps
from es_semantic.errors import Unreachable
from es_semantic.ingest import procedure
from es_semantic.ingest.cut import cutter_for
from es_semantic.sync import bulk
from tests.driving import Driver, Killed, lost
from tests.embedder import TinyEmbedder
from tests.faults.test_migrate_interrupted import changes
from tests.integration.test_ingest import chunks, counts
from tests.nodes import remove_everything
from tests.truth import untrue

MODEL = TinyEmbedder()
STAYS = "## Stays\n\n" + "This part stays as it is, word for word. " * 22
OLD, NEW = ("## Part\n\n" + f"The {which} text of this part. " * 30 for which in ("older", "newer"))

Files = dict[str, Any]

BEFORE: Files = {
    "a.md": f"{STAYS}\n\n{OLD}",
    "b.md": "# Quokka",
    "gone.md": "# Gone",
    "torn.txt": b"\xff",
    "same.md": "# Same",
}
AFTER: Files = {
    "a.md": f"{STAYS}\n\n{NEW}",
    "b.md": "# Wombat",
    "new.md": "# New",
    "torn.txt": "# Mended",
    "same.md": "# Same",
}


@pytest.fixture
def index(client: Elasticsearch, unique: str) -> Iterator[str]:
    yield f"{unique}-chunks"
    remove_everything(client, unique)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedure, "BATCH", 2)
    monkeypatch.setattr(procedure, "REPLACED", 1)
    # Less than two chunks a request.
    monkeypatch.setattr(bulk, "LARGEST_BODY", 3000)


def put(folder: Path, files: Files) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def steps(folder: Path, index: str) -> Steps[Any]:
    return inspect.unwrap(ingest)(folder, dataset="d", index=index, model=MODEL)  # type: ignore[no-any-return]


def require_done(client: Elasticsearch, index: str, files: Files) -> None:
    """The index holds these files' texts and nothing else, all true; what cannot be read is a dead letter."""
    stored: dict[str, list[tuple[int, str]]] = {}
    for chunk in chunks(client, index).values():
        stored.setdefault(chunk["document_name"], []).append((chunk["position"], chunk["content"]))
    readable = {name: text for name, text in files.items() if isinstance(text, str)}
    found = {name: "".join("".join(text for _, text in sorted(each)).split()) for name, each in stored.items()}
    assert found == {name: "".join(text.split()) for name, text in readable.items()}
    assert all([at for at, _ in sorted(each)] == list(range(len(each))) for each in stored.values())
    assert untrue(client, index, ["content"], MODEL) == {}
    letters = {letter.id.rsplit("/", 1)[1] for letter in es_semantic.failures(client, index).failures}
    assert letters == files.keys() - readable.keys()


def back(client: Elasticsearch, index: str, folder: Path) -> None:
    """As it was before; what cannot be read must be gone first, as it would keep its chunks."""
    for files in ({name: text for name, text in BEFORE.items() if isinstance(text, str)}, BEFORE):
        put(folder, files)
        ingest(client, folder, dataset="d", index=index, model=MODEL)
    require_done(client, index, BEFORE)


class Cut:
    """Ends a procedure at the request of a number that changes something: before it, or as if its answer were lost."""

    def __init__(self, client: Elasticsearch, at: int, *, answered: bool) -> None:
        self.driver = Driver(client, self._before, self._after)
        self.at, self.answered, self.seen = at, answered, 0

    def _before(self, request: Request) -> None:
        if changes(request):
            if self.seen == self.at and not self.answered:
                raise Killed
            self.seen += 1

    def _after(self, request: Request) -> None:
        if changes(request) and self.seen == self.at + 1 and self.answered:
            raise lost()


def cut_off_everywhere(client: Elasticsearch, run: Callable[[], Steps[Any]], check: Callable[[], None]) -> int:
    """Cut a run off at one request after the other, with a check after each; return how many there were."""
    number = 0
    while True:
        cut = Cut(client, number, answered=False)
        try:
            cut.driver.drive(run())
        except Killed:
            check()
        else:
            return number
        number += 1


def test_cut_off_while_documents_change(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    put(folder, BEFORE)
    ingest(client, folder, dataset="d", index=index, model=MODEL)
    require_done(client, index, BEFORE)

    def run() -> Steps[Any]:
        put(folder, AFTER)
        return steps(folder, index)

    def check() -> None:
        ingest(client, folder, dataset="d", index=index, model=MODEL)
        require_done(client, index, AFTER)
        back(client, index, folder)

    number = cut_off_everywhere(client, run, check)
    require_done(client, index, AFTER)
    print(f"cut off at {number} requests")
    assert number > 10


def test_cut_off_before_there_is_an_index(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    put(folder, {"a.md": "# One", "torn.txt": b"\xff"})
    made: list[str] = []

    def run() -> Steps[Any]:
        made.append(f"{index}-{len(made)}")
        return steps(folder, made[-1])

    def check() -> None:
        ingest(client, folder, dataset="d", index=made[-1], model=MODEL)
        require_done(client, made[-1], {"a.md": "# One", "torn.txt": b"\xff"})
        assert counts(ingest(client, folder, dataset="d", index=made[-1], model=MODEL)) == (0, 0, 1, 0, 1)

    assert cut_off_everywhere(client, run, check) > 6


@pytest.mark.parametrize("upload", [False, True], ids=["folder", "upload"])
def test_a_reader_finds_every_document_at_any_moment(
    client: Elasticsearch, index: str, tmp_path: Path, upload: bool
) -> None:
    folder = tmp_path / "docs"
    put(folder, {"a.md": BEFORE["a.md"], "b.md": BEFORE["b.md"]})

    def change(text: str, other: str) -> Steps[Any]:
        if upload:
            given = {"dataset": "d", "name": "a.md", "data": text.encode(), "index": index, "model": MODEL}
            return inspect.unwrap(ingest_document)(**given)  # type: ignore[no-any-return]
        put(folder, {"a.md": text, "b.md": other})
        return steps(folder, index)

    quiet = Driver(client, lambda _: None, lambda _: None)
    quiet.drive(change(BEFORE["a.md"], BEFORE["b.md"]))
    moments, cutter = 0, cutter_for(MODEL)

    def look(_: Request) -> None:
        nonlocal moments
        moments += 1
        client.indices.refresh(index=index)
        for name in ("a.md",) if upload else ("a.md", "b.md"):
            known = [{"term": {"document_name.keyword": name}}, {"exists": {"field": "semantic.vector"}}]
            hits = client.search(index=index, query={"bool": {"filter": known}}, size=100)["hits"]["hits"]
            there = {hit["_source"]["content"] for hit in hits}
            # One version's whole text, with vectors, whatever of the other is there as well.
            assert any(set(cutter.pieces(files[name])) <= there for files in (BEFORE, AFTER)), name

    Driver(client, look, look).drive(change(AFTER["a.md"], AFTER["b.md"]))
    assert moments > 20
    require_done(client, index, {"a.md": AFTER["a.md"]} if upload else {"a.md": AFTER["a.md"], "b.md": AFTER["b.md"]})


def test_answers_that_are_lost(client: Elasticsearch, index: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    lost_answers = 0
    for number in range(0, 12, 2):
        back(client, index, folder)
        put(folder, AFTER)
        try:
            Cut(client, number, answered=True).driver.drive(steps(folder, index))
        except Unreachable:
            lost_answers += 1
            ingest(client, folder, dataset="d", index=index, model=MODEL)
        require_done(client, index, AFTER)
    assert lost_answers > 2
