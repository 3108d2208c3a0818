"""``/v1/embeddings`` and ``/v1/models``, as OpenAI's clients know them (OpenAI API reference, "Embeddings")."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
import pybase64
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from es_semantic.chosen import DEFAULT_NAME
from es_semantic.embedding import Embeddings
from es_semantic.embedding.chunking import tokenizer_of
from es_semantic.embedding.protocol import Vectors
from es_semantic.embedding.shared import SharedEmbedder
from es_semantic.errors import InvalidQuery
from es_semantic.server.answers import json_answer
from es_semantic.server.callers import Caller, Parts
from es_semantic.server.failures import Failure

MAX_TEXTS = 2_048
"""Of one request, as with OpenAI."""

router = APIRouter(tags=["models"])

Tokens = Annotated[list[int], Field(min_length=1)]


class EmbeddingsRequest(BaseModel):
    """OpenAI's request. ``input_type`` is ours: whether the texts will be searched, or are what to search with.

    Other keys of OpenAI's and of other servers are accepted, and have no effect.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    input: str | Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)] | Tokens | list[Tokens]
    model: str = DEFAULT_NAME
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    input_type: Literal["document", "query"] = "document"


class Usage(BaseModel):
    """Tokens, counted by the model's own tokenizer; 0 where it has none in this process."""

    prompt_tokens: int
    total_tokens: int


class Embedding(BaseModel):
    """One vector: numbers, or little-endian float32 as base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsAnswer(BaseModel):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class ModelBody(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ModelsAnswer(BaseModel):
    """The models that requests may name."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer)
async def embeddings(asked: EmbeddingsRequest, service: Parts, access: Caller) -> Response:
    """Embed texts. What is asked at the same time runs through the model together."""
    access.require("embed")
    texts = require_texts(asked.input)
    embedder = await service.loaded(asked.model)
    dims = embedder.profile.dims
    if asked.dimensions not in (None, dims):
        raise InvalidQuery(
            f"model {asked.model!r} makes vectors of {dims} dimensions, not {asked.dimensions}",
            hint="Leave `dimensions` out: a part of a vector is a vector of another model.",
        )
    ask = embedder.ask_queries if asked.input_type == "query" else embedder.ask_documents
    found: Embeddings = await asyncio.wrap_future(ask(texts))
    tokens = count_tokens(embedder, texts)
    return json_answer(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": place, "embedding": encoded(vector, asked.encoding_format)}
                for place, vector in enumerate(found.vectors)
            ],
            "model": asked.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


@router.get("/v1/models")
async def models(service: Parts, access: Caller) -> ModelsAnswer:
    """List the models."""
    access.require("embed")
    owners = {name: service.config.model(name).provider for name in service.models.names}
    return ModelsAnswer(data=[ModelBody(id=name, owned_by=owner) for name, owner in owners.items()])


@router.get("/v1/models/{model}")
async def model(model: str, service: Parts, access: Caller) -> ModelBody:
    """Tell of one model."""
    access.require("embed")
    if model not in service.models.names:
        raise InvalidQuery(f"there is no model {model!r}", hint=f"Models are {', '.join(service.models.names)}.")
    return ModelBody(id=model, owned_by=service.config.model(model).provider)


def require_texts(given: Any) -> list[str]:
    """Return the texts to embed.

    Raises:
        InvalidQuery: these are tokens, or a text is empty.
    """
    texts = [given] if isinstance(given, str) else given
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidQuery(
            "`input` holds tokens; this server takes texts, because tokens of one model mean nothing to another",
            hint="Send strings. With LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False).",
        )
    empty = next((place for place, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        raise InvalidQuery(f"`input` {empty} is empty", hint="Leave out texts without a word.")
    return texts


def encoded(vector: Vectors, encoding: Literal["float", "base64"]) -> Vectors | str:
    """Return a vector as OpenAI encodes it."""
    if encoding == "base64":
        return pybase64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
    return np.ascontiguousarray(vector)


def count_tokens(embedder: SharedEmbedder, texts: list[str]) -> int:
    """Return how many tokens the texts have; 0 where nobody here can tell."""
    tokenizer = tokenizer_of(embedder)
    return 0 if tokenizer is None else sum(tokenizer.counts(texts))


def failed(failure: Failure, request_id: str) -> JSONResponse:
    """Return an error as OpenAI's clients read it (OpenAI API reference, "Error codes")."""
    kind = "invalid_request_error" if failure.status < 500 else "server_error"
    what = " ".join(part for part in (failure.error["what"], failure.error["hint"]) if part)
    error = {"message": what, "type": kind, "param": None, "code": failure.error["type"], "request_id": request_id}
    return JSONResponse({"error": error}, failure.status, failure.headers)


SHAPES = {"/v1/embeddings": failed, "/v1/models": failed}
