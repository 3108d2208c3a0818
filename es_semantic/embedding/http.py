"""POST JSON to a model's server: retries, waits, and errors a person can act on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import SecretStr
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from es_semantic.errors import InputRejected, ModelUnavailable

RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, *range(520, 530)})
"""What OpenAI's own client retries; 520 to 529 are those of proxies and overloaded providers."""

REJECTED_STATUSES = frozenset({400, 413, 422})
MAX_WAIT = 60.0
"""Seconds between two tries. A server that asks for a longer pause by Retry-After is not asked again."""

MAX_REASON = 300
"""Characters of a server's own words that an error repeats."""


class TryAgain(Exception):
    """A failure that may pass; ``retry_after`` is the server's wish in seconds, None without one."""

    def __init__(self, what: str, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class Refused(Exception):
    """An answer that trying again would not change.

    ``status`` is its HTTP status, None for what is no HTTP; ``hint`` says what to do.
    """

    def __init__(self, what: str, status: int | None, hint: str) -> None:
        super().__init__(what)
        self.status = status
        self.hint = hint


class JsonPoster:
    """Posts to one URL; safe to use from several threads.

    ``key`` is sent as a bearer token and appears in no error, even if the server repeats it. ``timeout`` is seconds per
    request, ``max_retries`` counts further tries. ``section`` is the part of the configuration that hints name.
    ``transport`` replaces the network in tests; ``sleep`` waits between tries. Redirects are off: a redirect could
    carry the texts and the key to another host.
    """

    def __init__(
        self,
        url: str,
        *,
        key: SecretStr | None = None,
        timeout: float,
        max_retries: int,
        section: str = "models",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is sent yet.

        Raises:
            ModelUnavailable: the key holds what an HTTP header cannot carry.
        """
        self._url = url
        self._key = key
        self._section = section
        self._client = httpx.Client(
            headers=_authorization(key, section), timeout=timeout, follow_redirects=False, transport=transport
        )
        self._stop = stop_after_attempt(max_retries + 1)
        self._retrying = Retrying(
            retry=retry_if_exception_type(TryAgain),
            stop=self._stop,
            wait=_wait,
            sleep=sleep,
            reraise=True,
        )

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object that an embedding server answers.

        Raises:
            InputRejected: the server refuses this input (400, 413, 422).
            ModelUnavailable: no usable answer after all retries.
        """
        try:
            answer = self.ask(body)
        except TryAgain as error:
            raise ModelUnavailable(
                f"{self._url}: {error}", hint="Is the embedding server up? The next run goes on where this one stopped."
            ) from None
        except Refused as error:
            if error.status in REJECTED_STATUSES:
                raise InputRejected(f"{self._url} refuses the input: {error}") from None
            raise ModelUnavailable(f"{self._url}: {error}", hint=error.hint) from None
        if not isinstance(answer, dict):
            raise ModelUnavailable(
                f"{self._url} answered with something that is not a JSON object", hint=self._hint(404)
            )
        return answer

    def ask(self, body: dict[str, Any], *, left: Callable[[], float] | None = None) -> Any:
        """Return the JSON that the server answers with status 200, None where that is no JSON.

        ``left`` tells the seconds that are left for the answer, all tries and waits included; it may raise when there
        are none. Without it each try may take ``timeout``.

        Raises:
            TryAgain: the last try failed for a reason that may pass.
            Refused: the server refuses, or is none for this request.
        """
        if left is None:
            return self._retrying(self._once, body, None)
        return self._retrying.copy(stop=self._stop | stop_before_delay(left()))(self._once, body, left)

    def _once(self, body: dict[str, Any], left: Callable[[], float] | None) -> Any:
        response = self._send(body, left)
        if response.status_code in RETRIED_STATUSES:
            raise self._try_again(response)
        if response.status_code != 200:
            raise Refused(self._said(response), response.status_code, self._hint(response.status_code))
        return _json(response)

    def _send(self, body: dict[str, Any], left: Callable[[], float] | None) -> httpx.Response:
        timeout = httpx.USE_CLIENT_DEFAULT if left is None else httpx.Timeout(left())
        # Chained, the original would show its own text, which may repeat the key.
        try:
            return self._client.post(self._url, json=body, timeout=timeout)
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.DecodingError) as error:
            raise Refused(self._failed(error), None, self._hint(404)) from None
        except httpx.TransportError as error:
            raise TryAgain(self._failed(error)) from None

    def _try_again(self, response: httpx.Response) -> TryAgain | Refused:
        asked = retry_after(response.headers.get("retry-after"), now=time.time())
        if asked is not None and asked > MAX_WAIT:
            return Refused(
                self._said(response),
                response.status_code,
                f"The server asks to wait {asked:.0f} seconds; run again then.",
            )
        return TryAgain(self._said(response), asked)

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return f"Check {self._section}.*.api_key."
        if 300 <= status < 400:
            return f"Redirects are not followed: set {self._section}.*.url to the final address."
        return f"Check {self._section}.*.url and {self._section}.*.name."

    def _failed(self, error: httpx.RequestError) -> str:
        return self._presentable(f"{type(error).__name__}: {error}")

    def _said(self, response: httpx.Response) -> str:
        return self._presentable(f"HTTP {response.status_code}: {_reason(response)}")

    def _presentable(self, text: str) -> str:
        """One short line without the key; the key goes first, because a cut could leave the half of it."""
        key = self._key.get_secret_value() if self._key else ""
        if key:
            text = text.replace(key, "**********")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}..."


def retry_after(header: str | None, *, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: whole seconds or an HTTP date (RFC 9110, 10.2.3).

    ``now`` is in seconds since the epoch. None without a header, or with one that is neither.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # Only a date in the zone "-0000" comes without one; it is UTC, not this machine's time.
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


_backoff = wait_random_exponential(multiplier=0.5, max=MAX_WAIT)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TryAgain) else None
    return asked if asked is not None else _backoff(state)


def _authorization(key: SecretStr | None, section: str) -> dict[str, str]:
    value = key.get_secret_value() if key else ""
    if not value:
        return {}
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ModelUnavailable(
            f"{section}.*.api_key holds a character that no key has: a space, a line break or a letter outside ASCII",
            hint="Was the key copied with a line break at its end?",
        )
    return {"authorization": f"Bearer {value}"}


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _reason(response: httpx.Response) -> str:
    body = _json(response)
    if not isinstance(body, dict):
        return response.text
    error = body.get("error") or body.get("detail") or body.get("message") or body
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)
