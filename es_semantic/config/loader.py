"""``es-semantic.yml`` and the environment → :class:`Config`, or one error that lists every mistake with its line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from es_semantic.config.base import Settings
from es_semantic.config.document import Document, KeyPath, Problem, describe, line_of, read_document
from es_semantic.config.settings import (
    CohereSettings,
    Config,
    ConnectionSettings,
    CrossEncoderSettings,
    EmbeddingCacheSettings,
    NodeSettings,
    OllamaModel,
    OpenAIModel,
    SemanticFieldSettings,
    SentenceTransformersModel,
    TeiSettings,
)
from es_semantic.errors import ConfigError

DEFAULT_FILENAME = "es-semantic.yml"
ENV_CONFIG = "ES_SEMANTIC_CONFIG"
ENV_URL = "ES_SEMANTIC_URL"
ENV_API_KEY = "ES_SEMANTIC_API_KEY"

_PROVIDERS: dict[str, dict[str, type[Settings]]] = {
    "models": {
        "sentence-transformers": SentenceTransformersModel,
        "openai": OpenAIModel,
        "ollama": OllamaModel,
    },
    "rerankers": {
        "cross-encoder": CrossEncoderSettings,
        "cohere": CohereSettings,
        "tei": TeiSettings,
    },
}
_SECTIONS: dict[str, type[Settings]] = {
    "connection": ConnectionSettings,
    "node": NodeSettings,
    "embedding_cache": EmbeddingCacheSettings,
    "semantic_fields": SemanticFieldSettings,
}
_EXPECTED = {
    "string": "must be text; put a number, true or false in quotes",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "list": "must be a list",
    "dict": "must be a mapping of keys to values",
    "model": "must be a mapping of keys to values",
}


def load_config(path: Path | None = None) -> Config:
    """Read the configuration file and the environment.

    Args:
        path: the file; without it what :func:`find_config` finds, and where that finds nothing, the defaults.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8 or wrong, or an environment variable is.
    """
    path = path or find_config()
    if path is None:
        return parse_config("", filename=DEFAULT_FILENAME, env=os.environ)
    return parse_config(_read(path), filename=str(path), env=os.environ)


def find_config() -> Path | None:
    """The file that ``ES_SEMANTIC_CONFIG`` names, else ``es-semantic.yml`` in the current folder, else None.

    A file that the variable names need not exist; reading it will say so.
    """
    if named := os.environ.get(ENV_CONFIG):
        return Path(named)
    here = Path(DEFAULT_FILENAME)
    return here if here.exists() else None


def parse_config(text: str, *, filename: str, env: Mapping[str, str]) -> Config:
    """Validate the text of a configuration file.

    ``ES_SEMANTIC_URL`` and ``ES_SEMANTIC_API_KEY`` in ``env``, where not empty, replace ``connection.url`` and
    ``connection.api_key``; an API key from there also replaces the file's user name and password.

    Args:
        text: YAML; empty means all defaults.
        filename: only for error messages.
        env: variables for ``${NAME}`` and the two above.

    Raises:
        ConfigError: one line per mistake: ``file:line: key.path: what is wrong and what is allowed``.
    """
    document = read_document(text, filename=filename, env=env)
    problems = list(document.problems)
    if not isinstance(document.data, dict):
        problems.append(Problem(1, (), "the file must be a mapping of keys to values; " + _allowed(Config)))
    if not problems:
        data, replaced = _override(document.data, env)
        try:
            return Config.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            problems = [_explain(detail, document, replaced) for detail in details]
    # Outside the except block: pydantic's error holds the input, secrets included.
    raise ConfigError(describe(problems, filename))


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="Give another path, or none for the defaults.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
    raise ConfigError(f"{path}:{line}: not UTF-8", hint="Save the file with the encoding UTF-8.")


def _override(data: Any, env: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Put the environment's connection over the file's; return the data and ``{key: variable}`` of what it set."""
    connection = data.get("connection")
    replaced = {key: name for key, name in (("url", ENV_URL), ("api_key", ENV_API_KEY)) if env.get(name)}
    # A connection that is not a mapping is reported as such, not papered over.
    if not replaced or not isinstance(connection, dict | None):
        return data, {}
    kept = dict(connection or {})
    if "api_key" in replaced:
        kept.pop("username", None)
        kept.pop("password", None)
    return {**data, "connection": {**kept, **{key: env[name] for key, name in replaced.items()}}}, replaced


def _explain(detail: Any, document: Document, replaced: Mapping[str, str]) -> Problem:
    loc: KeyPath = detail["loc"]
    path = (*_without_tags(loc), *detail.get("ctx", {}).get("at", ()))
    if detail["type"].startswith("union_tag"):
        path = (*path, "provider")
    text = _text(detail, loc)
    if len(path) > 1 and path[0] == "connection" and (variable := replaced.get(str(path[1]))):
        return Problem(0, (), f"environment variable {variable} ({'.'.join(map(str, path[:2]))}): {text}")
    return Problem(line_of(document.root, path), path, text)


def _without_tags(loc: KeyPath) -> KeyPath:
    """Drop the tag that pydantic puts after the place of a union: ``models.NAME.<provider>.KEY``."""
    tagged = (bool(loc) and loc[0] in _PROVIDERS) or loc[:2] == ("connection", "url")
    return loc[:2] + loc[3:] if tagged else loc


def _text(detail: Any, loc: KeyPath) -> str:
    """What is wrong, and what is allowed; never the value itself, which may be a secret."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        section = _section(loc)
        return f"unknown key{_did_you_mean(str(loc[-1]), section.model_fields)}; {_allowed(section)}"
    if kind == "union_tag_invalid":
        return f"unknown provider; allowed: {', '.join(_PROVIDERS[str(loc[0])])}"
    if kind == "union_tag_not_found":
        return f"is required; allowed: {', '.join(_PROVIDERS[str(loc[0])])}"
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind.endswith(("_type", "_parsing", "_from_float", "_number")):
        return _EXPECTED.get(kind.split("_")[0], "has the wrong type")
    # "Input should be less than or equal to 65535", "List should have at least 1 item ..., not 0"
    return re.sub(r"^(Input|String|List) should", "must", str(detail["msg"]))


def _section(loc: KeyPath) -> type[Settings]:
    if len(loc) == 1:
        return Config
    section = str(loc[0])
    return _PROVIDERS[section][str(loc[2])] if section in _PROVIDERS else _SECTIONS[section]


def _allowed(section: type[Settings]) -> str:
    return "allowed: " + ", ".join(section.model_fields)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""
