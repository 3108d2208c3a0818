from __future__ import annotations

from pathlib import Path

import bcrypt
import pytest
import yaml

from es_semantic.cluster.node import Security
from es_semantic.cluster.node.configuration import (
    node_name,
    render_jvm_options,
    render_settings,
    render_users,
    write_config,
)
from es_semantic.cluster.node.paths import NodeHome
from es_semantic.errors import NodeError

HOME = NodeHome(Path("/a home"))


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    config = tmp_path / "dist/config"
    (config / "certs").mkdir(parents=True)
    for name in ("elasticsearch.yml", "jvm.options", "users", "elasticsearch.keystore", "certs/http.p12"):
        (config / name).write_text("the distribution's own")
    return tmp_path / "dist"


def test_the_node_is_alone_and_on_loopback() -> None:
    settings = render_settings(HOME, port=9200, transport_port=9300, secured=False)
    assert settings == {
        "cluster.name": "es-semantic",
        "node.name": node_name(HOME),
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": 9200,
        "transport.port": 9300,
        "path.data": "/a home/data",
        "path.logs": "/a home/logs",
        "xpack.security.enabled": False,
    }


def test_nodes_of_two_homes_have_two_names() -> None:
    assert node_name(HOME) != node_name(NodeHome(Path("/another")))


def test_a_secured_node_has_no_tls_and_no_enrollment() -> None:
    settings = render_settings(HOME, port=9200, transport_port=9300, secured=True)
    assert settings["xpack.security.enabled"] is True
    off = ("enrollment.enabled", "http.ssl.enabled", "transport.ssl.enabled")
    assert [settings[f"xpack.security.{name}"] for name in off] == [False, False, False]


def test_the_superuser_is_one_bcrypt_line() -> None:
    files = render_users(Security("admin", "correct horse"))
    name, _, hashed = files["users"].strip().partition(":")
    assert name == "admin"
    assert hashed.startswith("$2a$10$")
    assert bcrypt.checkpw(b"correct horse", hashed.encode())
    assert files["users_roles"] == "superuser:admin\n"


def test_the_password_is_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Security("admin", "hunter2"))


@pytest.mark.parametrize(("username", "password"), [("a:b", "long enough"), ("a\nb", "long enough"), ("", "x" * 9)])
def test_user_names_that_would_break_the_file_are_refused(username: str, password: str) -> None:
    with pytest.raises(NodeError, match="user name"):
        Security(username, password)


@pytest.mark.parametrize("password", ["", "short", "x" * 73, "\N{EURO SIGN}" * 25])
def test_passwords_that_elasticsearch_or_bcrypt_would_not_take_are_refused(password: str) -> None:
    with pytest.raises(NodeError, match="6 to 72 bytes"):
        Security("admin", password)


def test_the_folder_is_the_distributions_own_with_ours_on_top(tmp_path: Path, distribution: Path) -> None:
    home = NodeHome(tmp_path)
    write_config(distribution, home, port=9200, transport_port=9300, security=Security("admin", "hunter2"))
    write_config(distribution, home, port=9201, transport_port=9301, security=None)
    assert sorted(path.name for path in home.config.iterdir()) == ["elasticsearch.yml", "jvm.options", "users"]
    assert yaml.safe_load((home.config / "elasticsearch.yml").read_text())["http.port"] == 9201
    assert (home.config / "users").read_text() == "the distribution's own"
    assert home.config.stat().st_mode & 0o777 == 0o700


def test_what_the_jvm_writes_is_written_to_the_home(tmp_path: Path, distribution: Path) -> None:
    """In 8.x the lines name folders; newer ones do not."""
    own = "-XX:HeapDumpPath=data\n-XX:ErrorFile=logs/hs_err.log\n8:-Xlog:gc*:file=logs/gc.log:utctime\n-Dx=database\n"
    expected = [
        "-XX:HeapDumpPath=/a home/logs",
        "-XX:ErrorFile=/a home/logs/hs_err.log",
        "8:-Xlog:gc*:file=/a home/logs/gc.log:utctime",
        "-Dx=database",
    ]
    assert render_jvm_options(own, HOME).splitlines() == expected
    assert render_jvm_options("-Xlog:gc*:file=gc.log\n", HOME) == "-Xlog:gc*:file=gc.log\n"
    (distribution / "config/jvm.options").write_text(own)
    write_config(distribution, NodeHome(tmp_path), port=9200, transport_port=9300, security=None)
    assert f"-XX:HeapDumpPath={tmp_path}/logs" in (tmp_path / "config/jvm.options").read_text()
