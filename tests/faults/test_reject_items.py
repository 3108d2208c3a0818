"""Items that the fault proxy rejects stand at their positions in the node's own ``_bulk`` answer."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import ApiError, Elasticsearch

from tests.faults.proxy import FaultProxy, RejectItems, Rule, bulk_items
from tests.nodes import MakeIndex

pytestmark = pytest.mark.filterwarnings("error")


def seeded() -> random.Random:
    seed = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))
    print(f"seed {seed} (set ES_SEMANTIC_SEED to repeat)")
    return random.Random(seed)


def some_operations(generator: random.Random) -> list[list[dict[str, Any]]]:
    """Random items over few ids, so that some conflict, some miss, and some are malformed for the mapping."""
    items: list[list[dict[str, Any]]] = []
    for _ in range(generator.randint(1, 12)):
        operation = generator.choice(["index", "create", "update", "delete"])
        target = {"_id": str(generator.randint(0, 4))}
        source = {"n": generator.choice([generator.randint(0, 9), "no number"])}
        if operation in ("index", "create") and generator.random() < 0.2:
            target = {}
        items.append([{operation: target}])
        if operation != "delete":
            items[-1].append({"doc": source} if operation == "update" else source)
    return items


def chosen(positions: set[int]) -> Callable[[int, dict[str, Any]], bool]:
    return lambda position, _action: position in positions


def outcome(item: dict[str, Any]) -> tuple[str, int, str | None, str | None]:
    ((operation, said),) = item.items()
    # Generated ids have 20 characters.
    doc_id = said["_id"] if said["_id"] is None or len(said["_id"]) == 1 else "generated"
    return operation, said["status"], said.get("error", {}).get("type"), doc_id


@pytest.mark.parametrize(
    ("compressed", "filter_path"), [(False, None), (True, ["items.*.error"]), (False, ["items.*.status", "took"])]
)
def test_rejected_items_stand_at_their_positions(
    proxy: FaultProxy, client: Elasticsearch, make_index: MakeIndex, compressed: bool, filter_path: list[str] | None
) -> None:
    generator = seeded()
    name, twin = (make_index({"n": {"type": "long"}}) for _ in range(2))
    with Elasticsearch(proxy.url, max_retries=0, http_compress=compressed) as through:
        for _ in range(12):
            items = some_operations(generator)
            refused = {i for i in range(len(items)) if generator.random() < generator.choice([0, 0.4, 0.4, 1])}
            rule = proxy.add(Rule(RejectItems(chosen(refused))))
            whole = [line for item in items for line in item]
            kept = [line for i, item in enumerate(items) if i not in refused for line in item]
            answer = through.bulk(index=name, operations=whole, filter_path=filter_path if refused else None)
            expected = iter(client.bulk(index=twin, operations=kept)["items"] if kept else [])
            proxy.remove(rule)
            assert len(answer["items"]) == len(items)
            for i, (item, said) in enumerate(zip(items, answer["items"], strict=True)):
                if i in refused:
                    ((operation, target),) = item[0].items()
                    assert outcome(said) == (operation, 429, "es_rejected_execution_exception", target.get("_id"))
                    assert said[operation]["_index"] == name
                else:
                    assert outcome(said) == outcome(next(expected))
            assert answer["errors"] == any("error" in next(iter(said.values())) for said in answer["items"])

    client.indices.refresh(index=[name, twin])
    left, right = (
        sorted((hit["_source"]["n"], len(hit["_id"])) for hit in client.search(index=i, size=1000)["hits"]["hits"])
        for i in (name, twin)
    )
    assert left == right


def test_a_bulk_with_nothing_left_is_not_forwarded(
    proxy: FaultProxy, behind: FaultProxy, through: Elasticsearch, index: str
) -> None:
    proxy.add(Rule(RejectItems(lambda _i, action: "delete" not in action, status=503)))
    operations: list[dict[str, Any]] = [{"index": {"_index": index}}, {"n": 1}, {"update": {"_id": "1"}}, {"doc": {}}]
    answer = through.bulk(operations=operations)
    assert behind.requests == []
    assert answer["errors"]
    assert [next(iter(item.values()))["status"] for item in answer["items"]] == [503, 503]
    assert [next(iter(item.values()))["_index"] for item in answer["items"]] == [index, None]


def test_a_refusal_of_the_whole_bulk_is_handed_on(proxy: FaultProxy, through: Elasticsearch, index: str) -> None:
    proxy.add(Rule(RejectItems(lambda i, _action: i == 0)))
    with pytest.raises(ApiError, match="Malformed action/metadata"):
        through.bulk(index=index, operations=[{"delete": {"_id": "1"}}, {"index": ["no object"]}, {"n": 1}])


def test_bulk_items_keeps_blank_and_ragged_lines() -> None:
    body = b'{"index":{}}\n{"a": 1}\r\n\n{"delete":{"_id":"1"}}\n \n{"update":{"_id":"2"}}\n{"doc":{}}'
    assert bulk_items(body) == [
        ({"index": {}}, b'{"index":{}}\n{"a": 1}\r\n'),
        ({"delete": {"_id": "1"}}, b'{"delete":{"_id":"1"}}\n'),
        ({"update": {"_id": "2"}}, b'{"update":{"_id":"2"}}\n{"doc":{}}\n'),
    ]
