from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from es_semantic.cluster.node import docker
from es_semantic.cluster.node.maven import ELASTICSEARCH_VERSION
from es_semantic.config import ServeSettings
from es_semantic.config.serving import DEFAULT_PORT
from es_semantic.config.settings import NodeSettings
from es_semantic.resources import resource
from es_semantic.server.run import GRACE
from tests.deploying import probed, require_command

COMPOSE = resource("docker/compose.yml")
REPOSITORY = Path(__file__).parents[2]
TESTS_COMPOSE = REPOSITORY / "tests" / "compose.yml"
OURS = ("worker", "api", "key")
"""The services that run our image."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return loaded


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    copy = tmp_path_factory.mktemp("docker") / "Dockerfile"
    copy.write_bytes(resource("docker/Dockerfile").read_bytes())
    return [(step["instruction"], step["value"]) for step in DockerfileParser(str(copy)).structure]


@pytest.mark.parametrize("file", [COMPOSE, TESTS_COMPOSE])
def test_the_compose_files_fit_their_schema(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_ways_run_the_same_elasticsearch(services: dict[str, Any]) -> None:
    image, _, tag = services[docker.SERVICE]["image"].rpartition(":")
    assert image.endswith("/elasticsearch/elasticsearch")
    assert tag == ELASTICSEARCH_VERSION
    for service in yaml.safe_load(TESTS_COMPOSE.read_text())["services"].values():
        assert service["image"] == f"{image}:{ELASTICSEARCH_VERSION}"


def test_an_unsecured_elasticsearch_is_open_to_this_machine_only(services: dict[str, Any]) -> None:
    service = services[docker.SERVICE]
    assert service["environment"]["xpack.security.enabled"] == "false"
    assert [port.rpartition(":${")[0] for port in service["ports"]] == ["127.0.0.1"]


def test_the_node_has_the_name_that_is_waited_for(services: dict[str, Any]) -> None:
    assert services[docker.SERVICE]["environment"]["node.name"] == docker.SERVICE


def test_the_compose_file_takes_the_variables_that_are_given(services: dict[str, Any]) -> None:
    taken = dict(re.findall(r"\$\{(\w+):-(\w*)\}", yaml.safe_dump(services[docker.SERVICE])))
    assert taken == docker.compose_environment(NodeSettings())


def test_the_compose_file_has_the_projects_name() -> None:
    assert yaml.safe_load(COMPOSE.read_text())["name"] == docker.PROJECT


def test_the_data_outlive_the_containers(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for service in services.values():
        assert service["volumes"]
        assert all(volume.partition(":")[0] in volumes for volume in service["volumes"])


def test_the_other_services_start_only_when_asked(services: dict[str, Any]) -> None:
    assert {name: service.get("profiles") for name, service in services.items()} == {
        docker.SERVICE: None,
        "worker": ["worker"],
        "api": ["api"],
        "key": ["key"],
    }


@pytest.mark.parametrize("name", OURS)
def test_what_runs_our_image_may_do_little(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service
    assert service["tmpfs"] == ["/tmp"]
    assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", OURS)
def test_what_the_services_run_is_a_command(services: dict[str, Any], name: str) -> None:
    service = services[name]
    command = [*service.get("entrypoint", ["es-semantic"]), *service["command"]]
    assert command[0] == "es-semantic"
    require_command(command[1:])


def test_the_api_is_open_to_this_machine_only_and_cannot_change_keys(services: dict[str, Any]) -> None:
    api = services["api"]
    assert api["ports"] == [f"127.0.0.1:${{ES_SEMANTIC_API_PORT:-{DEFAULT_PORT}}}:{DEFAULT_PORT}"]
    assert api["depends_on"] == {docker.SERVICE: {"condition": "service_healthy"}}
    assert api["environment"]["ES_SEMANTIC_URL"] == f"http://{docker.SERVICE}:9200"
    assert api["volumes"] == ["models:/cache", "keys:/keys:ro"]
    assert (services["key"]["volumes"], services["key"]["network_mode"]) == (["keys:/keys"], "none")


def test_the_api_has_the_time_that_it_may_take_to_end(services: dict[str, Any]) -> None:
    seconds = int(services["api"]["stop_grace_period"].removesuffix("s"))
    assert seconds > ServeSettings().timeout + GRACE


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_api_is_healthy_when_it_says_that_it_is_ready(services: dict[str, Any], status: int, code: int) -> None:
    kind, *command = services["api"]["healthcheck"]["test"]
    assert kind == "CMD"
    assert probed(command, DEFAULT_PORT, status) == (code, ["/readyz"])


def test_the_worker_waits_for_elasticsearch(services: dict[str, Any]) -> None:
    worker = services["worker"]
    assert worker["depends_on"] == {docker.SERVICE: {"condition": "service_healthy"}}
    assert worker["environment"]["ES_SEMANTIC_URL"] == f"http://{docker.SERVICE}:9200"


def test_the_image_does_not_run_as_root(instructions: list[tuple[str, str]]) -> None:
    users = [value for name, value in instructions if name == "USER"]
    assert users
    # Kubernetes takes only a number for no root.
    assert int(users[-1]) > 0
    (made,) = (value for name, value in instructions if name == "RUN" and "useradd" in value)
    assert f"--uid {users[-1]} " in made


def test_the_base_image_is_pinned_to_a_python_that_we_support(instructions: list[tuple[str, str]]) -> None:
    (base,) = (value for name, value in instructions if name == "FROM")
    match = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-\w+", base)
    assert match
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {match[1]}.{match[2]}" in project["classifiers"]


def test_the_image_installs_extras_that_exist(instructions: list[tuple[str, str]]) -> None:
    (install,) = (value for name, value in instructions if name == "RUN" and "pip install" in value)
    found = re.search(r"\[(.+)\]", shlex.split(install)[-1])
    assert found
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"minilm", "serve"} <= set(found[1].split(",")) <= extras.keys()


def test_models_and_keys_are_kept_in_volumes(instructions: list[tuple[str, str]], services: dict[str, Any]) -> None:
    assert ("VOLUME", '["/cache"]') in instructions
    assert services["worker"]["volumes"] == ["models:/cache"]
    environment = next(value for name, value in instructions if name == "ENV")
    assert "HF_HOME=/cache/" in environment
    assert "XDG_CACHE_HOME=/cache " in environment
    assert "ES_SEMANTIC_KEYS=/keys/" in environment
    # A volume that is new gets the owner of the folder that it covers.
    (folders,) = (value for name, value in instructions if name == "RUN" and "install --directory" in value)
    assert "--owner=es-semantic" in folders
    assert folders.endswith("/cache /keys")


def test_what_the_package_is_built_from_reaches_the_image(instructions: list[tuple[str, str]]) -> None:
    assert ("COPY", ". /src") in instructions
    kept = set(re.findall(r"^!(\S+)$", resource("docker/Dockerfile.dockerignore").read_text(), re.MULTILINE))
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "README.md", "LICENSE"} <= kept
