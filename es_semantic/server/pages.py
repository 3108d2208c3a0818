"""What watches and shows the server: health, metrics, and the indices that a caller may search."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from es_semantic.cluster.steps import Request, Steps, optional, run_async, url_path
from es_semantic.errors import ClusterError, Forbidden, NotAttached, SchemaError
from es_semantic.schema.binding import read_bindings
from es_semantic.server.callers import Caller, Parts

router = APIRouter(tags=["server"])


class SemanticField(BaseModel):
    """A semantic field of an index, and the model that its vectors are of."""

    name: str
    source: list[str]
    model: str
    dims: int
    chunked: bool


class SearchableIndex(BaseModel):
    """An index with semantic fields."""

    index: str
    fields: list[SemanticField]


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_class=Response)
async def healthz() -> Response:
    """Say that the process lives."""
    return Response("ok\n", media_type="text/plain")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_class=Response, responses={503: {"description": "Elasticsearch does not answer."}})
async def readyz(service: Parts) -> Response:
    """Say whether requests can be answered: the models are loaded, and Elasticsearch answers."""
    if not service.warm.is_set():
        return Response("the models are being loaded\n", 503, media_type="text/plain")
    try:
        await run_async(service.client, _ping())
    except Forbidden:
        # A server that only embeds needs no privilege there; it has been answered.
        pass
    except ClusterError:
        # Why is for the log and for those who have a key.
        return Response("Elasticsearch does not answer\n", 503, media_type="text/plain")
    return Response("ok\n", media_type="text/plain")


@router.get("/metrics", response_class=Response)
async def metrics(service: Parts, access: Caller) -> Response:
    """Tell what was counted, in Prometheus's text format."""
    access.require("admin")
    return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)


@router.get("/indices")
async def indices(service: Parts, access: Caller) -> list[SearchableIndex]:
    """List the indices with semantic fields that the caller may search."""
    access.require("search")
    mappings: dict[str, dict[str, Any]] = {}
    for name in access.indices:
        behind = await run_async(service.client, _mappings(name))
        mappings |= {concrete: body for concrete, body in behind.items() if access.may_see(name, concrete)}
    found = []
    for concrete, mapping in sorted(mappings.items()):
        try:
            bindings = read_bindings(mapping, index=concrete)
        except (SchemaError, NotAttached):
            continue
        fields = [
            SemanticField(
                name=name,
                source=list(binding.source),
                model=binding.fingerprint.model,
                dims=binding.fingerprint.dims,
                chunked=binding.chunking is not None,
            )
            for name, binding in sorted((each, bindings.one(each, index=concrete)) for each in bindings.served())
        ]
        if fields:
            found.append(SearchableIndex(index=concrete, fields=fields))
    return found


def _ping() -> Steps[None]:
    """Ask for the mapping of an index that is not there."""
    yield Request("GET", "/es-semantic-no-such-index*/_mapping", {"filter_path": "none"})


def _mappings(index: str) -> Steps[dict[str, dict[str, Any]]]:
    """Return the mappings behind a name or pattern; none where nothing is."""
    answer = yield from optional(Request("GET", url_path("/{}/_mapping", index)))
    return {concrete: body["mappings"] for concrete, body in (answer or {}).items()}
