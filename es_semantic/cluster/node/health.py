"""Ask a starting node whether it is ready, and find out who holds a port."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import httpx

from es_semantic.cluster.node.configuration import ADDRESS, Security
from es_semantic.errors import NodeError

_POLL_SECONDS = 0.25
_ANSWER_SECONDS = 5.0
_PROBE_SECONDS = 2.0


def node_url(port: int) -> str:
    """Return the URL of the local node."""
    return f"http://{ADDRESS}:{port}"


def client(url: str, security: Security | None) -> httpx.Client:
    """Return an HTTP client for the local node, which no proxy may stand before."""
    auth = httpx.BasicAuth(security.username, security.password) if security else None
    return httpx.Client(base_url=url, auth=auth, timeout=_ANSWER_SECONDS, trust_env=False)


def wait_until_ready(
    url: str, name: str, security: Security | None, *, alive: Callable[[], bool], seconds: float
) -> str:
    """Wait until the node of that ``name`` has cluster health yellow or green, and return its version.

    Raises:
        NodeError: the node refuses the credentials.
        TimeoutError: it is not ready within ``seconds``.
        ProcessLookupError: ``alive`` says that it died.
    """
    deadline = time.monotonic() + seconds
    with client(url, security) as http:
        while time.monotonic() < deadline:
            if (version := _version_when_ready(http, name)) is not None:
                return version
            if not alive():
                raise ProcessLookupError
            time.sleep(_POLL_SECONDS)
    raise TimeoutError


def _version_when_ready(http: httpx.Client, name: str) -> str | None:
    try:
        health = http.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "1s"})
        if health.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise NodeError(
                f"The node at {http.base_url} has security on and refuses these credentials.",
                hint="Give the user name and password it was started with, or stop it first.",
            )
        health.raise_for_status()
        banner = http.get("/").raise_for_status().json()
        # Another node may have taken the port since it was free.
        return str(banner["version"]["number"]) if banner["name"] == name else None
    except (httpx.HTTPError, ValueError, KeyError):
        return None


def require_free_port(port: int) -> None:
    """Check that nothing listens on the port.

    Raises:
        NodeError: something does; the text says whether it is an Elasticsearch, and how to use that.
    """
    if _is_free(port):
        return
    url = node_url(port)
    if _is_elasticsearch(url):
        raise NodeError(
            f"Port {port} is taken: an Elasticsearch that es-semantic did not start answers at {url}.",
            hint=f"To use it, set ES_SEMANTIC_URL={url}. To start another one beside it, set node.port.",
        )
    raise NodeError(f"Port {port} is taken by another program.", hint="Set node.port to a free port.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Without this, a port that was in use a minute ago would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex((ADDRESS, port)) != 0


def _is_elasticsearch(url: str) -> bool:
    try:
        with client(url, None) as http:
            return bool(http.get("/", timeout=_PROBE_SECONDS).headers.get("x-elastic-product") == "Elasticsearch")
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """Return a port that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])
