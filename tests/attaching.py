"""What a cluster looks like before and after, and a procedure that is cut off half-way."""

from __future__ import annotations

from typing import Any

from elasticsearch import Elasticsearch

from es_semantic.cluster.steps import Request, Steps, run


def state_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    """Mapping, settings and aliases of the index, and every pipeline of es-semantic for it."""
    indices = client.indices.get(index=index, flat_settings=True, features=["mappings", "settings", "aliases"]).body
    return {"indices": indices, "pipelines": pipelines_of(client, f"es-semantic-*{index}*")}


def pipelines_of(client: Elasticsearch, *patterns: str) -> dict[str, Any]:
    """Pipelines by name, without the time of their last change."""
    found: dict[str, Any] = {}
    for pattern in patterns:
        for name, body in client.options(ignore_status=404).ingest.get_pipeline(id=pattern).body.items():
            found[name] = {key: value for key, value in body.items() if "date" not in key}
    return found


def template_body(client: Elasticsearch, name: str) -> dict[str, Any]:
    """The body of an index template, without the times of its changes."""
    (found,) = client.indices.get_index_template(name=name)["index_templates"]
    return {key: value for key, value in found["index_template"].items() if "date" not in key}


def mapping_of(client: Elasticsearch, index: str) -> dict[str, Any]:
    mapping: dict[str, Any] = client.indices.get_mapping(index=index)[index]["mappings"]
    return mapping


def final_of(client: Elasticsearch, index: str) -> str | None:
    settings = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    name: str | None = settings.get("index.final_pipeline")
    return name


def written(client: Elasticsearch, index: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write a document and return what is kept of it."""
    client.index(index=index, id="written", document=document or {"title": "a title"}, refresh=True)
    source: dict[str, Any] = client.get(index=index, id="written")["_source"]
    return source


def final_pipelines(client: Elasticsearch, target: str) -> list[str]:
    settings = client.indices.get_settings(index=target, flat_settings=True).body
    return [body["settings"].get("index.final_pipeline", "_none") for _, body in sorted(settings.items())]


def mappings_of(client: Elasticsearch, target: str) -> list[dict[str, Any]]:
    return [body["mappings"] for _, body in sorted(client.indices.get_mapping(index=target).items())]


def put_template(client: Elasticsearch, name: str, pattern: str, **body: Any) -> dict[str, Any]:
    """Put a template and return it as Elasticsearch tells it."""
    client.indices.put_index_template(name=name, index_patterns=[pattern], priority=900, **body)
    return template_body(client, name)


class Cut(Exception):
    """Somebody pulled the plug."""


def run_until(client: Elasticsearch, steps: Steps[Any], changing: int) -> bool:
    """Drive a procedure and abandon it after this many changing requests; say whether it was abandoned."""

    def cut() -> Steps[Any]:
        done, outcome, error = 0, None, None
        try:
            step = next(steps)
            while True:
                if changes(step):
                    if done == changing:
                        raise Cut
                    done += 1
                try:
                    outcome, error = (yield step), None
                except Exception as caught:
                    error = caught
                step = steps.throw(error) if error else steps.send(outcome)
        except StopIteration:
            return False
        except Cut:
            return True

    abandoned: bool = run(client, cut())
    return abandoned


def changes(step: Any) -> bool:
    """Whether a step changes the cluster."""
    return isinstance(step, Request) and step.method in ("PUT", "DELETE")
