"""``/v1/rerank``, as Cohere's and Jina's clients know it, and ``/rerank``, as text-embeddings-inference has it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from es_semantic.chosen import rerankers_for
from es_semantic.errors import InvalidQuery
from es_semantic.reranking.protocol import order
from es_semantic.retrieval.query import require_query
from es_semantic.server.callers import Caller, Parts
from es_semantic.server.failures import Failure
from es_semantic.server.service import Service

MAX_TEXTS = 1_000
"""Of one request; Cohere advises against more (API reference, "Rerank", v2)."""

router = APIRouter(tags=["models"])


class TextDocument(BaseModel):
    """A document as an object; what stands beside its text is not read."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    text: str


Documents = Annotated[list[str | TextDocument], Field(min_length=1, max_length=MAX_TEXTS)]
Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]


class RerankRequest(BaseModel):
    """Cohere's and Jina's request; ``model`` is the name of a configured reranker. Other keys have no effect."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    query: str
    documents: Documents
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False


class RerankResult(BaseModel):
    """A document by its ``index`` in the request, and how well it answers the query."""

    index: int
    relevance_score: float
    document: TextDocument | None = None


class RerankAnswer(BaseModel):
    """The best documents, best first."""

    model: str
    results: list[RerankResult]


class TeiRequest(BaseModel):
    """The request of text-embeddings-inference, which serves one reranker. Other keys have no effect."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    query: str
    texts: Texts
    return_text: bool = False


class TeiRank(BaseModel):
    """A text by its ``index`` in the request, and its score."""

    index: int
    score: float
    text: str | None = None


@router.post("/v1/rerank", response_model=RerankAnswer, response_model_exclude_none=True)
async def cohere(asked: RerankRequest, service: Parts, access: Caller) -> RerankAnswer:
    """Order documents by how well they answer the query."""
    access.require("embed")
    name = require_reranker(service, asked.model)
    texts = [each if isinstance(each, str) else each.text for each in asked.documents]
    scores = await _scores(service, name, asked.query, texts)
    results = [
        RerankResult(
            index=place,
            relevance_score=scores[place],
            document=TextDocument(text=texts[place]) if asked.return_documents else None,
        )
        for place in order(scores)[: asked.top_n]
    ]
    return RerankAnswer(model=name, results=results)


@router.post("/rerank", response_model=list[TeiRank], response_model_exclude_none=True)
async def tei(asked: TeiRequest, service: Parts, access: Caller) -> list[TeiRank]:
    """Order texts by how well they answer the query."""
    access.require("embed")
    scores = await _scores(service, require_reranker(service, None), asked.query, asked.texts)
    texts = asked.texts if asked.return_text else [None] * len(scores)
    return [TeiRank(index=place, score=scores[place], text=texts[place]) for place in order(scores)]


def require_reranker(service: Service, name: str | None) -> str:
    """Return the name of the reranker to use: the one asked for, else the only one there is.

    Raises:
        InvalidQuery: there is none of that name, or none at all, or several to choose from.
    """
    known = sorted(service.config.rerankers)
    if name is None and len(known) == 1:
        return known[0]
    if name in known:
        return str(name)
    what = f"there is no reranker {name!r}" if name is not None else "no one reranker can be chosen"
    raise InvalidQuery(what, hint=f"Rerankers are: {', '.join(known) or 'none; configure one under rerankers'}.")


async def _scores(service: Service, name: str, query: str, texts: list[str]) -> list[float]:
    rerankers = rerankers_for(service.config)
    reranker = await asyncio.to_thread(rerankers.load, name)
    deadline = service.deadline(None)
    return await asyncio.to_thread(partial(reranker.scores, require_query(query), texts, deadline=deadline))


def failed(failure: Failure, request_id: str) -> JSONResponse:
    """Return an error as Cohere's clients read it: with a ``message``."""
    what = " ".join(part for part in (failure.error["what"], failure.error["hint"]) if part)
    return JSONResponse({"message": what, "request_id": request_id}, failure.status, failure.headers)


def tei_failed(failure: Failure, request_id: str) -> JSONResponse:
    """Return an error as text-embeddings-inference has it."""
    return JSONResponse(
        {"error": failure.error["what"], "error_type": failure.error["type"], "request_id": request_id},
        failure.status,
        failure.headers,
    )


SHAPES = {"/v1/rerank": failed, "/rerank": tei_failed}
