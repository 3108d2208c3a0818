"""What this cluster is and accepts, found by asking and by trying, never by reading a licence's name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.steps import Request, Steps
from es_semantic.errors import ClusterError, Forbidden, RequestFailed, UnsupportedVersion

MINIMUM_VERSION = (8, 14)
BASE64_VECTORS_SINCE = (9, 3)
RETRIEVERS = ("standard", "rrf", "linear", "text_similarity_reranker")

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """``version`` and ``licence`` are None where the credentials may not ask for them.

    ``retrievers`` maps a retriever's name to None when the cluster runs it, else to the cluster's reason.
    """

    version: Version | None
    version_text: str | None
    licence: str | None
    retrievers: dict[str, str | None]


def read_version(info: dict[str, Any]) -> Version:
    """Return (major, minor) from the answer to ``GET /``.

    Raises:
        UnsupportedVersion: the server is older than 8.14.
    """
    text = str(info.get("version", {}).get("number", "0.0"))
    major, minor = (int(part) for part in text.split(".")[:2])
    if (major, minor) < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise UnsupportedVersion(
            f"this Elasticsearch is {text}; es-semantic needs {wanted} or newer",
            hint=f"Upgrade the cluster to {wanted} or newer, or use another one.",
        )
    return major, minor


def server_version() -> Steps[Version | None]:
    """Ask for the version; None where the credentials may not know it (403).

    Raises:
        UnsupportedVersion: the server is older than 8.14.
        ClusterError: no Elasticsearch answers.
    """
    try:
        info = yield Request("GET", "/")
    except Forbidden as error:
        if error.status == 403:
            return None
        raise
    return read_version(info)


def capabilities() -> Steps[Capabilities]:
    """Ask and probe; a 403 on a cluster call only leaves that fact unknown.

    Raises:
        UnsupportedVersion: the server is older than 8.14.
        ClusterError: no Elasticsearch answers, or the credentials are wrong.
    """
    version, text, licence = None, None, None
    try:
        info = yield Request("GET", "/")
        version, text = read_version(info), str(info["version"]["number"])
    except Forbidden as error:
        if error.status != 403:
            raise
    with contextlib.suppress(Forbidden, RequestFailed):
        licence = (yield Request("GET", "/_license"))["license"]["type"]
    retrievers = {}
    for name in RETRIEVERS:
        retrievers[name] = yield from _refusal(name)
    return Capabilities(version, text, licence, retrievers)


def probe(retriever: Mapping[str, Any]) -> Request:
    """Return the request that tries a retriever on no index at all.

    It is parsed and its licence checked, and nothing is searched.
    """
    return Request(
        "POST",
        "/es-semantic-probe-no-such-index/_search",
        params={"ignore_unavailable": "true", "allow_no_indices": "true"},
        body={"size": 0, "retriever": retriever},
    )


def _refusal(name: str) -> Steps[str | None]:
    try:
        yield probe({name: _RETRIEVER_BODIES[name]})
    except (Forbidden, RequestFailed) as error:
        return _short(error)
    return None


def _short(error: ClusterError) -> str:
    return error.what.split("_search: ", 1)[-1]


_MATCH_ALL: dict[str, Any] = {"standard": {"query": {"match_all": {}}}}
_RETRIEVER_BODIES: dict[str, dict[str, Any]] = {
    "standard": _MATCH_ALL["standard"],
    "rrf": {"retrievers": [_MATCH_ALL, _MATCH_ALL]},
    "linear": {"retrievers": [{"retriever": _MATCH_ALL}]},
    "text_similarity_reranker": {"retriever": _MATCH_ALL, "field": "text", "inference_text": "text"},
}
