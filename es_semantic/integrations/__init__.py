"""What lets LangChain, LlamaIndex, Haystack and MCP clients use es-semantic: thin, each over the Python interface."""
