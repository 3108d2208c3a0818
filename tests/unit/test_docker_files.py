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
from es_semantic.config.settings import NodeSettings
from es_semantic.resources import resource

COMPOSE = resource("docker/compose.yml")
REPOSITORY = Path(__file__).parents[2]
TESTS_COMPOSE = REPOSITORY / "tests" / "compose.yml"


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


def test_the_worker_waits_for_elasticsearch_and_starts_only_when_asked(services: dict[str, Any]) -> None:
    worker = services["worker"]
    assert worker["profiles"] == ["worker"]
    assert worker["depends_on"] == {docker.SERVICE: {"condition": "service_healthy"}}
    assert worker["environment"]["ES_SEMANTIC_URL"] == f"http://{docker.SERVICE}:9200"
    assert (COMPOSE.parent / worker["build"]["context"] / worker["build"]["dockerfile"]).is_file()


def test_the_image_does_not_run_as_root(instructions: list[tuple[str, str]]) -> None:
    users = [value for name, value in instructions if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")


def test_the_base_image_is_pinned_to_a_python_that_we_support(instructions: list[tuple[str, str]]) -> None:
    (base,) = (value for name, value in instructions if name == "FROM")
    match = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-\w+", base)
    assert match
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {match[1]}.{match[2]}" in project["classifiers"]


def test_the_image_installs_an_extra_that_exists(instructions: list[tuple[str, str]]) -> None:
    (install,) = (value for name, value in instructions if name == "RUN" and "pip install" in value)
    extra = re.search(r"\[(.+)\]", shlex.split(install)[-1])
    assert extra
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extra[1] in extras


def test_models_are_kept_in_a_volume(instructions: list[tuple[str, str]], services: dict[str, Any]) -> None:
    assert ("VOLUME", '["/cache"]') in instructions
    assert services["worker"]["volumes"] == ["models:/cache"]
    environment = next(value for name, value in instructions if name == "ENV")
    assert "HF_HOME=/cache/" in environment


def test_what_the_package_is_built_from_reaches_the_image(instructions: list[tuple[str, str]]) -> None:
    assert ("COPY", ". /src") in instructions
    kept = set(re.findall(r"^!(\S+)$", resource("docker/Dockerfile.dockerignore").read_text(), re.MULTILINE))
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "README.md", "LICENSE"} <= kept
