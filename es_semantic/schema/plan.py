"""From a target and its bindings to the requests that put them in force: pure functions.

Order matters for whoever is killed half-way. Attaching writes the mapping with the binding first, because that is what
Elasticsearch may still refuse; the pipeline next; the setting that makes writes run it last. Detaching goes the other
way round, so that the binding remains until everything else is undone and a second run finds what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from es_semantic.cluster.steps import Request, url_path
from es_semantic.schema import render, subfields
from es_semantic.schema.binding import Bindings, meta_with, read_bindings
from es_semantic.schema.owner import is_ours, pipeline_id, pipeline_target, remembered_owner
from es_semantic.schema.target import Gives, Target
from es_semantic.schema.template import final_pipeline_of, with_fields, with_final_pipeline, without_field


def attach_requests(target: Target, bindings: Bindings) -> list[Request]:
    """Return the requests that put ``bindings`` in force."""
    final = pipeline_id(target)
    put_pipeline = _put_pipeline(target, bindings)
    if target.kind == "index template":
        bound = with_fields(_body(target), bindings, _gives(target))
        return [_put_template(target, bound), put_pipeline, _put_template(target, with_final_pipeline(bound, final))]
    requests = [
        *_put_mappings(target, render.all_properties(bindings), bindings),
        put_pipeline,
        _put_final_pipeline(target.name, final),
    ]
    if target.template is not None:
        requests.append(_put_template(target, attached_template(target, bindings)))
    return requests


def attached_template(target: Target, bindings: Bindings) -> dict[str, Any]:
    """Return the body of the target's template as attaching leaves it."""
    return with_final_pipeline(with_fields(_body(target), bindings, _gives(target)), pipeline_id(target))


def detach_requests(
    target: Target,
    name: str,
    bindings: Bindings,
    *,
    template_final: str | None = None,
    unused: Sequence[str] = (),
    copied: Sequence[str] = (),
) -> list[Request]:
    """Return the requests that undo the semantic field ``name`` of ``bindings``.

    ``template_final`` is what the template itself shall say of its final pipeline, ``unused`` are further pipelines
    that nothing runs afterwards, and ``copied`` fields of component templates that the template has repeated.
    """
    rest = bindings.without_field(name)
    body = _body(target)
    if rest.fields:
        return _detach_one_of_several(target, rest, without_field(body, name, bindings, rest, copied))
    released = with_final_pipeline(body, template_final) if is_ours(final_pipeline_of(body)) else body
    unbound = without_field(released, name, bindings, rest, copied)
    requests = _give_back(target, bindings)
    first = released if target.kind == "index template" else unbound
    requests += [_put_template(target, first)] if target.template_name and first != body else []
    requests += [_delete_pipeline(pipeline) for pipeline in (pipeline_id(target), *unused)]
    if target.kind == "index template":
        return [*requests, _put_template(target, unbound)]
    return [*requests, *_put_mappings(target, {}, rest)]


def complete_requests(target: Target, name: str) -> list[Request]:
    """Return the requests that mark a semantic field's analysed fields as complete, in all indices of the target.

    So they are for the field beside it, where its model is being changed. Indices whose ``_meta`` are the same change
    together. One that is not bound, or has no language, is left out.
    """
    metas = {}
    for index, state in target.indices.items():
        bindings = read_bindings(state.mapping, index=index)
        wanted = bindings
        for field in [name, *bindings.beside(name)] if name in bindings.fields else []:
            wanted = wanted.with_field(field, bindings.fields[field].analyzed(complete=True))
        if wanted != bindings:
            metas[index] = meta_with(state.mapping, wanted)
    return meta_requests(metas)


def meta_requests(metas: Mapping[str, dict[str, Any]]) -> list[Request]:
    """Return the requests that give each index its ``_meta``; indices whose are the same change together."""
    groups: list[tuple[dict[str, Any], list[str]]] = []
    for index, meta in metas.items():
        same = next((indices for known, indices in groups if known == meta), None)
        if same is None:
            groups.append((meta, [index]))
        else:
            same.append(index)
    return [_put_mapping(",".join(indices), {"_meta": meta}) for meta, indices in groups]


def _detach_one_of_several(target: Target, rest: Bindings, template: Mapping[str, Any]) -> list[Request]:
    requests = [_put_pipeline(target, rest)]
    # An index born from an attached template leaves that template's pipeline here, which serves the field further.
    if target.indices and is_ours(target.final_pipeline) and target.final_pipeline != pipeline_id(target):
        requests.append(_put_final_pipeline(target.name, pipeline_id(target)))
    if target.template is not None:
        requests.append(_put_template(target, template))
    return requests if target.kind == "index template" else [*requests, *_put_mappings(target, {}, rest)]


def _give_back(target: Target, bindings: Bindings) -> list[Request]:
    """Return to every index that runs our pipeline the final pipeline that it had."""
    groups: dict[str | None, list[str]] = defaultdict(list)
    for index, state in target.indices.items():
        if is_ours(state.final_pipeline):
            groups[remembered_owner(state, index, otherwise=bindings.owner_final_pipeline)].append(index)
    return [
        _put_final_pipeline(target.name if len(indices) == len(target.indices) else ",".join(indices), owner)
        for owner, indices in groups.items()
    ]


def _put_mappings(target: Target, properties: Mapping[str, Any], bindings: Bindings) -> list[Request]:
    """Map and bind all indices at once where this is the same for all, else each with what is its own.

    Its own are the ``_meta`` of its owner, and the definitions of the fields that get a sub-field.
    """
    own = {index: _own_mapping(index, state, bindings) for index, state in target.indices.items()}
    first = next(iter(own.values()))
    if all(body == first for body in own.values()):
        return [_put_mapping(target.name, _with_properties(first, properties))]
    everywhere = [_put_mapping(target.name, {"properties": dict(properties)})] if properties else []
    return everywhere + [_put_mapping(index, body) for index, body in own.items()]


def _own_mapping(index: str, state: Gives, bindings: Bindings) -> dict[str, Any]:
    added = subfields.with_added({}, subfields.additions(state, bindings, where=f"index {index!r}"))
    return _with_properties({"_meta": meta_with(state.mapping, bindings)}, added)


def _with_properties(body: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    every = {**properties, **body.get("properties", {})}
    return {**({"properties": every} if every else {}), "_meta": body["_meta"]}


def _gives(target: Target) -> Gives:
    return target.gives or Gives(target.mapping, target.settings)


def _body(target: Target) -> Mapping[str, Any]:
    return target.template or {}


def _put_mapping(index: str, body: dict[str, Any]) -> Request:
    return Request("PUT", url_path("/{}/_mapping", index), body=body)


def _put_pipeline(target: Target, bindings: Bindings) -> Request:
    path = url_path("/_ingest/pipeline/{}", pipeline_id(target))
    return Request("PUT", path, body=render.pipeline(pipeline_target(target), bindings))


def _delete_pipeline(pipeline: str) -> Request:
    return Request("DELETE", url_path("/_ingest/pipeline/{}", pipeline))


def _put_final_pipeline(index: str, final: str | None) -> Request:
    return Request("PUT", url_path("/{}/_settings", index), body={"index.final_pipeline": final})


def _put_template(target: Target, body: Mapping[str, Any]) -> Request:
    assert target.template_name is not None
    return Request("PUT", url_path("/_index_template/{}", target.template_name), body=body)
