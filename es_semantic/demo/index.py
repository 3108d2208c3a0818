"""A plain index of real documents, filled as any program would: nothing here knows of semantic fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import bulk

from es_semantic.cluster.failures import reason_of, translate
from es_semantic.errors import RequestFailed, UsageError
from es_semantic.resources import resource

INDEX = "python-docs"
FIELDS = ("name", "summary", "body")
KEPT = ("kind", "module", "signature", "summary", "body", "since", "deprecated")


def fill(client: Elasticsearch, documents: Sequence[dict[str, Any]]) -> int:
    """Create the index and put the documents in; return how many were missing.

    Raises:
        UsageError: an index of that name holds something else.
        ClusterError: Elasticsearch refuses, or does not answer.
    """
    try:
        return _fill(client, documents)
    except (ApiError, TransportError) as error:
        raise translate(error, f"filling {INDEX!r}") from error


def _fill(client: Elasticsearch, documents: Sequence[dict[str, Any]]) -> int:
    definition = orjson.loads(resource("mappings/python-docs.json").read_bytes())
    if not client.indices.exists(index=INDEX):
        client.indices.create(index=INDEX, **definition)
    else:
        _require_ours(client, definition["mappings"]["_meta"]["description"])
    if client.count(index=INDEX)["count"] == len(documents):
        return 0
    created, failed = bulk(client, _actions(documents), refresh=True, raise_on_error=False)
    refused = [item["create"] for item in failed if item["create"]["status"] != 409] if isinstance(failed, list) else []
    if refused:
        raise RequestFailed(f"{len(refused)} documents were not taken into {INDEX!r}: {reason_of(refused[0])[1]}")
    return created


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
    mapping = next(iter(client.indices.get_mapping(index=INDEX).values()))["mappings"]
    meta = mapping.get("_meta", {})
    if meta.get("description") != description:
        raise UsageError(
            f"an index {INDEX!r} is there already, and it is not the demo's",
            hint="Run the demo on another cluster: unset ES_SEMANTIC_URL, or give --url.",
        )
