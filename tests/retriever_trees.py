"""Random retriever trees and pages over the corpus of :mod:`tests.retrieval_corpus`, as hypothesis strategies."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st

from tests.retrieval_corpus import TAGS, WORDS

SEED = int(os.environ.get("ES_SEMANTIC_SEED", "20261121"))

Json = dict[str, Any]

word = st.sampled_from(WORDS)
words = st.lists(word, min_size=1, max_size=3).map(" ".join)
small = st.integers(0, 9)
vector = st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3)

filters = st.one_of(
    st.sampled_from(TAGS[:4]).map(lambda tag: {"term": {"tag": tag}}),
    st.integers(2, 9).map(lambda n: {"range": {"n": {"lte": n}}}),
    word.map(lambda text: {"match": {"body": text}}),
    st.just({"exists": {"field": "tag"}}),
)


def _simple() -> st.SearchStrategy[Json]:
    return st.one_of(
        words.map(lambda text: {"match": {"title": text}}),
        word.map(lambda text: {"match": {"body": {"query": text, "boost": 2}}}),
        st.sampled_from(TAGS + "f").map(lambda tag: {"term": {"tag": tag}}),
        st.just({"match_all": {}}),
        small.map(lambda n: {"constant_score": {"filter": {"range": {"n": {"gte": n}}}, "boost": 3}}),
        word.map(lambda text: {"nested": {"path": "comments", "query": {"match": {"comments.text": text}}}}),
    )


@st.composite
def _bool(draw: st.DrawFn) -> Json:
    query: Json = {draw(st.sampled_from(["must", "should"])): draw(st.lists(_simple(), min_size=1, max_size=3))}
    if draw(st.booleans()):
        query["filter"] = [draw(filters)]
    return {"bool": query}


queries = st.one_of(_simple(), _simple(), _bool())


@st.composite
def leaves(draw: st.DrawFn, *, sorted_too: bool = False) -> Json:
    """A ``standard`` or ``knn`` retriever, now and then with filters, a name, a ``min_score``, a sort or a collapse."""
    if draw(st.integers(0, 2)) == 0:
        k = draw(st.integers(1, 30))
        return {"knn": _base(draw, {"field": "vector", "query_vector": draw(vector), "k": k, "num_candidates": k + 20})}
    leaf: Json = {"query": draw(queries)}
    if draw(st.integers(0, 9)) == 0:
        text = draw(word)
        inner = {"path": "comments", "query": {"match": {"comments.text": text}}, "inner_hits": {}}
        leaf["query"] = {"nested": inner}
    if draw(st.integers(0, 7)) == 0:
        leaf["min_score"] = draw(st.sampled_from([0.1, 0.5, 1.0, 1.5]))
    if sorted_too and draw(st.integers(0, 3)) == 0:
        leaf["sort"] = draw(st.sampled_from(SORTS))
    if sorted_too and draw(st.integers(0, 5)) == 0:
        leaf["collapse"] = {"field": "tag", "inner_hits": {"name": "nobody"}}
    return {"standard": _base(draw, leaf)}


SORTS: list[Any] = [
    ["_score"],
    [{"n": "asc"}],
    {"n": "desc"},
    [{"tag": {"order": "desc", "missing": "_first"}}, "_score"],
]


def _base(draw: st.DrawFn, retriever: Json, *, filtered: bool = True) -> Json:
    if filtered and draw(st.integers(0, 2)) == 0:
        retriever["filter"] = draw(st.one_of(filters, st.lists(filters, min_size=1, max_size=2)))
    if draw(st.integers(0, 3)) == 0:
        retriever["_name"] = f"r{draw(st.integers(0, 10**6))}"
    return retriever


@st.composite
def _rescorer(draw: st.DrawFn, child: st.SearchStrategy[Json], window: int) -> Json:
    rescore = [
        {
            "window_size": window + more,
            "query": {
                "rescore_query": draw(queries),
                "query_weight": draw(st.sampled_from([1, 0.5, 0])),
                "rescore_query_weight": draw(st.sampled_from([1, 2, 0.1])),
                "score_mode": draw(st.sampled_from(["avg", "max", "min", "multiply", "total"])),
            },
        }
        for more in draw(st.sampled_from([[0], [0], [0, 5], [3, 0]]))
    ]
    return {"rescorer": _base(draw, {"retriever": draw(child), "rescore": rescore})}


@st.composite
def _diversify(draw: st.DrawFn, child: st.SearchStrategy[Json], window: int) -> Json:
    retriever: Json = {
        "retriever": draw(child),
        "type": "mmr",
        "field": "vector",
        "lambda": draw(st.sampled_from([0, 0.3, 0.5, 0.7, 1])),
        "rank_window_size": window,
        "size": draw(st.integers(1, window)),
    }
    if draw(st.booleans()):
        retriever["query_vector"] = draw(vector)
    return {"diversify": _base(draw, retriever, filtered=False)}


@st.composite
def native_trees(draw: st.DrawFn, *, window: int = 1, depth: int = 3) -> Json:
    """A tree that Elasticsearch runs on every licence: ``rescorer`` and ``diversify`` over each other and a leaf."""
    window += draw(st.integers(0, 20))
    if draw(st.integers(0, 2)) == 0:
        child = native_trees(depth=depth - 1) if depth > 1 and draw(st.booleans()) else leaves(sorted_too=True)
        return draw(_diversify(child, window))
    below = native_trees(window=window, depth=depth - 1)
    return draw(_rescorer(below if depth > 1 and draw(st.booleans()) else leaves(), window))


@st.composite
def fused_trees(draw: st.DrawFn, *, window: int = 1, depth: int = 2) -> Json:
    """A tree of ``rrf``, ``linear`` and ``pinned`` over each other and leaves."""
    window += draw(st.integers(0, 20))
    below = st.one_of(leaves(), leaves(), fused_trees(window=window, depth=depth - 1)) if depth > 1 else leaves()
    kind = draw(st.sampled_from(["rrf", "rrf", "linear", "linear", "pinned"]))
    if kind == "pinned":
        ids = draw(st.lists(st.integers(0, 60).map(str), min_size=1, max_size=4, unique=True))
        child = draw(st.one_of(leaves().filter(lambda leaf: "knn" not in leaf), fused_trees(window=window, depth=1)))
        return {"pinned": _base(draw, {"ids": ids, "retriever": child, "rank_window_size": window})}
    children = draw(st.lists(below, min_size=1, max_size=4))
    options: Json = {"rank_window_size": window}
    if kind == "rrf":
        options["rank_constant"] = draw(st.sampled_from([1, 10, 60]))
        weighted = draw(st.booleans())
        options["retrievers"] = [
            {"retriever": child, "weight": draw(st.sampled_from([0, 0.5, 1, 2]))} if weighted else child
            for child in children
        ]
    else:
        normalizers = st.sampled_from(["none", "minmax", "l2_norm"])
        options["retrievers"] = [
            {"retriever": child, "weight": draw(st.sampled_from([0, 0.5, 1, 2])), "normalizer": draw(normalizers)}
            for child in children
        ]
    return {kind: _base(draw, options)}


def apart(tree: Json) -> Json:
    """Name inner hits apart: two of one name are refused."""
    waiting: list[Any] = [tree]
    count = 0
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict) and "nested" in here and "inner_hits" in here["nested"]:
            count += 1
            here["nested"]["inner_hits"] = {"name": f"i{count}"}
        waiting += here.values() if isinstance(here, dict) else here if isinstance(here, list) else ()
    return tree


def window_of(tree: Json) -> int:
    """The window of a compound retriever, which the page lies in."""
    ((kind, retriever),) = tree.items()
    if kind == "rescorer":
        return min(int(rescore["window_size"]) for rescore in retriever["rescore"])
    return int(retriever["rank_window_size"])


AGGS: list[Json] = [
    {"tags": {"terms": {"field": "tag"}, "aggs": {"mean": {"avg": {"field": "n"}}}}},
    {
        "best": {"max": {"script": "_score"}},
        "top": {"top_hits": {"size": 2, "_source": False}},
        "tags": {"terms": {"field": "tag"}, "aggs": {"best": {"top_hits": {"size": 1, "_source": ["n"]}}}},
    },
]
COLLAPSES: list[Json] = [
    {"field": "tag"},
    {"field": "n", "inner_hits": {"name": "same", "size": 2}},
    {
        "field": "tag",
        "inner_hits": [{"name": "same", "size": 2, "sort": [{"n": "asc"}]}, {"name": "other", "size": 1}],
    },
]


@st.composite
def pages(draw: st.DrawFn, window: int) -> Json:
    """Arguments of ``client.search`` beside the retriever."""
    given: Json = {}
    if draw(st.integers(0, 4)):
        given["size"] = draw(st.integers(0, window))
    if draw(st.integers(0, 2)) == 0:
        given["from_"] = draw(st.integers(0, window + 1))
    options: dict[str, st.SearchStrategy[Any]] = {
        "aggs": st.sampled_from(AGGS),
        "highlight": st.sampled_from([{"fields": {"title": {}, "body": {}}}, {"fields": {"t*": {}}}]),
        "collapse": st.sampled_from(COLLAPSES),
        "post_filter": filters,
        "explain": st.just(True),
        "fields": st.sampled_from([["tag", "n"], ["*"], [{"field": "t*"}]]),
        "source": st.sampled_from([False, ["title"], {"excludes": ["comments"]}]),
        "track_total_hits": st.sampled_from([True, False, 3, 100]),
        "min_score": st.sampled_from([0.1, 1, 2]),
        "version": st.just(True),
        "seq_no_primary_term": st.just(True),
        "docvalue_fields": st.just(["tag"]),
        "script_fields": st.just({"twice": {"script": "doc['n'].value * 2"}}),
        "stored_fields": st.just(["body"]),
    }
    for name in draw(st.lists(st.sampled_from(sorted(options)), max_size=4, unique=True)):
        given[name] = draw(options[name])
    if "collapse" in given:
        given.pop("post_filter", None)
    return given
