"""``es-semantic.yml`` → validated settings."""

from es_semantic.config.loader import find_config, load_config, parse_config
from es_semantic.config.serving import DEFAULT_CHUNKS, KnowledgeSettings, ServeSettings
from es_semantic.config.settings import (
    DEFAULT_FIELD_NAME,
    DEFAULT_MODEL,
    DEFAULT_URL,
    CohereSettings,
    Config,
    ConnectionSettings,
    CrossEncoderSettings,
    EmbeddingCacheSettings,
    ModelSettings,
    NodeSettings,
    OllamaModel,
    OpenAIModel,
    RaySettings,
    RerankerSettings,
    SemanticFieldSettings,
    SentenceTransformersModel,
    TeiSettings,
)

__all__ = [
    "DEFAULT_CHUNKS",
    "DEFAULT_FIELD_NAME",
    "DEFAULT_MODEL",
    "DEFAULT_URL",
    "CohereSettings",
    "Config",
    "ConnectionSettings",
    "CrossEncoderSettings",
    "EmbeddingCacheSettings",
    "KnowledgeSettings",
    "ModelSettings",
    "NodeSettings",
    "OllamaModel",
    "OpenAIModel",
    "RaySettings",
    "RerankerSettings",
    "SemanticFieldSettings",
    "SentenceTransformersModel",
    "ServeSettings",
    "TeiSettings",
    "find_config",
    "load_config",
    "parse_config",
]
