"""Elastic's inference endpoint for such a server: requests and answers, pure functions.

Source: Elastic docs, "Create an OpenAI inference endpoint"; what is not told there: docs/elasticsearch-facts.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, url_path
from es_semantic.errors import UsageError

SIMILARITY = "cosine"
"""Right for vectors of any length; for those of unit length it ranks as Elastic's default, ``dot_product``, does."""

NO_KEY = "none"
"""Elasticsearch wants a key for every endpoint, also of a server that needs none."""

SHOWN_KEY = "${ES_SEMANTIC_SERVER_KEY}"
"""What stands for the key in requests that are shown."""

MALFORMED = "validation_exception"
"""Elasticsearch's word for settings that it looked at, which it does where the licence allows endpoints."""

_PATH = "/_inference/text_embedding/{}"
_ID = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An ``openai`` endpoint: ``url`` is posted to for ``model``; chunks have up to ``words`` words."""

    id: str
    url: str
    model: str
    dims: int
    words: int

    @property
    def service_settings(self) -> dict[str, Any]:
        """What Elasticsearch keeps and shows.

        ``dimensions`` is left to Elasticsearch, which finds it out: it would send what it is given with every request.
        """
        return {"model_id": self.model, "url": self.url, "similarity": SIMILARITY}

    @property
    def chunking_settings(self) -> dict[str, Any]:
        """Whole sentences, the last one of a chunk once more in the next, as by default."""
        return {"strategy": "sentence", "max_chunk_size": self.words, "sentence_overlap": 1}


def default_id(index: str) -> str:
    """Return the name of the endpoint of an index.

    >>> default_id("logs.2026+a")
    'es-semantic-logs-2026-a'
    """
    return f"es-semantic-{re.sub(r'[^a-z0-9_-]+', '-', index)}".rstrip("-_")


def require_id(id: str) -> None:
    """Refuse what Elasticsearch would not take as an endpoint's name.

    Raises:
        UsageError: it would not.
    """
    if not _ID.fullmatch(id):
        raise UsageError(
            f"{id!r} cannot name an inference endpoint",
            hint="Use a-z, 0-9, - and _, a letter or a digit at both ends: --endpoint NAME",
        )


def probe_request(id: str) -> Request:
    """Return the request that tells whether endpoints may be made: settings that are never taken.

    Elasticsearch looks at the licence and the privileges before it looks at these. Reading an endpoint tells neither.
    """
    return Request("PUT", url_path(_PATH, id), body={"service": "openai", "service_settings": {}})


def read_request(id: str) -> Request:
    """Return the request for an endpoint; 404 where there is none."""
    return Request("GET", url_path(_PATH, id))


def create_request(endpoint: Endpoint, key: str) -> Request:
    """Return the request that makes it; Elasticsearch asks the server for a vector before it agrees."""
    body = {
        "service": "openai",
        "service_settings": {**endpoint.service_settings, "api_key": key},
        "chunking_settings": endpoint.chunking_settings,
    }
    return Request("PUT", url_path(_PATH, endpoint.id), body=body)


def renew_request(id: str, key: str) -> Request:
    """Return the request that gives an endpoint a key: Elasticsearch never tells which one it has."""
    return Request("PUT", url_path(_PATH + "/_update", id), body={"service_settings": {"api_key": key}})


def users_request(id: str) -> Request:
    """Return the request that tells who uses an endpoint, and deletes nothing."""
    return Request("DELETE", url_path(_PATH, id), {"dry_run": "true"})


def delete_request(id: str) -> Request:
    """Return the request that deletes an endpoint, unless a mapping or a pipeline uses it."""
    return Request("DELETE", url_path(_PATH, id))


def differences(endpoint: Endpoint, stored: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words where an endpoint that is there differs; whatever else its owner has set is the owner's."""
    settings = stored.get("service_settings", {})
    pairs = {"service": (stored.get("service"), "openai"), "dimensions": (settings.get("dimensions"), endpoint.dims)}
    pairs |= {name: (settings.get(name), wanted) for name, wanted in endpoint.service_settings.items()}
    pairs["chunking_settings"] = (stored.get("chunking_settings"), endpoint.chunking_settings)
    for name, (there, wanted) in pairs.items():
        if there != wanted:
            yield f"{name}: there {there!r}, wanted {wanted!r}"
