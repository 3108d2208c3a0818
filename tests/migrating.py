"""What tests of changing a model share: two tiny models that are found by what an index is bound to."""

from __future__ import annotations

from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_semantic import chosen
from es_semantic.embedding import Fingerprint
from es_semantic.errors import ModelUnavailable
from tests.embedder import TinyEmbedder

NEW = "semantic_2"
"""Where the second model's vectors are."""


class Models:
    """The models that this process can load, by their names."""

    def __init__(self, *embedders: TinyEmbedder) -> None:
        self.by_name = {embedder.name: embedder for embedder in embedders}
        self.away: set[str] = set()

    def bound(self, fingerprint: Fingerprint, *_: Any, **__: Any) -> TinyEmbedder:
        """Return the model that an index is bound to, as a settings file would have it."""
        if fingerprint.model in self.away:
            raise ModelUnavailable(f"model {fingerprint.model} is away")
        return self.by_name[fingerprint.model]


def provide(monkeypatch: pytest.MonkeyPatch, *embedders: TinyEmbedder) -> Models:
    """Let an index's model be found by its binding alone."""
    models = Models(*embedders)
    monkeypatch.setattr(chosen, "embedder_for", models.bound)
    return models


def documents(client: Elasticsearch, index: str) -> dict[str, dict[str, Any]]:
    """Return what is in the index but for the new model's field; of the old one's nothing may be left."""
    client.indices.refresh(index=index)
    found = client.search(index=index, size=5000, source_excludes=[NEW])["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in found}
