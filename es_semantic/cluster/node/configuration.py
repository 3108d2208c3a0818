"""The configuration of a local node: single node, loopback only."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from es_semantic.cluster.node.paths import NodeHome
from es_semantic.errors import NodeError

CLUSTER_NAME = "es-semantic"
ADDRESS = "127.0.0.1"
_BCRYPT_LIMIT = 72


@dataclass(frozen=True)
class Security:
    """Start the node with security on (without TLS, on loopback) and this superuser."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.@-]+", self.username):
            raise NodeError("The user name of a node's superuser may hold letters, digits and _ . @ - only.")
        if not 6 <= len(self.password.encode()) <= _BCRYPT_LIMIT:
            raise NodeError(f"The password of a node's superuser must be 6 to {_BCRYPT_LIMIT} bytes long.")


def node_name(home: NodeHome) -> str:
    """Return the node's name, by which it is told from a node of another home."""
    return f"{CLUSTER_NAME}-{hashlib.sha256(str(home.root).encode()).hexdigest()[:12]}"


def render_settings(home: NodeHome, *, port: int, transport_port: int, secured: bool) -> dict[str, Any]:
    """Return ``elasticsearch.yml``: only settings that every distribution knows, as an unknown one stops the node."""
    settings: dict[str, Any] = {
        "cluster.name": CLUSTER_NAME,
        "node.name": node_name(home),
        "discovery.type": "single-node",
        "network.host": ADDRESS,
        "http.port": port,
        "transport.port": transport_port,
        "path.data": str(home.data),
        "path.logs": str(home.logs),
        "xpack.security.enabled": secured,
    }
    if secured:
        settings |= {
            "xpack.security.enrollment.enabled": False,
            "xpack.security.http.ssl.enabled": False,
            "xpack.security.transport.ssl.enabled": False,
        }
    return settings


def render_users(security: Security) -> dict[str, str]:
    """Return the files of Elasticsearch's file realm with one superuser, the password hashed by bcrypt.

    Raises:
        NodeError: the package bcrypt is not installed.
    """
    try:
        import bcrypt
    except ImportError as error:
        raise NodeError("A node with security needs the package bcrypt.", hint="pip install bcrypt") from error
    # Elasticsearch knows bcrypt by the prefix $2a$.
    hashed = bcrypt.hashpw(security.password.encode(), bcrypt.gensalt(10, prefix=b"2a")).decode()
    return {"users": f"{security.username}:{hashed}\n", "users_roles": f"superuser:{security.username}\n"}


def render_jvm_options(text: str, home: NodeHome) -> str:
    """Return ``jvm.options`` with crash reports, heap dumps and ``gc.log`` in the home's logs.

    In 8.x it names ``logs`` and ``data`` below the working directory, which is the distribution.
    """
    return re.sub(r"=(?:data|logs)(?=/|$)", lambda _: f"={home.logs}", text, flags=re.MULTILINE)


def write_config(
    distribution: Path, home: NodeHome, *, port: int, transport_port: int, security: Security | None
) -> None:
    """Write the configuration folder anew: the distribution's own with our settings and users."""
    shutil.rmtree(home.config, ignore_errors=True)
    # A keystore or certificates belong to the owner's own node; Elasticsearch makes a keystore by itself.
    shutil.copytree(distribution / "config", home.config, ignore=shutil.ignore_patterns("*.keystore", "certs"))
    settings = render_settings(home, port=port, transport_port=transport_port, secured=security is not None)
    files = {"elasticsearch.yml": yaml.safe_dump(settings, sort_keys=False)}
    jvm_options = home.config / "jvm.options"
    if jvm_options.is_file():
        files[jvm_options.name] = render_jvm_options(jvm_options.read_text(), home)
    if security is not None:
        files |= render_users(security)
    for name, text in files.items():
        (home.config / name).unlink(missing_ok=True)
        (home.config / name).write_text(text)
    home.config.chmod(0o700)
