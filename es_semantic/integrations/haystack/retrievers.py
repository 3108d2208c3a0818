"""The retrievers: by words, by an embedding, and by both."""

from __future__ import annotations

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy, apply_filter_policy

from es_semantic.cluster.steps import Steps
from es_semantic.integrations.haystack import search as searching
from es_semantic.integrations.haystack.store import EsSemanticDocumentStore, Filters

DEFAULT_TOP_K = 10


class _Retriever:
    """What the retrievers share: filters, ``top_k``, and how they are serialised."""

    def __init__(
        self,
        document_store: EsSemanticDocumentStore,
        filters: Filters = None,
        top_k: int = DEFAULT_TOP_K,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        """``filters`` hold where a run has none of its own; ``filter_policy`` says whether they also hold beside."""
        if not isinstance(document_store, EsSemanticDocumentStore):
            raise TypeError(f"document_store must be an EsSemanticDocumentStore, not {type(document_store).__name__}")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = filter_policy

    def to_dict(self) -> dict[str, Any]:
        """Serialise the retriever with its store."""
        serialized: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
        )
        return serialized

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Return the retriever that :meth:`to_dict` has serialised."""
        given = dict(data.get("init_parameters", {}))
        if isinstance(given.get("document_store"), dict):
            given["document_store"] = EsSemanticDocumentStore.from_dict(given["document_store"])
        if isinstance(given.get("filter_policy"), str):
            given["filter_policy"] = FilterPolicy.from_str(given["filter_policy"])
        return default_from_dict(cls, {**data, "init_parameters": given})

    def _wanted(self, filters: Filters, top_k: int | None) -> searching.Wanted:
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        return searching.Wanted(self.document_store.layout, merged, self.top_k if top_k is None else top_k)


@component
class EsSemanticBM25Retriever(_Retriever):
    """Finds documents by words: in the semantic field's source fields, as analysed for its language, if there are any,
    else in the field of the text."""

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, query: str, filters: Filters = None, top_k: int | None = None) -> dict[str, list[Document]]:
        """Return up to ``top_k`` documents, best first, with BM25 scores and without embeddings.

        Raises:
            InvalidQuery: the query is empty or too long, or ``top_k`` cannot be used.
            FilterError: a filter is malformed, or the index cannot tell which documents it means.
            IndexUnavailable: there is no such index.
        """
        return {"documents": self.document_store.run(searching.words(self._wanted(filters, top_k), query))}

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    async def run_async(
        self, query: str, filters: Filters = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """As :meth:`run`."""
        steps = searching.words(self._wanted(filters, top_k), query)
        return {"documents": await self.document_store.run_async(steps)}


@component
class EsSemanticEmbeddingRetriever(_Retriever):
    """Finds documents by the embedding of a query, among the embeddings in the store's ``embedding_field``."""

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(
        self, query_embedding: list[float], filters: Filters = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return up to ``top_k`` documents, nearest first, with kNN scores and without embeddings.

        Raises:
            InvalidQuery: the embedding does not fit the field, or ``top_k`` cannot be used.
            FilterError: a filter is malformed, or the index cannot tell which documents it means.
            DocumentStoreError: the index has no field for embeddings.
            IndexUnavailable: there is no such index.
        """
        steps = searching.nearest(self._wanted(filters, top_k), query_embedding)
        return {"documents": self.document_store.run(steps)}

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    async def run_async(
        self, query_embedding: list[float], filters: Filters = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """As :meth:`run`."""
        steps = searching.nearest(self._wanted(filters, top_k), query_embedding)
        return {"documents": await self.document_store.run_async(steps)}


@component
class EsSemanticHybridRetriever(_Retriever):
    """Finds documents by words and by meaning, fused as :func:`es_semantic.search` does.

    The meaning is that of the semantic field and its bound model, which embeds the query; or, where a run is given a
    ``query_embedding``, that of the embeddings in the store's ``embedding_field``.
    """

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        filters: Filters = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Return up to ``top_k`` documents, best first, with fused scores and without embeddings.

        Raises:
            NotAttached: there is no ``query_embedding``, and the index has no semantic field.
            ModelUnavailable: the bound model cannot be loaded, or does not answer.
            InvalidQuery, FilterError, DocumentStoreError, IndexUnavailable: as for the other retrievers.
        """
        return {"documents": self.document_store.run(self._steps(query, query_embedding, filters, top_k))}

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    async def run_async(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        filters: Filters = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """As :meth:`run`."""
        steps = self._steps(query, query_embedding, filters, top_k)
        return {"documents": await self.document_store.run_async(steps)}

    def _steps(
        self, query: str, query_embedding: list[float] | None, filters: Filters, top_k: int | None
    ) -> Steps[list[Document]]:
        wanted = self._wanted(filters, top_k)
        if query_embedding is not None:
            return searching.both(wanted, query, query_embedding)
        return searching.hybrid(wanted, query, self.document_store.settings)
