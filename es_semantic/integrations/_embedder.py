"""Another library's embedding model as one of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

from es_semantic.embedding import Embeddings, Fingerprint, ModelProfile
from es_semantic.embedding.batching import checked
from es_semantic.embedding.fingerprint import probe_of
from es_semantic.embedding.probe import probe_vector
from es_semantic.embedding.unicode import encodable
from es_semantic.errors import EsSemanticError, ModelUnavailable

T = TypeVar("T")


class ForeignEmbedder:
    """An :class:`~es_semantic.embedding.Embedder` made of two functions of another library.

    ``documents`` takes a list of texts, ``query`` one text; both return vectors as that library has them. The
    fingerprint is the ``provider``, the ``model`` and the vector of the probe sentence, which the first use asks for;
    nothing else is known of such a model. It has no window either, so no text is cut for it unless attach is told to.
    """

    def __init__(
        self, provider: str, model: str, documents: Callable[[list[str]], Any], query: Callable[[str], Any]
    ) -> None:
        """Nothing is embedded yet."""
        self._provider = provider
        self._model = model
        self._documents = documents
        self._query = query

    @cached_property
    def profile(self) -> ModelProfile:
        """See :class:`~es_semantic.embedding.Embedder`."""
        probe = probe_vector(self._embed_documents, self._model)
        fingerprint = Fingerprint(
            provider=self._provider, model=self._model, dims=probe.shape[0], probe=probe_of(probe)
        )
        return ModelProfile(fingerprint, "cosine", None)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`; whatever the library raises is a ModelUnavailable."""
        return self._embed_documents(texts, self.profile.dims)

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`; whatever the library raises is a ModelUnavailable."""
        vectors = [self._asked(self._query, text) for text in encodable(texts)]
        return Embeddings(checked(vectors, len(texts), self.profile.dims))

    def _embed_documents(self, texts: Sequence[str], dims: int | None = None) -> Embeddings:
        return Embeddings(checked(self._asked(self._documents, encodable(texts)), len(texts), dims))

    def _asked(self, embed: Callable[[T], Any], what: T) -> Any:
        try:
            return embed(what)
        except EsSemanticError:
            raise
        except Exception as error:
            # Its own text may hold the text to embed.
            raise ModelUnavailable(
                f"{self._provider} model {self._model!r} failed with {type(error).__name__}",
                hint="Try the same embedding object alone, outside of es-semantic.",
            ) from error
