"""Credentials go, everything else stays."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.masking import masked, masked_line, masked_reason

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


PARSING = "document_parsing_exception: [1:9] failed to parse"

# What Elasticsearch 9.4.3 has said of the text {t}; the real node is asked in tests/integration/test_quoted_texts.py.
QUOTING = [
    PARSING
    + " field [d] of type [date] in document with id '1'. Preview of field's value: '{t}': failed to parse date "
    "field [{t}] with format [epoch_millis]: Failed to parse with all enclosed parsers",
    PARSING + ': For input string: "{t}"',
    PARSING + ": unknown join name [{t}] for field [join]",
    PARSING + " field [g] of type [geo_point]: unsupported symbol [a] in geohash [{t}]",
    PARSING
    + ": [1:19] Unrecognized token '{t}': was expecting (JSON String)\n at [Source: (byte[])\"{{{t}}}\"; line: 1]",
    'illegal_argument_exception: unable to convert [{t}] to integer: For input string: "{t}"',
    "illegal_argument_exception: Provided Grok expressions do not match field value: [{t}]",
    "script_exception: runtime error: seen {t}",
    "find_match: Unable to find match for dissect pattern: %{{a}}--%{{b}} against source: {t}",
    "some_plugin_s_exception: {t}",
    "exception: {t}",
]


@given(SECRETS.map("a text, {}: [of] a 'document': ".format))
def test_no_reason_quotes_a_text(text: str) -> None:
    for reason in QUOTING:
        said = masked_reason(reason.format(t=text))
        assert text not in said, reason
        assert "Q7x" not in said, reason
        assert said.startswith(reason.split(": ")[0])
        assert masked_reason(said) == said


@given(st.binary(min_size=8, max_size=30))
def test_no_reason_holds_the_bytes_of_a_term(term: bytes) -> None:
    numbers = ", ".join(str(byte - 256 if byte > 127 else byte) for byte in term)
    known = (
        'Document contains at least one immense term in field="t" (whose UTF8 encoding is longer than the max length '
    )
    known += "32766)"
    rest = f"all of which were skipped.  The prefix of the first immense term is: '[{numbers}]...', original message: "
    cause = "bytes can be at most 32766 in length; got 70000"
    reason = f"{known}, {rest}{cause}"
    assert (
        masked_reason(f"illegal_argument_exception: {reason}")
        == f"illegal_argument_exception: {known}: [masked] {cause}"
    )
    assert numbers not in masked(reason)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (QUOTING[0], PARSING + " field [d] of type [date]: [masked]"),
        (QUOTING[2], PARSING + ": [masked]"),
        (
            PARSING
            + ": The [dense_vector] field [v] in doc [document with id 'x'] has a different number of dimensions [2] "
            "than defined in the mapping [3]",
            PARSING
            + ": The [dense_vector] field [v] has a different number of dimensions [2] than defined in the mapping "
            "[3]",
        ),
        (
            PARSING + " field [n] of type [integer] in document with id '1'. Preview of field's value: '{a=b}': Cannot "
            "parse object as number",
            PARSING + " field [n] of type [integer]: [masked] Cannot parse object as number",
        ),
    ],
)
def test_what_is_useful_stays(reason: str, said: str) -> None:
    assert masked_reason(reason) == said


@pytest.mark.parametrize(
    "reason",
    [
        "strict_dynamic_mapping_exception: [1:2] mapping set to strict, dynamic introduction of [x] within [_doc] is "
        "not allowed",
        "document_parsing_exception: [1:11] object mapping for [a] tried to parse field [b] as object, but found a "
        "concrete value",
        "document_parsing_exception: [1:5] failed to parse: Limit of total fields [8] has been exceeded",
        "cluster_block_exception: index [i] blocked by: [FORBIDDEN/8/index write (api)];",
        "security_exception: action [indices:data/write/bulk] is unauthorized for user [u] on indices [i]",
        "es_rejected_execution_exception: rejected execution of coordinating operation",
        "POST /_bulk: no reason given (HTTP 413)",
        "this text is refused",
        "",
    ],
)
def test_a_reason_without_a_value_stays(reason: str) -> None:
    assert masked_reason(reason) == reason


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
