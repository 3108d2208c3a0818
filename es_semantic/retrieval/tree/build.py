"""The short form of Elastic's retrievers: functions that build the same JSON, without what is not set.

::

    rrf(standard(match("shoes", ["title^2", "body"])), knn("semantic.vector", text="shoes"), rank_window_size=50)

What they build is read by :func:`~es_semantic.retrieval.tree.parse.parse`, which also finds what is wrong in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from es_semantic.errors import UsageError

Tree = dict[str, Any]
Query = Mapping[str, Any]
Filter = Query | Sequence[Query] | None
"""One query or several, all of which must match; they go down to every leaf and change no score."""

VectorLike = Sequence[float] | str
"""Numbers (a NumPy array too), or Elasticsearch's own hex or base64 string."""

DEFAULT_K = 10
MAX_CANDIDATES = 10_000


def match(text: str, fields: str | Sequence[str], **options: Any) -> Tree:
    """Return a ``multi_match`` query; ``options`` are Elastic's own (``type``, ``operator``, ``fuzziness``, ...).

    >>> match("red shoes", ["title^2", "body"], operator="and")
    {'multi_match': {'query': 'red shoes', 'fields': ['title^2', 'body'], 'operator': 'and'}}
    """
    return {"multi_match": {"query": text, "fields": [fields] if isinstance(fields, str) else list(fields), **options}}


def standard(
    query: Query | None = None,
    *,
    filter: Filter = None,
    min_score: float | None = None,
    sort: Any = None,
    collapse: Mapping[str, Any] | None = None,
    search_after: Sequence[Any] | None = None,
    terminate_after: int | None = None,
    name: str | None = None,
) -> Tree:
    """Return the retriever of an ordinary query; without one it finds all documents.

    >>> standard(match("shoes", "title"), filter={"term": {"colour": "red"}})["standard"]["filter"]
    {'term': {'colour': 'red'}}
    """
    options = {"sort": sort, "collapse": collapse, "search_after": search_after, "terminate_after": terminate_after}
    return _retriever("standard", query=query, **options, **_base(filter, min_score, name))


def knn(
    field: str,
    *,
    vector: VectorLike | None = None,
    text: str | None = None,
    model: str | None = None,
    k: int = DEFAULT_K,
    num_candidates: int | None = None,
    filter: Filter = None,
    similarity: float | None = None,
    oversample: float | None = None,
    visit_percentage: float | None = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return the retriever of the ``k`` nearest vectors to ``vector``, or to that of ``text``.

    ``model`` is the name of the model for ``text``; the field of a semantic field needs none. ``num_candidates`` is
    ``1.5 * k`` and at most 10,000 unless given, as for Elastic's ``knn`` search. ``similarity`` is the least one that a
    hit may have, ``oversample`` how many times ``k`` quantised vectors are scored again.

    >>> knn("semantic.vector", text="red shoes", k=20)["knn"]["num_candidates"]
    30

    Raises:
        UsageError: there is neither a vector nor a text, or both.
    """
    if (vector is None) == (text is None):
        raise UsageError("knn needs a vector or a text, and not both")
    return _retriever(
        "knn",
        field=field,
        **_query_vector(vector, text, model),
        k=k,
        num_candidates=max(k, min(k * 3 // 2, MAX_CANDIDATES)) if num_candidates is None else num_candidates,
        similarity=similarity,
        rescore_vector=None if oversample is None else {"oversample": oversample},
        visit_percentage=visit_percentage,
        **_base(filter, min_score, name),
    )


def rrf(
    *retrievers: Tree,
    weights: Sequence[float] | None = None,
    query: str | None = None,
    fields: Sequence[str] | None = None,
    rank_constant: int | None = None,
    rank_window_size: int | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return the reciprocal rank fusion of retrievers, or of what ``query`` finds in ``fields``.

    Elastic's defaults: every weight 1, ``rank_constant`` 60, ``rank_window_size`` 10. A larger window ranks better; it
    must be at least the ``size`` of the page.

    >>> rrf(standard(), standard(), weights=[2, 1])["rrf"]["retrievers"][0]
    {'retriever': {'standard': {}}, 'weight': 2}

    Raises:
        UsageError: there is not one weight for each retriever.
    """
    entries = _weighted(retrievers, weights) if weights is not None else list(retrievers)
    return _retriever(
        "rrf",
        retrievers=entries or None,
        query=query,
        fields=_listed(fields),
        rank_constant=rank_constant,
        rank_window_size=rank_window_size,
        **_base(filter, min_score, name),
    )


def linear(
    *retrievers: Tree,
    weights: Sequence[float] | None = None,
    normalizer: str | Sequence[str | None] | None = "minmax",
    query: str | None = None,
    fields: Sequence[str] | None = None,
    rank_window_size: int | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return the weighted sum of the retrievers' scores, or of what ``query`` finds in ``fields``.

    ``normalizer`` is ``minmax`` unless said otherwise, because scores of different retrievers lie in different ranges:
    ``minmax``, ``l2_norm`` or ``none``, one for all or one for each retriever. It is written into each of them, which
    every version understands that has this retriever.

    >>> linear(standard(), standard(), weights=[2, 1.5])["linear"]["retrievers"][1]
    {'retriever': {'standard': {}}, 'weight': 1.5, 'normalizer': 'minmax'}

    Raises:
        UsageError: there is not one weight, or one normalizer of several, for each retriever.
    """
    together = normalizer if isinstance(normalizer, str | None) else None
    entries = _weighted(retrievers, weights)
    normalizers = [together] * len(entries) if isinstance(normalizer, str | None) else list(normalizer)
    _require_as_many(normalizers, entries, "normalizers")
    for entry, each in zip(entries, normalizers, strict=True):
        entry |= _set(normalizer=each)
    return _retriever(
        "linear",
        retrievers=entries or None,
        query=query,
        fields=_listed(fields),
        normalizer=together if query is not None else None,
        rank_window_size=rank_window_size,
        **_base(filter, min_score, name),
    )


def auto(
    *retrievers: Tree,
    rank_window_size: int | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return our own fusion, which weighs the retrievers by the scores that each query gets from them."""
    return _retriever(
        "auto", retrievers=list(retrievers), rank_window_size=rank_window_size, **_base(filter, min_score, name)
    )


def rerank(
    retriever: Tree,
    text: str,
    *,
    field: str | Sequence[str],
    reranker: str | None = None,
    rank_window_size: int | None = None,
    allow_rerank_failures: bool | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return Elastic's ``text_similarity_reranker``: the best documents ordered anew by a model that reads them.

    ``reranker`` is a configured reranker's name or an inference endpoint's id; it reads ``field``, one or several.
    With ``allow_rerank_failures`` the order stays as it was where the reranker fails.

    >>> rerank(standard(), "red shoes", field="title")["text_similarity_reranker"]["inference_text"]
    'red shoes'
    """
    return _retriever(
        "text_similarity_reranker",
        retriever=retriever,
        inference_id=reranker,
        inference_text=text,
        field=field if isinstance(field, str) else list(field),
        rank_window_size=rank_window_size,
        allow_rerank_failures=allow_rerank_failures,
        **_base(filter, min_score, name),
    )


def rescore(
    retriever: Tree,
    query: Query,
    *,
    window_size: int | None = None,
    query_weight: float | None = None,
    rescore_query_weight: float | None = None,
    score_mode: str | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return Elastic's ``rescorer``: the scores of the best ``window_size`` documents changed by a second query.

    Elastic's defaults: ``window_size`` 10, both weights 1.0, ``score_mode`` ``total``.

    >>> rescore(standard(), {"match_phrase": {"title": "red shoes"}}, window_size=50)["rescorer"]["rescore"]
    {'window_size': 50, 'query': {'rescore_query': {'match_phrase': {'title': 'red shoes'}}}}
    """
    weights = _set(query_weight=query_weight, rescore_query_weight=rescore_query_weight, score_mode=score_mode)
    rescorer = {**_set(window_size=window_size), "query": {"rescore_query": query, **weights}}
    return _retriever("rescorer", retriever=retriever, rescore=rescorer, **_base(filter, min_score, name))


def pinned(
    retriever: Tree,
    *,
    ids: Sequence[str] | None = None,
    docs: Sequence[Mapping[str, str] | tuple[str, str]] | None = None,
    rank_window_size: int | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return the retriever that puts documents first, by their ``ids``, or by (index, id) in ``docs``.

    Documents may also be given as Elastic has them, ``{"_index": ..., "_id": ...}``.

    >>> pinned(standard(), docs=[("shoes", "7")])["pinned"]["docs"]
    [{'_index': 'shoes', '_id': '7'}]

    Raises:
        UsageError: there are neither ids nor docs, or both.
    """
    if bool(ids) == bool(docs):
        raise UsageError("pinned needs ids or docs, and not both")
    return _retriever(
        "pinned",
        retriever=retriever,
        ids=_listed(ids),
        docs=None if docs is None else [_document(each) for each in docs],
        rank_window_size=rank_window_size,
        **_base(filter, min_score, name),
    )


def diversify(
    retriever: Tree,
    *,
    field: str,
    lambda_: float,
    size: int | None = None,
    vector: VectorLike | None = None,
    text: str | None = None,
    model: str | None = None,
    rank_window_size: int | None = None,
    filter: Filter = None,
    min_score: float | None = None,
    name: str | None = None,
) -> Tree:
    """Return the retriever that leaves out documents too similar to others by the vectors in ``field`` (MMR).

    ``lambda_`` is from 0 (only diversity counts) to 1 (only likeness to the query, if there is a ``vector`` or
    ``text``); ``size`` documents are kept, 10 unless given.

    >>> diversify(standard(), field="semantic.vector", lambda_=0.7)["diversify"]["lambda"]
    0.7

    Raises:
        UsageError: there are both a vector and a text.
    """
    if vector is not None and text is not None:
        raise UsageError("diversify takes a vector or a text, and not both")
    options = {"lambda": lambda_, "size": size, "rank_window_size": rank_window_size}
    found = _query_vector(vector, text, model)
    return _retriever(
        "diversify", retriever=retriever, type="mmr", field=field, **found, **options, **_base(filter, min_score, name)
    )


def _retriever(kind: str, **options: Any) -> Tree:
    return {kind: _set(**options)}


def _set(**options: Any) -> Tree:
    return {name: value for name, value in options.items() if value is not None}


def _base(filter: Filter, min_score: float | None, name: str | None) -> Tree:
    filters = filter if filter is None or isinstance(filter, Mapping) else list(filter)
    return {"filter": filters, "min_score": min_score, "_name": name}


def _query_vector(vector: VectorLike | None, text: str | None, model: str | None) -> Tree:
    if text is not None:
        return {"query_vector_builder": {"text_embedding": {**_set(model_id=model), "model_text": text}}}
    return {"query_vector": vector if vector is None or isinstance(vector, str) else [float(each) for each in vector]}


def _document(pin: Mapping[str, str] | tuple[str, str]) -> Tree:
    return dict(pin) if isinstance(pin, Mapping) else dict(zip(("_index", "_id"), pin, strict=True))


def _weighted(retrievers: Sequence[Tree], weights: Sequence[float] | None) -> list[Tree]:
    if weights is not None:
        _require_as_many(weights, retrievers, "weights")
    return [
        {"retriever": retriever, **_set(weight=None if weights is None else weights[place])}
        for place, retriever in enumerate(retrievers)
    ]


def _require_as_many(values: Sequence[Any], retrievers: Sequence[Any], what: str) -> None:
    if len(values) != len(retrievers):
        raise UsageError(f"there are {len(retrievers)} retrievers and {len(values)} {what}")


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
