"""A document before it is cut: its name, where it comes from, and by what it is known again."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from es_semantic.embedding.unicode import encodable
from es_semantic.errors import UsageError

VERSION = 1
"""Raised whenever the same document would be cut into other chunks: then every document is read anew."""

LONGEST_NAME = 256
"""Characters of a dataset's or a document's name."""

LONGEST_ID = 512
"""Bytes of a document's id, as for Elasticsearch's own."""

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar | list[Scalar]]


class Unreadable(Exception):
    """A document that cannot become chunks. Its text says why, and quotes nothing of the document."""


@dataclass(frozen=True, slots=True)
class Details:
    """What its chunks carry beside the text. Where ``available`` is None, chunks that are new are available, and others
    stay as they are."""

    metadata: Metadata
    keywords: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    available: bool | None = None


NO_DETAILS = Details({})


@dataclass(frozen=True, slots=True)
class Document:
    """One document as its source has it.

    ``id`` is its own within the dataset. ``source`` is a file's path, ``jsonl:`` and the path of a file of documents,
    or ``upload:`` and a name. ``label`` is how people find it: the path, with the line where a file has many. ``data``
    is a file's content of this ``kind`` (a suffix such as ``.pdf``), or text in UTF-8. ``broken`` says why there is
    nothing to read; such a document may have no id.
    """

    id: str
    name: str
    source: str
    label: str
    kind: str
    data: bytes
    details: Details = NO_DETAILS
    broken: str = ""

    def hash(self, settings: str) -> str:
        """Return the SHA-256 of all that its chunks follow from; ``settings`` is what decides how it is cut."""
        details = [dict(self.details.metadata), self.details.keywords, self.details.questions, self.details.available]
        content = [VERSION, settings, self.kind, self.name, hashlib.sha256(self.data).hexdigest(), details]
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def identity(dataset: str, source: str) -> str:
    """Return the id of a document that has no other than where it comes from: 32 hex digits."""
    return hashlib.sha256(orjson.dumps([dataset, source])).hexdigest()[:32]


def require_dataset(dataset: str) -> str:
    """Return the name of a dataset.

    Raises:
        UsageError: it is empty, longer than 256 characters, or has control characters or blanks at its ends.
    """
    try:
        return text_of(dataset, "the name of a dataset")
    except Unreadable as error:
        raise UsageError(str(error), hint="For example: --dataset manuals") from error


def text_of(value: Any, what: str) -> str:
    """Return a short plain text.

    Raises:
        Unreadable: it is none; ``what`` names it.
    """
    if not isinstance(value, str):
        raise Unreadable(f"{what} must be text")
    if not value or value != value.strip() or len(value) > LONGEST_NAME:
        raise Unreadable(f"{what} must have 1 to {LONGEST_NAME} characters, and no blanks at its ends")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise Unreadable(f"{what} must not hold control characters")
    return value


def id_of(value: Any) -> str:
    """Return a document's id; a whole number is taken as text.

    Raises:
        Unreadable: it is neither, empty, or longer than 512 bytes.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and len(text.encode("utf-8", "replace")) > LONGEST_ID:
        raise Unreadable(f"the id is longer than {LONGEST_ID} bytes")
    return text_of(text, "the id")


def details_of(metadata: Any, keywords: Any, questions: Any, available: Any) -> Details:
    """Return what a document's chunks carry beside the text; None stands for what is not given.

    Raises:
        Unreadable: a metadata value is neither a scalar nor a list of scalars, or something is no list of texts.
    """
    if available is not None and not isinstance(available, bool):
        raise Unreadable("`available` must be true or false")
    return Details(_metadata(metadata), _texts(keywords, "keywords"), _texts(questions, "questions"), available)


def _metadata(value: Any) -> Metadata:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Unreadable("`metadata` must be an object")
    kept: dict[str, Scalar | list[Scalar]] = {}
    for key, each in value.items():
        if not all(part.strip() for part in text_of(key, "a key of `metadata`").split(".")):
            raise Unreadable("a key of `metadata` begins or ends with a dot, or has two in a row")
        if each is not None:
            kept[key] = [_scalar(one) for one in each] if isinstance(each, (list, tuple)) else _scalar(each)
    return kept


def _scalar(value: Any) -> Scalar:
    if isinstance(value, str):
        return encodable([value])[0]
    whole = isinstance(value, int) and -(2**63) <= value < 2**63
    if not (whole or (isinstance(value, float) and math.isfinite(value))):
        raise Unreadable("a value of `metadata` must be text, a number of 64 bits, true or false, or a list of these")
    return value  # type: ignore[no-any-return]


def _texts(value: Any, what: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value or ()
    if not isinstance(values, (list, tuple)) or not all(isinstance(each, str) for each in values):
        raise Unreadable(f"`{what}` must be a list of texts")
    return tuple(encodable(each for each in values if each.strip()))
