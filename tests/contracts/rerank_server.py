"""Real reranking servers: LitServe with a cross-encoder that SentenceTransformers ranks by itself.

Run as ``python -m tests.contracts.rerank_server PORT FOLDER``; :func:`rerank_server` runs it in a child process.
"""

# No `from __future__ import annotations`: LitServe looks at the classes of requests, not at their names.
import sys
from contextlib import AbstractContextManager
from typing import Any

import litserve
import litserve.server
from pydantic import BaseModel, ConfigDict, Field

from tests.contracts.child_server import Server, running

# It takes any mcp for the version 1 that it was written for.
litserve.server._MCP_AVAILABLE = False

COHERE_PATH = "/v1/rerank"
TEI_PATH = "/tei/rerank"
MAX_TEXTS = 8
"""Texts per request that the server takes in text-embeddings-inference's shape."""


class CohereRequest(BaseModel):
    """Cohere's API reference, "Rerank", v2."""

    model_config = ConfigDict(extra="forbid")
    model: str
    query: str
    documents: list[str] = Field(min_length=1)
    top_n: int | None = None


class TeiRequest(BaseModel):
    """The OpenAPI description of text-embeddings-inference, "/rerank"."""

    model_config = ConfigDict(extra="forbid")
    query: str
    texts: list[str] = Field(min_length=1, max_length=MAX_TEXTS)
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None


class Ranking(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe asks of a model; the ranking is SentenceTransformers' own."""

    def __init__(self, folder: str, api_path: str) -> None:
        super().__init__(api_path=api_path)
        self.folder = folder

    def setup(self, device: str) -> None:
        """Load the model in the server's worker process."""
        from sentence_transformers import CrossEncoder

        self.model = CrossEncoder(self.folder, device=device)

    def rank(self, query: str, texts: list[str]) -> list[tuple[int, float]]:
        """Return (position, score), best first."""
        ranked = self.model.rank(query, texts, show_progress_bar=False)
        return [(int(row["corpus_id"]), float(row["score"])) for row in ranked]


class CohereRanking(Ranking):
    """Cohere's shape."""

    def decode_request(self, request: CohereRequest) -> CohereRequest:
        return request

    def predict(self, request: CohereRequest) -> Any:
        return self.rank(request.query, request.documents)[: request.top_n]

    def encode_response(self, output: Any) -> Any:
        return {"id": "x", "results": [{"index": index, "relevance_score": score} for index, score in output]}


class TeiRanking(Ranking):
    """text-embeddings-inference's shape."""

    def decode_request(self, request: TeiRequest) -> TeiRequest:
        return request

    def predict(self, request: TeiRequest) -> Any:
        return self.rank(request.query, request.texts)

    def encode_response(self, output: Any) -> Any:
        return [{"index": index, "score": score} for index, score in output]


def rerank_server(folder: str) -> AbstractContextManager[Server]:
    """Start a server of the cross-encoder in ``folder`` on a free loopback port and stop it in the end."""
    return running("tests.contracts.rerank_server", folder)


def _serve(port: int, folder: str) -> None:
    apis = [CohereRanking(folder, COHERE_PATH), TeiRanking(folder, TEI_PATH)]
    litserve.LitServer(apis, accelerator="cpu").run(host="127.0.0.1", port=port, generate_client_file=False)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
