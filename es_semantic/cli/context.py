"""What every verb starts from: the configuration and a client."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from elasticsearch import Elasticsearch
from pydantic import ValidationError

from es_semantic.cluster import node
from es_semantic.cluster.client import connect
from es_semantic.config import (
    DEFAULT_FIELD_NAME,
    DEFAULT_URL,
    Config,
    ConnectionSettings,
    SemanticFieldSettings,
    load_config,
)
from es_semantic.errors import ConfigError, UsageError


class Context:
    """Settings file and URL from the command line, read when first needed."""

    def __init__(self, config_path: Path | None, url: str | None) -> None:
        self.config_path = config_path
        self._url = url

    @cached_property
    def config(self) -> Config:
        """The configuration, with the command line's URL in it."""
        config = load_config(self.config_path)
        if self._url is None:
            return config
        try:
            connection = ConnectionSettings.model_validate({**config.connection.model_dump(), "url": self._url})
        except ValidationError as error:
            # Without the value: it may hold a password.
            raise UsageError(
                f"--url: {error.errors(include_input=False)[0]['msg'].removeprefix('Value error, ')}"
            ) from None
        return config.model_copy(update={"connection": connection})

    @cached_property
    def connection(self) -> ConnectionSettings:
        """How to reach the configured cluster, else the node that ``up`` started."""
        settings = self.config.connection
        if settings.urls:
            return settings
        running = node.running()
        return settings.model_copy(update={"url": running.url if running else DEFAULT_URL})

    @cached_property
    def client(self) -> Elasticsearch:
        """A client for that cluster."""
        return connect(self.connection)

    def remote(self, name: str) -> ConnectionSettings:
        """Return how to reach another cluster of the settings file.

        Raises:
            ConfigError: none of that name is configured, or it has no URL.
        """
        settings = self.config.remotes.get(name)
        if settings is None or not settings.urls:
            known = ", ".join(sorted(self.config.remotes)) or "none"
            what = "has no url" if settings is not None else f"is not configured; configured: {known}"
            raise ConfigError(f"remote cluster {name!r} {what}", hint="List it under remotes in es-semantic.yml.")
        return settings

    def field_name(self, index: str, name: str | None) -> str:
        """Return the semantic field to work on: the one asked for, else the one configured for this index."""
        configured = self.semantic_field(index, name)
        return name or (configured.name if configured else DEFAULT_FIELD_NAME)

    def semantic_field(self, index: str, name: str | None) -> SemanticFieldSettings | None:
        """Return the configured semantic field of this index; with several, ``name`` must choose.

        Raises:
            ConfigError: several are configured and none is chosen.
        """
        fields = [field for field in self.config.semantic_fields if field.index == index]
        chosen = [field for field in fields if name in (None, field.name)]
        if len(chosen) > 1:
            names = ", ".join(field.name for field in chosen)
            raise ConfigError(f"several semantic fields are configured for {index!r}: {names}", hint="Use --name.")
        return chosen[0] if chosen else None
