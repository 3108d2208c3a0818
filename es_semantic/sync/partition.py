"""Share the documents of one index among several workers, by a hash of their ids."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from es_semantic.errors import UsageError


@dataclass(frozen=True, slots=True)
class Partition:
    """Part ``number`` (from 1) of ``count``: every document id belongs to exactly one part."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, doc_id: str) -> bool:
        """Say whether the document belongs to this part."""
        if self.count == 1:
            return True
        digest = hashlib.sha256(doc_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


WHOLE = Partition()


def parse_partition(text: str) -> Partition:
    """Return the partition written as ``i/n``, with 1 <= i <= n <= 1024.

    Raises:
        UsageError: it is not one.
    """
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= 1024:
        raise UsageError(
            f"partition {text!r} does not exist",
            hint="Write i/n with 1 <= i <= n <= 1024, and run a worker for every i: 1/3, 2/3 and 3/3.",
        )
    return Partition(number, count)
