"""LlamaIndex: a vector store and a retriever over an index of yours, or a new one.

The store embeds what is written and what is asked for by itself. So a ``VectorStoreIndex`` over it needs no model:

>>> store = EsSemanticVectorStore("articles", client=client)  # doctest: +SKIP
>>> index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))  # doctest: +SKIP
>>> index.as_retriever(vector_store_query_mode="hybrid").retrieve("how do I cancel?")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch, Elasticsearch
from pydantic import PrivateAttr

from es_semantic.cluster.steps import Steps
from es_semantic.config import DEFAULT_FIELD_NAME, Config
from es_semantic.errors import InvalidQuery, MissingExtra, UsageError
from es_semantic.integrations._documents import (
    KEY,
    RANKING,
    SHOWN,
    Clients,
    Documents,
    require_allowed,
    told,
)
from es_semantic.integrations._embedder import ForeignEmbedder
from es_semantic.resources import resource
from es_semantic.schema.ranking import Ranking

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )

    from es_semantic.integrations.llama_index_filters import clause, types_steps
    from es_semantic.integrations.llama_index_nodes import OWN, to_node, to_store
except ImportError as error:
    raise MissingExtra(
        f"the LlamaIndex integration needs llama-index-core: {error}", hint="pip install 'es-semantic[llama-index]'"
    ) from error

Json = dict[str, Any]

DEFAULT_TOP_K = 10

MODES = {
    VectorStoreQueryMode.DEFAULT: "knn",
    VectorStoreQueryMode.TEXT_SEARCH: "bm25",
    VectorStoreQueryMode.HYBRID: "hybrid",
}
UNSUPPORTED = ("output_fields", "embedding_field", "mmr_threshold", "sparse_top_k")
"""Parts of a query that would change nothing."""


class LlamaIndexEmbedder(ForeignEmbedder):
    """A LlamaIndex ``BaseEmbedding`` as an embedder of ours, for ``model=`` in :func:`es_semantic.follow`, say.

    An index that is attached with it is bound to the embedding's ``model_name`` (its class's name where it has none),
    and to the vector of the probe sentence.
    """

    def __init__(self, embed_model: BaseEmbedding) -> None:
        """Nothing is embedded yet."""
        name = embed_model.model_name if embed_model.model_name != "unknown" else type(embed_model).__name__
        super().__init__("llama-index", name, embed_model.get_text_embedding_batch, embed_model.get_query_embedding)


class EsSemanticVectorStore(BasePydanticVectorStore):  # type: ignore[misc]
    """An index as a LlamaIndex vector store.

    A node's text is what the index's semantic field embeds, its ``metadata`` is the rest of the source, and its id that
    of Elasticsearch. That goes for documents of other programs too; they have no ``ref_doc_id``.

    The store embeds nodes and queries, by their text alone: vectors that nodes and queries bring along are not used,
    because nothing tells which model made them. Methods need the ``client``, asynchronous ones the ``async_client``.
    """

    stores_text: bool = True
    is_embedding_query: bool = False

    index: str
    text_fields: list[str] | None = None
    semantic_field: str = DEFAULT_FIELD_NAME

    _clients: Clients = PrivateAttr()
    _documents: Documents = PrivateAttr()

    def __init__(
        self,
        index: str,
        *,
        client: Elasticsearch | None = None,
        async_client: AsyncElasticsearch | None = None,
        embed_model: BaseEmbedding | None = None,
        text_fields: Sequence[str] | None = None,
        semantic_field: str = DEFAULT_FIELD_NAME,
        config: Config | None = None,
    ) -> None:
        """Nothing is asked of Elasticsearch yet.

        ``embed_model`` embeds nodes and queries; without one the model that the index is bound to does, and the default
        one where nothing is attached yet. ``text_fields`` hold the text; by default the source fields of the
        ``semantic_field``, and ``text`` in an index that is made here. ``config`` has models and rerankers.

        Raises:
            UsageError: there is no client.
        """
        fields = list(text_fields) if text_fields else None
        super().__init__(index=index, text_fields=fields, semantic_field=semantic_field)
        self._clients = Clients(client, async_client)
        self._documents = _documents(index, embed_model, text_fields, semantic_field, config)

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex knows the class by."""
        return "EsSemanticVectorStore"

    @property
    def client(self) -> Elasticsearch | AsyncElasticsearch | None:
        """The synchronous client, the asynchronous one where that is all there is."""
        return self._clients.client or self._clients.async_client

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

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Write nodes in place of those with their ids, embed them, and return the ids.

        An index that is not there is created; one that is must be attached (:meth:`attach`). Whatever else in the index
        lacks a vector is embedded as well.

        Raises:
            NotAttached: the index is there, but has no semantic field.
            UsageError: a node cannot be kept so.
            RequestFailed: Elasticsearch refuses nodes; the others are written and embedded.
        """
        self._clients.run(self._documents.write([to_store(node) for node in nodes]))
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """As :meth:`add`."""
        await self._clients.run_async(self._documents.write([to_store(node) for node in nodes]))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete all nodes that were cut from a document."""
        self._clients.run(self._documents.delete(_of_document([ref_doc_id])))

    async def adelete(self, ref_doc_id: str, **_: Any) -> None:
        """As :meth:`delete`."""
        await self._clients.run_async(self._documents.delete(_of_document([ref_doc_id])))

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any) -> None:
        """Delete nodes by id, by filters, or those that both name; other programs' documents as well.

        Raises:
            UsageError: there are neither ids nor filters.
            InvalidQuery: a filter cannot be expressed.
        """
        self._clients.run(self._deleted(node_ids, filters))

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """As :meth:`delete_nodes`."""
        await self._clients.run_async(self._deleted(node_ids, filters))

    def clear(self) -> None:
        """Delete all nodes that LlamaIndex has written. Documents of other programs stay."""
        self._clients.run(self._documents.delete({"exists": {"field": f"{OWN}.type"}}))

    async def aclear(self) -> None:
        """As :meth:`clear`."""
        await self._clients.run_async(self._documents.delete({"exists": {"field": f"{OWN}.type"}}))

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes by id, by filters, or those that both name; all without either. In no particular order.

        Raises:
            InvalidQuery: a filter cannot be expressed.
        """
        return self._clients.run(self._read(node_ids, filters))

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As :meth:`get_nodes`."""
        return await self._clients.run_async(self._read(node_ids, filters))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that answer a query, best first, with their scores.

        The modes are ``default`` (vectors), ``text_search`` (BM25) and ``hybrid``, in which ``alpha`` is the share of
        the vectors (0 to 1); without it each query's scores decide (docs/fusion.md). ``kwargs``, LlamaIndex's
        ``vector_store_kwargs``, are ``rerank``, ``rank_window_size``, ``fields``, ``ranking``, ``deadline`` and
        ``allow_degraded`` of :func:`es_semantic.search`.

        Raises:
            InvalidQuery: the query has no text, or another mode, or something that no search here can heed; or a filter
                cannot be expressed.
        """
        return self._clients.run(self._answered(query, kwargs))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As :meth:`query`."""
        return await self._clients.run_async(self._answered(query, kwargs))

    def _answered(self, query: VectorStoreQuery, kwargs: Mapping[str, Any]) -> Steps[VectorStoreQueryResult]:
        require_allowed(kwargs, RANKING[1:], also=())
        arguments = search_arguments(query)
        filters = yield from _clauses(self.index, query.filters)
        if query.doc_ids:
            filters.append(_of_document(query.doc_ids))
        if query.node_ids:
            filters.append(_of_ids(query.node_ids))
        result = yield from self._documents.search(query.query_str or "", filters=filters, **arguments, **kwargs)
        read = yield from self._documents.reader()
        nodes = [to_node(read(hit.index, hit.id, hit.source)) for hit in result.hits]
        return VectorStoreQueryResult(
            nodes=nodes, similarities=[hit.score for hit in result.hits], ids=[node.node_id for node in nodes]
        )

    def _read(self, node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Steps[list[BaseNode]]:
        clauses = yield from self._named(node_ids, filters)
        return [to_node(stored) for stored in (yield from self._documents.read({"bool": {"filter": clauses}}))]

    def _deleted(self, node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Steps[None]:
        clauses = yield from self._named(node_ids, filters)
        if not clauses:
            raise UsageError("which nodes are to be deleted?", hint="Give node_ids or filters, or call clear().")
        yield from self._documents.delete({"bool": {"filter": clauses}})

    def _named(self, node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Steps[list[Json]]:
        clauses = yield from _clauses(self.index, filters)
        return clauses if node_ids is None else [*clauses, _of_ids(node_ids)]


class EsSemanticRetriever(BaseRetriever):  # type: ignore[misc]
    """The nodes of an index that answer a query: BM25 and vectors fused, unless ``search_kwargs`` say otherwise.

    Each node's metadata are the rest of the document's source, and under ``es_semantic``, which neither language models
    nor embedding models are shown, its ``index``, its ``score``, by leg its ``rank`` and ``score`` there (``legs``),
    what was asked for of ``passages`` and ``highlights``, and what is missing in a degraded answer (``degraded``).
    """

    def __init__(
        self,
        index: str | Sequence[str],
        *,
        client: Elasticsearch | None = None,
        async_client: AsyncElasticsearch | None = None,
        embed_model: BaseEmbedding | None = None,
        text_fields: Sequence[str] | None = None,
        semantic_field: str = DEFAULT_FIELD_NAME,
        config: Config | None = None,
        similarity_top_k: int = DEFAULT_TOP_K,
        filters: MetadataFilters | None = None,
        search_kwargs: Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Nothing is asked of Elasticsearch yet.

        ``similarity_top_k`` nodes are returned. ``search_kwargs`` are arguments of :func:`es_semantic.search`:
        ``mode``, ``rerank``, ``passages``, ``highlight``, ``rank_window_size``, ``fields``, ``ranking``, ``deadline``,
        ``allow_degraded``. ``index`` may be a list or a pattern of attached indices. All else is as for
        :class:`EsSemanticVectorStore`.

        Raises:
            UsageError: there is no client, or no such argument of a search.
        """
        require_allowed(search_kwargs or {}, (*RANKING, *SHOWN), also=())
        self._clients = Clients(client, async_client)
        name = index if isinstance(index, str) else ",".join(index)
        self._documents = _documents(name, embed_model, text_fields, semantic_field, config)
        self._filters = filters
        self._arguments = {**(search_kwargs or {}), "size": similarity_top_k}
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._clients.run(self._found(query_bundle.query_str))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._clients.run_async(self._found(query_bundle.query_str))

    def _found(self, text: str) -> Steps[list[NodeWithScore]]:
        filters = yield from _clauses(self._documents.index, self._filters)
        result = yield from self._documents.search(text, filters=filters, **self._arguments)
        read = yield from self._documents.reader()
        found = []
        for hit in result.hits:
            node = to_node(read(hit.index, hit.id, hit.source))
            node.metadata[KEY] = told(hit, result)
            node.excluded_llm_metadata_keys.append(KEY)
            node.excluded_embed_metadata_keys.append(KEY)
            found.append(NodeWithScore(node=node, score=hit.score))
        return found


def search_arguments(query: VectorStoreQuery) -> Json:
    """Return the arguments of :func:`es_semantic.search` for a query, but for its filters.

    Raises:
        InvalidQuery: the query has no text, or another mode, or something that no search here can heed.
    """
    if query.mode not in MODES:
        supported = ", ".join(mode.value for mode in MODES)
        raise InvalidQuery(f"query mode {query.mode.value!r} is not supported", hint=f"Use one of: {supported}.")
    if not query.query_str:
        raise InvalidQuery(
            "the query has no text (query_str), and a vector alone is not searched for",
            hint="Nothing tells which model made a vector; the index's own embeds the text.",
        )
    for part in UNSUPPORTED:
        if getattr(query, part) is not None:
            raise InvalidQuery(f"a query's {part} is not supported", hint="Leave it out.")
    arguments: Json = {"mode": MODES[query.mode], "size": query.similarity_top_k}
    if query.mode is VectorStoreQueryMode.HYBRID:
        arguments["size"] = query.hybrid_top_k or query.similarity_top_k
        if query.alpha is not None:
            if not 0 <= query.alpha <= 1:
                raise InvalidQuery(f"alpha must be between 0 (BM25) and 1 (vectors), not {query.alpha}")
            arguments["ranking"] = Ranking(method="linear", weights={"bm25": 1 - query.alpha, "knn": query.alpha})
    return arguments


def _documents(
    index: str, embed_model: BaseEmbedding | None, fields: Sequence[str] | None, name: str, config: Config | None
) -> Documents:
    model = None if embed_model is None else LlamaIndexEmbedder(embed_model)
    properties = orjson.loads(resource("mappings/llama-index.json").read_bytes())
    return Documents(index, tuple(fields) if fields else None, name, model, config, properties)


def _clauses(index: str, filters: MetadataFilters | None) -> Steps[list[Json]]:
    types = yield from types_steps(index, filters)
    found = clause(filters, types)
    return [] if found is None else [found]


def _of_ids(node_ids: Sequence[str]) -> Json:
    return {"ids": {"values": list(node_ids)}}


def _of_document(ref_doc_ids: Sequence[str]) -> Json:
    return {"terms": {f"{OWN}.ref_doc_id": list(ref_doc_ids)}}
