"""An index of ``semantic_text`` fields: requests and what a mapping says, pure functions.

Source: Elastic docs, "Semantic text field type".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from es_semantic.cluster.steps import Request, url_path
from es_semantic.errors import UsageError
from es_semantic.native.endpoint import Endpoint

_NEVER = '*?,"<>|\\/ #:'


def require_index_name(index: str) -> None:
    """Refuse what cannot name a new index (Elastic docs, "Create an index").

    Raises:
        UsageError: it cannot.
    """
    if not index or index != index.lower() or index[0] in "-_+." or any(sign in index for sign in _NEVER):
        raise UsageError(f"{index!r} cannot name an index", hint="Use lower case; for example articles-semantic.")


def require_fields(fields: Sequence[str]) -> None:
    """Refuse a list that names no field, or one twice.

    Raises:
        UsageError: it does.
    """
    if not fields or len(set(fields)) != len(fields) or not all(all(field.split(".")) for field in fields):
        raise UsageError("name at least one field, and none twice", hint="For example: --fields title,body")


def create_request(index: str, fields: Sequence[str], endpoint: Endpoint, options: Mapping[str, Any]) -> Request:
    """Return the request that makes an index; ``options`` are the ``index_options`` of the vectors."""
    field = {"type": "semantic_text", "inference_id": endpoint.id, "index_options": {"dense_vector": dict(options)}}
    return Request("PUT", url_path("/{}", index), body={"mappings": {"properties": dict.fromkeys(fields, field)}})


def delete_request(index: str) -> Request:
    """Return the request that deletes an index."""
    return Request("DELETE", url_path("/{}", index))


def differences(mapping: Mapping[str, Any], fields: Sequence[str], endpoint: Endpoint) -> Iterator[str]:
    """Yield in words which fields of an index that is there are not what they would be made."""
    for name in fields:
        field = field_at(mapping, name)
        if field is None:
            yield f"it has no field {name!r}"
        elif field.get("type") != "semantic_text":
            yield f"{name!r} is {field.get('type', 'object')}"
        elif field.get("inference_id") != endpoint.id:
            yield f"{name!r} is embedded by the endpoint {field.get('inference_id')!r}, not by {endpoint.id!r}"
        elif field.get("search_inference_id", endpoint.id) != endpoint.id:
            yield f"queries of {name!r} are embedded by the endpoint {field['search_inference_id']!r}"
        # Elasticsearch notes the model with the first document.
        elif (dims := field.get("model_settings", {}).get("dimensions", endpoint.dims)) != endpoint.dims:
            yield f"{name!r} has vectors of {dims} dimensions, not of {endpoint.dims}"


def field_at(mapping: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    """Return how a field is mapped, None where it is not."""
    node: Mapping[str, Any] | None = mapping
    for part in path.split("."):
        node = None if node is None else node.get("properties", {}).get(part)
    return node


def endpoints_of(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Yield the endpoints of all ``semantic_text`` fields of a mapping, in their order; one may come twice."""
    for field in mapping.get("properties", {}).values():
        if field.get("type") == "semantic_text":
            yield from (field[key] for key in ("inference_id", "search_inference_id") if field.get(key))
        yield from endpoints_of(field)
