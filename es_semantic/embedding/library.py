"""The SentenceTransformers library: imported only when a model in this process is used, and kept quiet."""

from __future__ import annotations

import os
from typing import Any

from es_semantic.errors import MissingExtra

INSTALL = "pip install 'es-semantic[sentence-transformers]'"


def sentence_transformers_for(model: str, *, install: str = INSTALL) -> Any:
    """Import the library and keep it from writing to the terminal.

    Raises:
        MissingExtra: it, or what it needs, is not installed; the error names the ``model`` and how to ``install`` it.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import sentence_transformers
        import transformers
    except ImportError as error:
        raise MissingExtra(
            f"model {model!r} needs the sentence-transformers library: {first_line(error)}",
            hint=install,
        ) from error
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return sentence_transformers


def first_line(error: Exception) -> str:
    """Return an error's class and the first line of its text, of at most 300 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
