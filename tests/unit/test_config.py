"""The configuration file: what is read, what is refused, and what an error may say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from es_semantic.config import (
    DEFAULT_FIELD_NAME,
    DEFAULT_MODEL,
    Config,
    OpenAIModel,
    SentenceTransformersModel,
    find_config,
    load_config,
)
from es_semantic.errors import ConfigError
from tests.configs import FILE, parse, refuse

TOP = "connection, node, models, rerankers, remotes, ray, serve, knowledge, embedding_cache, semantic_fields"

EXAMPLE = Path(__file__).parents[2] / "es-semantic.example.yml"


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("ES_SEMANTIC_CONFIG", "ES_SEMANTIC_URL", "ES_SEMANTIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What is read


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "connection:\nnode:\n  port:\n", "{}"])
def test_nothing_given_is_the_defaults(text: str) -> None:
    config = parse(text)
    assert config == Config()
    assert config.connection.urls == []
    assert config.node.port == 9200
    assert config.model() == SentenceTransformersModel(name=DEFAULT_MODEL)


def test_a_full_file() -> None:
    config = parse(
        """
        connection: {url: ["http://a:9200/", "https://b"], username: u, password: p, request_timeout: 1.5}
        node: {port: 9300, heap: 2g}
        models:
          small: {provider: openai, name: m, dimensions: 256, api_key: k}
        semantic_fields:
          - {index: articles, fields: [title, body], model: small}
        """
    )
    assert config.connection.urls == ["http://a:9200", "https://b"]
    assert config.connection.password == SecretStr("p")
    assert config.connection.request_timeout == 1.5
    assert config.node.heap == "2g"
    model = config.model("small")
    assert isinstance(model, OpenAIModel)
    assert model.dimensions == 256
    assert config.semantic_fields[0].fields == ["title", "body"]
    assert config.semantic_fields[0].name == DEFAULT_FIELD_NAME


def test_the_example_holds_every_key_and_the_defaults() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    config = parse(text)
    assert config.node == Config().node
    assert config.connection.model_copy(update={"url": None}) == Config().connection
    assert config.model() == SentenceTransformersModel()
    assert {model.provider for model in config.models.values()} == {"sentence-transformers", "openai", "ollama"}
    assert {reranker.provider for reranker in config.rerankers.values()} == {"cross-encoder", "cohere", "tei"}
    assert config.embedding_cache == Config().embedding_cache
    sections: list[BaseModel] = [config.connection, config.node, config.embedding_cache, *config.models.values()]
    sections += [*config.rerankers.values(), *config.semantic_fields]
    for section in sections:
        for key in type(section).model_fields:
            assert f" {key}: " in text, f"{type(section).__name__}.{key}"


def test_the_commented_keys_of_the_example_are_valid_too() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    shown = [re.sub(r"^( +)# ", r"\1", line) for line in lines]
    shown = [line for line in shown if "api_key: ${ELASTIC" not in line]
    config = parse("\n".join(shown), ELASTIC_PASSWORD="p", JAVA_HOME="/jdk")
    assert config.connection.username == "elastic"
    assert config.node.java_home == "/jdk"
    model = config.model("hosted")
    assert isinstance(model, OpenAIModel)
    assert model.dimensions == 512


def test_merge_keys_and_aliases() -> None:
    config = parse(
        """
        models:
          a: &a {provider: ollama, name: one, batch_size: 8}
          b: {<<: *a, name: two}
          c: *a
        """
    )
    assert [(config.models[n].name, config.models[n].batch_size) for n in "abc"] == [  # type: ignore[union-attr]
        ("one", 8),
        ("two", 8),
        ("one", 8),
    ]


def test_values_that_look_like_other_types_stay_text() -> None:
    text = "models: {1: {provider: sentence-transformers, name: on, revision: 2024-01-01}}"
    assert refuse(text) == [f"{FILE}:1: models.1.name: must be text; put a number, true or false in quotes"]
    model = parse(text.replace(" on,", " 'on',")).model("1")
    assert isinstance(model, SentenceTransformersModel)
    assert (model.name, model.revision) == ("on", "2024-01-01")


# ${NAME}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${A}", "a"),
        ("x${A}y${B}", "xayb: [c"),
        ("'${B}'", "b: [c"),
        ("${UNSET:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "a"),
        ("'${UNSET:-}'", ""),
        ("${UNSET:-}", None),
        ("'$${A}'", "${A}"),
        ("$A", "$A"),
        ("a$${b", "a${b"),
        ("${RECURSIVE}", "${A}"),
        ("${NUMBER}", "0123"),
    ],
)
def test_expansion(value: str, expected: str | None) -> None:
    env = {"A": "a", "B": "b: [c", "EMPTY": "", "RECURSIVE": "${A}", "NUMBER": "0123"}
    assert parse(f"connection:\n  ca_certs: {value}\n", **env).connection.ca_certs == expected


@pytest.mark.parametrize("quote", ["", '"'])
def test_expanded_numbers_and_booleans_are_typed(quote: str) -> None:
    config = parse(
        f"""
        node:
          port: {quote}${{PORT:-9200}}{quote}
        connection:
          request_timeout: {quote}${{SECONDS}}{quote}
          max_retries: {quote}${{TRIES}}{quote}
        models:
          default:
            provider: sentence-transformers
            offline: {quote}${{OFFLINE:-true}}{quote}
        """,
        SECONDS="2.5",
        TRIES="0",
    )
    assert (config.node.port, config.connection.request_timeout, config.connection.max_retries) == (9200, 2.5, 0)
    model = config.model()
    assert isinstance(model, SentenceTransformersModel)
    assert model.offline is True


def test_an_expanded_wrong_number_is_refused_without_its_value() -> None:
    assert refuse("node:\n  port: ${PORT:-9200}\n", PORT="many") == [f"{FILE}:2: node.port: must be a whole number"]


def test_missing_variables_are_listed_together() -> None:
    assert refuse("connection:\n  url: ${HOST}:${PORT}\n  ca_certs: ${CA}\n", PORT="1") == [
        f"{FILE}:2: connection.url: the environment variable HOST is not set; set it or write ${{HOST:-default}}",
        f"{FILE}:3: connection.ca_certs: the environment variable CA is not set; set it or write ${{CA:-default}}",
    ]


@pytest.mark.parametrize("value", ["${", "'${}'", "'${1}'", "'${A B}'", "'${A'", "'${A:d}'"])
def test_malformed_references(value: str) -> None:
    (line,) = refuse(f"connection:\n  ca_certs: {value}\n", A="a")
    assert line.startswith(f"{FILE}:2: connection.ca_certs: ${{ must begin ${{NAME}}")


# What is refused


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "connection:\n  urll: http://a\n",
            [
                "2: connection.urll: unknown key, did you mean url?; allowed: url, api_key, username, password, "
                "ca_certs, request_timeout, max_retries"
            ],
        ),
        ("a:\n", [f"1: a: unknown key; allowed: {TOP}"]),
        (
            "models:\n  m:\n    provider: opnai\n    name: x\n",
            ["3: models.m.provider: unknown provider; allowed: sentence-transformers, openai, ollama"],
        ),
        (
            "models:\n  m:\n    name: x\n",
            ["2: models.m.provider: is required; allowed: sentence-transformers, openai, ollama"],
        ),
        (
            "models:\n  small:\n    provider: openai\n    dimensions: x\n",
            ["2: models.small.name: is required", "4: models.small.dimensions: must be a whole number"],
        ),
        (
            "models:\n  openai:\n    provider: openai\n    name: x\n    openai: {dimensions: 3}\n    dimensions: 0\n",
            [
                "5: models.openai.openai: unknown key; allowed: name, document_prompt, query_prompt, timeout, "
                "max_retries, batch_size, provider, url, api_key, dimensions",
                "6: models.openai.dimensions: must be greater than or equal to 1",
            ],
        ),
        ("models:\n  m: 5\n", ["2: models.m: must be a mapping of keys to values"]),
        ("models:\n  m:\n", ["2: models.m: must be a mapping of keys to values"]),
        ("models: [a]\n", ["1: models: must be a mapping of keys to values"]),
        ("connection: http://a\n", ["1: connection: must be a mapping of keys to values"]),
        (
            "connection:\n  url:\n    - http://a\n    - b\n",
            ["4: connection.url[1]: must be an http:// or https:// URL"],
        ),
        ("connection:\n  url: 5\n", ["2: connection.url: must be text; put a number, true or false in quotes"]),
        ("connection:\n  url: []\n", ["2: connection.url: must have at least 1 item after validation, not 0"]),
        (
            "connection: {url: 'http://u:p@h'}\n",
            ["1: connection.url: must not carry a user name or password; use the keys made for them"],
        ),
        ("connection: {url: 'http://h?a=b'}\n", ["1: connection.url: must not carry a query (?) or a fragment (#)"]),
        ("connection:\n  max_retries: yes\n", ["2: connection.max_retries: must be a number, not true or false"]),
        ("connection:\n  request_timeout: .inf\n", ["2: connection.request_timeout: must be a finite number"]),
        ("connection:\n  request_timeout: soon\n", ["2: connection.request_timeout: must be a number"]),
        ("connection:\n  username: u\n", ["2: connection.username: must be given together with password"]),
        (
            "connection:\n  username: u\n  password: p\n  api_key: k\n",
            ["4: connection.api_key: must not be given together with username and password: give one or the other"],
        ),
        ("node: {port: 70000}\n", ["1: node.port: must be less than or equal to 65535"]),
        ("node: {port: 92.5}\n", ["1: node.port: must be a whole number"]),
        ("node: {heap: 1.5g}\n", ["1: node.heap: must be a size such as 512m or 2g"]),
        (
            "models: {default: {provider: sentence-transformers, offline: perhaps}}\n",
            ["1: models.default.offline: must be true or false"],
        ),
        (
            "semantic_fields:\n  - index: a\n    fields: [t]\n    model: big\n",
            ["4: semantic_fields[0].model: is not a defined model; defined: default"],
        ),
        (
            "semantic_fields:\n  - index: a\n    fields: [t, t]\n",
            ["3: semantic_fields[0].fields: must not name a field twice"],
        ),
        (
            "semantic_fields:\n  - index: a\n    fields: t\n  - 7\n",
            [
                "3: semantic_fields[0].fields: must be a list",
                "4: semantic_fields[1]: must be a mapping of keys to values",
            ],
        ),
        ("node:\n  port: 1\n  heap: 1g\n  port: 2\n", ["4: node.port: is given twice; first on line 2"]),
        ("node: {}\nconnection: {}\nnode: {}\n", ["3: node: is given twice; first on line 1"]),
        (
            "- a\n",
            [f"1: the file must be a mapping of keys to values; allowed: {TOP}"],
        ),
        (
            "text",
            [f"1: the file must be a mapping of keys to values; allowed: {TOP}"],
        ),
        ("node:\n  port: [1\nmodels: {}\n", ["3: not valid YAML: expected ',' or ']', but got ':'"]),
        ("node:\n\tport: 1\n", ["2: not valid YAML: found character '\\t' that cannot start any token"]),
        ("node: {}\n---\nnode: {}\n", ["2: not valid YAML: but found another document"]),
        ("\nnode: \x00\n", ["2: not valid YAML: it holds a control character"]),
        (
            "node:\n  ? [a]\n  : b\n",
            ["2: node: a key must be plain text; put quotes around a value that starts with { or ["],
        ),
        ("node:\n  <<: 5\n", ["2: node: << must be followed by a mapping or by a list of mappings"]),
        ("node:\n  port: !!int x\n", ["2: node.port: is not what its tag (a leading !!) says; leave the tag out"]),
        (
            "node:\n  heap: !!python/name:os.system x\n",
            ["2: node.heap: has a tag; put quotes around a value that starts with !"],
        ),
        (
            "models: &m\n  a: *m\n",
            ["2: models.a.provider: is required; allowed: sentence-transformers, openai, ollama"],
        ),
        ("[" * 5000, ["1: is nested too deeply"]),
    ],
)
def test_each_mistake_is_named_with_its_line(text: str, lines: list[str]) -> None:
    assert refuse(text) == [f"{FILE}:{line}" for line in lines]


def test_mistakes_of_all_sections_are_listed_in_the_order_of_the_file() -> None:
    refused = refuse("node: {port: x}\nmodels: {m: {provider: x}}\nnope: 1\nconnection: {url: x}\n")
    assert [line.split(":")[1] for line in refused] == ["1", "2", "3", "4"]


# The environment and the file system


def test_the_environment_goes_before_the_file() -> None:
    text = "connection: {url: http://file, username: u, password: p, max_retries: 1}"
    connection = parse(text, ES_SEMANTIC_URL="http://env/", ES_SEMANTIC_API_KEY="k").connection
    assert (connection.urls, connection.api_key) == (["http://env"], SecretStr("k"))
    assert (connection.username, connection.password, connection.max_retries) == (None, None, 1)
    assert parse("", ES_SEMANTIC_URL="http://env").connection.urls == ["http://env"]
    assert parse(text, ES_SEMANTIC_URL="", ES_SEMANTIC_API_KEY="").connection.username == "u"


def test_a_wrong_variable_is_named_instead_of_a_line() -> None:
    assert refuse("connection: {url: http://file}", ES_SEMANTIC_URL="nonsense") == [
        "environment variable ES_SEMANTIC_URL (connection.url): must be an http:// or https:// URL"
    ]
    assert refuse("connection: 5", ES_SEMANTIC_URL="http://env") == [
        f"{FILE}:1: connection: must be a mapping of keys to values"
    ]


def test_where_the_file_is_looked_for(no_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config() is None
    assert load_config() == Config()
    (no_environment / FILE).write_text("node: {port: 1}")
    (no_environment / "named.yml").write_text("node: {port: 2}")
    (no_environment / "given.yml").write_text("\ufeffnode: {port: 3}", encoding="utf-8")
    assert load_config().node.port == 1
    monkeypatch.setenv("ES_SEMANTIC_CONFIG", "named.yml")
    assert load_config().node.port == 2
    assert load_config(Path("given.yml")).node.port == 3
    monkeypatch.setenv("ES_SEMANTIC_URL", "http://env")
    assert load_config().connection.urls == ["http://env"]


def test_a_file_that_cannot_be_read(no_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yml: no such file"):
        load_config(Path("absent.yml"))
    monkeypatch.setenv("ES_SEMANTIC_CONFIG", "elsewhere.yml")
    with pytest.raises(ConfigError, match=r"elsewhere\.yml: no such file"):
        load_config()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(no_environment)
    (no_environment / "latin.yml").write_bytes("node: {}\n# caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yml:2: not UTF-8"):
        load_config(Path("latin.yml"))
    (no_environment / "wrong.yml").write_text("\nnode: {port: x}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yml:2: node\.port: must be a whole number"):
        load_config(Path("wrong.yml"))
