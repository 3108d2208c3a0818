"""Documents for a dataset (RAGFlow, "HTTP API reference": "Upload documents"): read, cut and embedded at once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Path, UploadFile

from es_semantic.api_chunks import places_of
from es_semantic.api_ingest import DocumentReport, ingest_document
from es_semantic.server.access import Access, NotAllowed
from es_semantic.server.callers import Caller, Parts
from es_semantic.server.ragflow import DATASETS

PATH = f"{DATASETS}/{{dataset_id}}/documents"

MOST_FILES = 100

router = APIRouter(tags=["RAGFlow"])


@router.post(PATH)
async def upload(
    dataset_id: Annotated[str, Path(min_length=1, max_length=512)],
    file: Annotated[list[UploadFile], File(min_length=1, max_length=MOST_FILES)],
    service: Parts,
    access: Caller,
) -> dict[str, Any]:
    """Add documents to a dataset, or replace those of the same names; they can be found when this answers.

    They go to the first index under ``knowledge`` in the configuration that the key may search. One that cannot be
    read is an error, and what stands before it in the request has been added.
    """
    access.require("ingest")
    require_unfiltered(access)
    index = places_of(await service.knowledge(access))[0].index
    added = []
    for each in file:
        data = await each.read()
        report = await service.run(
            access,
            ingest_document.steps(
                dataset=dataset_id,
                name=each.filename or "",
                data=data,
                index=index,
                model=service.models,
                config=service.config,
            ),
        )
        added.append(document_data(report, dataset_id, each.filename or "", len(data)))
    return {"code": 0, "data": added}


def require_unfiltered(access: Access) -> None:
    """Make sure that the key sees everything it could replace.

    Raises:
        NotAllowed: it has a filter.
    """
    if access.filters:
        raise NotAllowed(
            "a key with a filter may not add documents: it could replace some that it does not see",
            hint="Use a key without a filter, and an index of its own for each tenant.",
        )


def document_data(report: DocumentReport, dataset: str, name: str, size: int) -> dict[str, Any]:
    """Return a document as RAGFlow has it."""
    return {
        "id": report.id,
        "name": name,
        "dataset_id": dataset,
        "size": size,
        "chunk_count": report.report.chunks,
        "run": "DONE",
        "progress": 1.0,
    }


def is_upload(path: str) -> bool:
    """Return whether a request of this path brings a document."""
    return path.startswith(f"{DATASETS}/") and path.endswith("/documents")
