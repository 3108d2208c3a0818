"""The leaves of a retriever tree and the search body of each: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from es_semantic.retrieval.tree.nodes import (
    Diversify,
    Json,
    Knn,
    Pinned,
    PinnedDocument,
    Rescorer,
    Retriever,
    Standard,
    TextSimilarityReranker,
    kind,
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One search: ``size`` documents of a ``standard`` or ``knn`` retriever, or the documents to pin.

    ``filters`` are those of every retriever above it and its own. ``carry`` names the fields whose values must come
    with the hits, because a retriever above reads them. ``index`` is where to search instead of the query's own target.
    """

    path: str
    node: Standard | Knn | Pinned
    size: int
    filters: tuple[Json, ...]
    carry: tuple[str, ...] = ()
    rescore: tuple[Json, ...] = ()
    index: str | None = None

    @property
    def name(self) -> str:
        """What hits call this leaf: its ``_name``, else its path."""
        return self.node.name or self.path


PINS = "pins"
"""The last step of the path of a leaf that fetches the documents to pin."""

PER_PIN = 10
"""Documents fetched for each pin: one id may stand in several indices, or in several shards by its routing."""

TIE, OLD_TIE, NUMBER = "_shard_doc", "_doc", "_seq_no"
"""What hits of equal score are sorted by: their place in the index, or in its shard where a server knows no other; or
their sequence number, which then stands for the id as well."""


def leaves(root: Retriever) -> list[Leaf]:
    """Return the leaves of a tree in their order."""
    return list(_leaves(root, kind(root), Leaf("", Standard(), root.window, ())))


def _leaves(node: Retriever, path: str, above: Leaf) -> Iterator[Leaf]:
    here = replace(above, path=path, filters=above.filters + node.filter)
    if isinstance(node, Standard | Knn):
        yield replace(here, node=node)
        return
    here = replace(here, size=node.window)
    match node:
        case TextSimilarityReranker():
            fields = (node.field,) if isinstance(node.field, str) else node.field
            here = replace(here, carry=tuple(dict.fromkeys((*here.carry, *fields))))
        case Diversify():
            here = replace(here, carry=tuple(dict.fromkeys((*here.carry, node.field))))
        case Rescorer() if isinstance(node.children[0].node, Standard | Knn):
            here = replace(here, rescore=node.rescore)
        case Pinned():
            yield replace(here, path=f"{path}.{PINS}", node=node, size=max(node.window, PER_PIN * len(node.pins)))
    for way, child in node.children:
        # What is re-scored is only the retriever right below.
        below = here if isinstance(node, Rescorer) else replace(here, rescore=())
        yield from _leaves(child, f"{path}.{way}.{kind(child)}", below)


def leaf_body(leaf: Leaf, *, tie: str | None, explain: bool = False) -> Json:
    """Return the search of a leaf: ids and scores, and what must be carried; no ``_source``.

    Hits of equal score come in the order of ``tie``: ``_shard_doc``, as Elasticsearch's own compound retrievers have
    it, or ``_doc`` where a server does not sort by that; by None in the same order, which is then not told. With
    ``_seq_no`` no ids come, which are most of what a leaf costs: of each hit they are read from a compressed block.
    """
    body: Json = {
        "size": leaf.size,
        "_source": False,
        "track_total_hits": False,
        **({"sort": ["_score", tie]} if tie is not None else {}),
        **_query_of(leaf),
    }
    if leaf.node.min_score is not None and not isinstance(leaf.node, Pinned):
        body["min_score"] = leaf.node.min_score
    if leaf.carry:
        body["fields"] = list(leaf.carry)
    if leaf.rescore:
        body["rescore"] = list(leaf.rescore)
        if tie == OLD_TIE:
            # Servers that old do not rescore what is sorted, be it by the score; the order is the same.
            del body["sort"]
    if tie == NUMBER:
        body["stored_fields"] = "_none_"
    if explain:
        body["explain"] = True
    if isinstance(leaf.node, Standard):
        body |= _standard_options(leaf.node, tie)
    return body


def lone_body(node: Standard | Knn) -> Json:
    """Return the search that a leaf at the root is, as every version of Elasticsearch reads it: without a retriever.

    8.14 knows no names of retrievers; and ``min_score`` of ``knn`` is heeded only so.
    """
    body = _query_of(Leaf("", node, 0, node.filter))
    options = {"min_score": node.min_score}
    if isinstance(node, Standard):
        options |= {name: getattr(node, name) for name in ("sort", "collapse", "search_after", "terminate_after")}
    return body | {name: value for name, value in options.items() if value is not None}


def filtered(query: Mapping[str, Any] | None, filters: tuple[Json, ...]) -> Json:
    """Return the query with filters that do not change its scores."""
    if not filters:
        return dict(query) if query is not None else {"match_all": {}}
    return {"bool": {"must": [query if query is not None else {"match_all": {}}], "filter": list(filters)}}


def pinned_query(pins: tuple[PinnedDocument, ...], filters: tuple[Json, ...]) -> Json:
    """Return the query for documents to pin that are there and match the filters; its parts are named by index.

    Elasticsearch knows which index an alias or a data stream means.
    """
    by_index: dict[str | None, list[str]] = {}
    for pin in pins:
        by_index.setdefault(pin.index, []).append(pin.id)
    wanted = [
        {
            "bool": {
                "filter": [{"ids": {"values": ids}}, *([{"term": {"_index": index}}] if index else [])],
                "_name": pin_name(index),
            }
        }
        for index, ids in by_index.items()
    ]
    return {"bool": {"filter": [{"bool": {"should": wanted}}, *filters]}}


def pin_name(index: str | None) -> str:
    """Return the name of the query for the pins of this index, and of those without one."""
    return "pins" if index is None else f"pins:{index}"


def _query_of(leaf: Leaf) -> Json:
    match leaf.node:
        case Standard():
            return {"query": filtered(leaf.node.query, leaf.filters)}
        case Pinned():
            return {"query": pinned_query(leaf.node.pins, leaf.filters)}
    node = leaf.node
    knn = node.model_dump(by_alias=True, exclude_none=True, exclude={"filter", "name", "min_score"})
    if leaf.filters:
        knn["filter"] = list(leaf.filters)
    return {"knn": knn}


def _standard_options(node: Standard, tie: str | None) -> Json:
    options: Json = {}
    if node.sort is not None:
        given = node.sort if isinstance(node.sort, list) else [node.sort]
        options |= {"sort": [*given, tie] if tie is not None else given, "track_scores": True}
    if node.collapse is not None:
        # Nobody would see inner hits of a leaf.
        options["collapse"] = {name: value for name, value in node.collapse.items() if name != "inner_hits"}
    return options
