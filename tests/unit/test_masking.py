"""Credentials go, everything else stays."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.sync.masking import masked, masked_line

SECRETS = st.text("abcdefghijkmnopqrstuvwxyzABCDEFGH0123456789_-", min_size=12, max_size=40).map("Q7x".__add__)
PLACES = [
    "GET http://elastic:{s}@localhost:9200/_search",
    "https://{s}@host/",
    "https://u:{s}/with/slash@host/",
    "https://u:{s}@{s}@host/",
    "Authorization: ApiKey {s}",
    "'authorization': 'Basic {s}'",
    "authorization={s} {s}",
    "sent ApiKey {s}",
    "sent bearer {s}.",
    "api_key={s}",
    "api_key='{s}'",
    "connection.api_key: {s}",
    '{{"api_key": "{s}", "x": 1}}',
    '{{\\"api_key\\": \\"{s}\\"}}',
    "OPENAI_API_KEY={s}",
    "password: {s}",
    "{{'password': '{s} {s}'}}",
    "client_secret = {s}",
    "access_token={s}&x=1",
    "Incorrect API key provided: sk-{s}.",
]


@given(SECRETS)
def test_a_secret_never_stays(secret: str) -> None:
    for place in PLACES:
        assert secret not in masked(place.format(s=secret)), place


@given(st.from_regex(r"[A-Za-z0-9_-]{20}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_-]{22}", fullmatch=True))
def test_an_elasticsearch_api_key_never_stays(identity: str, key: str) -> None:
    decoded = f"{identity}:{key}"
    encoded = base64.b64encode(decoded.encode()).decode()
    for shown in (decoded, encoded, encoded.rstrip("=")):
        assert shown not in masked(f"refused {shown} here")
        assert key not in masked(f"refused ({shown})")


def test_the_value_that_elasticsearch_quotes_never_stays() -> None:
    reason = (
        "failed to parse field [n] of type [long] in document with id '1'. Preview of field's value: 'my text\nmore'"
    )
    assert masked(reason).endswith("with id '1'. Preview of field's value: [masked]")


@pytest.mark.parametrize(
    "line",
    [
        "POST http://localhost:9200/articles/_bulk [status:200 duration:0.012s]",
        "articles: 10 of 20 documents, 5 docs/s",
        "document 'a@b' of articles: superseded",
        "model tiny-0123456789ab; hash 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "max_tokens=256, tokens: 12, token count: 5",
        "id VuaCfGcBCdbkQm-e5aOx of index articles",
        "wrote /home/somebody/.cache/es-semantic/embeddings.sqlite",
    ],
)
def test_what_is_harmless_stays(line: str) -> None:
    assert masked(line) == line


def test_a_line_is_one_line() -> None:
    assert masked_line("  first\x07 line\x1b[31m\nsecond") == "first line[31m"
    assert masked_line("") == ""
    assert masked_line("x" * 1000) == "x" * 300
    assert masked_line("\ud800") == "?"


@pytest.mark.parametrize(
    "piece", ["://", "a-", "api_key", '\\"', "authorization", "A", "basic ", "'", "=", "password="]
)
def test_no_line_takes_long(piece: str) -> None:
    """A pattern that backtracks would take hours here, not tens of seconds."""
    started = time.monotonic()
    masked(piece * 20_000)
    assert time.monotonic() - started < 60
