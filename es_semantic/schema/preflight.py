"""Ask the cluster before anything is changed whether it would take the change, and whom else it would reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import Forbidden, RequestFailed, SchemaError
from es_semantic.schema import owner, plan, render
from es_semantic.schema.binding import Bindings
from es_semantic.schema.target import Target, composed_body

SAMPLE = 1000


def require_alone(target: Target, bindings: Bindings, stored: Mapping[str, Any] | None) -> Steps[None]:
    """Refuse to change what a shared pipeline does to the documents of other indices.

    Raises:
        SchemaError: other indices run the pipeline of this template, which would mark fields that they do not have.
    """
    if target.template_name is None or stored is None:
        return
    if render.what_it_does(stored) == render.what_it_does(render.pipeline(owner.pipeline_target(target), bindings)):
        return
    shared = owner.pipeline_id(target)
    path = "/_all/_settings/index.final_pipeline"
    settings = yield Request("GET", path, {"flat_settings": "true", "expand_wildcards": "all"})
    running = [name for name, body in settings.items() if body["settings"].get("index.final_pipeline") == shared]
    others = sorted(set(running) - set(target.indices))
    if others:
        raise SchemaError(
            f"other indices made from index template {target.template_name!r} run the same pipeline and would be "
            f"changed with {target.kind} {target.name!r}: {', '.join(others)}",
            hint="Detach those first. All data streams and indices of one template have the same semantic fields.",
        )


def require_unused(target: Target, name: str) -> Steps[None]:
    """Look into the documents for an unmapped field of that name, which ``dynamic: false`` lets be.

    A sample of 1,000 documents is read, where the credentials may; ``sync`` leaves alone whatever it misses.

    Raises:
        SchemaError: a document has a field of that name.
    """
    if target.kind == "index template" or name in target.mapping.get("properties", {}):
        return
    size = min(SAMPLE, target.max_result_window)
    body = {"size": size, "_source": [name], "track_total_hits": False}
    try:
        answer = yield Request("POST", url_path("/{}/_search", target.name), body=body)
    except Forbidden:
        return
    for hit in answer["hits"]["hits"]:
        if render.is_foreign((hit.get("_source") or {}).get(name)):
            raise SchemaError(
                f"document {hit['_id']!r} of {target.kind} {target.name!r} has a field {name!r} of its own, unmapped",
                hint="Choose another name with --name: what documents hold under it would be lost.",
            )


def require_scripts(target: Target, bindings: Bindings) -> Steps[None]:
    """Compile the pipeline without keeping it: a cluster may forbid inline scripts. The owner's is not run.

    Raises:
        SchemaError: with Elasticsearch's reason.
    """
    ours = bindings.model_copy(update={"owner_final_pipeline": None})
    body = {"pipeline": render.pipeline(target.name, ours), "docs": [{"_source": {}}]}
    try:
        yield Request("POST", "/_ingest/pipeline/_simulate", body=body)
    except RequestFailed as error:
        raise SchemaError(
            f"this cluster does not take the ingest pipeline for {target.name!r}: {error.what}",
            hint="Inline Painless scripts must be allowed (script.allowed_types, script.allowed_contexts).",
        ) from error


def require_template(target: Target, bindings: Bindings) -> Steps[None]:
    """Ask before anything is changed whether the template may look as it will.

    Raises:
        SchemaError: with Elasticsearch's reason.
    """
    if target.template is None:
        return
    try:
        yield from composed_body(plan.attached_template(target, bindings))
    except RequestFailed as error:
        raise SchemaError(
            f"index template {target.template_name!r} cannot take the semantic field: {error.what}",
            hint="Change the template as Elasticsearch asks, and attach again.",
        ) from error
