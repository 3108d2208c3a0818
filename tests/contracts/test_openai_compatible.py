"""Our OpenAI client against a real server of other people, beside OpenAI's own client and our in-process model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from es_semantic.config import OpenAIModel
from es_semantic.embedding import Embedder, load_embedder, require_same_model
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.openai import OpenAIEmbedder, parse_response
from es_semantic.errors import FingerprintMismatch, InputRejected, ModelUnavailable
from es_semantic.sync.embed import embed_each
from tests.contracts.child_server import Server
from tests.contracts.openai_server import openai_server

MODEL = "all-MiniLM-L6-v2"
KEY = "not-checked-by-this-server"
TEXTS = [
    "That is a happy person",
    "Elasticsearch " * 40,
    "Überraschung: 日本語 \U0001f600",
    "a",
    'quotes " and \\ backslashes\nand lines',
]


class Keeper:
    """Starts the server for the first test that asks, and again only after a test that killed it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._server: Server | None = None

    def running(self) -> Server:
        if self._server is None or not self._server.is_running():
            self._server = self._stack.enter_context(openai_server())
        return self._server


@pytest.fixture(scope="session")
def keeper() -> Iterator[Keeper]:
    with ExitStack() as stack:
        yield Keeper(stack)


@pytest.fixture
def server(keeper: Keeper) -> Server:
    return keeper.running()


@pytest.fixture(scope="session")
def local() -> Embedder:
    return load_embedder()


def _settings(server: Server, *, batch_size: int = 64, max_retries: int = 0) -> OpenAIModel:
    return OpenAIModel(
        provider="openai",
        name=MODEL,
        url=server.url,
        api_key=SecretStr(KEY),
        batch_size=batch_size,
        max_retries=max_retries,
    )


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


def test_the_server_gives_the_vectors_of_the_model_in_this_process(server: Server, local: Embedder) -> None:
    remote = load_embedder(_settings(server))
    assert isinstance(remote, OpenAIEmbedder)
    assert _cosines(remote.embed_documents(TEXTS).vectors, local.embed_documents(TEXTS).vectors).min() > 0.9999
    assert _cosines(remote.embed_queries(TEXTS).vectors, local.embed_queries(TEXTS).vectors).min() > 0.9999


def test_openais_own_client_gets_the_same_as_ours(server: Server) -> None:
    theirs = openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0).embeddings.create(model=MODEL, input=TEXTS)
    ours = load_embedder(_settings(server)).embed_documents(TEXTS)
    assert _cosines(ours.vectors, np.array([row.embedding for row in theirs.data], dtype=np.float32)).min() > 0.999999


@pytest.mark.parametrize("form", ["base64", "float"])
def test_both_forms_of_this_servers_answer_are_read(server: Server, form: str) -> None:
    body = {"model": MODEL, "input": TEXTS, "encoding_format": form}
    answer = httpx.post(f"{server.url}/embeddings", json=body, timeout=60).json()
    assert isinstance(answer["data"][0]["embedding"], str if form == "base64" else list)
    ours = load_embedder(_settings(server)).embed_documents(TEXTS)
    assert _cosines(ours.vectors, np.array(parse_response(answer), dtype=np.float32)).min() > 0.999999


def test_more_texts_than_one_request_takes_keep_their_order(server: Server) -> None:
    texts = [f"text number {i} " + "word " * (i * 7 % 11) for i in range(20)]
    one_by_one = load_embedder(_settings(server, batch_size=1)).embed_documents(texts).vectors
    batches = load_embedder(_settings(server, batch_size=6)).embed_documents(texts).vectors
    assert _cosines(batches, one_by_one).min() > 0.99999
    assert (batches @ one_by_one.T).argmax(axis=1).tolist() == list(range(20))


def test_the_profile_tells_what_an_index_needs(server: Server) -> None:
    profile = load_embedder(_settings(server)).profile
    assert (profile.dims, profile.similarity, profile.max_tokens) == (384, "cosine", None)
    assert (profile.fingerprint.provider, profile.fingerprint.model) == ("openai", MODEL)
    assert profile.fingerprint.id.startswith(f"{MODEL}-")


def test_an_index_of_the_model_in_this_process_does_not_take_the_server_for_it(server: Server, local: Embedder) -> None:
    remote = load_embedder(_settings(server))
    with pytest.raises(FingerprintMismatch) as caught:
        require_same_model(local.profile.fingerprint, remote.profile.fingerprint, index="docs")
    assert "provider: index 'sentence-transformers', here 'openai'" in caught.value.what
    assert local.profile.fingerprint.id in caught.value.what
    assert remote.profile.fingerprint.id in caught.value.what


def test_what_this_server_finds_malformed_is_the_inputs_fault(server: Server) -> None:
    poster = JsonPoster(f"{server.url}/embeddings", key=SecretStr(KEY), timeout=60, max_retries=3)
    with pytest.raises(InputRejected, match="HTTP 422"):
        poster.post({"model": MODEL, "input": {"no": "text"}})


def test_a_wrong_path_is_told_as_such(server: Server) -> None:
    wrong = _settings(server).model_copy(update={"url": server.url.removesuffix("/v1")})
    with pytest.raises(ModelUnavailable, match="HTTP 404") as caught:
        _ = load_embedder(wrong).profile
    assert "models.*.url" in caught.value.hint


def test_a_server_that_is_killed_is_unavailable_after_the_retries_and_blames_no_text(server: Server) -> None:
    embedder = load_embedder(_settings(server, max_retries=2))
    assert embed_each(embedder, ["before"])[0].vectors is not None
    server.stop()
    with pytest.raises(ModelUnavailable, match="ConnectError") as caught:
        embed_each(embedder, ["after", "and after"])
    assert server.url in caught.value.what
    assert "Is the embedding server up?" in caught.value.hint
    assert KEY not in str(caught.value)
