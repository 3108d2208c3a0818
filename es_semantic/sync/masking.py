"""Credentials and field values out of lines that people and programs read: logs and the health endpoint."""

from __future__ import annotations

import base64
import binascii
import re

MASK = "[masked]"

_KEY_NAMES = r"[\w.-]{0,40}(?:api[_-]?key|password|passwd|secret|credentials?|(?:access|auth|bearer|refresh)[_-]?token)"
_QUOTED = r"""\\?"(?:[^"\\]|\\[^"])*\\?"|'[^']*'"""

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
    # Elasticsearch quotes the document in errors of its mapper (`document_parsing_exception`).
    (re.compile(r"(?s)([Pp]review of field's value: ).*"), rf"\1{MASK}"),
]

_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{40,}={0,2}")


def masked(text: str) -> str:
    """Return the text with credentials replaced by ``[masked]``, and lone surrogates by ``?``.

    Covers user names and passwords in URLs, ``Authorization`` values, ``ApiKey``, ``Bearer`` and ``Basic`` tokens,
    values of keys that are called like secrets, OpenAI's ``sk-`` keys, Elasticsearch's API keys in both forms, and the
    preview of a field's value in Elasticsearch's mapping errors. Rather masks a harmless word than shows a secret.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _BASE64.sub(_masked_key, text)


def masked_line(text: str, *, limit: int = 300) -> str:
    """Return the first line of :func:`masked`, without control characters and of at most ``limit`` characters."""
    line = next(iter(masked(text).strip().splitlines()), "")
    return "".join(character for character in line if character.isprintable())[:limit]


def _masked_key(match: re.Match[str]) -> str:
    """Tell an encoded ``id:key`` from a hash or a document's id, which look alike."""
    word = match[0].rstrip("=")
    try:
        decoded = base64.urlsafe_b64decode(word.replace("+", "-").replace("/", "_") + "=" * (-len(word) % 4))
    except binascii.Error:
        return match[0]
    return MASK if re.fullmatch(rb"[\w-]{10,}:[\x21-\x7e]{10,}", decoded) else match[0]
