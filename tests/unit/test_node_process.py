from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from es_semantic.cluster import node
from es_semantic.cluster.node.account import give, may, service_account
from es_semantic.cluster.node.distribution import Distribution
from es_semantic.cluster.node.paths import NodeHome, is_root, make_folder
from es_semantic.cluster.node.process import launch_command, launch_environment, log_tail, start, stop
from es_semantic.cluster.node.state import NodeInfo, State, living_process, read_state, write_state
from es_semantic.errors import NodeError


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def state_of(process: psutil.Process, *, create_time: float | None = None) -> State:
    return State(
        how="local",
        url="http://127.0.0.1:9200",
        port=9200,
        version="9.4.3",
        pid=process.pid,
        create_time=create_time or process.create_time(),
    )


def distribution_with(folder: Path, version: str, *launchers: str) -> Distribution:
    for name in launchers:
        (folder / "lib" / name).parent.mkdir(parents=True)
        (folder / "lib" / name).touch()
    return Distribution(folder, version)


def test_the_command_needs_no_script_of_the_distribution(tmp_path: Path) -> None:
    launchers = ("tools/server-launcher/server-launcher-9.4.3.jar", "cli-launcher/cli-launcher-9.4.3.jar")
    command = launch_command(distribution_with(tmp_path, "9.4.3", *launchers), Path("/jdk"), NodeHome(Path("/home")))
    assert command[0] == "/jdk/bin/java"
    assert command[-3:] == [
        "-cp",
        f"{tmp_path}/lib/tools/server-launcher/*",
        "org.elasticsearch.server.launcher.ServerLauncher",
    ]


def test_before_9_4_the_launcher_of_all_tools_starts_the_server(tmp_path: Path) -> None:
    distribution = distribution_with(tmp_path, "8.14.1", "cli-launcher/cli-launcher-8.14.1.jar")
    command = launch_command(distribution, Path("/jdk"), NodeHome(Path("/home")))
    assert command[0] == "/jdk/bin/java"
    assert command[-8:] == [
        "-Dcli.name=server",
        "-Dcli.libs=lib/tools/server-cli",
        f"-Des.path.home={tmp_path}",
        "-Des.path.conf=/home/config",
        "-Des.distribution.type=zip",
        "-cp",
        f"{tmp_path}/lib/*:{tmp_path}/lib/cli-launcher/*",
        "org.elasticsearch.launcher.CliToolLauncher",
    ]


def test_the_environment_holds_nothing_of_the_callers_secrets() -> None:
    environ = {"PATH": "/bin", "ES_SEMANTIC_API_KEY": "hunter2", "JAVA_TOOL_OPTIONS": "-x", "ES_JAVA_OPTS": "-Xmx9g"}
    made = launch_environment(Path("/dist"), Path("/jdk"), NodeHome(Path("/home")), heap="512m", environ=environ)
    assert made == {
        "PATH": "/bin",
        "HOME": "/home",
        "ES_HOME": "/dist",
        "ES_PATH_CONF": "/home/config",
        "ES_TMPDIR": "/home/tmp",
        "ES_JAVA_HOME": "/jdk",
        "JAVA": "/jdk/bin/java",
        "JAVA_TYPE": "ES_JAVA_HOME",
        "ES_DISTRIBUTION_TYPE": "zip",
        "CLI_JAVA_OPTS": "",
        "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
    }


def test_the_process_runs_in_a_session_of_its_own_and_writes_to_the_console(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    script = "import os; print(os.getsid(0) == os.getpid(), os.getcwd(), os.environ['GIVEN'])"
    command, environment = [sys.executable, "-c", script], {"GIVEN": "yes"}
    assert start(command, environment, distribution=tmp_path, console=console, account=None).wait() == 0
    assert console.read_text() == f"True {tmp_path} yes\n"


def test_the_console_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "console.log").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        start(["true"], {}, distribution=tmp_path, console=tmp_path / "console.log", account=None)
    assert (tmp_path / "precious").read_text() == "precious"


def test_stop_ends_a_process_and_its_children() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"])
    process = psutil.Process(parent.pid)
    while not process.children():
        time.sleep(0.01)
    (child,) = process.children()
    stop(process)
    assert not child.is_running()
    assert not process.is_running()


def test_stop_of_a_dead_process_does_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    stop(process)


def test_log_tail_leaves_out_stack_frames(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(30)] + ["\tat org.Class.method(Class.java:1)", "\t... 12 more", ""]
    (tmp_path / "console.log").write_text("\n".join(lines))
    assert log_tail(tmp_path / "console.log").splitlines() == [f"line {number}" for number in range(15, 30)]
    assert log_tail(tmp_path / "missing.log") == ""


def test_the_state_survives_a_round_trip(tmp_path: Path) -> None:
    state = state_of(psutil.Process())
    write_state(tmp_path / "node.json", state)
    assert read_state(tmp_path / "node.json") == state
    assert os.listdir(tmp_path) == ["node.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"unknown": true}'])
def test_a_damaged_state_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.json").write_text(text)
    assert read_state(tmp_path / "node.json") is None
    assert node.running(home=tmp_path) is None
    assert node.down(home=tmp_path) is None


def test_a_living_process_is_found(sleeper: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(sleeper.pid)
    assert living_process(state_of(process)) == process


def test_a_zombie_does_not_live(sleeper: subprocess.Popen[bytes]) -> None:
    state = state_of(psutil.Process(sleeper.pid))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert living_process(state) is None


def test_down_ends_what_the_state_names(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    write_state(tmp_path / "node.json", state_of(psutil.Process(sleeper.pid)))
    known = NodeInfo(url="http://127.0.0.1:9200", version="9.4.3", how="local", started=False)
    assert node.running(home=tmp_path) == known
    assert node.down(home=tmp_path) == known
    assert not psutil.pid_exists(sleeper.pid)
    assert not (tmp_path / "node.json").exists()
    assert node.down(home=tmp_path) is None


def test_another_process_with_the_recorded_pid_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(sleeper.pid)
    write_state(tmp_path / "node.json", state_of(process, create_time=process.create_time() - 3600))
    assert node.running(home=tmp_path) is None
    assert node.down(home=tmp_path) is None
    assert sleeper.poll() is None
    assert not (tmp_path / "node.json").exists()


def test_asking_about_a_home_does_not_create_it(tmp_path: Path) -> None:
    assert node.running(home=tmp_path / "home") is None
    assert node.down(home=tmp_path / "home") is None
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NodeError, match="cannot be created"):
        make_folder(tmp_path / "file" / "home")


def test_a_folder_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        make_folder(tmp_path / "home")
    finally:
        os.umask(old)
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(not is_root(), reason="only root runs the node as another user")
def test_root_asks_what_the_nodes_user_may_do(tmp_path: Path) -> None:
    account = service_account()
    assert account is not None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").touch()
    assert may(account, "x", Path("/usr/bin"))
    assert not may(account, "r", closed / "file")
    give(account, closed)
    assert closed.stat().st_uid == account.uid


@pytest.mark.skipif(not is_root(), reason="only root runs the node as another user")
def test_root_gives_away_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    give(service_account(), tmp_path / "link")
    assert (tmp_path / "precious").stat().st_uid == 0


@pytest.mark.skipif(is_root(), reason="a normal user runs the node alone")
def test_a_normal_user_needs_no_other_account() -> None:
    assert service_account() is None
