"""Golden answers and faults for the models behind HTTP, put in through httpx's transport."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from pydantic import SecretStr

from es_semantic.config import OllamaModel, OpenAIModel
from es_semantic.embedding.http import JsonPoster
from es_semantic.embedding.openai import OpenAIEmbedder

KEY = "sk-proj-Zq8+only/for=tests"
OPENAI = OpenAIModel(provider="openai", name="text-embedding-3-small", api_key=SecretStr(KEY), max_retries=0)
OLLAMA = OllamaModel(provider="ollama", name="all-minilm", max_retries=0)

Answer = httpx.Response | Exception


class Scripted(httpx.BaseTransport):
    """Gives the scripted answers in turn, the last one for ever, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


class Answering(httpx.BaseTransport):
    """Computes the answer from the request's body; safe for threads."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self._turn = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        with self._turn:
            self.bodies.append(body)
        return httpx.Response(200, json=self.answer(body))


def row(index: int, embedding: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


def openai_answer(rows: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": rows, "model": "text-embedding-3-small", "usage": usage}


def ollama_answer(embeddings: Any) -> dict[str, Any]:
    return {
        "model": "all-minilm",
        "embeddings": embeddings,
        "total_duration": 14143917,
        "load_duration": 1019500,
        "prompt_eval_count": 8,
    }


def little_endian(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


def lengths(body: dict[str, Any]) -> dict[str, Any]:
    return openai_answer([row(i, [len(text), 1.0]) for i, text in enumerate(body["input"])])


def embedder_on(*answers: Answer) -> tuple[OpenAIEmbedder, Scripted]:
    transport = Scripted(*answers)
    return OpenAIEmbedder(OPENAI, transport=transport), transport


GOOD = httpx.Response(200, json={"fine": True})


class Poster(JsonPoster):
    """A poster that keeps how long it would have slept."""

    def __init__(self, transport: httpx.BaseTransport, *, max_retries: int = 5) -> None:
        self.slept: list[float] = []
        super().__init__(
            "http://embeddings.test/v1/embeddings",
            key=SecretStr(KEY),
            timeout=1,
            max_retries=max_retries,
            transport=transport,
            sleep=self.slept.append,
        )
