"""``/v1/rerank`` and ``/rerank``: a real cross-encoder behind our server, asked by our own clients of such servers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from es_semantic.config import CohereSettings, CrossEncoderSettings, TeiSettings
from es_semantic.errors import RerankerError
from es_semantic.reranking.load import load_reranker
from tests.serving import Server, serving
from tests.small_rerankers import small_cross_encoder

QUERY, TEXTS = "red shoes", ["blue shoes", "red shoes", "a green hat", "shoes that are red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_cross_encoder(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str, folder: str) -> Iterator[Server]:
    rerankers = {"small": {"provider": "cross-encoder", "name": folder}}
    with serving(tmp_path_factory.mktemp("server"), node_url, rerankers=rerankers) as running:
        running.key("admin")
        yield running


@pytest.fixture(scope="module")
def own(folder: str) -> list[float]:
    return load_reranker(CrossEncoderSettings(provider="cross-encoder", name=folder)).scores(QUERY, TEXTS)


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.key("embed")) as opened:
        yield opened


def test_cohere_and_jina(server: Server, http: httpx.Client, own: list[float]) -> None:
    ours = CohereSettings(provider="cohere", name="small", url=f"{server.url}/v1", api_key=server.key("embed"))
    assert load_reranker(ours).scores(QUERY, TEXTS) == pytest.approx(own, abs=1e-5)
    body = {"query": QUERY, "documents": [{"text": TEXTS[0]}, *TEXTS[1:]], "top_n": 2, "return_documents": True}
    answer = http.post("/v1/rerank", json=body).json()
    best = sorted(range(4), key=own.__getitem__, reverse=True)[:2]
    assert [each["index"] for each in answer["results"]] == best
    assert [each["document"]["text"] for each in answer["results"]] == [TEXTS[place] for place in best]
    assert answer["model"] == "small"


def test_text_embeddings_inference(server: Server, http: httpx.Client, own: list[float]) -> None:
    ours = TeiSettings(provider="tei", url=server.url, api_key=server.key("embed"))
    assert load_reranker(ours).scores(QUERY, TEXTS) == pytest.approx(own, abs=1e-5)
    ranks = http.post("/rerank", json={"query": QUERY, "texts": TEXTS, "return_text": True}).json()
    assert [each["score"] for each in ranks] == sorted((each["score"] for each in ranks), reverse=True)
    assert all(each["text"] == TEXTS[each["index"]] for each in ranks)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/rerank", {"query": QUERY, "documents": []}, 422, "documents"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a"] * 1_001}, 422, "documents"),
        ("/v1/rerank", {"query": "", "documents": ["a"]}, 400, "empty"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a"], "model": "none"}, 400, "none"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a"], "top_n": 0}, 422, "top_n"),
        ("/rerank", {"query": QUERY, "texts": [3]}, 422, "texts"),
    ],
)
def test_what_is_wrong_is_said(http: httpx.Client, path: str, body: dict[str, object], status: int, said: str) -> None:
    response = http.post(path, json=body)
    assert response.status_code == status, response.text
    assert said in response.json()["message" if path == "/v1/rerank" else "error"]


def test_a_wrong_key_is_told_to_the_client(server: Server) -> None:
    stranger = CohereSettings(provider="cohere", name="small", url=f"{server.url}/v1", max_retries=0)
    with pytest.raises(RerankerError):
        load_reranker(stranger).scores(QUERY, TEXTS)
