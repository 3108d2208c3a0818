"""A plain index of real documents, filled as any program would: nothing here knows of semantic fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from es_semantic.errors import UsageError
from es_semantic.resources import resource

INDEX = "python-docs"
FIELDS = ("name", "summary", "body")
KEPT = ("kind", "module", "signature", "summary", "body", "since", "deprecated")


def fill(client: Elasticsearch, documents: Sequence[dict[str, Any]]) -> int:
    """Create the index and put the documents in; return how many were missing.

    Raises:
        UsageError: an index of that name holds something else.
    """
    definition = orjson.loads(resource("mappings/python-docs.json").read_bytes())
    if not client.indices.exists(index=INDEX):
        client.indices.create(index=INDEX, **definition)
    else:
        _require_ours(client, definition["mappings"]["_meta"]["description"])
    if client.count(index=INDEX)["count"] == len(documents):
        return 0
    created, _ = bulk(client, _actions(documents), refresh=True, stats_only=True, raise_on_error=False)
    return int(created)


def _actions(documents: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        source = {key: document[key] for key in KEPT if key in document}
        yield {
            "_op_type": "create",
            "_index": INDEX,
            "_id": document["id"],
            "_source": {"name": document["id"], **source},
        }


def _require_ours(client: Elasticsearch, description: str) -> None:
    meta = client.indices.get_mapping(index=INDEX)[INDEX]["mappings"].get("_meta", {})
    if meta.get("description") != description:
        raise UsageError(
            f"an index {INDEX!r} is there already, and it is not the demo's",
            hint="Run the demo on another cluster: unset ES_SEMANTIC_URL, or give --url.",
        )
