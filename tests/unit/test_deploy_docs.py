"""docs/deploy.md: its manifests are what Kubernetes takes, and name only what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from es_semantic.cli.sync import DEFAULT_PORT as WORKER_PORT
from es_semantic.config import Config, ConnectionSettings, ServeSettings, parse_config
from es_semantic.config.serving import DEFAULT_PORT as API_PORT
from es_semantic.resources import resource
from es_semantic.schema.roles import API, CONTROL, WORKER
from es_semantic.server.app import create_app
from es_semantic.server.metrics import Metrics
from es_semantic.server.run import GRACE
from tests.deploying import probed, require_command, verbs

Json = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "deploy.md").read_text()
BLOCKS = dict.fromkeys(("yaml", "console", "nginx"), "")
for _kind, _body in re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
    BLOCKS[_kind] += f"{_body}\n---\n"
DOCUMENTS: list[Json] = [each for each in yaml.safe_load_all(BLOCKS["yaml"]) if each]
MANIFESTS = [each for each in DOCUMENTS if "apiVersion" in each]
NAMES = [f"{each['kind']} {each['metadata']['name']}" for each in MANIFESTS]
PORTS = {"worker": WORKER_PORT, "api": API_PORT}


def manifest(name: str) -> Json:
    return MANIFESTS[NAMES.index(name)]


def pod(name: str) -> Json:
    spec: Json = manifest(name)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Json:
    (only,) = pod(name)["containers"]
    found: Json = only
    return found


WORKER_SET, API_SET = "StatefulSet es-semantic-worker", "Deployment es-semantic-api"
BOTH = pytest.mark.parametrize("name", [WORKER_SET, API_SET])


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", NAMES)
def test_the_manifests_are_what_kubernetes_takes(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_every_part_is_there_and_in_one_namespace() -> None:
    assert sorted({each["kind"] for each in MANIFESTS}) == [
        "ConfigMap",
        "Deployment",
        "Ingress",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "StatefulSet",
    ]
    assert len(set(NAMES)) == len(NAMES)
    places = {each["metadata"].get("namespace") for each in MANIFESTS if each["kind"] != "Namespace"}
    assert places == {manifest("Namespace es-semantic")["metadata"]["name"]}


def test_what_is_no_manifest_is_prometheus_settings() -> None:
    (settings,) = (each for each in DOCUMENTS if "apiVersion" not in each)
    (job,) = settings["scrape_configs"]
    # The page needs a key, and is where Prometheus looks by default.
    assert "credentials_file" in job["authorization"]
    assert "metrics_path" not in job


@BOTH
def test_containers_may_do_little(name: str) -> None:
    spec, own = pod(name), container(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert manifest("Namespace es-semantic")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@BOTH
def test_the_image_and_its_user_are_the_dockerfiles(name: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(resource("docker/Dockerfile").read_bytes())
    parser = DockerfileParser(str(tmp_path / "Dockerfile"))
    steps = {step["instruction"]: step["value"] for step in parser.structure}
    assert steps["ENTRYPOINT"] == '["es-semantic"]'
    user = int(steps["USER"])
    context = pod(name)["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, user, user)
    # What the image writes to lies on volumes.
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in container(name)["volumeMounts"]}
    assert (mounted["/cache"], mounted["/tmp"]) == (False, False)
    for variable in ("HF_HOME", "XDG_CACHE_HOME"):
        assert parser.envs[variable].startswith("/cache")
    assert container(name)["image"] in BLOCKS["console"]


@BOTH
def test_what_is_mounted_and_read_is_there(name: str) -> None:
    spec, own = pod(name), container(name)
    claims = [claim["metadata"]["name"] for claim in manifest(name)["spec"].get("volumeClaimTemplates", [])]
    volumes: Json = {volume["name"]: volume for volume in spec["volumes"]} | {claim: {} for claim in claims}
    assert {mount["name"] for mount in own["volumeMounts"]} == volumes.keys()
    made = re.findall(r"create secret generic (\S+)", BLOCKS["console"])
    maps = {each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "ConfigMap"}
    named = [volume.get("secret", {}).get("secretName") for volume in volumes.values()]
    named += [source.get("secretRef", {}).get("name") for source in own["envFrom"]]
    assert {each for each in named if each} <= set(made)
    read = [volume.get("configMap", {}).get("name") for volume in volumes.values()]
    read += [source.get("configMapRef", {}).get("name") for source in own["envFrom"]]
    assert {each for each in read if each} == maps


def test_the_settings_are_settings() -> None:
    data = manifest("ConfigMap es-semantic")["data"]
    config = parse_config(data["es-semantic.yml"], filename="es-semantic.yml", env={})
    assert config.serve.host == "0.0.0.0"
    folder = next(m["mountPath"] for m in container(API_SET)["volumeMounts"] if m["name"] == "settings")
    environment = manifest("ConfigMap es-semantic-environment")["data"]
    assert environment["ES_SEMANTIC_CONFIG"] == f"{folder}/es-semantic.yml"
    assert config.connection.ca_certs == f"{folder}/ca.crt"
    assert "ca.crt" in data
    ConnectionSettings.model_validate({"url": environment["ES_SEMANTIC_URL"]})


def test_every_variable_is_one_that_is_read() -> None:
    read = "".join(path.read_text() for path in (REPOSITORY / "es_semantic").rglob("*.py"))
    named = {name for name in re.findall(r"\bES_SEMANTIC_[A-Z_]+\b", TEXT)}
    assert named
    assert [name for name in sorted(named) if f'"{name}"' not in read] == []


def test_the_api_is_started_and_probed_as_it_can_be() -> None:
    own = container(API_SET)
    assert "command" not in own
    require_command(own["args"])
    assert own["ports"] == [{"name": "http", "containerPort": API_PORT}]
    assert manifest("Service es-semantic-api")["spec"]["ports"][0]["port"] == API_PORT
    routes = create_app(Config(), ConnectionSettings()).openapi()["paths"].keys()
    paths = {probe: own[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert set(paths.values()) <= routes
    for route in re.findall(r"`(/[a-z0-9/]+)`", TEXT):
        assert route in routes or route.startswith(("/cache", "/tmp")) or route == "/2", route


def test_whoever_uses_the_api_has_the_time_that_it_may_take() -> None:
    seconds = pod(API_SET)["terminationGracePeriodSeconds"]
    before = int(container(API_SET)["lifecycle"]["preStop"]["exec"]["command"][1])
    limits = ServeSettings()
    assert seconds > before + limits.timeout + GRACE
    annotations = manifest("Ingress es-semantic-api")["metadata"]["annotations"]
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > limits.timeout
    assert f"proxy_read_timeout {annotations['nginx.ingress.kubernetes.io/proxy-read-timeout']}s;" in BLOCKS["nginx"]
    assert container(API_SET)["readinessProbe"]["timeoutSeconds"] >= limits.deadline
    for size in re.findall(r"(?:proxy-body-size:|client_max_body_size) (\d+)m", TEXT):
        assert int(size) * 1_000_000 >= limits.max_body


def test_each_worker_has_a_part_of_its_own() -> None:
    own, replicas = container(WORKER_SET), manifest(WORKER_SET)["spec"]["replicas"]
    assert own["command"] == ["sh", "-c"]
    (script,) = own["args"]
    parts = set()
    for number in range(replicas):
        told = script.replace("exec es-semantic", "echo")
        environment = {**os.environ, "POD_INDEX": str(number)}
        ran = subprocess.run(["sh", "-c", told], env=environment, capture_output=True, text=True, check=True)
        arguments = shlex.split(ran.stdout)
        require_command(arguments)
        parts.add(arguments[arguments.index("--partition") + 1])
    assert parts == {f"{number}/{replicas}" for number in range(1, replicas + 1)}
    index = next(variable for variable in own["env"] if variable["name"] == "POD_INDEX")
    assert index["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"


@pytest.mark.parametrize(("probe", "page"), [("liveness", "/healthz"), ("readiness", "/readyz")])
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_workers_probes_ask_its_pages(probe: str, page: str, status: int, code: int) -> None:
    command = container(WORKER_SET)[f"{probe}Probe"]["exec"]["command"]
    assert probed(command, WORKER_PORT, status) == (code, [page])


def test_the_network_lets_through_what_is_needed_and_no_more() -> None:
    every, api = manifest("NetworkPolicy es-semantic")["spec"], manifest("NetworkPolicy es-semantic-api")["spec"]
    assert (every["podSelector"], every["policyTypes"], "ingress" in every) == ({}, ["Ingress", "Egress"], False)
    assert [port["port"] for rule in every["egress"] for port in rule["ports"]] == [53, 53, 9200]
    labels = manifest(API_SET)["spec"]["template"]["metadata"]["labels"]
    assert api["podSelector"]["matchLabels"] == labels
    assert [port["port"] for rule in api["ingress"] for port in rule["ports"]] == [API_PORT]
    assert manifest("Service es-semantic-api")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget es-semantic-api")["spec"]["selector"]["matchLabels"] == labels
    (rule,) = manifest("Ingress es-semantic-api")["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "es-semantic-api", "port": {"name": "http"}}


@pytest.mark.parametrize("wrong", ["srve", "serve --prot 1", "serve --port x", "key create", "roles apis a", "sync"])
def test_a_command_that_is_none_is_noticed(wrong: str) -> None:
    with pytest.raises(Exception, match=r"No such|Missing|valid"):
        require_command(wrong.split())


@pytest.mark.parametrize(
    "line",
    [
        line.split("#")[0].split(">")[0].strip()
        for line in (
            *re.findall(r"^\$ (es-semantic .*)$", TEXT, re.MULTILINE),
            *re.findall(r"`(es-semantic .+?)`", TEXT),
        )
    ],
)
def test_every_command_is_one(line: str) -> None:
    arguments = shlex.split(line)[1:]
    if len(arguments) == 1:
        # Only mentioned.
        assert arguments[0] in verbs()
    else:
        require_command(arguments)


def test_the_table_of_privileges_is_that_of_the_roles() -> None:
    rows = {cells[1].strip(): cells[2:] for line in TEXT.splitlines() if len(cells := line.split("|")) > 5}
    worker, api = rows["worker"], rows["API: `/search`, RAGFlow, Dify, `/indices`"]
    assert re.findall(r"`(\w+)`", worker[0]) == list(WORKER)
    assert re.findall(r"`(\w+)`", worker[1]) == list(CONTROL)
    assert re.findall(r"`(\w+)`", api[0]) == list(API)


def test_the_metrics_are_those_that_the_server_has() -> None:
    page = Metrics(lambda: 0.0).page().decode()
    for name in re.findall(r"`(es_semantic_\w+)`", TEXT):
        assert re.search(rf"^# TYPE {name} ", page, re.MULTILINE), name
