"""Retrieval with the client of 8.x on a node of 9.x. With nodes of 8.x: ``test_old_nodes.py``."""

from __future__ import annotations

from pathlib import Path

from tests.other_client import run_tests

CLIENT = "8.19.3"
RETRIEVAL = ("test_search.py",)


def test_the_tests_of_retrieval_pass(node_url: str) -> None:
    files = [str(Path(__file__).with_name(name)) for name in RETRIEVAL]
    assert " passed" in run_tests(CLIENT, *files, environment={"ES_SEMANTIC_TEST_URL": node_url})
