"""Credentials and texts of documents out of what people and programs read: logs, errors, dead letters, health pages.

Elasticsearch quotes a document in many of its refusals, and in words that change with versions, plugins and the owner's
own pipelines. So :func:`masked_reason` keeps what is known to hold no value, and masks all the rest; :func:`masked`,
through which every line of the log goes, can only mask what it recognises.
"""

from __future__ import annotations

import base64
import binascii
import re

MASK = "[masked]"

_KEY_NAMES = r"[\w.-]{0,40}(?:api[_-]?key|password|passwd|secret|credentials?|(?:access|auth|bearer|refresh)[_-]?token)"
_QUOTED = r"""\\?"(?:[^"\\]|\\[^"])*\\?"|'[^']*'"""

_BEFORE_VALUES = (
    r"[Pp]review of (?:field's value|invalid vector): ",
    r"For input string: ",
    r"failed to parse date field ",
    r"unable to (?:convert|parse date) ",
    r"Failed to parse value ",
    r"unknown join name ",
    r"weight must be an integer, but was ",
    r"prefix of the first immense term is: ",
    r"in geohash ",
    r"Expected \[ip/prefix\] but was ",
    r"Unrecognized token ",
    r"at \[Source: ",
    r"do not match field value: ",
    r"against source: ",
)

# Repetitions before a fixed word are bounded, so that no line takes more than linear time.
_RULES: list[tuple[re.Pattern[str], str]] = [
    # To the last @ before a blank: an unescaped password may hold slashes and further @.
    (re.compile(r"(://)[^\s\"'<>]{0,1000}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(authorization\b[\"']?\s*[:=]\s*)[^\r\n]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(apikey|bearer|basic)\s+[^\s\"',;)}\]]+"), rf"\1 {MASK}"),
    (re.compile(rf"(?i)\b({_KEY_NAMES}\\?[\"']?\s*[:=]\s*)(?:{_QUOTED}|[^\s,;&)}}\]]+)"), rf"\1{MASK}"),
    (re.compile(r"\bsk-[\w-]{8,}"), MASK),
    # Elasticsearch's decoded API key: an id and a key of 20 to 22 characters each (docs, "Create API key").
    (re.compile(r"(?<![\w-])[\w-]{20}:[\w-]{22}(?![\w-])"), MASK),
    # What Elasticsearch 8.14 to 9.4 says before a value that it quotes; where the value ends, nobody can tell.
    (re.compile(rf"(?s)({'|'.join(_BEFORE_VALUES)}).*"), rf"\1{MASK}"),
]

_REASON = re.compile(r"(?s)((?:[a-z0-9]+_)+[a-z0-9]+|exception): (.*)")

_QUOTE_NO_VALUE = frozenset(
    f"{kind}_exception"
    for kind in (
        "action_request_validation",
        "circuit_breaking",
        "cluster_block",
        "document_missing",
        "es_rejected_execution",
        "index_closed",
        "index_not_found",
        "no_shard_available_action",
        "process_cluster_event_timeout",
        "routing_missing",
        "security",
        "strict_dynamic_mapping",
        "timeout",
        "unavailable_shards",
        "version_conflict_engine",
    )
)
"""Types of errors that name indices, fields, ids and privileges, but no value."""

_AT = r"(?:\[\d+:\d+\] )?"
_KNOWN = [
    re.compile(pattern)
    for pattern in (
        _AT + r"failed to parse field \[.*?\] of type \[\w+\]",
        _AT + r"object mapping for \[.*?\] tried to parse field \[.*?\] as object, but found a concrete value",
        _AT + r"Cannot write to a field alias \[.*?\]",
        _AT + r"failed to parse: Limit of [a-z ]{1,40} \[\d+\] has been exceeded",
        _AT + r"failed to parse: The number of nested documents has exceeded the allowed limit of \[\d+\]",
        _AT + r"failed to parse: \[routing\] is missing for join field \[.*?\]",
        _AT + r"failed to parse: The \[cosine\] similarity does not support vectors with zero magnitude",
        _AT + r"failed to parse: element_type \[\w+\] vectors do not support \w+ values",
        r'Document contains at least one immense term in field=".*?" \(whose UTF8 encoding is longer than the max '
        r"length \d+\)",
        _AT + "failed to parse(?=:)",
    )
]
"""Beginnings of reasons that hold names of fields and no value; a value can stand only behind them."""

_OTHER_DIMENSIONS = re.compile(
    r"((?:\[\d+:\d+\] )?failed to parse: The \[dense_vector\] field \[.*?\]) (?:in doc \[document with id '.*'\] )?"
    r"(has a different number of dimensions \[\d+\] than defined in the mapping \[\d+\])"
)

_CAUSES = re.compile(
    r"(?:Cannot parse object (?:or array )?as (?:a date value|number)|as only \[true\] or \[false\] are allowed"
    r"|Expected text at \d{1,9}:\d{1,9} but found [A-Z_]{1,20}|is not an IP string literal"
    r"|bytes can be at most \d{1,9} in length; got \d{1,9})\.?$"
)
"""Ends of reasons that say the same of every value."""

_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{40,}={0,2}")


def masked(text: str) -> str:
    """Return the text with credentials replaced by ``[masked]``, and lone surrogates by ``?``.

    Covers user names and passwords in URLs, ``Authorization`` values, ``ApiKey``, ``Bearer`` and ``Basic`` tokens,
    values of keys that are called like secrets, OpenAI's ``sk-`` keys, Elasticsearch's API keys in both forms, and what
    Elasticsearch's mapping errors quote of a document. Rather masks a harmless word than shows a secret.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _BASE64.sub(_masked_key, text)


def masked_line(text: str, *, limit: int = 300) -> str:
    """Return the first line of :func:`masked`, without control characters and of at most ``limit`` characters."""
    line = next(iter(masked(text).strip().splitlines()), "")
    return "".join(character for character in line if character.isprintable())[:limit]


def masked_reason(text: str) -> str:
    """Return why Elasticsearch refused a document, without anything of the document but names of fields.

    ``text`` is a reason with its type in front and those of its causes behind, for instance
    ``document_parsing_exception: [1:9] failed to parse ...``. Of a form that is known, the field and its type stay; of
    any other, the error's type does. A text without a type is not Elasticsearch's and is only :func:`masked`. Ids and
    names of fields stay. Masking again changes nothing.
    """
    typed = _REASON.fullmatch(text)
    return f"{typed[1]}: {_masked_of(typed[1], typed[2])}" if typed else masked(text)


def _masked_of(kind: str, reason: str) -> str:
    if kind in _QUOTE_NO_VALUE:
        return masked(reason)
    if dimensions := _OTHER_DIMENSIONS.match(reason):
        return f"{dimensions[1]} {dimensions[2]}"
    known = next((found[0] for pattern in _KNOWN if (found := pattern.match(reason))), "")
    rest = reason[len(known) :]
    if not rest.strip(". "):
        return reason
    cause = _CAUSES.search(rest)
    return (f"{known}: " if known else "") + MASK + (f" {cause[0]}" if cause else "")


def _masked_key(match: re.Match[str]) -> str:
    """Tell an encoded ``id:key`` from a hash or a document's id, which look alike."""
    word = match[0].rstrip("=")
    try:
        decoded = base64.urlsafe_b64decode(word.replace("+", "-").replace("/", "_") + "=" * (-len(word) % 4))
    except binascii.Error:
        return match[0]
    return MASK if re.fullmatch(rb"[\w-]{10,}:[\x21-\x7e]{10,}", decoded) else match[0]
