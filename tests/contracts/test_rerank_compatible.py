"""Our reranking clients against a real server, beside the same model in this process and the library's own ranking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest
from sentence_transformers import CrossEncoder

from es_semantic.config import CohereSettings, CrossEncoderSettings, TeiSettings
from es_semantic.errors import RerankerError, RerankerUnavailable
from es_semantic.reranking import Reranker, load_reranker, order
from tests.contracts.child_server import Server
from tests.contracts.rerank_server import MAX_TEXTS, rerank_server
from tests.small_rerankers import small_cross_encoder

QUERY = 'Which "quotes" and \\ backslashes, Überraschung 日本語 \U0001f600?'
TEXTS = [
    "That is a happy person",
    "Elasticsearch " * 400,
    "Überraschung: 日本語 \U0001f600",
    "a",
    "That is a happy person",
    'quotes " and \\ backslashes\nand lines',
    "",
    *(f"text number {i} " + "word " * (i * 7 % 11) for i in range(20)),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_cross_encoder(tmp_path_factory.mktemp("reranker") / "model")


@pytest.fixture(scope="session")
def local(folder: str) -> Reranker:
    return load_reranker(CrossEncoderSettings(provider="cross-encoder", name=folder, offline=True))


class Keeper:
    """Starts the server for the first test that asks, and again only after a test that killed it."""

    def __init__(self, stack: ExitStack, folder: str) -> None:
        self._stack = stack
        self._folder = folder
        self._server: Server | None = None

    def running(self) -> Server:
        if self._server is None or not self._server.is_running():
            self._server = self._stack.enter_context(rerank_server(self._folder))
        return self._server


@pytest.fixture(scope="session")
def keeper(folder: str) -> Iterator[Keeper]:
    with ExitStack() as stack:
        yield Keeper(stack, folder)


@pytest.fixture
def server(keeper: Keeper) -> Server:
    return keeper.running()


def _cohere(server: Server, *, batch_size: int = 1000, max_retries: int = 0) -> CohereSettings:
    return CohereSettings(
        provider="cohere",
        name="small",
        url=server.url,
        timeout=60,
        batch_size=batch_size,
        max_retries=max_retries,
    )


def _tei(server: Server, *, batch_size: int = MAX_TEXTS) -> TeiSettings:
    url = server.url.removesuffix("/v1") + "/tei"
    return TeiSettings(provider="tei", url=url, timeout=60, batch_size=batch_size, max_retries=0)


@pytest.mark.parametrize("batch_size", [1000, 4])
def test_coheres_shape_gives_the_scores_of_the_model_in_this_process(
    server: Server, local: Reranker, batch_size: int
) -> None:
    scores = load_reranker(_cohere(server, batch_size=batch_size)).scores(QUERY, TEXTS)
    assert scores == pytest.approx(local.scores(QUERY, TEXTS), abs=1e-5)
    assert scores[0] == scores[4]


def test_text_embeddings_inferences_shape_gives_the_scores_of_the_model_in_this_process(
    server: Server, local: Reranker
) -> None:
    scores = load_reranker(_tei(server)).scores(QUERY, TEXTS)
    assert scores == pytest.approx(local.scores(QUERY, TEXTS), abs=1e-5)


def test_the_order_is_that_of_the_librarys_own_ranking(server: Server, folder: str) -> None:
    texts = [text for position, text in enumerate(TEXTS) if text and text not in TEXTS[:position]]
    theirs = CrossEncoder(folder, device="cpu").rank(QUERY, texts, show_progress_bar=False)
    ours = load_reranker(_cohere(server)).scores(QUERY, texts)
    assert [ours[row["corpus_id"]] for row in theirs] == pytest.approx([row["score"] for row in theirs], abs=1e-5)
    # Scores differ in their last digits, so texts may change places that are nearer than that.
    score = {row["corpus_id"]: row["score"] for row in theirs}
    assert all(score[better] >= score[worse] - 1e-5 for better, worse in pairwise(order(ours)))


def test_more_texts_than_the_server_takes_are_refused_with_what_to_change(server: Server) -> None:
    with pytest.raises(RerankerError, match="refuses the request: HTTP 422") as caught:
        load_reranker(_tei(server, batch_size=MAX_TEXTS + 1)).scores(QUERY, TEXTS)
    assert not isinstance(caught.value, RerankerUnavailable)
    assert "rerankers.*.batch_size" in caught.value.hint
    assert all(text not in str(caught.value) for text in TEXTS if len(text) > 3)


def test_a_wrong_path_is_told_as_such(server: Server) -> None:
    wrong = _cohere(server).model_copy(update={"url": f"{server.url}/v9"})
    with pytest.raises(RerankerError, match="HTTP 404") as caught:
        load_reranker(wrong).scores(QUERY, TEXTS)
    assert "rerankers.*.url" in caught.value.hint


def test_the_wrong_shape_is_told_as_such(server: Server) -> None:
    wrong = TeiSettings(provider="tei", url=server.url, timeout=60, max_retries=0)
    with pytest.raises(RerankerError, match="refuses the request: HTTP 422"):
        load_reranker(wrong).scores(QUERY, TEXTS[:3])


def test_a_server_that_is_killed_is_unavailable_after_the_retries(server: Server) -> None:
    reranker = load_reranker(_cohere(server, max_retries=2))
    assert len(reranker.scores(QUERY, TEXTS)) == len(TEXTS)
    server.stop()
    with pytest.raises(RerankerUnavailable, match="ConnectError") as caught:
        reranker.scores(QUERY, TEXTS)
    assert server.url in caught.value.what
    assert "Is the reranker up?" in caught.value.hint
