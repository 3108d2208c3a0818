"""Which model settings serve an index that is bound to a fingerprint."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from es_semantic.config import ModelSettings, OllamaModel, SentenceTransformersModel
from es_semantic.embedding.fingerprint import Fingerprint
from es_semantic.embedding.protocol import Embedder
from es_semantic.embedding.providers import load_embedder
from es_semantic.errors import ModelUnavailable


def settings_for(fingerprint: Fingerprint, configured: Iterable[ModelSettings], *, index: str) -> ModelSettings:
    """Return the configured model of that name, else settings made from the fingerprint alone.

    URLs and keys come from the configuration only, never from the cluster: whoever can write a mapping must not be able
    to send texts or keys elsewhere.

    Raises:
        ModelUnavailable: the model needs a URL and key, and none is configured for it.
    """
    for settings in configured:
        if _serves(settings, fingerprint):
            return settings
    if fingerprint.provider == "sentence-transformers":
        return SentenceTransformersModel(
            name=fingerprint.model,
            revision=fingerprint.revision,
            document_prompt=fingerprint.document_prompt,
            query_prompt=fingerprint.query_prompt,
        )
    if fingerprint.provider == "ollama":
        return OllamaModel(
            provider="ollama",
            name=fingerprint.model,
            document_prompt=fingerprint.document_prompt,
            query_prompt=fingerprint.query_prompt,
        )
    raise ModelUnavailable(
        f"index {index!r} is bound to {fingerprint.provider} model {fingerprint.model!r}, which is not configured here",
        hint=f"Add it to `models` in es-semantic.yml with provider: {fingerprint.provider}, name: {fingerprint.model}, "
        "its url and api_key.",
    )


def embedder_for(fingerprint: Fingerprint, configured: Iterable[ModelSettings], *, index: str) -> Embedder:
    """Return an embedder for an index that is bound to a fingerprint, loaded once per process.

    Raises:
        MissingExtra: the model's library is not installed.
        ModelUnavailable: as :func:`settings_for`, or the model cannot be loaded.
    """
    return cached_embedder(settings_for(fingerprint, configured, index=index))


@lru_cache(maxsize=8)
def cached_embedder(settings: ModelSettings) -> Embedder:
    """Load the model once per process, also where several settings differ in the prompts alone.

    A fingerprint spells out the prompts which a model declares and its settings leave open. Raises as
    :func:`load_embedder`. Two threads that ask for the same model before it is loaded both load it; the second copy
    lives as long as its user.
    """
    if not isinstance(settings, SentenceTransformersModel):
        return load_embedder(settings)
    undecided = settings.model_copy(update={"document_prompt": None, "query_prompt": None})
    if settings == undecided:
        return load_embedder(settings)
    from es_semantic.embedding.sentence_transformers import SentenceTransformerEmbedder

    loaded = cached_embedder(undecided)
    assert isinstance(loaded, SentenceTransformerEmbedder)
    return loaded.with_prompts(settings.document_prompt, settings.query_prompt)


def _serves(settings: ModelSettings, fingerprint: Fingerprint) -> bool:
    if (settings.provider, settings.name) != (fingerprint.provider, fingerprint.model):
        return False
    prompts = ("document_prompt", "query_prompt")
    if any(getattr(settings, prompt) not in (None, getattr(fingerprint, prompt)) for prompt in prompts):
        return False
    revision = getattr(settings, "revision", None)
    dimensions = getattr(settings, "dimensions", None)
    return revision == fingerprint.revision and dimensions in (None, fingerprint.dims)
