"""Filters on a real node match the documents that Haystack's own ``document_matches_filter`` says they match."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from haystack import Document
from haystack.utils.filters import document_matches_filter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_semantic.integrations.haystack import EsSemanticDocumentStore
from tests.nodes import remove_everything

Filter = dict[str, Any]

TEXTS = ["", "a", "A", "a b", "2", "2.0", "NaN", "true", "null", "Zürich", "東京", "*", "soon", "2020-13-01", "x" * 300]
NUMBERS = [0, 1, -1, 2, 2.0, 2.5, -0.5, 0.1, 1e300, 7, 2**31, 2**53, -(2**53)]
LARGE = [2**53, 2**53 + 1, 2**60, 2**60 + 1, -(2**60)]
SHORTEST = timedelta(milliseconds=1)
"""All that a ``date`` field tells."""


def dates(zone: timezone | None) -> list[str]:
    moments = [datetime(1969, 7, 21), datetime(1970, 1, 1, 23, 59, 59), datetime(2020, 2, 29, 12, 30)]
    moments += [each + step * SHORTEST for each in moments for step in (-1, 1)]
    return [each.replace(tzinfo=zone).isoformat() for each in moments]


NAIVE = [*dates(None), "1969-07-21", "2020-02-29", "2020-02-29 12:30:00", "1970-01-01T23:59:59.001000"]
AWARE = dates(UTC) + dates(timezone(timedelta(hours=5, minutes=30))) + ["2020-02-29 12:30:00+00:00"]

FIELDS: dict[str, tuple[list[Any], bool]] = {
    "text": (TEXTS, False),
    "number": (NUMBERS, True),
    "large": (LARGE, False),
    "flag": ([True, False], False),
    "naive": (NAIVE, True),
    "aware": (AWARE, True),
    "either": ([*TEXTS, *NUMBERS, *NAIVE], False),
    "deep.er.text": (TEXTS, False),
    "deep.number": (NUMBERS, True),
    "missing": (["x", 1, True, "2020-01-01"], False),
}
"""The values of each field, and whether they have an order that Haystack knows."""


def corpus() -> list[Document]:
    """Documents with every value of every field, and many without."""
    chance = random.Random(7)
    documents = []
    for number in range(160):
        meta: dict[str, Any] = {}
        for name, (values, _) in FIELDS.items():
            if name == "missing":
                continue
            kind = chance.random()
            if kind < 0.25:
                continue
            *above, last = name.split(".")
            inside = meta
            for each in above:
                inside = inside.setdefault(each, {})
            inside[last] = None if kind < 0.35 else chance.choice(values)
        documents.append(Document(id=str(number), content="a text", meta=meta))
    return documents


def comparisons() -> st.SearchStrategy[Filter]:
    """Comparisons that mean something to Haystack for every document."""

    def of(name: str) -> st.SearchStrategy[Filter]:
        values, ordered = FIELDS[name]
        some = st.sampled_from([*values, None])
        if name in ("number", "deep.number"):
            some = some | st.floats(-3, 3) | st.integers(-(2**40), 2**40)
        field = st.sampled_from([f"meta.{name}"] if "." in name else [f"meta.{name}", name])
        equal = st.fixed_dictionaries({"field": field, "operator": st.sampled_from(["==", "!="]), "value": some})
        among = st.fixed_dictionaries(
            {"field": field, "operator": st.sampled_from(["in", "not in"]), "value": st.lists(some, max_size=4)}
        )
        if not ordered:
            return equal | among
        bounds = st.sampled_from([">", ">=", "<", "<="])
        return equal | among | st.fixed_dictionaries({"field": field, "operator": bounds, "value": some})

    ids = st.sampled_from([str(number) for number in range(0, 200, 7)])
    by_id = st.fixed_dictionaries({"field": st.just("id"), "operator": st.sampled_from(["==", "!="]), "value": ids})
    return st.sampled_from(sorted(FIELDS)).flatmap(of) | by_id


def filters() -> st.SearchStrategy[Filter]:
    def combined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        operator = st.sampled_from(["AND", "OR", "NOT"])
        return st.fixed_dictionaries({"operator": operator, "conditions": st.lists(inner, max_size=4)})

    return st.recursive(comparisons(), combined, max_leaves=8)


@pytest.fixture(scope="module")
def store(node_url: str, client: Elasticsearch) -> Iterator[EsSemanticDocumentStore]:
    index = f"test-haystack-{uuid.uuid4().hex[:12]}"
    each = EsSemanticDocumentStore(index, url=node_url)
    each.write_documents(corpus())
    yield each
    each.close()
    remove_everything(client, index)


CORPUS = corpus()


def disagreement(store: EsSemanticDocumentStore, wanted: Filter) -> set[str]:
    """The documents of which one side says that they match, and the other that they do not."""
    ours = {each.id for each in store.filter_documents(wanted)}
    assert store.count_documents_by_filter(wanted) == len(ours)
    return ours ^ {each.id for each in CORPUS if document_matches_filter(wanted, each)}


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(wanted=filters())
def test_any_filter(store: EsSemanticDocumentStore, wanted: Filter) -> None:
    assert disagreement(store, wanted) == set()


EVERY: list[Callable[[str, Any], Filter]] = [
    lambda name, value: {"field": f"meta.{name}", "operator": "==", "value": value},
    lambda name, value: {"field": f"meta.{name}", "operator": "!=", "value": value},
]


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_value(store: EsSemanticDocumentStore, name: str) -> None:
    """Each value of each field, one by one: a wrong rule for one of them does not hide among many."""
    values, _ = FIELDS[name]
    for value in values:
        for filter_for in EVERY:
            wanted = filter_for(name, value)
            assert disagreement(store, wanted) == set(), wanted
