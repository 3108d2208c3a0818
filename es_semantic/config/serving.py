"""The sections of ``es-semantic.yml`` for the HTTP server and for what RAGFlow's and Dify's calls search."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import Field, model_validator

from es_semantic.config.base import Seconds, Settings, Whole, problem

DEFAULT_CHUNKS = "es-semantic-chunks"
"""The index that ``es-semantic ingest`` fills, unless told another."""

DEFAULT_PORT = 8600


class ServeSettings(Settings):
    """The HTTP server of ``es-semantic serve``.

    ``keys`` is the file of API keys; by default the one that the environment variable ``ES_SEMANTIC_KEYS`` names, else
    ``keys.json`` in this user's configuration folder. ``cors_origins`` are web pages of other origins that may call it.

    Limits: ``max_body`` bytes of a request and ``max_upload`` of an uploaded document, ``max_size`` hits of a page,
    ``max_window`` documents that one leg may find or look at (size, k, num_candidates, rank_window_size, top_k),
    ``concurrency`` requests at once (more are answered 429), ``timeout`` seconds for a whole request and ``deadline``
    for each leg, embedding and reranking in it.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: Whole = Field(default=DEFAULT_PORT, ge=0, le=65535)
    keys: str | None = Field(default=None, min_length=1)
    cors_origins: list[str] = Field(default_factory=list)
    max_body: Whole = Field(default=2_000_000, ge=1_000)
    max_upload: Whole = Field(default=50_000_000, ge=1_000)
    max_size: Whole = Field(default=100, ge=1, le=10_000)
    max_window: Whole = Field(default=2_048, ge=10, le=10_000)
    concurrency: Whole = Field(default=64, ge=1)
    timeout: Seconds = 30.0
    deadline: Seconds = 10.0

    @property
    def keys_file(self) -> Path:
        """Where the API keys are."""
        path = self.keys or os.environ.get("ES_SEMANTIC_KEYS")
        if not path:
            return platformdirs.user_config_path("es-semantic") / "keys.json"
        return Path(os.path.expanduser(path))


Name = Annotated[str, Field(min_length=1)]


class KnowledgeSettings(Settings):
    """An index of chunks, and which of its fields is what; the defaults are those of ``es-semantic ingest``.

    ``content`` is what is shown, ``words`` are the fields in which words are searched. ``dataset``, ``document`` and
    ``document_name`` are keyword fields. ``available`` is a boolean, or a number that is 0 where a chunk is hidden; one
    without it is shown. ``metadata`` is the object that conditions look into. Vectors are those of the semantic field
    ``name``, or else in ``vector``, a dense_vector made by the configured ``model``: so an index of chunks that RAGFlow
    has made can be queried as it is.
    """

    index: Name = DEFAULT_CHUNKS
    dataset: Name = "dataset_id"
    document: Name = "document_id"
    document_name: Name = "document_name.keyword"
    content: Name = "content"
    words: list[Name] = Field(default=["content", "document_name", "keywords", "questions"], min_length=1)
    keywords: Name | None = "keywords"
    positions: Name | None = None
    available: Name | None = "available"
    metadata: Name = "metadata"
    name: Name = "semantic"
    vector: Name | None = None
    model: Name | None = None

    @model_validator(mode="after")
    def _vectors_have_a_model(self) -> KnowledgeSettings:
        if (self.vector is None) != (self.model is None):
            given, missing = ("vector", "model") if self.model is None else ("model", "vector")
            raise problem(f"must be given together with {missing}", given)
        return self
