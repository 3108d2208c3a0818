"""No secret of the configuration is ever shown."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from es_semantic.config import ConnectionSettings, OpenAIModel
from es_semantic.config.document import SECRET_KEYS
from tests.configs import parse, refuse


def test_every_secret_field_is_a_secret_key() -> None:
    fields = [*ConnectionSettings.model_fields.items(), *OpenAIModel.model_fields.items()]
    assert {name for name, field in fields if "SecretStr" in str(field.annotation)} == SECRET_KEYS


SECRETS = st.text(st.characters(categories=["L", "N"]), min_size=12, max_size=40).map("Q7x".__add__)
WRONG = [
    "connection: {{api_key: [{s}]}}",
    "connection: {{api_key: {{{s}: 1, {s}: 2}}}}",
    "connection: {{api_key: {s}, username: 5, password: [{s}], urll: {s}}}",
    "connection: {{password: {s}}}",
    "connection: {{url: 'http://user:{s}@host'}}",
    "connection: {{url: 'http://user:{s}/@host'}}",
    "connection: {{url: 'http://[{s}]'}}",
    "connection: {{api_key: *{s}}}",
    "connection: {{api_key: !{s}}}",
    "connection: {{api_key: !{s}!x y}}",
    "connection: {{api_key: !!int '{s}'}}",
    "connection: {{api_key: &{s} }}, x]",
    "connection: {{password: '{s}', api_key: '{s}', username: {s}}}",
    "connection:\n  password '{s}'\n  api_key: x",
    "connection: {s}",
    "node: {{port: '{s}', heap: '{s}'}}",
    "models: {{m: {{provider: '{s}', api_key: '{s}'}}}}",
    "models: {{m: {{provider: openai, api_key: '{s}', name: 5}}}}",
    "models: {{m: {{provider: openai, api_key: ['{s}'], name: '{s}', dimensions: '{s}', timeout: '{s}'}}}}",
    "models: '{s}'",
    "semantic_fields: [{{index: '{s}', fields: '{s}', model: '{s}'}}]",
    "semantic_fields: [{{index: a, fields: [a], model: '{s}'}}]",
    "'{s}'",
    "api_key: '{s}'",
]


@given(SECRETS)
def test_no_error_shows_a_value_of_the_file(secret: str) -> None:
    for template in WRONG:
        assert secret not in "\n".join(refuse(template.format(s=secret))), template


@given(SECRETS)
def test_no_error_shows_a_value_of_the_environment(secret: str) -> None:
    reference = '"${SECRET}"'
    for template in WRONG:
        text = template.replace("'{s}'", "{s}").replace("'http", "http").replace("'}}", "}}")
        lines = refuse(text.format(s=reference).replace('/"${', "/${"), SECRET=secret)
        assert secret not in "\n".join(lines), template
    for name in ("ES_SEMANTIC_URL", "SECRET"):
        lines = refuse("connection: {url: '${SECRET:-http://a}'}", **{name: f"ftp://{secret}"})
        assert secret not in "\n".join(lines)


@given(SECRETS)
def test_no_repr_shows_a_value(secret: str) -> None:
    text = yaml.safe_dump(
        {
            "connection": {"api_key": secret, "ca_certs": "${SECRET}", "url": "http://${SECRET}.example"},
            "models": {"m": {"provider": "openai", "name": "${SECRET}", "api_key": "${SECRET}"}},
            "semantic_fields": [{"index": "${SECRET}", "fields": ["${SECRET}"]}],
        }
    )
    config = parse(text, SECRET=secret)
    parts = [config, config.connection, config.models, config.semantic_fields, config.model("m")]
    assert secret not in "".join(f"{part!r}{part}" for part in parts)
    assert config.connection.api_key == SecretStr(secret)
    assert config.semantic_fields[0].fields == [secret]
