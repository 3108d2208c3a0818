"""The document store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from elasticsearch import AsyncElasticsearch, Elasticsearch
from haystack import Document, default_from_dict, default_to_dict
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret
from pydantic import ValidationError

from es_semantic.cluster.client import connect, connect_async
from es_semantic.cluster.steps import Steps, run, run_async
from es_semantic.config import DEFAULT_FIELD_NAME, Config, ConnectionSettings, load_config
from es_semantic.errors import UsageError
from es_semantic.integrations.haystack import requests
from es_semantic.integrations.haystack.documents import Layout

T = TypeVar("T")
Filters = dict[str, Any] | None


class EsSemanticDocumentStore:
    """Haystack's ``DocumentStore`` over an index, an alias of one index or a data stream.

    Where there is no such index the first write makes one (``mappings/haystack.json``). An index that is there is never
    changed: ``content_field`` is where it keeps the text, ``meta_field`` the object with the metadata, or None where
    these are all other fields of the document, and ``embedding_field`` a ``dense_vector`` of its own for the embeddings
    that documents bring. ``name`` is the semantic field, for those who search by it: attach and sync work as for any
    index, from the command line or with ``es_semantic.attach(store.client, store.index, "content")``.

    Embeddings that documents bring are kept as they come, by whatever model, and say nothing of the semantic field.
    Only with ``embedding_field`` ``"semantic.vector"`` they are its vectors: the caller embeds with the bound model and
    the source fields' text alone. The first embedding of each write is compared with what that model makes of the text;
    documents without one are embedded by sync.

    ``url`` and ``api_key`` reach the cluster; all else, and these two where they are None, is as in the settings file
    ``config``, by default ``es-semantic.yml`` and the environment, as for the command line.
    """

    def __init__(
        self,
        index: str,
        *,
        url: str | list[str] | None = None,
        api_key: Secret | None = None,
        config: str | None = None,
        name: str = DEFAULT_FIELD_NAME,
        content_field: str = "content",
        meta_field: str | None = "meta",
        embedding_field: str = "embedding",
    ) -> None:
        """Nothing is read or sent yet."""
        self.index = index
        self.url = url
        self.api_key = api_key
        self.config = config
        self.name = name
        self.content_field = content_field
        self.meta_field = meta_field
        self.embedding_field = embedding_field
        self.layout = Layout(index, name, content_field, meta_field, embedding_field)
        self._client: Elasticsearch | None = None
        self._async_client: AsyncElasticsearch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def to_dict(self) -> dict[str, Any]:
        """Serialise the store; the key only as the name of its environment variable.

        Raises:
            ValueError: the key is a token.
        """
        serialized: dict[str, Any] = default_to_dict(
            self,
            index=self.index,
            url=self.url,
            api_key=self.api_key,
            config=self.config,
            name=self.name,
            content_field=self.content_field,
            meta_field=self.meta_field,
            embedding_field=self.embedding_field,
        )
        return serialized

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EsSemanticDocumentStore:
        """Return the store that :meth:`to_dict` has serialised."""
        store: EsSemanticDocumentStore = default_from_dict(cls, data)
        return store

    @cached_property
    def settings(self) -> Config:
        """The settings, with the store's own URL and key in them.

        Raises:
            ConfigError: the settings file is wrong.
            UsageError: the URL cannot be used.
        """
        config = load_config(Path(self.config) if self.config is not None else None)
        connection: dict[str, Any] = config.connection.model_dump()
        if self.url is not None:
            connection["url"] = self.url
        if self.api_key is not None and (key := self.api_key.resolve_value()) is not None:
            connection |= {"api_key": key, "username": None, "password": None}
        try:
            checked = ConnectionSettings.model_validate(connection)
        except ValidationError as error:
            # Without the value: it may hold a password.
            told = error.errors(include_input=False)[0]
            where, what = told["loc"][0], told["msg"].removeprefix("Value error, ")
            raise UsageError(f"{where} of the document store for {self.index!r}: {what}") from None
        return config.model_copy(update={"connection": checked})

    @property
    def client(self) -> Elasticsearch:
        """The synchronous client, for ``es_semantic.attach``, ``sync`` and all else of the Python interface."""
        if self._client is None:
            self._client = connect(self.settings.connection)
        return self._client

    @property
    def async_client(self) -> AsyncElasticsearch:
        """The asynchronous client of the running event loop.

        Raises:
            MissingExtra: the ``async`` extra is not installed.
        """
        loop = asyncio.get_running_loop()
        if self._async_client is None or self._loop is not loop:
            # Connections belong to the event loop that has opened them.
            self._async_client, self._loop = connect_async(self.settings.connection), loop
        return self._async_client

    def run(self, steps: Steps[T]) -> T:
        """Run a procedure with the synchronous client."""
        return run(self.client, steps)

    async def run_async(self, steps: Steps[T]) -> T:
        """Run a procedure with the asynchronous client."""
        return await run_async(self.async_client, steps)

    def close(self) -> None:
        """Close the synchronous client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def close_async(self) -> None:
        """Close the asynchronous client's connections."""
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    def count_documents(self) -> int:
        """Count the documents; an index that is not there has none."""
        return self.run(requests.count_steps(self.layout, None))

    async def count_documents_async(self) -> int:
        """As :meth:`count_documents`."""
        return await self.run_async(requests.count_steps(self.layout, None))

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Count the documents that match.

        Raises:
            FilterError: the filter is malformed, or the index cannot tell which documents it means.
        """
        return self.run(requests.count_steps(self.layout, filters))

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """As :meth:`count_documents_by_filter`."""
        return await self.run_async(requests.count_steps(self.layout, filters))

    def filter_documents(self, filters: Filters = None) -> list[Document]:
        """Return all documents that match, with their embeddings (as float32), in no particular order.

        Raises:
            FilterError: as for :meth:`count_documents_by_filter`.
        """
        return self.run(requests.filter_steps(self.layout, filters))

    async def filter_documents_async(self, filters: Filters = None) -> list[Document]:
        """As :meth:`filter_documents`."""
        return await self.run_async(requests.filter_steps(self.layout, filters))

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents, and return how many were written; searches see them at once. ``NONE`` is ``FAIL``.

        Raises:
            ValueError: these are no documents.
            DuplicateDocumentError: some are there already, and the policy is neither to overwrite nor to skip them. All
                others were written.
            DocumentStoreError: a document cannot be stored as it is, or the index refuses it.
            FingerprintMismatch: embeddings are to be the semantic field's vectors, and are not of its model.
        """
        wanted = _documents(documents)
        return self.run(requests.write_steps(self.layout, wanted, policy, self.settings))

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """As :meth:`write_documents`."""
        wanted = _documents(documents)
        return await self.run_async(requests.write_steps(self.layout, wanted, policy, self.settings))

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by their ids; those that are not there do not matter."""
        self.run(requests.delete_steps(self.layout, document_ids))

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """As :meth:`delete_documents`."""
        await self.run_async(requests.delete_steps(self.layout, document_ids))

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match, and return how many they were.

        Raises:
            FilterError: as for :meth:`count_documents_by_filter`.
            DocumentStoreError: somebody else wrote some of them meanwhile; these are left.
        """
        return self.run(requests.delete_by_filter_steps(self.layout, filters))

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """As :meth:`delete_by_filter`."""
        return await self.run_async(requests.delete_by_filter_steps(self.layout, filters))

    def delete_all_documents(self) -> None:
        """Delete all documents; the index stays."""
        self.run(requests.delete_by_filter_steps(self.layout, None))

    async def delete_all_documents_async(self) -> None:
        """As :meth:`delete_all_documents`."""
        await self.run_async(requests.delete_by_filter_steps(self.layout, None))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set metadata of the documents that match, beside what they have, and return how many they were.

        Raises:
            FilterError: as for :meth:`count_documents_by_filter`.
            DocumentStoreError: the metadata would overwrite another field, or somebody else wrote some documents
                meanwhile.
        """
        return self.run(requests.update_by_filter_steps(self.layout, filters, meta))

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """As :meth:`update_by_filter`."""
        return await self.run_async(requests.update_by_filter_steps(self.layout, filters, meta))


def _documents(documents: Any) -> Sequence[Document]:
    if not isinstance(documents, list) or not all(isinstance(each, Document) for each in documents):
        raise ValueError("write_documents takes a list of Haystack's Documents")
    return documents
