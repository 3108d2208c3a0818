"""Download an archive by HTTP; an interrupted download goes on where it ended."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from es_semantic.cluster.node.paths import require_space
from es_semantic.cluster.node.progress import Report, download_progress
from es_semantic.errors import NodeError

_TRIES = 5
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 60.0
# What is unpacked from an archive, in multiples of its own size.
_UNPACKED = 2


def plain(url: str) -> str:
    """Return a URL without user name, password and query, fit to be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def download(url: str, target: Path, *, report: Report) -> None:
    """Download ``url`` to ``target``, which appears only when it is complete.

    Raises:
        NodeError: the server refused, the connection broke again and again, or the disk is too full.
    """
    part = target.with_name(target.name + ".part")
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS) as client:
        for attempt in range(1, _TRIES + 1):
            try:
                _fetch_rest(client, url, part, report)
                break
            except httpx.HTTPError as error:
                if attempt == _TRIES or isinstance(error, httpx.HTTPStatusError | httpx.UnsupportedProtocol):
                    raise _failed(url, error) from error
                report(f"The download broke off ({type(error).__name__}); going on")
                time.sleep(_PAUSE_SECONDS)
    part.rename(target)
    _validator_file(part).unlink(missing_ok=True)


def _failed(url: str, error: httpx.HTTPError) -> NodeError:
    reason = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else str(error)
    return NodeError(
        f"{plain(url)} could not be downloaded: {reason}.",
        hint="Run the command again to go on where it ended, or set node.distribution to a file on this machine.",
    )


def _fetch_rest(client: httpx.Client, url: str, part: Path, report: Report) -> None:
    headers = {"Accept-Encoding": "identity", **_range_headers(part)}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise httpx.RemoteProtocolError("the file on the server has changed")
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        done = part.stat().st_size if resumed else 0
        length = int(response.headers.get("content-length", 0))
        total = done + length if length else None
        require_space(part.parent, length + (total or 0) * _UNPACKED)
        _validator_file(part).write_text(_validator(response))
        with (
            download_progress(f"Fetching {plain(url)}", total, report) as update,
            part.open("ab" if resumed else "wb") as sink,
        ):
            for chunk in response.iter_raw():
                done += sink.write(chunk)
                update(done)


def _validator(response: httpx.Response) -> str:
    # Only a strong validator may ask for the rest of a file.
    etag = str(response.headers.get("etag", ""))
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("last-modified", ""))


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".validator")


def _range_headers(part: Path) -> dict[str, str]:
    validator = _validator_file(part)
    if not part.is_file() or not validator.is_file() or not validator.read_text():
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": validator.read_text()}
