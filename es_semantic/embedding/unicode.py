"""Text that every tokenizer and every JSON encoder takes."""

from __future__ import annotations

from collections.abc import Iterable


def encodable(texts: Iterable[str]) -> list[str]:
    """Return the texts with every lone surrogate replaced by ``?``, because it has no UTF-8 form.

    A document's source text and a query are cleaned in the same way before they come here, so the vector of a text does
    not depend on the way it came.
    """
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
