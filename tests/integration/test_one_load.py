"""One model is loaded once in a process, whichever call asks for it first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.config import Config, ModelSettings, SentenceTransformersModel
from es_semantic.embedding import Embedder, choose, load_embedder
from es_semantic.embedding.choose import cached_embedder, embedder_for
from es_semantic.errors import ModelUnavailable
from tests.nodes import MakeIndex
from tests.small_models import small_model

TITLE = {"title": {"type": "text"}}
PROMPTS = {"document_prompt": "passage: ", "query_prompt": "query: "}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ModelSettings]]:
    """The settings of every model that was loaded, in a process that has loaded none."""
    seen: list[ModelSettings] = []

    def counted(settings: ModelSettings) -> Embedder:
        seen.append(settings)
        return load_embedder(settings)

    monkeypatch.setattr(choose, "load_embedder", counted)
    cached_embedder.cache_clear()
    yield seen
    cached_embedder.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_model(tmp_path_factory.mktemp("small"), pooling="mean")


def test_the_default_model_for_every_call(
    client: Elasticsearch, make_index: MakeIndex, loads: list[ModelSettings]
) -> None:
    first = make_index(TITLE, documents={"1": {"title": "a red house"}, "2": {"title": "a blue car"}})
    es_semantic.attach(client, first, ["title"], chunk="never")
    assert es_semantic.sync(client, first).embedded == 2
    assert es_semantic.search(client, first, "crimson building").hits[0].id == "1"
    second = make_index(TITLE, documents={"1": {"title": "a red house"}})
    es_semantic.attach(client, second, ["title"], chunk="always")
    es_semantic.sync(client, second, config=Config())
    assert loads == [SentenceTransformersModel()]


def test_whoever_comes_first(loads: list[ModelSettings], folder: str) -> None:
    settings = SentenceTransformersModel(name=folder)
    fingerprint = load_embedder(settings).profile.fingerprint
    from_the_binding = embedder_for(fingerprint, (), index="i")
    assert cached_embedder(settings) is from_the_binding
    assert embedder_for(fingerprint, [settings], index="i") is from_the_binding
    assert len(loads) == 1


def test_other_prompts_share_the_weights(loads: list[ModelSettings], folder: str) -> None:
    prompted = SentenceTransformersModel.model_validate({"name": folder, **PROMPTS})
    alone = load_embedder(prompted)
    shared = embedder_for(alone.profile.fingerprint, (), index="i")
    plain = cached_embedder(SentenceTransformersModel(name=folder))
    assert len(loads) == 1
    assert shared.profile == alone.profile != plain.profile
    assert embedder_for(alone.profile.fingerprint, (), index="i") is shared
    for embed in ("embed_documents", "embed_queries"):
        vectors = [getattr(each, embed)(["a text"]).vectors for each in (shared, alone, plain)]
        assert np.allclose(vectors[0], vectors[1], atol=1e-6)
        assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


def test_other_weights_are_loaded_apart(loads: list[ModelSettings], folder: str, tmp_path: Path) -> None:
    other = small_model(tmp_path, pooling="cls")
    for name, engine in ((folder, "torch"), (other, "torch"), (folder, "auto"), (folder, "torch")):
        cached_embedder(SentenceTransformersModel.model_validate({"name": name, "engine": engine, **PROMPTS}))
    assert len(loads) == 3


def test_a_model_that_is_gone_is_no_reason_to_load_another(
    loads: list[ModelSettings], folder: str, tmp_path: Path
) -> None:
    fingerprint = load_embedder(SentenceTransformersModel(name=folder)).profile.fingerprint
    gone = fingerprint.model_copy(update={"model": str(tmp_path / "gone")})
    with pytest.raises(ModelUnavailable, match="gone"):
        embedder_for(gone, [SentenceTransformersModel(name=folder)], index="i")
    openai = fingerprint.model_copy(update={"provider": "openai"})
    with pytest.raises(ModelUnavailable, match="index 'i' is bound to openai model"):
        embedder_for(openai, [], index="i")
    assert [settings.name for settings in loads] == [gone.model]
