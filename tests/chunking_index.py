"""An index of chunks for the tests, as ``es-semantic ingest`` fills one: two datasets with words in common."""

from __future__ import annotations

from typing import Any

import orjson
from elasticsearch import Elasticsearch, helpers

import es_semantic
from es_semantic.resources import resource
from tests.embedder import TinyEmbedder

HANDBOOK, RECIPES = "handbook", "recipes"

DOCUMENTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "vacation.md": (
        HANDBOOK,
        {"year": 2024, "author": "Ann", "tags": ["leave", "hr"], "published": "2024-03-01"},
        ["every employee has thirty days of vacation", "vacation must be asked for two weeks before it begins"],
    ),
    "expenses.md": (
        HANDBOOK,
        {"year": 2023, "author": "Bob", "published": "2023-11-20", "final": True},
        ["travel expenses are paid back within a month", "keep the bills of every expense"],
    ),
    "security.md": (
        HANDBOOK,
        {"year": 2024, "author": ""},
        ["a laptop is locked whenever its employee is away", "passwords are never shared"],
    ),
    "soup.txt": (RECIPES, {"author": "Ann"}, ["cut two onions and one carrot", "boil everything for an hour"]),
}

HIDDEN = "a hidden chunk about vacation of every employee"


def chunks(tenant: str | None = None) -> list[dict[str, Any]]:
    """The chunk documents; with ``tenant`` their datasets and metadata carry its name."""
    found = []
    for name, (dataset, metadata, texts) in DOCUMENTS.items():
        for position, text in enumerate(texts):
            found.append(_chunk(name, dataset, metadata, text, position))
    found.append(_chunk("vacation.md", HANDBOOK, {}, HIDDEN, 2) | {"available": False})
    for chunk in found:
        if tenant is not None:
            chunk["metadata"] = {**chunk["metadata"], "tenant": tenant}
    return found


def fill(client: Elasticsearch, index: str, *, tenants: tuple[str, ...] = ()) -> None:
    """Create the index with these chunks, those of each tenant under ids of its own, attached and embedded."""
    client.indices.create(index=index, **orjson.loads(resource("mappings/chunks.json").read_bytes()))
    none: list[tuple[str, ...]] = [()]
    actions = [
        {"_index": index, "_id": "/".join((*given, chunk["document_id"], str(chunk["position"]))), **chunk}
        for given in [(tenant,) for tenant in tenants] or none
        for chunk in chunks(*given)
    ]
    helpers.bulk(client, actions, refresh=True)
    es_semantic.attach(client, index, ["content"], model=TinyEmbedder(), chunk="never")
    es_semantic.sync(client, index, model=TinyEmbedder())


def _chunk(name: str, dataset: str, metadata: dict[str, Any], text: str, position: int) -> dict[str, Any]:
    return {
        "dataset_id": dataset,
        "document_id": f"{dataset}-{name}",
        "document_name": name,
        "content": text,
        "keywords": [name.split(".")[0]],
        "position": position,
        "available": True,
        "metadata": metadata,
    }
