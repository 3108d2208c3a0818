"""The multi-field query format of ``rrf`` and ``linear``: one text, several fields, words and meaning apart. Pure.

Elastic docs, "Retrievers", section "Multi-field query format". In place of ``semantic_text`` stand semantic fields, by
their name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from es_semantic.retrieval.tree.nodes import (
    Knn,
    Linear,
    LinearEntry,
    QueryVectorBuilder,
    Retriever,
    Rrf,
    RrfEntry,
    Standard,
    TextEmbedding,
    changed,
    contained,
    walk,
)
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.vectors import vector_field

ALL_FIELDS = ("*",)
MAX_CANDIDATES = 10_000


def has_multi_field(root: Retriever) -> bool:
    """Return whether a retriever of the tree is written in this format."""
    return any(isinstance(node, Rrf | Linear) and node.query is not None for _, node in walk(root))


def expanded(root: Retriever, bindings: Mapping[str, Bindings]) -> Retriever:
    """Return the tree with retrievers in place of this format: one over all words, one over all semantic fields.

    Without ``fields`` these are all fields and all semantic fields. A boost (``title^2``) is a weight.
    """
    semantic = {name: each.fields[place] for each in bindings.values() for name, place in each.served().items()}

    def expand(_: str, node: Retriever) -> Retriever:
        if not isinstance(node, Rrf | Linear) or node.query is None:
            return node
        lexical, by_meaning = split_fields(node.fields or ALL_FIELDS, semantic)
        groups: list[Retriever] = []
        if lexical:
            match = {"query": node.query, "fields": list(lexical), "type": "most_fields"}
            groups.append(Standard(query={"multi_match": match}))
        if by_meaning:
            nearest = [_nearest(name, semantic[name], node.query, node.window) for name in by_meaning]
            groups.append(_group(node, nearest, list(by_meaning.values())))
        return _group(node, groups, [1.0] * len(groups)).model_copy(
            update={"filter": node.filter, "min_score": node.min_score, "name": node.name}
        )

    return changed(root, expand)


def split_fields(fields: Sequence[str], semantic: Mapping[str, Binding]) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return the fields to search by words, as they are, and the semantic fields with their weights.

    A pattern stands for the semantic fields that it matches, and for words as well.
    """
    lexical: list[str] = []
    by_meaning: dict[str, float] = {}
    for field in fields:
        name, _, boost = field.partition("^")
        names = [each for each in semantic if fnmatchcase(each, name)]
        for each in names:
            by_meaning[each] = by_meaning.get(each, 1.0) * float(boost or 1)
        if not names or "*" in name:
            lexical.append(field)
    return tuple(lexical), by_meaning


def _nearest(name: str, binding: Binding, text: str, window: int) -> Knn:
    return Knn(
        field=vector_field(name, binding),
        query_vector_builder=QueryVectorBuilder(text_embedding=TextEmbedding(model_text=text)),
        k=window,
        num_candidates=min(MAX_CANDIDATES, max(window, int(1.5 * window))),
    )


def _group(node: Rrf | Linear, members: Sequence[Retriever], weights: Sequence[float]) -> Rrf | Linear:
    if isinstance(node, Rrf):
        entries = tuple(
            RrfEntry(retriever=contained(each), weight=weight) for each, weight in zip(members, weights, strict=True)
        )
        return Rrf(retrievers=entries, rank_window_size=node.window, rank_constant=node.rank_constant)
    parts = tuple(
        LinearEntry(retriever=contained(each), weight=weight, normalizer=node.normalizer)
        for each, weight in zip(members, weights, strict=True)
    )
    return Linear(retrievers=parts, rank_window_size=node.window)
