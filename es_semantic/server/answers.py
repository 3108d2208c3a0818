"""Answers as JSON: whatever documents hold is passed on, and nothing is validated once more on its way out."""

from __future__ import annotations

import json
from typing import Any

import orjson
from fastapi import Response

OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def json_answer(value: Any) -> Response:
    """Return a value as a JSON answer.

    What documents may hold and orjson does not write, integers beyond 64 bits and lone surrogates, Python writes.
    """
    try:
        body = orjson.dumps(value, option=OPTIONS)
    except TypeError:
        body = json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, media_type="application/json")
