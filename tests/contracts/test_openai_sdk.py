"""OpenAI's own Python client, and a client of ours for OpenAI-compatible servers, against our server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest

from es_semantic.config import OpenAIModel, SentenceTransformersModel
from es_semantic.embedding import load_embedder
from es_semantic.embedding.choose import cached_embedder
from tests.serving import OneModel, Server, serving

TEXTS = ["That is a happy person", "That is a very happy person", "Today is a sunny day"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str) -> Iterator[Server]:
    source = OneModel(cached_embedder(SentenceTransformersModel()))
    with serving(tmp_path_factory.mktemp("server"), node_url, source=source) as running:
        running.key("admin")
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=server.key("embed"), base_url=f"{server.url}/v1", max_retries=0) as opened:
        yield opened


def vectors(answer: openai.types.CreateEmbeddingResponse) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    assert [each.index for each in answer.data] == list(range(len(answer.data)))
    return np.array([each.embedding for each in answer.data], dtype=np.float32)


def test_vectors_are_the_models_own(client: openai.OpenAI) -> None:
    own = cached_embedder(SentenceTransformersModel()).embed_documents(TEXTS).vectors
    # Without a format of the caller's the client asks for base64 and decodes it.
    encoded = client.embeddings.create(input=TEXTS, model="default")
    plain = client.embeddings.create(input=TEXTS, model="default", encoding_format="float")
    assert np.abs(vectors(encoded) - own).max() < 1e-2
    assert np.abs(vectors(plain) - vectors(encoded)).max() < 1e-6
    assert encoded.usage.prompt_tokens == encoded.usage.total_tokens == 5 + 6 + 5
    assert vectors(client.embeddings.create(input=TEXTS[0], model="default")).shape == (1, 384)
    assert float(vectors(plain)[0] @ vectors(plain)[1]) == pytest.approx(0.9429, abs=2e-3)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["default"]
    assert client.models.retrieve("default").owned_by == "sentence-transformers"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input": [1, 2, 3]}, "tokens"),
        ({"input": [[1, 2], [3]]}, "tokens"),
        ({"input": ["fine", " "]}, "empty"),
        ({"input": []}, "input"),
        ({"input": ["x"] * 2_049}, "input"),
        ({"input": "x", "dimensions": 5}, "384"),
        ({"input": "x", "model": "none"}, "none"),
    ],
)
def test_what_is_refused_says_why(client: openai.OpenAI, given: dict[str, object], said: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError), match=said):
        client.embeddings.create(**{"model": "default", **given})  # type: ignore[arg-type]


def test_keys_are_checked(server: Server) -> None:
    stranger = openai.OpenAI(api_key="ess_a_b", base_url=f"{server.url}/v1", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.embeddings.create(input="x", model="default")
    searcher = openai.OpenAI(api_key=server.key("search"), base_url=f"{server.url}/v1", max_retries=0)
    with searcher, pytest.raises(openai.PermissionDeniedError, match="embed"):
        searcher.embeddings.create(input="x", model="default")


def test_our_own_provider_speaks_to_our_own_server(server: Server) -> None:
    settings = OpenAIModel(provider="openai", name="default", url=f"{server.url}/v1", api_key=server.key("embed"))
    embedder = load_embedder(settings)
    own = cached_embedder(SentenceTransformersModel()).embed_documents(TEXTS).vectors
    assert np.abs(embedder.embed_documents(TEXTS).vectors - own).max() < 1e-2
    assert embedder.profile.dims == 384


def test_what_is_asked_at_the_same_time_runs_together(server: Server, client: openai.OpenAI) -> None:
    before = _batches(server)
    together = threading.Barrier(16)

    def ask(number: int) -> float:
        together.wait()
        answer = client.embeddings.create(input=f"text number {number}", model="default")
        return float(np.linalg.norm(vectors(answer)[0]))

    with ThreadPoolExecutor(16) as threads:
        for _ in range(4):
            assert list(threads.map(ask, range(16))) == pytest.approx([1.0] * 16, abs=1e-2)
    batches, texts = (after - early for after, early in zip(_batches(server), before, strict=True))
    assert texts == 64
    assert batches <= 32


def _batches(server: Server) -> tuple[float, float]:
    """How many batches have run, and with how many texts."""
    with server.client(server.key("admin")) as http:
        lines = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if line[0] != "#")
    return float(lines["es_semantic_batch_texts_count"]), float(lines["es_semantic_batch_texts_sum"])
