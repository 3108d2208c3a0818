"""Judged queries, whatever file they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from es_semantic.errors import InvalidQuery, UsageError
from es_semantic.retrieval.query import require_query

Grades = Mapping[str, Mapping[str, int]]
"""Query id to document id to grade; 0 and less is not relevant."""

NAMED = 5
"""Ids that are named where some are missing."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Queries that are not evaluated: without any judgement, without a relevant document, judged but not in the file
    of queries."""

    unjudged: int = 0
    without_relevant: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgements:
    """Judged queries: ``queries`` are their texts by id, ``grades`` has the same ids.

    Every query has at least one document of a grade above 0.
    """

    name: str
    queries: Mapping[str, str]
    grades: Grades
    left_out: LeftOut = LeftOut()

    @property
    def documents(self) -> set[str]:
        """The ids of all judged documents."""
        return {document for grades in self.grades.values() for document in grades}


def judgements(name: str, queries: Mapping[str, str], grades: Grades) -> Judgements:
    """Keep the queries that can be evaluated, in the order of ``queries``, and count the others.

    Raises:
        UsageError: none is left.
    """
    unknown = tuple(query for query in grades if query not in queries)
    judged = [query for query in queries if query in grades]
    kept = [query for query in judged if any(grade > 0 for grade in grades[query].values())]
    if not kept:
        raise UsageError(
            f"{name}: no query has a relevant document",
            hint=f"{len(queries)} queries and {len(grades)} judged query ids were read; are they of the same set?",
        )
    left_out = LeftOut(len(queries) - len(judged), len(judged) - len(kept), unknown)
    return Judgements(name, {q: queries[q] for q in kept}, {q: grades[q] for q in kept}, left_out)


class Collected:
    """Judgements while they are read, line by line."""

    def __init__(self) -> None:
        self.grades: dict[str, dict[str, int]] = {}

    def add(self, query: str, document: str, grade: str, *, at: str) -> None:
        """Take one judgement; the same one twice counts once.

        Raises:
            UsageError: the grade is no whole number, or the document was judged otherwise before; ``at`` says where.
        """
        if not query or not document:
            raise UsageError(f"{at}: a judgement needs a query and a document id")
        value = whole_number(grade)
        if value is None:
            raise UsageError(f"{at}: the grade {grade[:40]!r} is not a whole number")
        before = self.grades.setdefault(query, {}).setdefault(document, value)
        if before != value:
            raise UsageError(f"{at}: document {document!r} was judged {before} for this query before, now {value}")


def whole_number(text: str) -> int | None:
    """Return the number that a text spells (``2``, ``2.0``), None for any other text and beyond 32 bits."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**31 else None


def usable_query(text: str, *, at: str) -> str:
    """Return the text as a search would take it.

    Raises:
        UsageError: it is empty or too long; ``at`` says where it stands.
    """
    try:
        return require_query(text)
    except InvalidQuery as error:
        raise UsageError(f"{at}: {error.what}", hint=error.hint) from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a UTF-8 file, a byte order mark and line ends left out.

    Raises:
        UsageError: it cannot be read, or a line is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise UsageError(f"{path}:{number}: not UTF-8") from error
                yield number, text.rstrip("\r\n")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> UsageError:
    """Return the error for a file that cannot be opened."""
    return UsageError(f"{path} cannot be read: {error.strerror or error}")
