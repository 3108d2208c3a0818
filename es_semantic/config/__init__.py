"""``es-semantic.yml`` → validated settings."""

from es_semantic.config.loader import find_config, load_config, parse_config
from es_semantic.config.settings import (
    DEFAULT_FIELD_NAME,
    DEFAULT_MODEL,
    DEFAULT_URL,
    Config,
    ConnectionSettings,
    EmbeddingCacheSettings,
    ModelSettings,
    NodeSettings,
    OllamaModel,
    OpenAIModel,
    SemanticFieldSettings,
    SentenceTransformersModel,
)

__all__ = [
    "DEFAULT_FIELD_NAME",
    "DEFAULT_MODEL",
    "DEFAULT_URL",
    "Config",
    "ConnectionSettings",
    "EmbeddingCacheSettings",
    "ModelSettings",
    "NodeSettings",
    "OllamaModel",
    "OpenAIModel",
    "SemanticFieldSettings",
    "SentenceTransformersModel",
    "find_config",
    "load_config",
    "parse_config",
]
