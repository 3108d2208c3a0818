"""What tests of re-indexing share: is the new index what the old one is?"""

from __future__ import annotations

from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

Document = tuple[dict[str, Any], str | None, int]
"""``_source`` without the semantic field, routing and version."""


def documents(client: Elasticsearch, index: str, name: str = "semantic") -> dict[str, Document]:
    """Return all documents of an index by id, vectors of the owner's included."""
    client.indices.refresh(index=index)
    body = {"query": {"match_all": {}}, "_source": {"exclude_vectors": False}, "version": True}
    found: dict[str, Document] = {}
    for hit in scan(client, body, index=index, version=True):
        source = {key: value for key, value in hit["_source"].items() if key != name}
        found[hit["_id"]] = (source, hit.get("_routing"), hit["_version"])
    return found
