"""The command line: one file per verb; it prints, and decides nothing."""

from es_semantic.cli.main import main

__all__ = ["main"]
