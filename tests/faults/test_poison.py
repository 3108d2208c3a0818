"""Texts that no model likes, and documents that change while they are embedded."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.embedding import Embeddings
from es_semantic.errors import BadVector, ModelUnavailable
from tests.faults.workers import POISON, Counting, Follower, attached, check, letters_of, seeded, settle
from tests.nodes import MakeIndex
from tests.truth import untrue

pytestmark = pytest.mark.usefixtures("impatient")

TITLE = {"title": {"type": "text"}}

NAN = "not-a-number"
DOWN = "server-error"

FIVE_MEGABYTES = "five megabytes of text " * (5 * 1024 * 1024 // 23)

STRANGE: dict[str, Any] = {
    "empty": "",
    "null": None,
    "blank": " \n\t ",
    "no-break space": "\u00a0\u2003",
    "list": ["one", None, ["two", ""], 3, True],
    "nothing in lists": [[], [None, [None]]],
    "number": 12345678901234567890,
    "lone high": "before \ud83d after",
    "lone low": "\ude00",
    "wrong way round": "\ude00\ud83d",
    "astral": "\U0001f600 \U0010ffff",
    "controls": "".join(map(chr, range(0x20))) + "\x7f\x80\x9f\u2028\u2029\ufeff\ufffe\uffff",
    "null byte": "a\x00b",
    "huge": FIVE_MEGABYTES,
}


class Choosy(Counting):
    """Returns NaN for a text, as models in half precision do; answers HTTP 500 to another, as some providers do."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        if any(DOWN in text for text in texts):
            raise ModelUnavailable("the provider answers HTTP 500")
        embeddings = super().embed_documents(texts)
        embeddings.vectors[[NAN in text for text in texts]] = np.nan
        if not np.isfinite(embeddings.vectors).all():
            raise BadVector("the model returned a vector that is not finite")
        return embeddings


def put_strange(client: Elasticsearch, index: str) -> None:
    """Index them as other programs do: lone surrogates travel as JSON escapes."""
    lines = []
    for doc_id, title in STRANGE.items():
        lines += [json.dumps({"index": {"_id": doc_id}}).encode(), json.dumps({"title": title}).encode()]
    headers = {"accept": "application/json", "content-type": "application/x-ndjson"}
    answer = client.perform_request("POST", f"/{index}/_bulk", headers=headers, body=lines)
    assert not answer.body["errors"]


@pytest.mark.parametrize("before", [True, False], ids=["before attaching", "after attaching"])
def test_strange_texts_are_embedded_or_empty(client: Elasticsearch, make_index: MakeIndex, before: bool) -> None:
    owner = attached(client, make_index(TITLE), 20)
    if before:
        es_semantic.detach(client, owner.index)
    put_strange(client, owner.index)
    if before:
        es_semantic.attach(client, owner.index, ["title"], model=Counting(), chunk="never")
    owner.model = owner.documents()
    model = Counting()
    report = es_semantic.sync(client, owner.index, model=model)
    assert report.failed == 0
    # Where the pipeline ran it has marked those without text; else the worker does.
    blank = {"empty", "null", "blank", "nothing in lists"}
    assert (report.empty, report.unchanged) == ((len(blank), 0) if before else (0, len(blank)))
    assert len(model.embedded) == report.embedded == 20 + len(STRANGE) - len(blank)
    check(owner)
    assert settle(client, owner, model).read == 0


BAD = {
    f"a {POISON}ed text": "refused",
    f"makes {NAN}": "not finite",
    f"makes a {DOWN}": "HTTP 500",
}


def test_the_culprits_are_found_and_only_they(client: Elasticsearch, make_index: MakeIndex) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE), 300)
    culprits = dict(zip(generator.sample(sorted(owner.model), 9), list(BAD) * 3, strict=True))
    owner.update({doc_id: {"title": text} for doc_id, text in culprits.items()})
    model = Choosy()
    report = es_semantic.sync(client, owner.index, model=model)
    assert (report.embedded, report.failed) == (291, 9)
    dead = {doc_id: BAD[text] for doc_id, text in culprits.items()}
    check(owner, dead=dead)
    # Who is refused is not tried again, and has one dead letter still.
    calls = model.calls
    assert settle(client, owner, model).failed == 0
    assert model.calls == calls
    check(owner, dead=dead)

    mended, deleted, emptied, *left = culprits
    owner.update({mended: {"title": "a good text"}})
    owner.delete(deleted)
    owner.update({emptied: {"title": ""}})
    listed = {letter.id for letter in es_semantic.failures(client, owner.index).failures}
    assert deleted not in listed
    assert listed >= set(left)
    report = settle(client, owner, model)
    assert report.embedded == 1
    check(owner, dead={doc_id: dead[doc_id] for doc_id in left})

    assert es_semantic.failures(client, owner.index, retry=True).queued == len(left)
    assert letters_of(client, owner.index) == []
    assert settle(client, owner, model).failed == len(left)
    check(owner, dead={doc_id: dead[doc_id] for doc_id in left})


def test_changed_and_deleted_while_they_are_embedded(client: Elasticsearch, make_index: MakeIndex) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE), 400)
    model = Counting(lambda _texts: owner.change_some(generator))
    report = es_semantic.sync(client, owner.index, model=model)
    assert report.superseded > 0
    model.meanwhile = lambda _texts: None
    settle(client, owner, model)
    check(owner)
    assert len(owner.model) <= len(model.embedded) <= owner.versions


def test_a_follower_among_poison(client: Elasticsearch, make_index: MakeIndex) -> None:
    generator = seeded()
    owner = attached(client, make_index(TITLE), 100)
    model = Counting()
    bad: set[str] = set()
    with Follower(client, [owner.index], model) as follower:
        for _ in range(30):
            doc_id = generator.choice(sorted(owner.model))
            action = generator.randrange(4)
            if action == 0:
                owner.delete(doc_id)
                bad.discard(doc_id)
            elif action == 1:
                owner.update({doc_id: {"title": f"{POISON} in {doc_id} {generator.random()}"}})
                bad.add(doc_id)
            else:
                owner.update({doc_id: {"title": f"good again {doc_id} {generator.random()}"}})
                bad.discard(doc_id)
            time.sleep(generator.uniform(0, 0.1))
        follower.wait_until(lambda: set(untrue(client, owner.index, ["title"], model)) == bad)
        follower.wait_until(lambda: {letter["id"] for letter in letters_of(client, owner.index)} >= bad)
    assert follower.errors == []
    settle(client, owner, model)
    es_semantic.failures(client, owner.index, retry=True)
    settle(client, owner, model)
    check(owner, dead=dict.fromkeys(bad, "refused"))
    assert len(model.embedded) <= owner.versions
