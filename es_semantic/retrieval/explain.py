"""How a score came about, in the shape of Elasticsearch's explanations: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from es_semantic.retrieval.found import Found, Key, shown
from es_semantic.retrieval.fusion.linear import normalized
from es_semantic.retrieval.fusion.ranked import single
from es_semantic.retrieval.tree.nodes import Compound, Json, Linear, Retriever, Rrf, kind


def explanation(root: Retriever, key: Key, found: Found) -> Json:
    """Return why a document of the answer has its score: 0 for one that is matched and not ranked."""
    own = explained(root, kind(root), key, found)
    return own if own is not None else _line(0, "matched, but not among the documents that are ranked", [])


def explained(node: Retriever, path: str, key: Key, found: Found) -> Json | None:
    """Return why the retriever gave the document its score; None where it has not found it."""
    place = found.place(path, key)
    if place is None:
        return None
    score = shown(place.score)
    if (path, key) in found.explanations:
        own: Json = found.explanations[path, key]
        return own
    ways = [(f"{path}.{way}.{kind(child)}", child) for way, child in node.children]
    below = [explained(child, at, key, found) for at, child in ways]
    names = [
        f"at index [{number}]" + (f" [{child.name}]" if child.name else "") for number, (_, child) in enumerate(ways)
    ]
    match node:
        case Rrf():
            return _rrf(node, score, [_rank(node, found, at, key) for at, _ in ways], names, below)
        case Linear():
            return _linear(
                node,
                score,
                [_normal(node, number, found, at, key) for number, (at, _) in enumerate(ways)],
                names,
                below,
            )
    said = f"{kind(node)} score: [{score}] at rank [{place.rank}]"
    return _line(score, said, [each for each in below if each is not None])


def _rrf(
    node: Rrf, score: float, ranks: Sequence[int | None], names: Sequence[str], below: Sequence[Json | None]
) -> Json:
    details = []
    for entry, rank, name, own in zip(node.retrievers, ranks, names, below, strict=True):
        if rank is None:
            details.append(_line(0, f"rrf score: [0], result not found in query {name}", []))
            continue
        term = shown(single(entry.weight * single(1 / (node.rank_constant + rank))))
        how = f"{entry.weight:g} * (1 / ({rank} + {node.rank_constant}))"
        said = (
            f"rrf score: [{term}], for rank [{rank}] in query {name} computed as [{how}], for matching query with score"
        )
        details.append(_line(rank, said, [own] if own else []))
    initial = [rank or 0 for rank in ranks]
    said = (
        f"rrf score: [{score}] computed for initial ranks {initial} with rankConstant: [{node.rank_constant}] "
        "as sum of [weight * (1 / (rank + rankConstant))] for each query"
    )
    return _line(score, said, details)


def _linear(
    node: Linear, score: float, normals: Sequence[float | None], names: Sequence[str], below: Sequence[Json | None]
) -> Json:
    details = []
    for entry, normal, name, own in zip(node.retrievers, normals, names, below, strict=True):
        if normal is None:
            details.append(_line(0, f"weighted score: [0], result not found in query {name}", []))
            continue
        term = shown(single(entry.weight * normal))
        normalizer = entry.normalizer or node.normalizer or "none"
        said = (
            f"weighted score: [{term}] in query {name} computed as [{entry.weight:g} * {shown(normal)}] "
            f"using score normalizer [{normalizer}] for original matching query with score"
        )
        details.append(_line(term, said, [own] if own else []))
    said = f"weighted linear combination score: [{score}] as sum of (weight[i] * score[i]) for each query"
    return _line(score, said, details)


def _rank(node: Compound, found: Found, path: str, key: Key) -> int | None:
    """The rank by which a document counts: beyond the window it does not."""
    place = found.place(path, key)
    return place.rank if place is not None and place.rank <= node.window else None


def _normal(node: Linear, number: int, found: Found, path: str, key: Key) -> float | None:
    rank = _rank(node, found, path, key)
    if rank is None:
        return None
    normalizer = node.retrievers[number].normalizer or node.normalizer or "none"
    scores = [score for _, score in found.rankings[path][: node.window]]
    return float(normalized(scores, normalizer)[rank - 1])


def _line(value: float, description: str, details: list[Json]) -> Json:
    return {"value": value, "description": description, "details": details}
