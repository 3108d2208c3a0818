"""From a target and its bindings to the requests that put them in force: pure functions.

Order matters for whoever is killed half-way. Attaching writes the mapping with the binding first, because that is what
Elasticsearch may still refuse; the pipeline next; the setting that makes writes run it last. Detaching goes the other
way round, so that the binding remains until everything else is undone and a second run finds what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.cluster.steps import Request, url_path
from es_semantic.schema import render
from es_semantic.schema.binding import Bindings, meta_with
from es_semantic.schema.target import Target


def pipeline_id(target: Target) -> str:
    """Return the id of the pipeline that belongs to this target; all data streams of one template share theirs."""
    return f"es-semantic-template-{target.template_name}" if target.template_name else f"es-semantic-{target.name}"


def attach_requests(target: Target, bindings: Bindings, properties: dict[str, Any]) -> list[Request]:
    """Return the requests that put ``bindings`` in force; ``properties`` are the mapping of the field in work."""
    meta = meta_with(target.mapping, bindings)
    put_pipeline = _put_pipeline(target, bindings)
    if target.kind == "index template":
        return [put_pipeline, _put_template(target, properties, meta, pipeline_id(target))]
    requests = [
        Request("PUT", url_path("/{}/_mapping", target.name), body={"properties": properties, "_meta": meta}),
        put_pipeline,
        _put_final_pipeline(target, pipeline_id(target)),
    ]
    if target.template is not None:
        requests.append(_put_template(target, properties, meta, pipeline_id(target)))
    return requests


def detach_requests(target: Target, name: str, bindings: Bindings) -> list[Request]:
    """Return the requests that undo the semantic field ``name`` of ``bindings``."""
    rest = bindings.without_field(name)
    meta = meta_with(target.mapping, rest)
    final = pipeline_id(target) if rest.fields else bindings.owner_final_pipeline
    requests = []
    if rest.fields:
        requests.append(_put_pipeline(target, rest))
    elif target.kind != "index template":
        requests.append(_put_final_pipeline(target, final))
    if target.template is not None:
        requests.append(_put_template(target, {name: None}, meta, final))
    if not rest.fields:
        requests.append(Request("DELETE", url_path("/_ingest/pipeline/{}", pipeline_id(target))))
    if target.kind != "index template":
        requests.append(Request("PUT", url_path("/{}/_mapping", target.name), body={"_meta": meta}))
    return requests


def _put_pipeline(target: Target, bindings: Bindings) -> Request:
    path = url_path("/_ingest/pipeline/{}", pipeline_id(target))
    return Request("PUT", path, body=render.pipeline(target.template_name or target.name, bindings))


def _put_final_pipeline(target: Target, final: str | None) -> Request:
    return Request("PUT", url_path("/{}/_settings", target.name), body={"index.final_pipeline": final})


def _put_template(target: Target, properties: Mapping[str, Any], meta: dict[str, Any], final: str | None) -> Request:
    """Put the template with these properties added (None removes one), this ``_meta`` and this final pipeline."""
    assert target.template is not None
    assert target.template_name is not None
    template = dict(target.template.get("template") or {})
    mappings = dict(template.get("mappings") or {})
    kept = {**(mappings.get("properties") or {}), **properties}
    mappings["properties"] = {field: body for field, body in kept.items() if body is not None}
    mappings["_meta"] = meta
    template["mappings"] = mappings
    template["settings"] = _settings_with(template.get("settings") or {}, final)
    path = url_path("/_index_template/{}", target.template_name)
    return Request("PUT", path, body={**target.template, "template": template})


def _settings_with(settings: Mapping[str, Any], final: str | None) -> dict[str, Any]:
    index = {key: value for key, value in (settings.get("index") or {}).items() if key != "final_pipeline"}
    if final:
        index["final_pipeline"] = final
    rest = {key: value for key, value in settings.items() if key not in ("index", "index.final_pipeline")}
    return {**rest, "index": index}
