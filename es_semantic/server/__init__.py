"""HTTP: search, RAGFlow, Dify, OpenAI-compatible embeddings, rerank, and a playground, over the Python interface."""
