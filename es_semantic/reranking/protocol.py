"""What every reranker looks like to the other rooms, and the order that its scores make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Reranker(Protocol):
    """A model that reads a query and a text together and says how well the text answers the query."""

    @property
    def name(self) -> str:
        """What tells this reranker from others in answers and errors: its model, or its URL where it names none."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether all its scores lie between 0 and 1."""
        ...

    def scores(self, query: str, texts: Sequence[str], *, deadline: float | None = None) -> list[float]:
        """Return one finite score for each text, in the order of the texts; a higher one is better.

        Scores of different rerankers cannot be compared: some are relevances from 0 to 1, some have no bounds. Equal
        texts have equal scores. A blank text, for which a server may refuse the whole request, never reaches the model:
        its score is at most 0 and below those of all other texts. Without texts nothing is asked.

        Args:
            query: what is searched for.
            texts: what is to be ordered. One that is longer than the model's window is judged by its beginning.
            deadline: seconds that this call may take in all; by default the ``timeout`` of the reranker's settings.

        Raises:
            RerankerUnavailable: it is down or overloaded after all tries, or the deadline has passed.
            RerankerError: it refuses the request, or answers with something else than one finite score for each text.
        """
        ...


def order(scores: Sequence[float]) -> list[int]:
    """Return the positions of the scores, best first; equal scores stay in the order in which they are given."""
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
