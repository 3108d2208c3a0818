"""What every engine looks like, and what it is given."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from es_semantic.embedding.protocol import Embeddings


class Engine(Protocol):
    """Embeds documents: prompt, truncation, order and over-long positions as torch in float32 has them."""

    @property
    def name(self) -> str:
        """What logs call it: the engine, and its number format where there is a choice."""
        ...

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed documents; raises as :meth:`es_semantic.embedding.Embedder.embed_documents`."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A SentenceTransformers ``model``, and how this embedder uses it for documents.

    ``prompt`` is put before each text; ``window`` counts tokens, None for a model without one. Whoever runs the model
    or its tokenizer holds ``turn``. ``reference`` is torch in float32, by which other engines are judged.
    """

    model: Any
    name: str
    prompt: str
    window: int | None
    normalized: bool
    turn: threading.Lock
    reference: Engine

    @property
    def on_cpu(self) -> bool:
        """Whether the model is on the CPU."""
        return str(self.model.device.type) == "cpu"
