"""The rules of a retriever tree that look at more than one node, and its limits.

Elastic docs, "Retrievers" (9.x); errors and their order are measured on Elasticsearch 9.4.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from es_semantic.errors import InvalidRetriever
from es_semantic.retrieval.tree import scripts
from es_semantic.retrieval.tree.nodes import (
    Compound,
    Diversify,
    Json,
    Linear,
    Pinned,
    Rescorer,
    Retriever,
    Rrf,
    Standard,
    kind,
    walk,
)
from es_semantic.retrieval.tree.plain import ILLEGAL_ARGUMENT, short
from es_semantic.retrieval.tree.reading import java_float

MAX_LEAVES = 32
"""Retrievers without others below."""

MAX_RESULT_WINDOW = 10_000
"""Elasticsearch's default of ``index.max_result_window``."""

DEFAULT_SIZE = 10

Problem = tuple[str, str]
"""The path to what is wrong, and the reason."""


def check(root: Retriever, *, size: int | None, from_: int = 0, allow_scripts: bool = True) -> None:
    """Make sure that a tree can be run for this page.

    ``size`` is None where the request has none: then, as in Elasticsearch, a compound retriever's window is the size.

    Raises:
        InvalidRetriever: windows, sizes or retrievers do not go together, a limit is exceeded (32 leaves, windows and
            pages of 10,000), or there is a script and ``allow_scripts`` is off.
    """
    _check_limits(root)
    _check_page(size, from_)
    problems = list(_problems(root, kind(root), size))
    if problems:
        reasons = "".join(f"{number}: {reason};" for number, (_, reason) in enumerate(problems, start=1))
        where = ", ".join(dict.fromkeys(path for path, _ in problems))
        raise InvalidRetriever(where, "action_request_validation_exception", f"Validation Failed: {reasons}")
    _check_children(root, kind(root), ())
    if not allow_scripts:
        for path, node in walk(root):
            _check_scripts(node, path)


def _check_limits(root: Retriever) -> None:
    leaves = sum(not node.children for _, node in walk(root))
    if leaves > MAX_LEAVES:
        reason = f"a tree may have at most [{MAX_LEAVES}] retrievers without others below, but has [{leaves}]"
        raise InvalidRetriever(kind(root), ILLEGAL_ARGUMENT, reason)
    for path, node in walk(root):
        if node.window > MAX_RESULT_WINDOW:
            name = _window_name(node)
            reason = f"[{name}] cannot exceed [{MAX_RESULT_WINDOW}]"
            raise InvalidRetriever(_window_path(node, path), ILLEGAL_ARGUMENT, reason)


def _check_page(size: int | None, from_: int) -> None:
    for name, value in (("size", size), ("from", from_)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InvalidRetriever(name, ILLEGAL_ARGUMENT, f"[{name}] must be an integer")
    if size is not None and size < 0:
        raise InvalidRetriever("size", ILLEGAL_ARGUMENT, f"[size] parameter cannot be negative, found [{size}]")
    if from_ < 0:
        raise InvalidRetriever("from", ILLEGAL_ARGUMENT, f"[from] parameter cannot be negative but was [{from_}]")
    last = from_ + (DEFAULT_SIZE if size is None else size)
    if last > MAX_RESULT_WINDOW:
        reason = (
            f"Result window is too large, from + size must be less than or equal to: [{MAX_RESULT_WINDOW}] but was "
            f"[{short(last)}]. See the scroll api for a more efficient way to request large data sets. This limit can "
            "be set by changing the [index.max_result_window] index level setting."
        )
        raise InvalidRetriever("from" if from_ else "size", ILLEGAL_ARGUMENT, reason)


def _problems(node: Retriever, path: str, size: int | None, *, windows: bool = True) -> Iterator[Problem]:
    """Yield what Elasticsearch finds when it validates a request, in its order."""
    # diversify keeps as many as its own size says: neither the page nor the windows below it need to fit.
    windows = windows and not isinstance(node, Diversify)
    if isinstance(node, Compound | Rescorer) and not isinstance(node, Diversify):
        yield from _window_problems(node, path, size if windows else None)
    for way, child in node.children:
        yield from _problems(child, f"{path}.{way}.{kind(child)}", size, windows=windows)
        if windows and not isinstance(node, Pinned):
            yield from _child_window_problems(node, path, child)
    match node:
        case Rrf() | Linear():
            yield from _format_problems(node, path)
        case Diversify():
            yield from _diversify_problems(node, path)


def _window_problems(node: Retriever, path: str, size: int | None) -> Iterator[Problem]:
    name, window = _window_name(node), node.window
    if size is not None and size > window:
        yield path, f"[{kind(node)}] requires [{name}: {window}] be greater than or equal to [size: {size}]"
    if window < 0:
        yield path, f"[{name}] parameter cannot be negative, found [{window}]"


def _child_window_problems(node: Retriever, path: str, child: Retriever) -> Iterator[Problem]:
    if isinstance(child, Compound | Rescorer) and node.window > child.window:
        yield (
            path,
            f"[{kind(node)}] requires [{_window_name(node)}: {node.window}] to be smaller than or equal to its sub "
            f"retriever's {kind(child)} [{_window_name(child)}: {child.window}]",
        )


def _format_problems(node: Rrf | Linear, path: str) -> Iterator[Problem]:
    """Retrievers, or one query for several fields, but not both."""
    name = kind(node)
    if node.query is None and node.fields:
        yield path, f"[{name}] [query] must be provided when [fields] is specified"
    elif node.query is not None:
        if not node.query:
            yield path, f"[{name}] [query] cannot be empty"
        if node.retrievers:
            yield path, f"[{name}] cannot combine [retrievers] and [query]"
    elif not node.retrievers:
        yield path, f"[{name}] must provide [retrievers] or [query]"
    if isinstance(node, Linear) and node.query is not None and node.normalizer is None:
        yield path, "[linear] [normalizer] must be provided when [query] is specified"


def _diversify_problems(node: Diversify, path: str) -> Iterator[Problem]:
    mmr = "[diversify] MMR result diversification"
    if isinstance(node.query_vector, str):
        yield path, "[diversify] retriever cannot have a [query_vector] that is string encoded"
    if node.query_vector is not None and node.query_vector_builder is not None:
        yield path, f"{mmr} can have one of [query_vector] or [query_vector_builder], but not both"
    if node.wanted < 1:
        yield path, f"{mmr} [size] of {node.wanted} must be greater than zero"
    elif node.wanted > node.window:
        yield path, f"{mmr} [size] of {node.wanted} cannot be greater than the [rank_window_size] of {node.window}"
    if node.lambda_ is None or not 0 <= node.lambda_ <= 1:
        value = "null" if node.lambda_ is None else java_float(node.lambda_)
        yield path, f"{mmr} must have a [lambda] between 0.0 and 1.0. The value provided was {value}"


def _check_children(node: Retriever, path: str, filters: tuple[Json, ...]) -> None:
    """What a ``standard`` retriever may not ask for below others."""
    filters += node.filter
    for way, child in node.children:
        below = f"{path}.{way}.{kind(child)}"
        if isinstance(child, Standard):
            for name in ("search_after", "terminate_after"):
                if getattr(child, name):
                    reason = f"[{name}] cannot be used in children of compound retrievers"
                    raise InvalidRetriever(f"{below}.{name}", ILLEGAL_ARGUMENT, reason)
            if isinstance(node, Rescorer) and not _is_by_score(child.sort):
                reason = "Cannot use [sort] option in conjunction with [rescore]."
                raise InvalidRetriever(f"{below}.sort", ILLEGAL_ARGUMENT, reason)
            if isinstance(node, Pinned):
                _check_pinned(child, below, filters + child.filter)
        _check_children(child, below, filters)


def _check_pinned(child: Standard, path: str, filters: tuple[Json, ...]) -> None:
    for name, _ in _criteria(child.sort):
        if name not in ("_score", "_shard_doc"):
            reason = f"[pinned] retriever only supports sorting by score, invalid sort criterion: {short(name)}"
            raise InvalidRetriever(f"{path}.sort", ILLEGAL_ARGUMENT, reason)
    if child.query is None and not filters:
        raise InvalidRetriever(path, ILLEGAL_ARGUMENT, "pinned retriever requires retriever with associated query")


def _is_by_score(sort: Any) -> bool:
    """Whether a sort is no other than Elasticsearch's own: none, or the best score first."""
    criteria = list(_criteria(sort))
    if len(criteria) > 1:
        return False
    return all(
        name == "_score" and (order.get("order", "desc") if isinstance(order, Mapping) else order) == "desc"
        for name, order in criteria
    )


def _criteria(sort: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a sort with what is said about each; ``desc`` for a name alone, as for ``_score``."""
    for each in sort if isinstance(sort, list | tuple) else [sort or {}]:
        yield from [(each, "desc")] if isinstance(each, str) else each.items()


def _check_scripts(node: Retriever, path: str) -> None:
    for place, each in enumerate(node.filter):
        scripts.refuse_scripts(scripts.query, each, _numbered(f"{path}.filter", place, len(node.filter)))
    match node:
        case Standard():
            scripts.refuse_scripts(scripts.query, node.query, f"{path}.query")
            scripts.refuse_scripts(scripts.sort, node.sort, f"{path}.sort")
            scripts.refuse_scripts(scripts.collapse, node.collapse, f"{path}.collapse")
        case Rescorer():
            for place, each in enumerate(node.rescore):
                here = _numbered(f"{path}.rescore", place, len(node.rescore))
                scripts.refuse_scripts(scripts.rescore, each, here)


def _numbered(path: str, place: int, count: int) -> str:
    return f"{path}[{place}]" if count > 1 else path


def _window_name(node: Retriever) -> str:
    return "window_size" if isinstance(node, Rescorer) else "rank_window_size"


def _window_path(node: Retriever, path: str) -> str:
    return f"{path}.rescore" if isinstance(node, Rescorer) else f"{path}.rank_window_size"
