"""RAGFlow's retrieval call (RAGFlow, "HTTP API reference": "Retrieve chunks", "List datasets", "Upload documents")."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from es_semantic.api_chunks import list_datasets, retrieve_chunks
from es_semantic.config import KnowledgeSettings
from es_semantic.errors import InvalidQuery
from es_semantic.retrieval.chunk_search import Chunk, Chunks
from es_semantic.retrieval.conditions import Condition
from es_semantic.retrieval.datasets import Dataset
from es_semantic.server.answers import json_answer
from es_semantic.server.callers import Caller, Parts
from es_semantic.server.failures import Failure
from es_semantic.server.search import require_at_most

RETRIEVAL = "/api/v1/retrieval"
DATASETS = "/api/v1/datasets"

INVALID = 102
"""RAGFlow's code for whatever is wrong with a request."""

MAX_PAGE_SIZE = 1_000

router = APIRouter(tags=["RAGFlow"])


def _null_is_absent(value: Any) -> Any:
    return [] if value is None else value


Ids = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_null_is_absent), Field(max_length=1_000)]
Share = Annotated[float, Field(ge=0, le=1)]


class RagflowCondition(BaseModel):
    """A comparison of one piece of a document's metadata."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    comparison_operator: str = Field(min_length=1)
    value: Any = None


class MetadataCondition(BaseModel):
    """Several comparisons, all (``and``) or one (``or``) of which must hold."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    logic: Literal["and", "or"] = "and"
    conditions: Annotated[list[RagflowCondition], BeforeValidator(_null_is_absent)] = Field(default_factory=list)


class RetrievalRequest(BaseModel):
    """RAGFlow's request, with its defaults.

    ``keyword`` has no effect: words always count, by ``1 - vector_similarity_weight``. Neither have
    ``cross_languages``, ``use_kg`` and ``toc_enhance``, for which RAGFlow asks a language model.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    question: str
    dataset_ids: Ids = Field(default_factory=list)
    document_ids: Ids = Field(default_factory=list)
    page: int = Field(default=1, ge=1)
    page_size: int = Field(default=30, ge=1, le=MAX_PAGE_SIZE)
    similarity_threshold: Share = 0.2
    vector_similarity_weight: Share = 0.3
    top_k: int = Field(default=1024, ge=1)
    rerank_id: str | None = None
    keyword: bool = False
    highlight: bool = False
    metadata_condition: MetadataCondition | None = None


@router.post(RETRIEVAL, response_model=dict[str, Any])
async def retrieval(asked: RetrievalRequest, service: Parts, access: Caller) -> Response:
    """Retrieve chunks of datasets that answer a question."""
    access.require("search")
    require_at_most("top_k", asked.top_k, service.config.serve.max_window)
    config = await service.knowledge(access)
    condition = asked.metadata_condition or MetadataCondition()
    place, found = await service.run(
        access,
        retrieve_chunks.steps(
            asked.question,
            dataset_ids=asked.dataset_ids,
            document_ids=asked.document_ids,
            conditions=[Condition(each.name, each.comparison_operator, each.value) for each in condition.conditions],
            logic=condition.logic,
            size=asked.page_size,
            from_=require_page(asked.page, asked.page_size),
            similarity_threshold=asked.similarity_threshold,
            vector_similarity_weight=asked.vector_similarity_weight,
            top_k=asked.top_k,
            rerank=asked.rerank_id or None,
            highlight=asked.highlight,
            deadline=service.deadline(None),
            allow_degraded=True,
            model=service.models,
            config=config,
        ),
    )
    if found.degraded:
        service.metrics.degraded()
    return json_answer({"code": 0, "data": retrieval_data(place, found)})


@router.get(DATASETS)
async def datasets(
    service: Parts,
    access: Caller,
    page: Annotated[int, Field(ge=1)] = 1,
    page_size: Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] = 30,
    id: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """List the datasets that the caller may search; a dataset's name is its id."""
    access.require("search")
    config = await service.knowledge(access)
    every: list[Dataset] = await service.run(access, list_datasets.steps(config=config))
    wanted = [each for each in every if each.id in (id or each.id,) and each.id in (name or each.id,)]
    if (id or name) and not wanted:
        raise InvalidQuery(f"there is no dataset {id or name!r}", hint="List them without a name.")
    start = require_page(page, page_size)
    return {"code": 0, "data": [dataset_data(each) for each in wanted[start : start + page_size]]}


def require_page(page: int, size: int) -> int:
    """Return where a page begins; no page begins later than Elasticsearch could look."""
    return min((page - 1) * size, 10_000)


def retrieval_data(place: KnowledgeSettings, found: Chunks) -> dict[str, Any]:
    """Return the data of an answer. ``degraded`` is ours: the parts that failed and are missing."""
    data: dict[str, Any] = {
        "chunks": [chunk_data(place, each) for each in found.chunks],
        "doc_aggs": [{"doc_id": each.id, "doc_name": each.name, "count": each.chunks} for each in found.documents],
        "total": found.total,
    }
    if found.degraded:
        data["degraded"] = [{"leg": each.leg, "reason": each.reason} for each in found.degraded]
    return data


def chunk_data(place: KnowledgeSettings, chunk: Chunk) -> dict[str, Any]:
    """Return a chunk as RAGFlow has it."""
    data = {
        "id": chunk.key[1],
        "content": _text(chunk.value(place.content)),
        "document_id": _text(chunk.value(place.document)),
        "document_keyword": _text(chunk.value(place.document_name)),
        "document_name": _text(chunk.value(place.document_name)),
        "dataset_id": _text(chunk.value(place.dataset)),
        "kb_id": _text(chunk.value(place.dataset)),
        "important_keywords": _values(chunk, place.keywords),
        "positions": _values(chunk, place.positions),
        "image_id": "",
        "similarity": chunk.similarity,
        "term_similarity": chunk.term_similarity,
        "vector_similarity": chunk.vector_similarity,
    }
    return data if chunk.highlight is None else {**data, "highlight": chunk.highlight}


def dataset_data(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as RAGFlow has it."""
    return {
        "id": dataset.id,
        "name": dataset.id,
        "chunk_count": dataset.chunks,
        "document_count": dataset.documents,
        "embedding_model": dataset.model,
    }


def failed(failure: Failure, request_id: str) -> JSONResponse:
    """Return an error as RAGFlow has it: HTTP 200 and a code; but 401 without a key, and what has other causes."""
    what = " ".join(part for part in (failure.error["what"], failure.error["hint"]) if part)
    status = failure.status
    if status < 500 and status not in (401, 413, 429):
        return JSONResponse({"code": INVALID, "message": what, "data": None, "request_id": request_id}, 200)
    return JSONResponse(
        {"code": status, "message": what, "data": None, "request_id": request_id}, status, failure.headers
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _values(chunk: Chunk, name: str | None) -> list[Any]:
    return [] if name is None else list(chunk.fields.get(name, ()))


SHAPES = {RETRIEVAL: failed, DATASETS: failed}
