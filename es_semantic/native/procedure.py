"""Make an index whose texts Elasticsearch embeds through our server, and take it away again: procedures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.failures import LICENCE
from es_semantic.cluster.steps import Compute, Request, Steps, optional, url_path
from es_semantic.errors import BindingConflict, RequestFailed, SchemaError
from es_semantic.native import endpoint as endpoints
from es_semantic.native import index as indices
from es_semantic.native.endpoint import NO_KEY, SHOWN_KEY, Endpoint
from es_semantic.native.offer import Offer, Server
from es_semantic.schema.index_options import index_options

VALIDATION = "validation call to service"
"""In Elasticsearch's reason where it has asked the server, and got no vector."""

RENEWED = "the endpoint was there; Elasticsearch does not tell which API key it has, so it was given this one"


@dataclass(frozen=True, slots=True)
class NativeChange:
    """What was done, or with ``dry_run`` would be: the ``requests``, with a placeholder for the server's API key.

    ``endpoint`` is None where an endpoint was removed or is not known; ``changed`` is False when index and endpoint
    were there already. ``notes`` tell what the caller may not expect.
    """

    index: str
    endpoint_id: str
    fields: tuple[str, ...]
    endpoint: Endpoint | None
    requests: tuple[Request, ...]
    changed: bool
    notes: tuple[str, ...] = ()


def native_steps(
    index: str, fields: Sequence[str], server: Server, *, endpoint_id: str | None = None, dry_run: bool = False
) -> Steps[NativeChange]:
    """Register the server and make the index; see :func:`es_semantic.api_native.native`."""
    id = endpoint_id or endpoints.default_id(index)
    indices.require_index_name(index)
    indices.require_fields(fields)
    endpoints.require_id(id)
    yield from _require_licence(id, index, fields)
    offer: Offer = yield Compute(server.offer)
    endpoint = Endpoint(id, server.endpoint, server.model, offer.dims, offer.words)
    stored = yield from _stored(id)
    if stored is not None:
        _require_same_endpoint(endpoint, stored)
    mapping = yield from _mapping(index)
    if mapping is not None:
        _require_same_index(index, mapping, fields, endpoint)
    key = server.key.get_secret_value() if server.key else None
    requests, shown, notes = [], [], list(_notes(offer, server))
    if stored is None:
        requests.append(endpoints.create_request(endpoint, key or NO_KEY))
        shown.append(endpoints.create_request(endpoint, SHOWN_KEY if key else NO_KEY))
    elif key is not None:
        requests.append(endpoints.renew_request(id, key))
        shown.append(endpoints.renew_request(id, SHOWN_KEY))
        notes.append(RENEWED)
    if mapping is None:
        options = index_options(offer.dims, (yield from server_version()))
        requests.append(indices.create_request(index, fields, endpoint, options))
        shown.append(requests[-1])
    if not dry_run:
        for request in requests:
            yield from _sent(request, server)
    changed = stored is None or mapping is None
    return NativeChange(index, id, tuple(fields), endpoint, tuple(shown), changed, tuple(notes))


def remove_steps(index: str, *, endpoint_id: str | None = None, dry_run: bool = False) -> Steps[NativeChange]:
    """Remove what was made and is not used; see :func:`es_semantic.api_native.remove_native`."""
    indices.require_index_name(index)
    mapping = yield from _mapping(index)
    used = list(dict.fromkeys(indices.endpoints_of(mapping))) if mapping is not None else []
    id = endpoint_id or (used[0] if used else endpoints.default_id(index))
    endpoints.require_id(id)
    requests, notes = [], []
    if mapping is not None:
        yield from _require_disposable(index, used, id)
        requests.append(indices.delete_request(index))
    others = yield from _users(id, index)
    if others:
        notes.append(f"the endpoint {id!r} stays: {', '.join(others)} use it")
    elif others is not None:
        requests.append(endpoints.delete_request(id))
    if not dry_run:
        for request in requests:
            yield from optional(request)
    return NativeChange(index, id, (), None, tuple(requests), bool(requests), tuple(notes))


def _require_licence(id: str, index: str, fields: Sequence[str]) -> Steps[None]:
    """Try what no licence takes: settings that lack everything are looked at only where endpoints are allowed."""
    try:
        yield endpoints.probe_request(id)
    except RequestFailed as error:
        if LICENCE in error.what:
            raise RequestFailed(
                "this cluster's licence has no inference endpoints, and so no writes to semantic_text fields: "
                f"{error.what}. Nothing was changed",
                status=error.status,
                error_type=error.error_type,
                hint="With this licence es-semantic embeds by itself: index the documents as they are, then\n"
                f"es-semantic attach {index} --fields {','.join(fields)}",
            ) from None
        if error.error_type != endpoints.MALFORMED:
            raise


def _stored(id: str) -> Steps[Mapping[str, Any] | None]:
    answer = yield from optional(endpoints.read_request(id))
    found: list[Mapping[str, Any]] = (answer or {}).get("endpoints", [])
    return found[0] if found else None


def _mapping(index: str) -> Steps[Mapping[str, Any] | None]:
    answer = yield from optional(Request("GET", url_path("/{}/_mapping", index)))
    if answer is None:
        return None
    if index not in answer:
        raise SchemaError(
            f"{index!r} is an alias or a data stream, of {', '.join(sorted(answer)) or 'nothing'}",
            hint="Name a new index, or the index itself.",
        )
    mapping: Mapping[str, Any] = answer[index]["mappings"]
    return mapping


def _require_same_endpoint(endpoint: Endpoint, stored: Mapping[str, Any]) -> None:
    found = list(endpoints.differences(endpoint, stored))
    if found:
        raise BindingConflict(
            f"the inference endpoint {endpoint.id!r} is there already, and another: {'; '.join(found)}",
            hint="Take another name with --endpoint. If the server has moved, see docs/native.md.",
        )


def _require_same_index(index: str, mapping: Mapping[str, Any], fields: Sequence[str], endpoint: Endpoint) -> None:
    found = list(indices.differences(mapping, fields, endpoint))
    if found:
        raise SchemaError(
            f"the index {index!r} is there already, and of another shape: {'; '.join(found)}",
            hint="Elasticsearch cannot turn a field into semantic_text: name a new index and copy the documents with "
            f"_reindex; or keep this one: es-semantic attach {index} --fields {','.join(fields)}",
        )


def _require_disposable(index: str, used: Sequence[str], id: str) -> Steps[None]:
    """Refuse to delete what somebody has written, or what is not of semantic_text at all."""
    if id not in used:
        raise SchemaError(
            f"the index {index!r} has no semantic_text field that the endpoint {id!r} embeds",
            hint="Name the index that `es-semantic native` has made.",
        )
    count = (yield Request("GET", url_path("/{}/_count", index)))["count"]
    if count:
        raise SchemaError(
            f"the index {index!r} holds {count:,} documents; nothing was removed",
            hint=f"If they may go: DELETE /{index}; then the same command removes the endpoint.",
        )


def _users(id: str, index: str) -> Steps[list[str] | None]:
    """Return the other indices and the pipelines that use an endpoint; None where there is no such endpoint."""
    answer = yield from optional(endpoints.users_request(id))
    if answer is None:
        return None
    return [name for name in (*answer.get("indexes", ()), *answer.get("pipelines", ())) if name != index]


def _sent(request: Request, server: Server) -> Steps[None]:
    try:
        yield request
    except RequestFailed as error:
        raise RequestFailed(
            _without_key(error.what, server.key),
            status=error.status,
            error_type=error.error_type,
            hint=f"Elasticsearch's own nodes must reach {server.endpoint}: from there, localhost is another machine."
            if VALIDATION in error.what
            else error.hint,
        ) from None


def _without_key(text: str, key: SecretStr | None) -> str:
    token = key.get_secret_value() if key else ""
    return text.replace(token, "[masked]") if token else text


def _notes(offer: Offer, server: Server) -> list[str]:
    notes = []
    if not offer.alike:
        notes.append(
            f"the model {server.model!r} puts another prompt before queries, which Elasticsearch does not ask for: its "
            "queries are embedded like documents, and find less"
        )
    if not offer.unit_length:
        notes.append(f"vectors of {server.model!r} are not of unit length; they are compared by cosine")
    return notes
