"""Elasticsearch clients from settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch, Elasticsearch

from es_semantic.config import DEFAULT_URL, ConnectionSettings
from es_semantic.errors import ConfigError, MissingExtra

RETRIED_STATUSES = (429, 502, 503, 504)

DEEP = 10_000
"""Elasticsearch takes documents nested 1,000 deep, and Python's JSON parser needs two frames a level."""


def client_options(settings: ConnectionSettings, *, default_url: str = DEFAULT_URL) -> dict[str, Any]:
    """Return the keyword arguments that both client classes take; ``default_url`` where no URL is configured.

    Raises:
        ConfigError: the CA file does not exist.
    """
    options: dict[str, Any] = {
        "hosts": settings.urls or [default_url],
        "request_timeout": settings.request_timeout,
        "max_retries": settings.max_retries,
        "retry_on_timeout": False,
        "retry_on_status": RETRIED_STATUSES,
    }
    if settings.ca_certs:
        if not Path(settings.ca_certs).is_file():
            raise ConfigError(f"connection.ca_certs: no file {settings.ca_certs}", hint="Give the path of a PEM file.")
        options["ca_certs"] = settings.ca_certs
    if settings.api_key:
        options["api_key"] = settings.api_key.get_secret_value()
    if settings.username and settings.password:
        options["basic_auth"] = (settings.username, settings.password.get_secret_value())
    return options


def allow_deep_documents() -> None:
    """Let this process read documents as deep as Elasticsearch takes them."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEP))


def connect(settings: ConnectionSettings, *, default_url: str = DEFAULT_URL) -> Elasticsearch:
    """Return a synchronous client; nothing is sent yet.

    Raises:
        ConfigError: the settings cannot make a client, for instance a CA file that does not exist.
    """
    options = client_options(settings, default_url=default_url)
    try:
        return Elasticsearch(**options)
    except (ValueError, OSError) as error:
        raise ConfigError(f"connection: {error}") from error


def connect_async(settings: ConnectionSettings, *, default_url: str = DEFAULT_URL) -> AsyncElasticsearch:
    """Return an asynchronous client; nothing is sent yet.

    Raises:
        ConfigError: the settings cannot make a client.
        MissingExtra: the ``async`` extra is not installed.
    """
    options = client_options(settings, default_url=default_url)
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise MissingExtra("the asynchronous client needs aiohttp", hint="pip install 'es-semantic[async]'") from error
    try:
        return AsyncElasticsearch(**options)
    except (ValueError, OSError) as error:
        raise ConfigError(f"connection: {error}") from error
