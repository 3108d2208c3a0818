"""The MCP server under the real ``mcp`` client, in memory and as a subprocess, on a real node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch
from mcp import Client, StdioServerParameters

import es_semantic
from es_semantic.config import Config
from es_semantic.errors import UsageError
from es_semantic.integrations.mcp import server
from es_semantic.integrations.mcp.answers import LONGEST_PASSAGE, beginning, passage_info, short_values
from es_semantic.integrations.mcp.served import Served
from es_semantic.retrieval.passages import Passage
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.nodes import remove_everything

__all__ = ["cli"]

PREFIX = f"test-mcp-{uuid.uuid4().hex[:12]}"
ARTICLES, SECRET, PLAIN, PUBLIC = (f"{PREFIX}-{name}" for name in ("articles", "secret", "plain", "public"))
COMMAND = Path(sys.executable).with_name("es-semantic")

TEXT = {"type": "text"}
MAPPINGS = {
    "_meta": {"description": "Short articles about animals and food."},
    "properties": {
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "body": TEXT,
        "kind": {"type": "keyword"},
        "year": {"type": "integer"},
        "other": {"type": "dense_vector", "dims": 2, "index": False},
    },
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "1": {"title": "The cat sat on the mat", "body": "A cat is a feline. It purrs.", "kind": "animal", "year": 2001},
    "2": {"title": "Dogs bark at night", "body": "A dog is loud. 🐕 Neighbours know.", "kind": "animal", "year": 2002},
    "3": {"title": "How to cook rice", "body": "Wash it. Boil it in water. " * 100, "kind": "food", "other": [1, 2]},
}


def text_of(key: str) -> str:
    return f"{DOCUMENTS[key]['title']}\n{DOCUMENTS[key]['body']}"


@pytest.fixture(scope="module", autouse=True)
def indices(client: Elasticsearch) -> Iterator[None]:
    """One index to search, under an alias as well; one that is not served, and one without a semantic field."""
    aliases = {PUBLIC: {"filter": {"term": {"kind": "animal"}}}}
    client.indices.create(index=ARTICLES, mappings=MAPPINGS, aliases=aliases)
    for name in (SECRET, PLAIN):
        client.indices.create(index=name, mappings={"properties": {"title": TEXT}})
        client.index(index=name, id="1", document={"title": "a secret cat"}, refresh=True)
    for key, document in DOCUMENTS.items():
        client.index(index=ARTICLES, id=key, document=document)
    client.indices.refresh(index=ARTICLES)
    es_semantic.attach(client, ARTICLES, ["title", "body"], chunk="always")
    es_semantic.sync(client, ARTICLES)
    es_semantic.attach(client, SECRET, "title", model=TinyEmbedder())
    es_semantic.sync(client, SECRET, model=TinyEmbedder())
    yield
    remove_everything(client, PREFIX)


@asynccontextmanager
async def agent(node_url: str, *patterns: str) -> AsyncIterator[Client]:
    """A client connected in memory."""
    async with AsyncElasticsearch(node_url) as elasticsearch, Client(server(elasticsearch, Config(), patterns)) as each:
        yield each


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    structured: dict[str, Any] = result.structured_content
    # The same for clients that know no structured answers.
    (content,) = result.content
    assert content.type == "text"
    assert json.loads(content.text) == structured
    return structured


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    (content,) = result.content
    assert content.type == "text"
    return content.text


async def test_what_the_tools_say_of_themselves(node_url: str) -> None:
    async with agent(node_url) as each:
        tools = {tool.name: tool for tool in (await each.list_tools()).tools}
    assert sorted(tools) == ["fetch", "list_indices", "more_like", "search"]
    for tool in tools.values():
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.description
        assert tool.output_schema is not None
        for argument in tool.input_schema["properties"].values():
            assert argument["description"]
    query = tools["search"].input_schema["properties"]["query"]
    assert (query["maxLength"], tools["search"].input_schema["required"]) == (2000, ["query"])


async def test_passages_can_be_cited(node_url: str) -> None:
    async with agent(node_url, ARTICLES) as each:
        found = await answer(each, "search", query="a feline animal", size=2, passages=2)
        assert found["hits"][0]["id"] == "1"
        assert found["failed"] == []
        for hit in found["hits"]:
            assert hit["passages"]
            for passage in hit["passages"]:
                part = passage["end"] - passage["start"]
                read = await answer(
                    each, "fetch", index=hit["index"], id=hit["id"], start=passage["start"], length=part
                )
                assert read["text"] == passage["text"] == text_of(hit["id"])[passage["start"] : passage["end"]]
        best = found["hits"][0]
        assert best["values"] == DOCUMENTS["1"]
        assert (best["index"], found["field"]) == (ARTICLES, "semantic")


async def test_a_long_text_is_read_in_parts(node_url: str) -> None:
    async with agent(node_url, ARTICLES) as each:
        whole = await answer(each, "fetch", index=ARTICLES, id="3")
        assert whole["text"] == text_of("3")
        assert (whole["start"], whole["end"]) == (0, len(text_of("3")))
        assert whole["values"] == {"title": "How to cook rice", "kind": "food"}
        parts, at = [], 0
        while at < whole["length"]:
            part = await answer(each, "fetch", index=ARTICLES, id="3", start=at, length=1000)
            parts.append(part["text"])
            at = part["end"]
        assert "".join(parts) == text_of("3")
        beyond = await answer(each, "fetch", index=ARTICLES, id="1", start=10**6)
        assert (beyond["text"], beyond["start"], beyond["end"]) == ("", len(text_of("1")), len(text_of("1")))


async def test_modes_and_filters(node_url: str) -> None:
    async with agent(node_url, ARTICLES) as each:

        async def ids(**arguments: Any) -> list[str]:
            found = await answer(each, "search", query="dog or rice", **arguments)
            return sorted(hit["id"] for hit in found["hits"])

        assert await ids() == ["1", "2", "3"]
        assert await ids(mode="bm25") == ["2", "3"]
        assert await ids(mode="knn", size=1) in (["2"], ["3"])
        assert await ids(filters={"kind": "animal"}) == ["1", "2"]
        assert await ids(filters={"kind": ["animal", "food"], "year": 2002}) == ["2"]
        assert await ids(filters={"title.raw": "How to cook rice"}) == ["3"]
        assert await ids(filters={"nowhere": True}) == []


async def test_more_like(node_url: str) -> None:
    async with agent(node_url, ARTICLES) as each:
        found = await answer(each, "more_like", index=ARTICLES, id="1", filters={"kind": ["animal", "food"]})
        assert {hit["id"] for hit in found["hits"]} == {"2", "3"}
        for hit in found["hits"]:
            (passage,) = hit["passages"]
            assert text_of(hit["id"])[passage["start"] : passage["end"]] == passage["text"]
            assert len(passage["text"]) <= 500
        assert "no document '77'" in await refusal(each, "more_like", index=ARTICLES, id="77")


async def test_what_is_served_without_patterns(node_url: str) -> None:
    async with agent(node_url) as each:
        listed = await answer(each, "list_indices")
        ours = {index["index"]: index for index in listed["indices"] if index["index"].startswith(PREFIX)}
        assert sorted(ours) == [ARTICLES, PUBLIC, SECRET]
        assert ours[ARTICLES]["description"] == "Short articles about animals and food."
        assert ours[ARTICLES]["filters"] == {"kind": "keyword", "title.raw": "keyword", "year": "integer"}
        assert ours[ARTICLES]["semantic_fields"] == [
            {
                "name": "semantic",
                "source_fields": ["title", "body"],
                "model": "sentence-transformers/all-MiniLM-L6-v2",
            }
        ]
        assert "name one of:" in await refusal(each, "search", query="cat")
        assert "not served here" in await refusal(each, "search", query="cat", index=PLAIN)


async def test_an_alias_shows_what_it_shows_and_no_more(node_url: str) -> None:
    async with agent(node_url, PUBLIC) as each:
        listed = await answer(each, "list_indices")
        assert [index["index"] for index in listed["indices"]] == [PUBLIC]
        found = await answer(each, "search", query="rice and dogs")
        assert sorted(hit["id"] for hit in found["hits"]) == ["1", "2"]
        assert {hit["index"] for hit in found["hits"]} == {PUBLIC}
        assert (await answer(each, "fetch", index=PUBLIC, id="2"))["text"] == text_of("2")
        assert "no document '3'" in await refusal(each, "fetch", index=PUBLIC, id="3")
        assert "not served here" in await refusal(each, "fetch", index=ARTICLES, id="3")


OTHERS = [
    SECRET,
    f"{ARTICLES},{SECRET}",
    f"{ARTICLES}*",
    "*",
    "_all",
    "",
    f"-{SECRET}",
    f"<{SECRET}>",
    f"remote:{SECRET}",
    f"{ARTICLES}/../{SECRET}",
    f"{ARTICLES}?x",
    f"{ARTICLES}\n{SECRET}",
    f"{PREFIX}-nowhere",
    "es-semantic-control",
]


@pytest.mark.parametrize("index", OTHERS, ids=map(str, range(len(OTHERS))))
async def test_nothing_else_is_reached(node_url: str, index: str) -> None:
    async with agent(node_url, ARTICLES) as each:
        said = [
            await refusal(each, "search", query="cat", index=index),
            await refusal(each, "fetch", index=index, id="1"),
            await refusal(each, "more_like", index=index, id="1"),
        ]
    for text, tool in zip(said, ("search", "fetch", "more_like"), strict=True):
        # The same whether there is such an index or not.
        expected = (
            f"Error executing tool {tool}: index {index!r} is not served here\nThe tool list_indices tells what is."
        )
        assert text == expected


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search", {"query": "x" * 2001}, "at most 2000 characters"),
        ("search", {"query": ""}, "at least 1 character"),
        ("search", {"query": "\u200b"}, "the query is empty"),
        ("search", {"query": "cat", "size": 51}, "less than or equal to 50"),
        ("search", {"query": "cat", "passages": 11}, "less than or equal to 10"),
        ("search", {"query": "cat", "mode": "exact"}, "'hybrid', 'knn' or 'bm25'"),
        ("search", {"query": "cat", "field": "nope"}, "has no semantic field 'nope'\nGive as field one of: semantic"),
        ("search", {"query": "cat", "filters": {"year": "soon"}}, 'For input string: "soon"'),
        ("search", {"query": "cat", "filters": {"script": {"source": "1"}}}, "filters.script"),
        ("search", {}, "Field required"),
        ("fetch", {"index": ARTICLES, "id": "x", "length": 50_001}, "less than or equal to 50000"),
        ("fetch", {"index": ARTICLES, "id": "x" * 513}, "at most 512 characters"),
        ("fetch", {"index": ARTICLES, "id": "x", "start": -1}, "greater than or equal to 0"),
        ("fetch", {"index": ARTICLES, "id": "77"}, "no document '77'"),
        ("fetch", {"index": ARTICLES, "id": "1", "routing": "other"}, "no document '1' with routing 'other'"),
        ("more_like", {"index": ARTICLES, "id": "1", "size": 0}, "greater than or equal to 1"),
    ],
)
async def test_limits_and_mistakes(node_url: str, tool: str, arguments: dict[str, Any], said: str) -> None:
    async with agent(node_url, ARTICLES) as each:
        assert said in await refusal(each, tool, **arguments)


async def test_a_node_that_is_down_is_an_error_of_the_tool() -> None:
    async with agent("http://127.0.0.1:9", ARTICLES) as each:
        assert "no Elasticsearch answers" in await refusal(each, "search", query="cat")


async def test_no_answer_has_a_vector(node_url: str) -> None:
    async with agent(node_url, ARTICLES) as each:
        answers = [
            await answer(each, "list_indices"),
            await answer(each, "search", query="cat rice dog", size=50, passages=10),
            await answer(each, "fetch", index=ARTICLES, id="3"),
            await answer(each, "more_like", index=ARTICLES, id="1"),
        ]
    waiting: list[Any] = list(answers)
    while waiting:
        value = waiting.pop()
        assert not isinstance(value, list) or not any(isinstance(item, int | float) for item in value)
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ((), "articles", True),
        ((), ".hidden", False),
        ((), "_all", False),
        (("docs-*",), "docs-1", True),
        (("docs-*",), "docs-", True),
        (("docs-*",), "my-docs-1", False),
        (("docs-*",), "docs-1,secret", False),
        (("docs-[12]",), "docs-1", False),
        (("a.c",), "abc", False),
        (("a*c*e",), "abcde", True),
        (("*",), ".hidden", True),
        (("articles",), "articles\n", False),
    ],
)
def test_names_that_agents_may_use(patterns: tuple[str, ...], name: str, allowed: bool) -> None:
    assert Served(patterns).allows(name) is allowed


@pytest.mark.parametrize("pattern", ["", "a,b", "-a", "_all", "remote:a", "a b", "<a>", "a/b"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(UsageError, match="no name or pattern"):
        Served((pattern,))


def test_what_is_told_of_a_document_is_short() -> None:
    many = {f"n{number}": number for number in range(30)}
    assert len(short_values(many)) == 20
    kept = {"a": "x" * 200, "b": True, "c": 1.5, "d": "\ud83d"}
    assert short_values({**kept, "e": "x" * 201, "f": [1.0], "g": {"h": 1}, "i": None}) == {**kept, "d": "?"}
    long = passage_info(Passage("word " * 1000, 7, 5007, 0.5, "semantic"))
    assert long.start == 7
    assert LONGEST_PASSAGE - 10 < len(long.text) == long.end - 7 <= LONGEST_PASSAGE
    assert beginning(" \n ") == []
    assert [(each.text, each.start, each.end) for each in beginning("\n Hello.")] == [("Hello.", 2, 8)]


def parameters(node_url: str, folder: Path, *arguments: str) -> StdioServerParameters:
    kept = {name: value for name, value in os.environ.items() if name.startswith(("ES_SEMANTIC_E", "HF_", "PYTHON"))}
    env = {**kept, "ES_SEMANTIC_URL": node_url}
    return StdioServerParameters(command=str(COMMAND), args=["mcp", *arguments], env=env, cwd=folder)


async def test_an_agent_that_starts_the_command(node_url: str, tmp_path: Path) -> None:
    async with Client(parameters(node_url, tmp_path, f"{PREFIX}-a*")) as each:
        listed = await answer(each, "list_indices")
        assert [index["index"] for index in listed["indices"]] == [ARTICLES]
        found = await answer(each, "search", query="feline", mode="bm25")
        assert [hit["id"] for hit in found["hits"]] == ["1"]
        assert (await answer(each, "fetch", index=ARTICLES, id="1"))["text"] == text_of("1")
        assert "not served here" in await refusal(each, "search", query="cat", index=SECRET)


def test_nothing_but_the_protocol_is_on_stdout(node_url: str, tmp_path: Path) -> None:
    """Also while the model is loaded, which is when libraries like to print."""
    started = parameters(node_url, tmp_path, ARTICLES)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "search", "arguments": {"query": "feline", "mode": "knn"}},
        },
    ]
    process = subprocess.Popen(
        [started.command, *started.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(started.env or {})},
        cwd=tmp_path,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers: list[dict[str, Any]] = []
    try:
        for message in messages:
            process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
        while len(answers) < 2 and (line := process.stdout.readline()):
            answers.append(json.loads(line))
        rest, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert [each.get("id") for each in answers] == [1, 2], said
    assert answers[1]["result"]["structuredContent"]["hits"][0]["id"] == "1"
    assert (rest, process.returncode) == ("", 0), said


def test_a_pattern_that_is_none_is_said_on_stderr(cli: Cli) -> None:
    ran = cli("mcp", "a,b")
    assert (ran.code, ran.out) == (2, "")
    assert "'a,b' is no name or pattern of indices" in ran.err


def test_without_the_library_the_error_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['mcp'] = None; import es_semantic.integrations.mcp"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'es-semantic[mcp]'" in ran.stderr.splitlines()[-1]
