"""API keys: what is kept, who is let in, and the command line that makes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from es_semantic.cli.main import app
from es_semantic.errors import ConfigError, UsageError
from es_semantic.server.access import is_loopback
from es_semantic.server.keys import Keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "folder" / "keys.json")


def test_a_key_is_found_by_its_token_until_it_is_revoked(keys: Keys) -> None:
    key, token = keys.create("ann", scopes=["search", "embed"], indices=["a", "b-*"])
    assert keys.find(token) == key == keys.all()[0]
    assert keys.find(token + "x") is None
    assert keys.find("ess_" + key.id + "_") is None
    assert keys.find("") is None
    keys.revoke(key.id)
    assert keys.find(token) is None
    assert keys.all()[0].revoked_at is not None
    assert keys.revoke(key.id) == keys.all()[0]


def test_another_process_sees_a_change_at_once(keys: Keys) -> None:
    other = Keys(keys.path)
    assert other.all() == ()
    key, token = keys.create("ann", scopes=["search"], indices=["a"])
    assert other.find(token) == key
    keys.revoke(key.id)
    assert other.find(token) is None


def test_an_expired_key_does_not_let_in(keys: Keys) -> None:
    _, token = keys.create("x", scopes=["search"], indices=[], expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert keys.find(token) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scopes": []}, "scope"),
        ({"scopes": ["read"]}, "read"),
        ({"indices": ["a,b"]}, "a,b"),
        ({"indices": ["-a"]}, "-a"),
        ({"indices": ["a/../b"]}, "a/../b"),
        ({"indices": ["<a>"]}, "<a>"),
        ({"indices": ["a[b]"]}, "a[b]"),
        ({"indices": [""]}, "''"),
        ({"filters": [{"a": 1, "b": 2}]}, "clause"),
        ({"filters": [{"term": {"a": 1}}], "indices": ["*"], "raw": True}, "raw"),
        ({"raw": True}, "raw"),
        ({"name": " "}, "name"),
    ],
)
def test_keys_that_cannot_be_made(keys: Keys, given: dict[str, Any], said: str) -> None:
    asked = {"name": "x", "scopes": ["search"], "indices": ["a"], **given}
    with pytest.raises(UsageError, match=said.replace("[", r"\[")):
        keys.create(asked.pop("name"), **asked)
    assert keys.all() == ()


@pytest.mark.parametrize("text", ["", "{", '{"keys": [{"id": "x"}]}', '{"more": 1}', "[]"])
def test_a_damaged_file_is_named_and_nobody_is_let_in(keys: Keys, text: str) -> None:
    keys.path.parent.mkdir()
    keys.path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        keys.all()
    with pytest.raises(ConfigError):
        keys.create("x", scopes=["search"], indices=["a"])
    assert keys.path.read_text() == text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_SEMANTIC_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    made = ["key", "create", "ann", "--scope", "search", "--index", "a-*", "--expires", "30d", "--json"]
    told = json.loads(run.invoke(app, [*made, "--filter", '{"term": {"tenant": "x"}}']).stdout)
    assert Keys(tmp_path / "keys.json").find(told["key"]) is not None
    assert "hash" not in told
    listed = run.invoke(app, ["key", "list", "--json"]).stdout
    assert json.loads(listed)[0]["filter"] == [{"term": {"tenant": "x"}}]
    assert told["key"].split("_", 2)[2] not in listed
    assert json.loads(run.invoke(app, ["key", "revoke", told["id"], "--json"]).stdout)["state"].startswith("revoked")
    assert Keys(tmp_path / "keys.json").find(told["key"]) is None


@pytest.mark.parametrize(
    "wrong",
    [["--expires", "soon"], ["--filter", "{"], ["--filter", "[]"], ["--scope", "everything"], ["--index", "a b"]],
)
def test_the_command_line_refuses_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str]) -> None:
    monkeypatch.setenv("ES_SEMANTIC_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["key", "create", "ann", "--scope", "search", *wrong])
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "keys.json").exists()
