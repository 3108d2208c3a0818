"""MCP: a server by which agents search the indices that its operator serves, and fetch what they cite."""

from es_semantic.errors import MissingExtra

try:
    import mcp  # noqa: F401
except ImportError as error:
    raise MissingExtra(f"the MCP server needs mcp: {error}", hint="pip install 'es-semantic[mcp]'") from error

from es_semantic.integrations.mcp.server import serve, server

__all__ = ["serve", "server"]
