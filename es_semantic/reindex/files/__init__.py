"""An index from files: JSONL, CSV, Parquet, and what other vector stores export."""
