"""The documentation of the standard library: what is in it, under which names, and what never is."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from es_semantic.demo import pydocs
from es_semantic.demo.docstrings import deprecated, read_docstring, since
from es_semantic.demo.questions import QUESTIONS
from es_semantic.demo.signatures import signature_of
from es_semantic.errors import EsSemanticError

Document = dict[str, Any]
REQUIRED = {"id", "name", "kind", "module", "qualname", "signature", "summary", "body"}
KINDS = {"module", "class", "exception", "function", "method", "property"}


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    collected = pydocs.collect()
    by_id = {document["id"]: document for document in collected}
    assert len(by_id) == len(collected), "ids are unique"
    return by_id


def test_collecting_leaves_this_process_alone() -> None:
    modules, threads, path = set(sys.modules), threading.active_count(), list(sys.path)
    pydocs.collect()
    assert set(sys.modules) == modules
    assert (threading.active_count(), sys.path) == (threads, path)


def test_there_are_several_thousand_complete_documents(documents: dict[str, Document]) -> None:
    assert 4000 < len(documents) < 12000
    for document in documents.values():
        assert document.keys() >= REQUIRED
        assert document.keys() <= REQUIRED | {"since", "deprecated"}
        assert document["kind"] in KINDS
        assert document["summary"].strip() == document["summary"] != ""
        assert "\n" not in document["summary"]
        assert json.dumps(document, ensure_ascii=False).encode("utf-8")
        own = document["qualname"] or document["module"]
        assert document["id"].endswith(own)
        assert own.split(".")[-1] == document["name"]
    assert {document["kind"] for document in documents.values()} == KINDS


@pytest.mark.parametrize(
    ("full_name", "kind"),
    [
        ("str", "class"),
        ("str.partition", "method"),
        ("open", "function"),
        ("KeyError", "exception"),
        ("os", "module"),
        ("os.listdir", "function"),
        ("os.path.split", "function"),
        ("os.path.commonpath", "function"),
        ("pathlib.Path.read_text", "method"),
        ("pathlib.PurePath.suffix", "property"),
        ("shutil.rmtree", "function"),
        ("subprocess.run", "function"),
        ("subprocess.Popen.communicate", "method"),
        ("threading.Timer", "class"),
        ("threading.Thread.join", "method"),
        ("concurrent.futures.Executor.submit", "method"),
        ("concurrent.futures.ThreadPoolExecutor", "class"),
        ("asyncio.run", "function"),
        ("asyncio.to_thread", "function"),
        ("asyncio.BaseEventLoop.call_later", "method"),
        ("itertools.groupby", "class"),
        ("re.sub", "function"),
        ("re.Pattern.match", "method"),
        ("json.loads", "function"),
        ("json.JSONDecodeError", "exception"),
        ("socket.socket.sendall", "method"),
        ("io.BytesIO", "class"),
        ("collections.OrderedDict.move_to_end", "method"),
        ("functools.lru_cache", "function"),
    ],
)
def test_known_names(documents: dict[str, Document], full_name: str, kind: str) -> None:
    document = documents[full_name]
    assert document["kind"] == kind
    assert document["module"] == (
        "builtins"
        if full_name.split(".")[0] in ("str", "open", "KeyError")
        else document["id"].removesuffix("." + document["qualname"])
    )


def test_signature_summary_and_body(documents: dict[str, Document]) -> None:
    split = documents["os.path.split"]
    assert (split["signature"], split["module"], split["qualname"]) == ("(p)", "os.path", "split")
    assert split["summary"].startswith("Split a pathname.")
    popen = documents["subprocess.Popen"]
    assert popen["summary"] == "Execute a child program in a new process."
    assert "Arguments:" in popen["body"]


def test_no_private_names_no_copies_no_words_without_information(documents: dict[str, Document]) -> None:
    texts = [(document["summary"], document["body"]) for document in documents.values()]
    assert len(set(texts)) == len(texts)
    assert not [name for name in documents if any(part.startswith("_") for part in name.split("."))]
    roots = {name.split(".")[0] for name in documents}
    assert not roots & {"posixpath", "ntpath", "posix", "test", "idlelib", "lib2to3", "antigravity", "this"}
    summaries = {summary for summary, _ in texts}
    assert not [summary for summary in summaries if "Alias for field number" in summary]
    # The text of int, which is inherited by every IntEnum and its members.
    assert [name for name, document in documents.items() if document["summary"] == documents["int"]["summary"]] == [
        "int"
    ]


def test_nothing_of_this_machine_is_in_it(documents: dict[str, Document], monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(list(documents.values()))
    assert sys.prefix not in text
    assert sys.base_prefix not in text
    assert not [name for name, document in documents.items() if " at 0x" in str(document["signature"])]
    # cgi.parse has os.environ as a default value.
    secret = "Q7xNotForTheIndex"
    monkeypatch.setenv("SOME_SECRET", secret)
    assert secret not in json.dumps(pydocs.collect())


def test_the_command_writes_the_same_from_anywhere(documents: dict[str, Document], tmp_path: Path) -> None:
    # Modules of the caller must not stand in for the library's, nor their prints for documents.
    for name in ("mailbox", "turtle"):
        (tmp_path / f"{name}.py").write_text('"""Not the library."""\nprint("stray")\n')
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    root = str(Path(pydocs.__file__).parents[2])
    child = subprocess.run(
        [sys.executable, "-m", "es_semantic.demo.pydocs"],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": root},
    )
    assert [json.loads(line) for line in child.stdout.splitlines()] == list(documents.values())


def test_a_child_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydocs, "TIMEOUT", 0.001)
    with pytest.raises(EsSemanticError, match="longer than"):
        pydocs.collect()


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Do a thing.", (None, "Do a thing.", "")),
        ("Do a\n    thing.\n\n    More\n      of it.\n", (None, "Do a thing.", "More\n  of it.")),
        ("f(a[, b]) -> int\n\nCount them.", ("(a[, b]) -> int", "Count them.", "")),
        ("S.f(a) -> int -- count them", ("(a) -> int", "count them", "")),
        ("f(a) --> int\nf(a, b) --> int\n\nCount them.", ("(a) -> int", "Count them.", "")),
        ("f(a, b=(1, 2)).  Count them.", ("(a, b=(1, 2))", "Count them.", "")),
        ("f(x) - count them", ("(x)", "count them", "")),
        ("f(x)", None),
        ("Alias for field number 12", None),
        ("word", None),
        ("", None),
        ("Split at \udce9 please", (None, "Split at ? please", "")),
    ],
)
def test_read_docstring(docstring: str, expected: tuple[str | None, str, str] | None) -> None:
    assert read_docstring(docstring, "f") == expected


def test_versions() -> None:
    assert since("Text.\n\n.. versionadded:: 3.8\n") == "3.8"
    assert since("New in version 3.10.") == "3.10"
    assert since("The flag was added in version 3.2") is None
    assert deprecated("Deprecated since version 3.4, use another") == "3.4"
    assert deprecated(".. deprecated:: 3.12") == "3.12"
    assert deprecated("Not deprecated.") is None


def test_a_signature_shows_only_harmless_defaults() -> None:
    def function(
        a: int = 1,
        b: str = "x",
        c: str = sys.executable,
        d: object = os.environ,
        e: object = object(),
        f: tuple[int | None, ...] = (1, None),
        g: type = dict,
        *args: str,
        h: dict[str, str] = {},  # noqa: B006
        i: object = {"password": "p"},
        j: str = "p" * 50,
    ) -> None: ...

    function.__annotations__.clear()
    assert signature_of(function) == (
        "(a=1, b='x', c=..., d=..., e=..., f=(1, None), g=dict, *args, h={}, i=..., j=...)"
    )
    assert signature_of(string) is None
    assert signature_of(types.SimpleNamespace()) is None


def test_there_are_eight_questions() -> None:
    assert len(QUESTIONS) == len(set(QUESTIONS)) == 8
    assert all(isinstance(question, str) and question.strip() == question for question in QUESTIONS)
