"""Read the text of a configuration file, or its mistakes."""

from __future__ import annotations

import pytest

from es_semantic.config import Config, parse_config
from es_semantic.errors import ConfigError

FILE = "es-semantic.yml"


def parse(text: str, **env: str) -> Config:
    return parse_config(text, filename=FILE, env=env)


def refuse(text: str, **env: str) -> list[str]:
    """The lines of the error."""
    with pytest.raises(ConfigError) as caught:
        parse(text, **env)
    # A context would carry the values into every traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value).splitlines()
