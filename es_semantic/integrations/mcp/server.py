"""The MCP server: four tools that only read, and how they are run over stdio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Literal, TypeVar

from elasticsearch import AsyncElasticsearch
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from es_semantic.cluster.client import connect_async
from es_semantic.cluster.steps import Steps, run_async
from es_semantic.config import Config, ConnectionSettings
from es_semantic.errors import EsSemanticError
from es_semantic.integrations.mcp.answers import DocumentInfo, Hits, Indices, Scalar
from es_semantic.integrations.mcp.served import Served
from es_semantic.integrations.mcp.tools import fetch_steps, list_indices_steps, more_like_steps, search_steps

T = TypeVar("T")

INSTRUCTIONS = """Search Elasticsearch indices by words and by meaning.

Begin with list_indices. search finds documents and the passages of them that answer a query; fetch reads on in one of
them; more_like finds its neighbours. Cite a passage by its document's index and id, and its offsets start and end."""

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

IndexName = Annotated[str, Field(max_length=255, description="One of the names that list_indices tells.")]
Id = Annotated[str, Field(min_length=1, max_length=512, description="A document's id, as a hit has it.")]
Routing = Annotated[str | None, Field(max_length=512, description="The document's routing, where a hit has one.")]
FieldName = Annotated[str | None, Field(max_length=255, description="The semantic field, where the index has several.")]
Size = Annotated[int, Field(ge=1, le=50, description="Documents wanted.")]
Filters = Annotated[
    dict[Annotated[str, Field(max_length=255)], Scalar | Annotated[list[Scalar], Field(max_length=100)]] | None,
    Field(max_length=20, description="Exact values by field: all must hold; of a list, one. Fields: see list_indices."),
]


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools, over the indices that are served. Their docstrings are what agents read."""

    client: AsyncElasticsearch
    config: Config
    served: Served

    async def list_indices(self) -> Indices:
        """Tell which indices can be searched, by which semantic fields, and by which fields hits can be filtered."""
        return await self._run(list_indices_steps(self.served))

    async def search(
        self,
        query: Annotated[str, Field(min_length=1, max_length=2000, description="A question, or words.")],
        index: Annotated[
            str | None, Field(max_length=255, description="Where to search; needed where there are several.")
        ] = None,
        mode: Annotated[
            Literal["hybrid", "knn", "bm25"], Field(description="Words and meaning, meaning alone, or words alone.")
        ] = "hybrid",
        size: Size = 10,
        passages: Annotated[int, Field(ge=0, le=10, description="Passages wanted of each document.")] = 3,
        filters: Filters = None,
        field: FieldName = None,
    ) -> Hits:
        """Find documents that answer a query, best first, and the passages of them that do, with their offsets."""
        steps = search_steps(
            self.served,
            self.config,
            query,
            index=index,
            mode=mode,
            size=size,
            passages=passages,
            filters=filters,
            field=field,
        )
        return await self._run(steps)

    async def fetch(
        self,
        index: IndexName,
        id: Id,
        start: Annotated[int, Field(ge=0, description="Where to begin in the text, in code points.")] = 0,
        length: Annotated[int, Field(ge=1, le=50_000, description="Code points wanted.")] = 10_000,
        routing: Routing = None,
        field: FieldName = None,
    ) -> DocumentInfo:
        """Read a document's text, or a part of it, to which the offsets of passages refer."""
        steps = fetch_steps(self.served, index, id, routing=routing, start=start, length=length, field=field)
        return await self._run(steps)

    async def more_like(
        self,
        index: IndexName,
        id: Id,
        size: Size = 10,
        filters: Filters = None,
        routing: Routing = None,
        field: FieldName = None,
    ) -> Hits:
        """Find the documents nearest in meaning to one that is known, without itself."""
        steps = more_like_steps(self.served, index, id, routing=routing, size=size, filters=filters, field=field)
        return await self._run(steps)

    async def _run(self, steps: Steps[T]) -> T:
        try:
            return await run_async(self.client, steps)
        except EsSemanticError as error:
            raise ToolError(str(error)) from error


def server(client: AsyncElasticsearch, config: Config, patterns: Sequence[str] = ()) -> MCPServer[None]:
    """Return the server over a client that stays the caller's.

    ``patterns`` are the names of the indices, aliases and data streams that agents may search, in which ``*`` stands
    for anything. Without one these are all that have a semantic field and a name that does not begin with a dot. No
    tool writes, takes a query clause, or answers with a vector.

    Raises:
        UsageError: something among ``patterns`` is no name and no pattern.
    """
    tools = Tools(client, config, Served(tuple(patterns)))
    made: MCPServer[None] = MCPServer(
        "es-semantic", instructions=INSTRUCTIONS, version=metadata.version("es-semantic"), log_level="ERROR"
    )
    for tool in (tools.list_indices, tools.search, tools.fetch, tools.more_like):
        made.add_tool(tool, annotations=READ_ONLY, structured_output=True)
    return made


def serve(connection: ConnectionSettings, config: Config, patterns: Sequence[str] = ()) -> None:
    """Serve over stdin and stdout until stdin ends; nothing but the protocol is written to stdout.

    Raises:
        MissingExtra: aiohttp is not installed.
        UsageError: as :func:`server`.
    """

    async def serving() -> None:
        async with connect_async(connection) as client:
            await server(client, config, patterns).run_stdio_async()

    asyncio.run(serving())
