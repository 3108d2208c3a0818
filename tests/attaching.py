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
