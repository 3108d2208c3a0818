"""RAGFlow's own Python client against our server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch
from ragflow_sdk import RAGFlow

from tests.chunking_index import DOCUMENTS, HANDBOOK, RECIPES
from tests.serving import Server, serving_chunks


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, node_url: str, client: Elasticsearch) -> Iterator[Server]:
    with serving_chunks(tmp_path_factory.mktemp("server"), node_url, client) as running:
        running.key("admin")
        yield running


@pytest.fixture(scope="module")
def ragflow(server: Server) -> RAGFlow:
    return RAGFlow(api_key=server.key("search"), base_url=server.url)


def test_retrieve(ragflow: RAGFlow) -> None:
    chunks = ragflow.retrieve(dataset_ids=[HANDBOOK], question="days of vacation of an employee")
    best = chunks[0]
    assert best.content == DOCUMENTS["vacation.md"][2][0]
    assert (best.dataset_id, best.document_id, best.document_name) == (HANDBOOK, "handbook-vacation.md", "vacation.md")
    assert best.important_keywords == ["vacation"]
    assert best.similarity == pytest.approx(0.7 * best.term_similarity + 0.3 * best.vector_similarity)
    assert [chunk.similarity for chunk in chunks] == sorted((chunk.similarity for chunk in chunks), reverse=True)


def test_retrieve_with_everything_it_can_say(ragflow: RAGFlow) -> None:
    condition = {"logic": "and", "conditions": [{"name": "author", "comparison_operator": "is", "value": "Bob"}]}
    chunks = ragflow.retrieve(
        dataset_ids=[HANDBOOK, RECIPES],
        document_ids=["handbook-expenses.md", "recipes-soup.txt"],
        question="expenses",
        page=1,
        page_size=1,
        similarity_threshold=0.0,
        vector_similarity_weight=0.5,
        top_k=10,
        keyword=True,
        metadata_condition=condition,
    )
    assert [chunk.document_name for chunk in chunks] == ["expenses.md"]


def test_datasets_are_found_by_name(ragflow: RAGFlow) -> None:
    dataset = ragflow.get_dataset(name=HANDBOOK)
    assert (dataset.id, dataset.chunk_count, dataset.document_count) == (HANDBOOK, 7, 3)
    assert {each.id for each in ragflow.list_datasets()} == {HANDBOOK, RECIPES}


def test_documents_are_uploaded_found_and_replaced(server: Server, ragflow: RAGFlow) -> None:
    writer = RAGFlow(api_key=server.key("ingest", "search"), base_url=server.url)
    dataset = writer.get_dataset(name=RECIPES)
    for text in (b"# Bread\n\nKnead flour and water.", b"# Bread\n\nKnead flour, water and yeast for ten minutes."):
        (document,) = dataset.upload_documents([{"display_name": "bread.md", "blob": text}])
        assert (document.name, document.dataset_id, document.run) == ("bread.md", RECIPES, "DONE")
    chunks = ragflow.retrieve(dataset_ids=[RECIPES], document_ids=[document.id], question="yeast")
    assert [chunk.content for chunk in chunks] == ["# Bread\n\nKnead flour, water and yeast for ten minutes."]
    assert chunks[0].vector_similarity > 0
    with pytest.raises(Exception, match=r"notes\.exe"):
        dataset.upload_documents([{"display_name": "notes.exe", "blob": b"x"}])
    with pytest.raises(Exception, match="ingest"):
        ragflow.get_dataset(name=RECIPES).upload_documents([{"display_name": "a.md", "blob": b"x"}])


def test_errors_reach_whoever_calls(server: Server, ragflow: RAGFlow) -> None:
    with pytest.raises(Exception, match="none"):
        ragflow.retrieve(dataset_ids=["none"], question="vacation")
    with pytest.raises(Exception, match="not valid"):
        RAGFlow(api_key="ess_wrong_key", base_url=server.url).retrieve(dataset_ids=[HANDBOOK], question="vacation")
