"""Dify's call for external knowledge (Dify documentation, "External Knowledge API")."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from es_semantic.api_chunks import retrieve_chunks
from es_semantic.config import KnowledgeSettings
from es_semantic.retrieval.chunk_search import Chunks
from es_semantic.retrieval.conditions import Condition
from es_semantic.server.answers import json_answer
from es_semantic.server.callers import Caller, Parts
from es_semantic.server.failures import Failure
from es_semantic.server.search import require_at_most

PATH = "/dify/retrieval"

router = APIRouter(tags=["Dify"])


class RetrievalSetting(BaseModel):
    """How many records at most, and how similar at least; Dify sends 0.0 where its threshold is off."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    top_k: int = Field(ge=1)
    score_threshold: float = Field(default=0.0, ge=0, le=1)


class DifyCondition(BaseModel):
    """A comparison. ``name`` is one name, or in Dify's older dialect a list, one of which must compare so."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1, max_length=10)]
    comparison_operator: str = Field(min_length=1)
    value: Any = None


class DifyMetadataCondition(BaseModel):
    """Several comparisons, all (``and``) or one (``or``) of which must hold."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    logical_operator: Literal["and", "or"] | None = "and"
    conditions: list[DifyCondition] | None = None


class DifyRequest(BaseModel):
    """Dify's request; ``knowledge_id`` is a dataset."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    knowledge_id: str = Field(min_length=1)
    query: str
    retrieval_setting: RetrievalSetting
    metadata_condition: DifyMetadataCondition | None = None


class DifyRecord(BaseModel):
    """A chunk: ``score`` is its similarity, ``title`` its document's name."""

    content: str
    score: float
    title: str
    metadata: dict[str, Any]


class DifyAnswer(BaseModel):
    """The records, best first."""

    records: list[DifyRecord]


@router.post(PATH, response_model=DifyAnswer)
async def dify(asked: DifyRequest, service: Parts, access: Caller) -> Response:
    """Retrieve records of a dataset that answer a query."""
    access.require("search")
    require_at_most("top_k", asked.retrieval_setting.top_k, service.config.serve.max_window)
    config = await service.knowledge(access)
    condition = asked.metadata_condition or DifyMetadataCondition()
    place, found = await service.run(
        access,
        retrieve_chunks.steps(
            asked.query,
            dataset_ids=[asked.knowledge_id],
            conditions=[conditions_of(each) for each in condition.conditions or ()],
            logic=condition.logical_operator or "and",
            size=asked.retrieval_setting.top_k,
            similarity_threshold=asked.retrieval_setting.score_threshold,
            top_k=max(asked.retrieval_setting.top_k, CANDIDATES),
            deadline=service.deadline(None),
            allow_degraded=True,
            model=service.models,
            config=config,
        ),
    )
    if found.degraded:
        service.metrics.degraded()
    return json_answer(dify_answer(place, found))


CANDIDATES = 1_024
"""Chunks that each search looks at; Dify's ``top_k`` is how many it wants to see."""


def conditions_of(condition: DifyCondition) -> Condition:
    """Return a condition."""
    name = condition.name if isinstance(condition.name, str) else tuple(condition.name)
    return Condition(name, condition.comparison_operator, condition.value)


def dify_answer(place: KnowledgeSettings, found: Chunks) -> dict[str, Any]:
    """Return the answer, of the form of :class:`DifyAnswer`; ``metadata`` is never null, which Dify cannot read."""
    return {
        "records": [
            {
                "content": str(each.value(place.content) or ""),
                "score": each.similarity,
                "title": str(each.value(place.document_name) or ""),
                "metadata": {**each.metadata, "document_id": each.value(place.document), "chunk_id": each.key[1]},
            }
            for each in found.chunks
        ]
    }


def failed(failure: Failure, request_id: str) -> JSONResponse:
    """Return an error as Dify reads it.

    1001 is a wrong Authorization header, 1002 a key that does not let in, 2001 knowledge that is not there.
    """
    kind = failure.error["type"]
    status, code = failure.status, _CODES.get(kind, failure.status)
    if kind == "UnknownDataset":
        status = 404
    if kind in ("MalformedAuthorization", "Unauthorized", "NotAllowed"):
        status = 403
    what = " ".join(part for part in (failure.error["what"], failure.error["hint"]) if part)
    return JSONResponse({"error_code": code, "error_msg": what, "request_id": request_id}, status, failure.headers)


_CODES = {"MalformedAuthorization": 1001, "Unauthorized": 1002, "NotAllowed": 1002, "UnknownDataset": 2001}

SHAPES = {PATH: failed}
