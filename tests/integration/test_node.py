"""Real nodes, each in a home of its own on a free port. Three starts, of which two are meant to fail."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from es_semantic.cluster import node
from es_semantic.cluster.node.distribution import provide
from es_semantic.cluster.node.health import free_port
from es_semantic.cluster.node.paths import NodeHome, default_cache
from es_semantic.cluster.node.state import read_state
from es_semantic.config.settings import NodeSettings
from es_semantic.errors import NodeError

PASSWORD = "not-in-any-file"
UP = f"""
import signal, sys
from pathlib import Path
# A shell lets what it runs in the background ignore it, and so do all processes that are started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)
from es_semantic.cluster import node
from es_semantic.config.settings import NodeSettings
settings = NodeSettings(port=int(sys.argv[2]), heap="512m")
security = node.Security("admin", {PASSWORD!r})
print(node.up(settings, home=Path(sys.argv[1]), security=security).started)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # Not tmp_path: pytest closes it to other users, and a node started by root runs as another one.
    folder = Path(tempfile.mkdtemp(prefix="es-semantic node "))
    folder.chmod(0o755)
    yield folder / "home"
    node.down(home=folder / "home")
    shutil.rmtree(folder)


def up_in_a_process(home: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", UP, str(home), str(port)], stdout=subprocess.PIPE, text=True)


def test_the_life_of_a_node(home: Path) -> None:
    port = free_port()
    both = [up_in_a_process(home, port) for _ in range(2)]
    answers = sorted(process.communicate()[0].strip() for process in both)
    assert answers == ["False", "True"]

    state = read_state(NodeHome(home).state)
    assert state is not None
    assert state.pid is not None
    launcher = psutil.Process(state.pid)
    family = [launcher, *launcher.children(recursive=True)]
    assert all(member.is_running() and member.uids().effective != 0 for member in family)

    security = node.Security("admin", PASSWORD)
    again = node.up(NodeSettings(port=port), home=home, security=security)
    assert again == node.running(home=home) == state.info()
    assert read_state(NodeHome(home).state) == state
    with pytest.raises(NodeError, match="refuses these credentials"):
        node.up(NodeSettings(port=port), home=home)

    assert httpx.get(again.url).status_code == 401
    who = httpx.get(f"{again.url}/_security/_authenticate", auth=("admin", PASSWORD)).json()
    assert (who["username"], who["roles"]) == ("admin", ["superuser"])
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    addresses = {listening.laddr.ip for member in family for listening in member.net_connections("tcp")}
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}

    assert node.down(home=home) == again
    assert not any(member.is_running() for member in family)
    assert node.running(home=home) is None
    assert node.down(home=home) is None
    assert any((home / "data").iterdir())


def test_a_node_that_dies_shows_the_end_of_its_log(home: Path) -> None:
    whole = provide(None, cache=default_cache(), report=print).path
    broken = home.parent / "broken"
    for part in ("modules", "plugins"):
        (broken / part).mkdir(parents=True)
    (broken / "lib").symlink_to(whole / "lib")
    shutil.copytree(whole / "config", broken / "config")
    with pytest.raises(NodeError, match="stopped while it was starting") as caught:
        node.up(NodeSettings(port=free_port(), distribution=str(broken)), home=home)
    assert "NoSuchFileException" in caught.value.what
    assert "modules/x-pack-core" in caught.value.what
    assert "\tat " not in caught.value.what
    assert str(home / "logs/console.log") in caught.value.hint
    assert node.running(home=home) is None


def test_an_interrupted_start_leaves_nothing_running(home: Path) -> None:
    starting = up_in_a_process(home, free_port())
    while (state := read_state(NodeHome(home).state)) is None:
        assert starting.poll() is None
        time.sleep(0.05)
    starting.send_signal(signal.SIGINT)
    assert starting.wait(60) != 0
    assert state.pid is not None
    assert not psutil.pid_exists(state.pid)
    assert read_state(NodeHome(home).state) is None
