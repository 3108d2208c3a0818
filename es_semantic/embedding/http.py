"""POST JSON to an embedding server: retries, waits, and errors a person can act on."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from es_semantic.errors import InputRejected, ModelUnavailable

RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
REJECTED_STATUSES = frozenset({400, 413, 422})
MAX_WAIT = 60.0
"""Seconds; a longer Retry-After is not waited for."""


class TryAgain(Exception):
    """A failure that may pass; ``retry_after`` is the server's wish in seconds, None without one."""

    def __init__(self, what: str, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class JsonPoster:
    """Posts to one URL.

    ``transport`` replaces the network in tests. ``sleep`` waits between tries. Redirects are off: a redirect could
    carry the texts and the key to another host.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str],
        timeout: float,
        max_retries: int,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._client = httpx.Client(headers=headers, timeout=timeout, follow_redirects=False, transport=transport)
        self._retrying = Retrying(
            retry=retry_if_exception_type(TryAgain),
            stop=stop_after_attempt(max_retries + 1),
            wait=_wait,
            sleep=sleep,
            reraise=True,
        )

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object that the server answers.

        Raises:
            InputRejected: the server refuses this input (400, 413, 422).
            ModelUnavailable: no usable answer after all retries.
        """
        try:
            return self._retrying(self._once, body)
        except TryAgain as error:
            raise ModelUnavailable(
                f"{self._url}: {error}", hint="Is the embedding server up? The next run goes on where this one stopped."
            ) from error

    def _once(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._client.post(self._url, json=body)
        except httpx.TransportError as error:
            raise TryAgain(f"{type(error).__name__}: {error}") from error
        if response.status_code in RETRIED_STATUSES:
            raise TryAgain(_said(response), retry_after(response.headers.get("retry-after"), now=time.time()))
        if response.status_code in REJECTED_STATUSES:
            raise InputRejected(f"{self._url} refuses the input: {_said(response)}")
        if response.status_code != 200:
            raise ModelUnavailable(f"{self._url}: {_said(response)}", hint=_hint(response.status_code))
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ModelUnavailable(f"{self._url} answered with something that is not a JSON object", hint=_hint(404))
        return answer


def retry_after(header: str | None, *, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None


_backoff = wait_random_exponential(multiplier=0.5, max=MAX_WAIT)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TryAgain) else None
    return min(asked, MAX_WAIT) if asked is not None else _backoff(state)


def _said(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        body = response.text
    error = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
    message = error.get("message", error) if isinstance(error, dict) else error
    return f"HTTP {response.status_code}: {str(message)[:300]}"


def _hint(status: int) -> str:
    if status in (401, 403):
        return "Check models.*.api_key."
    if 300 <= status < 400:
        return "Redirects are not followed: set models.*.url to the final address."
    return "Check models.*.url and models.*.name."
