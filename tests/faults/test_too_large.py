"""HTTP 413: bodies are halved, and a document that alone is too large is a dead letter."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from tests.embedder import TinyEmbedder
from tests.faults.exchange import Exchange
from tests.faults.own_node import OwnNode
from tests.faults.proxy import FaultProxy, Rule, ends
from tests.faults.test_overload import bulk_of_documents
from tests.faults.workers import Counting, attached, check, settle
from tests.nodes import MakeIndex, remove_everything
from tests.truth import untrue

TITLE = {"title": {"type": "text"}}


@dataclass(frozen=True)
class TooLarge:
    """Refuse as Elasticsearch does: no body, and not even its product header."""

    async def apply(self, exchange: Exchange) -> None:
        await exchange.client.send(b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.usefixtures("impatient")
def test_a_body_is_halved_until_the_one_document_stands_alone(
    proxy: FaultProxy, through: Elasticsearch, client: Elasticsearch, make_index: MakeIndex
) -> None:
    owner = attached(client, make_index(TITLE), 100)
    long_id = "an id of the greatest length, " * 17
    owner.put({long_id: {"title": "a document that alone is too large"}})
    proxy.add(Rule(TooLarge(), when=lambda *request: bulk_of_documents(*request) and len(request[2]) > 2 * 700 + 20))
    proxy.add(Rule(TooLarge(), when=lambda *request: bulk_of_documents(*request) and b"greatest" in request[2]))
    model = Counting()
    report = es_semantic.sync(through, owner.index, model=model)
    assert (report.embedded, report.failed) == (100, 1)
    assert len(model.embedded) == 101
    check(owner, dead={long_id: "413"}, marked=False)
    proxy.clear()
    owner.put({long_id: {"title": "the limit was raised, and it was written again"}})
    assert settle(through, owner, model).embedded == 1
    check(owner)


def test_a_node_that_takes_little_at_once(own_node: OwnNode, unique: str) -> None:
    model = TinyEmbedder(dims=2048)
    client = own_node.client
    client.indices.create(index=unique, mappings={"properties": TITLE}, settings={"number_of_replicas": 0})
    try:
        lines: list[dict[str, object]] = []
        for i in range(300):
            lines += [{"index": {"_id": str(i)}}, {"title": f"document {i}"}]
        client.bulk(index=unique, operations=lines)
        es_semantic.attach(client, unique, ["title"], model=model, chunk="never")
        report = es_semantic.sync(client, unique, model=model)
        # 300 vectors of 2,048 dimensions are 3 MB, three times what the node takes.
        assert (report.embedded, report.failed) == (300, 0)
        assert untrue(client, unique, ["title"], model) == {}
    finally:
        remove_everything(client, unique)


def test_the_proxy_refuses_as_the_node_does(own_node: OwnNode, proxy: FaultProxy, through: Elasticsearch) -> None:
    proxy.add(Rule(TooLarge(), when=ends("/_bulk")))
    body = [b'{"index":{"_index":"never-made"}}', b'{"text":"' + b"x" * (1 << 20) + b'"}']
    answers = []
    for client in (own_node.client, through):
        with pytest.raises(Exception, match=r"413|None") as refused:
            client.perform_request("POST", "/_bulk", headers={"content-type": "application/x-ndjson"}, body=body)
        meta = refused.value.meta  # type: ignore[attr-defined]
        answers.append((meta.status, dict(meta.headers)))
    assert answers[0] == answers[1] == (413, {"content-length": "0"})
