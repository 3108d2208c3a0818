"""LangChain: a vector store and a retriever over an index of yours, or a new one.

>>> from es_semantic.integrations.langchain import EsSemanticRetriever
>>> retriever = EsSemanticRetriever(client=client, index="articles", k=5)  # doctest: +SKIP
>>> retriever.invoke("how do I cancel a subscription?")  # doctest: +SKIP
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from elasticsearch import AsyncElasticsearch, Elasticsearch
from pydantic import ConfigDict, Field, PrivateAttr

from es_semantic.api_search import retrieve
from es_semantic.cluster.steps import Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.errors import MissingExtra, UsageError
from es_semantic.integrations._documents import (
    KEY,
    RANKING,
    SHOWN,
    Clients,
    Documents,
    Stored,
    require_allowed,
    told,
)
from es_semantic.integrations._embedder import ForeignEmbedder
from es_semantic.retrieval.query import Filters

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise MissingExtra(
        f"the LangChain integration needs langchain-core: {error}", hint="pip install 'es-semantic[langchain]'"
    ) from error

V = TypeVar("V", bound="EsSemanticVectorStore")

DEFAULT_K = 4
"""LangChain's own."""


class LangChainEmbedder(ForeignEmbedder):
    """A LangChain ``Embeddings`` object as an embedder of ours, for ``model=`` in :func:`es_semantic.follow`, say.

    An index that is attached with it is bound to the name that the object has for its model (``model``, ``model_name``
    or ``model_id``, else its class's name), and to the vector of the probe sentence.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        """Nothing is embedded yet."""
        names = (getattr(embeddings, key, None) for key in ("model", "model_name", "model_id"))
        name = next((each for each in names if isinstance(each, str) and each), type(embeddings).__name__)
        super().__init__("langchain", name, embeddings.embed_documents, embeddings.embed_query)


class EsSemanticVectorStore(VectorStore):  # type: ignore[misc]
    """An index as a LangChain vector store.

    A document's ``page_content`` is the text that the index's semantic field embeds, its ``metadata`` is the rest of
    the source, and its ``id`` that of Elasticsearch. That goes for documents of other programs too.

    Methods need the ``client``, asynchronous ones the ``async_client``. Filters are Elasticsearch query clauses, one or
    a list. Searches look for vectors unless ``mode`` says otherwise, and also take ``rank_window_size``, ``fields``,
    ``ranking``, ``rerank``, ``deadline`` and ``allow_degraded`` of :func:`es_semantic.search`.
    """

    def __init__(
        self,
        index: str,
        *,
        client: Elasticsearch | None = None,
        async_client: AsyncElasticsearch | None = None,
        embedding: Embeddings | None = None,
        text_fields: Sequence[str] | None = None,
        semantic_field: str = DEFAULT_FIELD_NAME,
        config: Config | None = None,
    ) -> None:
        """Nothing is asked of Elasticsearch yet.

        ``embedding`` embeds documents and queries; without one the model that the index is bound to does, and the
        default one where nothing is attached yet. ``text_fields`` hold the text; by default the source fields of the
        ``semantic_field``, and ``text`` in an index that is made here. ``config`` has models and rerankers.

        Raises:
            UsageError: there is no client.
        """
        self._embedding = embedding
        self._clients = Clients(client, async_client)
        self._documents = _documents(index, embedding, text_fields, semantic_field, config)

    @property
    def embeddings(self) -> Embeddings | None:
        """The embedding object that was given."""
        return self._embedding

    def attach(self, **options: Any) -> None:
        """Create the index where there is none, give it the semantic field, and embed the documents that are there.

        ``options`` are those of :func:`es_semantic.attach`, such as ``chunk`` and ``language``. Doing it again embeds
        what was written meanwhile.

        Raises:
            UsageError: nobody says which fields of an existing index hold the text.
            EsSemanticError: as for :func:`es_semantic.attach` and :func:`es_semantic.sync`.
        """
        self._clients.run(self._documents.attach(**options))

    async def aattach(self, **options: Any) -> None:
        """As :meth:`attach`."""
        await self._clients.run_async(self._documents.attach(**options))

    def add_documents(self, documents: list[Document], *, ids: list[str] | None = None, **_: Any) -> list[str]:
        """Write documents in place of those with their ids, embed them, and return the ids.

        ``ids`` go before the documents' own; who has none gets one. An index that is not there is created; one that is
        must be attached (:meth:`attach`). Whatever else in the index lacks a vector is embedded as well.

        Raises:
            NotAttached: the index is there, but has no semantic field.
            UsageError: a document cannot be kept so, or there are more or fewer ids than documents.
            RequestFailed: Elasticsearch refuses documents; the others are written and embedded.
        """
        stored = to_store(documents, ids)
        self._clients.run(self._documents.write(stored))
        return [each.id for each in stored]

    async def aadd_documents(self, documents: list[Document], *, ids: list[str] | None = None, **_: Any) -> list[str]:
        """As :meth:`add_documents`."""
        stored = to_store(documents, ids)
        await self._clients.run_async(self._documents.write(stored))
        return [each.id for each in stored]

    def delete(self, ids: list[str] | None = None, **_: Any) -> bool:
        """Delete documents by id; those that are not there count as deleted.

        Raises:
            UsageError: there are no ids. An index that others may write to is not emptied by leaving them out.
        """
        self._clients.run(self._documents.delete(by_ids(ids)))
        return True

    async def adelete(self, ids: list[str] | None = None, **_: Any) -> bool:
        """As :meth:`delete`."""
        await self._clients.run_async(self._documents.delete(by_ids(ids)))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, as far as they are there, in no particular order."""
        return to_documents(self._clients.run(self._documents.read(by_ids(ids))))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As :meth:`get_by_ids`."""
        return to_documents(await self._clients.run_async(self._documents.read(by_ids(ids))))

    def similarity_search(self, query: str, k: int = DEFAULT_K, **kwargs: Any) -> list[Document]:
        """Return the ``k`` best documents; ``filter`` is what they must match."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = DEFAULT_K, **kwargs: Any) -> list[Document]:
        """As :meth:`similarity_search`."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the ``k`` best documents with their scores, the higher the better."""
        return self._clients.run(self._scored(query, k, kwargs))

    async def asimilarity_search_with_score(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As :meth:`similarity_search_with_score`."""
        return await self._clients.run_async(self._scored(query, k, kwargs))

    def max_marginal_relevance_search(
        self, query: str, k: int = DEFAULT_K, fetch_k: int = 20, lambda_mult: float = 0.5, *, filter: Filters = None
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` nearest documents, without those that say the same as others.

        ``lambda_mult`` is from 0 (all that counts is that they differ) to 1 (all that counts is the query). They keep
        the order in which they are near to the query.
        """
        return self._clients.run(self._diverse(query, k, fetch_k, lambda_mult, filter))

    async def amax_marginal_relevance_search(
        self, query: str, k: int = DEFAULT_K, fetch_k: int = 20, lambda_mult: float = 0.5, *, filter: Filters = None
    ) -> list[Document]:
        """As :meth:`max_marginal_relevance_search`."""
        return await self._clients.run_async(self._diverse(query, k, fetch_k, lambda_mult, filter))

    @classmethod
    def from_texts(
        cls: type[V],
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> V:
        """Return a store with these texts in it; ``kwargs`` are those of the class, ``index`` and ``client`` say."""
        store = cls(embedding=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls: type[V],
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> V:
        """As :meth:`from_texts`."""
        store = cls(embedding=embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return self.similarity_search_with_score(query, k, **_with_similarities(kwargs))

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = DEFAULT_K, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await self.asimilarity_search_with_score(query, k, **_with_similarities(kwargs))

    def _scored(self, query: str, k: int, kwargs: Mapping[str, Any]) -> Steps[list[tuple[Document, float]]]:
        arguments = {"mode": "knn", **search_arguments(k, kwargs, RANKING)}
        result = yield from self._documents.search(query, **arguments)
        read = yield from self._documents.reader()
        return [(to_document(read(hit.index, hit.id, hit.source)), hit.score) for hit in result.hits]

    def _diverse(self, query: str, k: int, fetch_k: int, lambda_mult: float, filters: Filters) -> Steps[list[Document]]:
        documents = self._documents
        answer = yield from retrieve.steps(
            documents.index,
            retriever=diverse_tree(documents.name, query, k, max(k, fetch_k), lambda_mult, filters),
            size=k,
            source_excludes=(yield from documents.own_fields()),
            model=documents.model,
            config=documents.config,
        )
        read = yield from documents.reader()
        return to_documents([read(hit["_index"], hit["_id"], hit["_source"]) for hit in answer["hits"]["hits"]])


class EsSemanticRetriever(BaseRetriever):  # type: ignore[misc]
    """The documents of an index that answer a query: BM25 and vectors fused, unless ``search_kwargs`` say otherwise.

    Each document's metadata are the rest of its source, and under ``es_semantic`` its ``index``, its ``score``, by leg
    its ``rank`` and ``score`` there (``legs``), what was asked for of ``passages`` and ``highlights``, and what is
    missing in a degraded answer (``degraded``).

    ``k`` documents are returned, which :meth:`invoke` may be told as well. ``search_kwargs`` are ``filter`` (one
    Elasticsearch query clause or several) and arguments of :func:`es_semantic.search`: ``mode``, ``rerank``,
    ``passages``, ``highlight``, ``rank_window_size``, ``fields``, ``ranking``, ``deadline``, ``allow_degraded``.
    ``index`` may be a list or a pattern of attached indices. All else is as for :class:`EsSemanticVectorStore`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    index: str | list[str]
    client: Elasticsearch | None = Field(default=None, exclude=True, repr=False)
    async_client: AsyncElasticsearch | None = Field(default=None, exclude=True, repr=False)
    embedding: Embeddings | None = Field(default=None, exclude=True, repr=False)
    text_fields: list[str] | None = None
    semantic_field: str = DEFAULT_FIELD_NAME
    config: Config | None = Field(default=None, exclude=True, repr=False)
    k: int = DEFAULT_K
    search_kwargs: dict[str, Any] = Field(default_factory=dict)

    _clients: Clients = PrivateAttr()
    _documents: Documents = PrivateAttr()

    def model_post_init(self, _: Any, /) -> None:
        """Nothing is asked of Elasticsearch yet."""
        self._clients = Clients(self.client, self.async_client)
        index = self.index if isinstance(self.index, str) else ",".join(self.index)
        self._documents = _documents(index, self.embedding, self.text_fields, self.semantic_field, self.config)

    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        return self._clients.run(self._found(query, kwargs))

    async def _aget_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        return await self._clients.run_async(self._found(query, kwargs))

    def _found(self, query: str, kwargs: Mapping[str, Any]) -> Steps[list[Document]]:
        asked = {"k": self.k, **self.search_kwargs, **kwargs}
        arguments = search_arguments(asked.pop("k"), asked, (*RANKING, *SHOWN))
        result = yield from self._documents.search(query, **arguments)
        read = yield from self._documents.reader()
        return [to_document(read(hit.index, hit.id, hit.source), {KEY: told(hit, result)}) for hit in result.hits]


def search_arguments(k: int, kwargs: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of :func:`es_semantic.search` for LangChain's ``k``, ``filter`` and the ``allowed`` ones.

    Raises:
        UsageError: another argument.
    """
    others = {key: value for key, value in kwargs.items() if key != "filter"}
    require_allowed(others, allowed, also=("k", "filter"))
    return {"size": k, "filters": kwargs.get("filter"), **others}


def diverse_tree(name: str, query: str, size: int, window: int, lambda_mult: float, filters: Filters) -> dict[str, Any]:
    """Return the retriever tree of maximal marginal relevance over the nearest documents."""
    field = f"{name}.vector"
    text = {"text_embedding": {"model_text": query}}
    knn = {
        "field": field,
        "query_vector_builder": text,
        "k": window,
        "num_candidates": min(10_000, max(200, 2 * window)),
    }
    clauses = [filters] if isinstance(filters, Mapping) else list(filters or ())
    return {
        "diversify": {
            "type": "mmr",
            "field": field,
            "query_vector_builder": text,
            "lambda": lambda_mult,
            "size": size,
            "rank_window_size": window,
            "retriever": {"knn": {**knn, **({"filter": clauses} if clauses else {})}},
        }
    }


def to_store(documents: Sequence[Document], ids: Sequence[str | None] | None) -> list[Stored]:
    """Return LangChain's documents as they are written, each with an id.

    Raises:
        UsageError: there are more or fewer ids than documents.
    """
    given = [each.id for each in documents] if ids is None else list(ids)
    if len(given) != len(documents):
        raise UsageError(f"there are {len(given)} ids for {len(documents)} documents")
    pairs = zip(documents, given, strict=True)
    return [Stored(doc_id or str(uuid.uuid4()), each.page_content, each.metadata) for each, doc_id in pairs]


def to_document(stored: Stored, more: Mapping[str, Any] | None = None) -> Document:
    """Return a document as LangChain has it, with ``more`` metadata."""
    return Document(id=stored.id, page_content=stored.text, metadata={**stored.metadata, **(more or {})})


def to_documents(stored: Sequence[Stored]) -> list[Document]:
    """Return documents as LangChain has them."""
    return [to_document(each) for each in stored]


def by_ids(ids: Sequence[str] | None) -> dict[str, Any]:
    """Return the query clause for documents with these ids.

    Raises:
        UsageError: there are none.
    """
    if ids is None:
        raise UsageError("which documents are to be deleted?", hint="Give their ids; delete an index by its own name.")
    return {"ids": {"values": list(ids)}}


def _documents(
    index: str, embedding: Embeddings | None, text_fields: Sequence[str] | None, name: str, config: Config | None
) -> Documents:
    model = None if embedding is None else LangChainEmbedder(embedding)
    return Documents(index, tuple(text_fields) if text_fields else None, name, model, config)


def _with_similarities(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of a search whose scores are similarities, which lie between 0 and 1.

    Raises:
        UsageError: the mode's scores have no such bounds.
    """
    if kwargs.get("mode", "knn") not in ("knn", "exact"):
        raise UsageError(
            f"scores of mode {kwargs['mode']!r} are no similarities between 0 and 1",
            hint="Relevance scores and thresholds need mode knn or exact.",
        )
    return kwargs
