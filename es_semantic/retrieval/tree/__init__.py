"""Elastic's retriever language: read, checked and written, without running it."""
