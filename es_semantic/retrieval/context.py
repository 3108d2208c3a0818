"""Search, and put what was found into one text for a prompt: the procedure behind :func:`es_semantic.context`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from es_semantic.cluster.steps import Compute, Steps
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.assembly import Citation, Count, Document, assemble, estimated_tokens, one_line
from es_semantic.retrieval.query_vectors import Models
from es_semantic.retrieval.reranked import Rerankers
from es_semantic.retrieval.results import Hit, SearchResult
from es_semantic.retrieval.search import LEXICAL, wished_steps
from es_semantic.retrieval.semantic import groups
from es_semantic.retrieval.wish import Wish
from es_semantic.schema.binding import Bindings
from es_semantic.schema.lookup import bindings_of
from es_semantic.schema.text import is_blank, source_text

DEFAULT_PASSAGES = 3


@dataclass(frozen=True, slots=True)
class Context:
    """Passages for a prompt: ``text`` of ``tokens`` tokens, what each ``[n]`` in it cites, and the search behind it."""

    text: str
    citations: tuple[Citation, ...]
    tokens: int
    result: SearchResult


def context_steps(
    index: str,
    text: str,
    wish: Wish,
    models: Models,
    rerankers: Rerankers,
    *,
    max_tokens: int,
    count: Count | None,
    title: str | None,
) -> Steps[Context]:
    """Assemble the context of a query; see :func:`es_semantic.context`.

    Raises:
        InvalidQuery: ``max_tokens`` or the number of passages is less than 1; else as a search.
    """
    for name, value in (("max_tokens", max_tokens), ("passages", wish.passages)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidQuery(f"{name} must be 1 or more, not {value!r}")
    result = yield from wished_steps(index, text, wish, models, rerankers)
    # Remembered from the search: at most two seconds old.
    bindings = yield from bindings_of(index)
    documents = [document(hit, bindings, title) for hit in result.hits if hit.passages and hit.index in bindings]
    if count is None:
        count = yield Compute(partial(_counter, index, wish, models, bindings))
    assembled, citations, tokens = yield Compute(partial(assemble, documents, max_tokens, count))
    return Context(assembled, citations, tokens, result)


def document(hit: Hit, bindings: Mapping[str, Bindings], title: str | None) -> Document:
    """Return a hit that has passages as a document to cite, under the value of the field ``title``, else its id."""
    field = hit.passages[0].field
    binding = bindings[hit.index].fields.get(field)
    text = source_text(hit.source, binding.source) if binding is not None else ""
    header = source_text(hit.source, [title]) if title is not None else ""
    return Document(
        index=hit.index,
        id=hit.id,
        title=one_line(hit.id if is_blank(header) else header),
        text=text,
        # Where the semantic field was attached anew in this moment, offsets may be those of other source fields.
        spans=tuple((each.start, each.end) for each in hit.passages if text[each.start : each.end] == each.text),
        field=field,
        routing=hit.routing,
    )


def counter(embedders: Iterable[object]) -> Count:
    """Return how tokens are counted: by the embedders' own tokenizers, the greatest number counts.

    One whose tokenizer is out of reach, such as one behind HTTP, is estimated for.
    """
    tokenizers = [tokenizer_of(embedder) for embedder in embedders]
    counts = [estimated_tokens if each is None else each.count for each in tokenizers] or [estimated_tokens]
    return lambda text: max(count(text) for count in counts)


def _counter(index: str, wish: Wish, models: Models, bindings: Mapping[str, Bindings]) -> Count:
    if wish.mode == LEXICAL:
        return estimated_tokens
    return counter(models.bound(group.binding) for group in groups(bindings, wish.names, index=index))
