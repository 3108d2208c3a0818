"""The validated form of ``es-semantic.yml``: what may be set, with units and defaults."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from es_semantic.config.base import Seconds, Settings, Url, Urls, Whole, not_a_bool, problem
from es_semantic.config.languages import language_of
from es_semantic.config.serving import KnowledgeSettings, ServeSettings

DEFAULT_URL = "http://localhost:9200"
DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_FIELD_NAME = "semantic"


def _norwegian(language: Any) -> Any:
    # Without quotes, YAML reads the code for Norwegian as false.
    return "no" if language is False else language


def _heap_size(heap: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[kmgKMG]", heap):
        raise ValueError("must be a size such as 512m or 2g")
    return heap


_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _cache_size(size: Any) -> Any:
    if size == "0" or (size == 0 and isinstance(size, int) and not isinstance(size, bool)):
        return "0"
    wrong = ValueError("must be a size such as 512m or 2g, at least 1m, or 0 for no cache")
    if not isinstance(size, str):
        raise wrong
    parts = re.fullmatch(r"([1-9][0-9]*)([kmg])", size.lower())
    if parts is None or int(parts[1]) * _UNITS[parts[2]] < _UNITS["m"]:
        raise wrong
    return size


class ConnectionSettings(Settings):
    """How to reach Elasticsearch.

    ``url`` is one URL or several nodes of one cluster. Give ``api_key``, or ``username`` and ``password``, or
    neither. ``ca_certs`` is a PEM file. ``request_timeout`` is in seconds; ``max_retries`` counts further tries
    after connection errors and HTTP 429, 502, 503 and 504.
    """

    url: Urls | None = None
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_certs: str | None = None
    request_timeout: Seconds = 60.0
    max_retries: Whole = Field(default=3, ge=0)

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> ConnectionSettings:
        if (self.username is None) != (self.password is None):
            missing, given = ("username", "password") if self.username is None else ("password", "username")
            raise problem(f"must be given together with {missing}", given)
        if self.api_key is not None and self.username is not None:
            raise problem("must not be given together with username and password: give one or the other", "api_key")
        return self

    @property
    def urls(self) -> list[str]:
        """The configured URLs; empty when none is configured."""
        if self.url is None:
            return []
        return [self.url] if isinstance(self.url, str) else list(self.url)


class NodeSettings(Settings):
    """The local node that ``es-semantic up`` starts when no connection is configured.

    ``distribution`` is an unpacked Elasticsearch, a ``.tar.gz`` or ``.zip`` of one, or the URL of such an archive;
    without it a pinned one comes from Maven Central. ``java_home`` is a JDK of version 21 or newer. ``heap`` is a
    size as the JVM takes it.
    """

    distribution: str | None = None
    java_home: str | None = None
    port: Whole = Field(default=9200, ge=1, le=65535)
    heap: Annotated[str, AfterValidator(_heap_size)] = "1g"


class SentenceTransformersModel(Settings):
    """A model run in this process by SentenceTransformers; ``name`` is a hub name or a local folder.

    Weights are read from safetensors; a model without them is refused (small extra layers, such as Dense, may come as
    pickled tensors, which are loaded as weights only). ``trust_remote_code`` runs Python code that comes with the
    model: leave it off unless you have read that code. Prompts are put before each text; by default those the model
    itself declares.

    ``engine`` runs documents in bulk; queries always run in torch, float32. ``auto`` takes the fastest engine that is
    installed and gives the same vectors; naming one of the others raises an error where it cannot. ``openvino-int8`` is
    faster and less exact, and never chosen by ``auto``.
    """

    provider: Literal["sentence-transformers"] = "sentence-transformers"
    name: str = Field(default=DEFAULT_MODEL, min_length=1)
    revision: str | None = None
    device: str | None = None
    engine: Literal["auto", "torch", "torch-bf16", "openvino", "openvino-int8"] = "auto"
    offline: bool = False
    trust_remote_code: bool = False
    document_prompt: str | None = None
    query_prompt: str | None = None

    @field_validator("name")
    @classmethod
    def _full_name(cls, name: str) -> str:
        """One model has one name: SentenceTransformers takes this one without its organisation as well."""
        return DEFAULT_MODEL if name == DEFAULT_MODEL.rsplit("/", 1)[1] else name


class HttpModel(Settings):
    """What the HTTP providers share. ``timeout`` is seconds per request, ``batch_size`` texts per request."""

    name: str = Field(min_length=1)
    document_prompt: str = ""
    query_prompt: str = ""
    timeout: Seconds = 60.0
    max_retries: Whole = Field(default=5, ge=0)
    batch_size: Whole = Field(default=64, ge=1, le=2048)


class OpenAIModel(HttpModel):
    """Any server with OpenAI's ``POST {url}/embeddings``. ``dimensions`` asks the server for shorter vectors."""

    provider: Literal["openai"]
    url: Url = "https://api.openai.com/v1"
    api_key: SecretStr | None = None
    dimensions: Annotated[Whole, Field(ge=1, le=4096)] | None = None


class OllamaModel(HttpModel):
    """A model served by Ollama's ``POST {url}/api/embed``."""

    provider: Literal["ollama"]
    url: Url = "http://localhost:11434"


ModelSettings = SentenceTransformersModel | OpenAIModel | OllamaModel


class CrossEncoderSettings(Settings):
    """A reranker run in this process by SentenceTransformers; ``name`` is a hub name or a local folder.

    Weights are read from safetensors only; ``trust_remote_code`` runs Python code that comes with the model.
    ``max_length`` cuts each pair of query and text, in tokens; by default the model's own. ``timeout`` is seconds for
    all texts of one query, ``batch_size`` the pairs of one forward pass at most.
    """

    provider: Literal["cross-encoder"]
    name: str = Field(min_length=1)
    revision: str | None = None
    device: str | None = None
    offline: bool = False
    trust_remote_code: bool = False
    max_length: Annotated[Whole, Field(ge=8)] | None = None
    timeout: Seconds = 60.0
    batch_size: Whole = Field(default=32, ge=1, le=1024)


class HttpRerankerSettings(Settings):
    """What rerankers behind HTTP share. ``timeout`` is seconds for all texts of one query, every further try included.

    A query waits for its reranker, so this is shorter, and tries less often, than embedding documents does.
    """

    api_key: SecretStr | None = None
    timeout: Seconds = 10.0
    max_retries: Whole = Field(default=2, ge=0)


class CohereSettings(HttpRerankerSettings):
    """Any server with Cohere's ``POST {url}/rerank``: Cohere, Jina, vLLM and others.

    ``batch_size`` is texts per request; Cohere advises against more than 1,000 (API reference, "Rerank", v2).
    """

    provider: Literal["cohere"]
    name: str = Field(min_length=1)
    url: Url = "https://api.cohere.com/v2"
    batch_size: Whole = Field(default=1000, ge=1, le=10_000)


class TeiSettings(HttpRerankerSettings):
    """A model served by text-embeddings-inference (``POST {url}/rerank``), which serves one model and needs no name.

    ``batch_size`` must not be above the server's ``--max-client-batch-size``, which is 32 unless it was set.
    ``raw_scores`` asks for the model's own scores instead of scores from 0 to 1.
    """

    provider: Literal["tei"]
    url: Url
    batch_size: Whole = Field(default=32, ge=1, le=10_000)
    raw_scores: bool = False


RerankerSettings = CrossEncoderSettings | CohereSettings | TeiSettings


class EmbeddingCacheSettings(Settings):
    """Vectors made before, kept in one SQLite file, so that the same text never runs the model twice.

    ``path`` is the file; by default the one that the environment variable ``ES_SEMANTIC_EMBEDDING_CACHE`` names, else
    ``embeddings.sqlite`` in this user's cache folder. ``max_size`` caps it, the oldest vectors leave first; 0 turns the
    cache off.
    """

    path: str | None = Field(default=None, min_length=1)
    max_size: Annotated[str, BeforeValidator(_cache_size)] = "1g"

    @property
    def file(self) -> Path:
        """Where the cache lies."""
        path = self.path or os.environ.get("ES_SEMANTIC_EMBEDDING_CACHE")
        if not path:
            return platformdirs.user_cache_path("es-semantic") / "embeddings.sqlite"
        # os.path's leaves an unknown user's ~name as it is, where Path's own raises.
        return Path(os.path.expanduser(path))

    @property
    def max_bytes(self) -> int:
        """The cap in bytes; 0 for no cache."""
        return 0 if self.max_size == "0" else int(self.max_size[:-1]) * _UNITS[self.max_size[-1].lower()]


class SemanticFieldSettings(Settings):
    """One semantic field: these source ``fields`` of ``index``, embedded by the named ``model``.

    ``chunk`` says whether a document has one vector (``never``) or one for each chunk of its text (``always``);
    ``auto`` decides when the field is attached, by how many of its texts are longer than the model's window.
    ``language`` (``en``, ``de``, ``zh`` ...) adds a sub-field to each source field, for BM25, with Elasticsearch's
    analyser for that language.
    """

    index: str = Field(min_length=1)
    fields: list[str] = Field(min_length=1)
    model: str = "default"
    name: str = DEFAULT_FIELD_NAME
    chunk: Literal["auto", "never", "always"] = "auto"
    language: Annotated[str, BeforeValidator(_norwegian), AfterValidator(language_of)] | None = None

    @field_validator("fields")
    @classmethod
    def _no_duplicates(cls, fields: list[str]) -> list[str]:
        if len(set(fields)) != len(fields):
            raise ValueError("must not name a field twice")
        return fields


class RaySettings(Settings):
    """A Ray cluster for ``reindex --engine ray``.

    ``address`` is as ``ray.init`` takes it; without one it is ``RAY_ADDRESS``, else Ray starts on this machine alone.
    ``actors`` hold the model, one each, on ``cpus_per_actor`` and ``gpus_per_actor`` of the cluster's.
    """

    address: str | None = None
    actors: Whole = Field(default=1, ge=1)
    cpus_per_actor: Annotated[float, Field(ge=0), BeforeValidator(not_a_bool)] = 1.0
    gpus_per_actor: Annotated[float, Field(ge=0), BeforeValidator(not_a_bool)] = 0.0


class Config(Settings):
    """The whole file. ``models``, ``rerankers``, ``remotes`` and ``knowledge`` are named by the user.

    ``remotes`` are other clusters, from which to re-index, and ``ray`` is one of Ray, on which to. ``knowledge`` are
    the indices of chunks that RAGFlow's and Dify's calls search.

    The model ``default`` is MiniLM unless they define it; there is no default reranker.
    """

    connection: ConnectionSettings = ConnectionSettings()
    node: NodeSettings = NodeSettings()
    models: dict[str, Annotated[ModelSettings, Field(discriminator="provider")]] = Field(default_factory=dict)
    rerankers: dict[str, Annotated[RerankerSettings, Field(discriminator="provider")]] = Field(default_factory=dict)
    remotes: dict[str, ConnectionSettings] = Field(default_factory=dict)
    ray: RaySettings = RaySettings()
    serve: ServeSettings = ServeSettings()
    knowledge: dict[str, KnowledgeSettings] = Field(default_factory=dict)
    embedding_cache: EmbeddingCacheSettings = EmbeddingCacheSettings()
    semantic_fields: list[SemanticFieldSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _models_are_defined(self) -> Config:
        for number, field in enumerate(self.semantic_fields):
            if field.model != "default" and field.model not in self.models:
                known = ", ".join(sorted({"default", *self.models}))
                raise problem(f"is not a defined model; defined: {known}", "semantic_fields", number, "model")
        return self

    def model(self, name: str = "default") -> ModelSettings:
        """Return the settings of a named model.

        Raises:
            KeyError: no such model.
        """
        if name == "default" and name not in self.models:
            return SentenceTransformersModel()
        return self.models[name]
