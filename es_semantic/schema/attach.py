"""Give an existing index a semantic field, and take it away again: procedures for either kind of client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Compute, Request, Steps, optional, url_path
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import ModelProfile, require_same_model
from es_semantic.errors import BindingConflict, FingerprintMismatch, RequestFailed, SchemaError
from es_semantic.schema import checks, plan, render
from es_semantic.schema.binding import Binding, Bindings, read_bindings
from es_semantic.schema.index_options import index_options
from es_semantic.schema.privileges import require_privileges
from es_semantic.schema.target import Target, resolve, resolve_template, with_template


@dataclass(frozen=True, slots=True)
class Change:
    """What attach or detach did, or with ``dry_run`` would do.

    ``target`` is the concrete name; ``changed`` is False when all of it was so already, and then ``requests`` is empty.
    ``notes`` tell what the requests reach beyond the index itself.
    """

    target: str
    kind: str
    field: str
    binding: Binding | None
    requests: tuple[Request, ...]
    changed: bool
    notes: tuple[str, ...] = ()


def attach_steps(
    index: str,
    fields: Sequence[str],
    load_profile: Callable[[], ModelProfile],
    *,
    name: str = DEFAULT_FIELD_NAME,
    template: bool = False,
    dry_run: bool = False,
) -> Steps[Change]:
    """Attach a semantic field; see :func:`es_semantic.attach`."""
    checks.require_usable_name(name)
    version = yield from server_version()
    target = yield from _target(index, template=template)
    bindings = read_bindings(target.mapping, index=target.name)
    bound = bindings.fields.get(name)
    checks.require_writable(target)
    checks.require_text_fields(target, fields, name=name)
    model = yield Compute(load_profile)
    if bound is not None:
        require_same_binding(bound, fields, model, target=target, name=name)
    binding = bound or _new_binding(target, name, fields, model, index_options(model.dims, version))
    wanted = _with_owner(target, bindings).with_field(name, binding)
    properties = render.properties(name, binding)
    checks.require_place(target, name, properties)
    yield from require_privileges(target)
    yield from _require_scripts(target, wanted)
    requests = plan.attach_requests(target, wanted, properties)
    if bound is not None and (yield from _in_force(target, wanted, properties)):
        requests = []
    if not dry_run:
        for request in requests:  # noqa: UP028 (a list cannot be sent the answers)
            yield request
    notes = _notes(target) if requests else ()
    return Change(target.name, target.kind, name, binding, tuple(requests), bool(requests), notes)


def detach_steps(
    index: str, *, name: str = DEFAULT_FIELD_NAME, template: bool = False, dry_run: bool = False
) -> Steps[Change]:
    """Detach a semantic field; see :func:`es_semantic.detach`."""
    target = yield from _target(index, template=template)
    bindings = read_bindings(target.mapping, index=target.name)
    if not bindings.fields:
        return Change(target.name, target.kind, name, None, (), changed=False)
    binding = bindings.one(name, index=target.name)
    checks.require_writable(target)
    yield from require_privileges(target)
    requests = plan.detach_requests(target, name, bindings)
    if not dry_run:
        for request in requests:
            # A killed run may have deleted the pipeline already (404); other data streams may still run it (400).
            yield from optional(request, missing=(400, 404) if request.method == "DELETE" else ())
    notes = _notes(target)
    return Change(target.name, target.kind, name, binding, tuple(requests), changed=True, notes=notes)


def _target(index: str, *, template: bool) -> Steps[Target]:
    if template:
        return (yield from resolve_template(index))
    return (yield from with_template((yield from resolve(index))))


def require_same_binding(
    bound: Binding, fields: Sequence[str], model: ModelProfile, *, target: Target, name: str
) -> None:
    """Refuse a second attach under one name with another model or other fields.

    Raises:
        BindingConflict: with both definitions shown.
    """
    try:
        require_same_model(bound.fingerprint, model.fingerprint, index=target.name)
    except FingerprintMismatch as error:
        raise BindingConflict(error.what, hint="Detach first, or attach under another --name.") from error
    if list(fields) != bound.source:
        raise BindingConflict(
            f"semantic field {name!r} of {target.name!r} is bound to other source fields: "
            f"there {', '.join(bound.source)}; wanted {', '.join(fields)}",
            hint="Detach first, or attach under another --name.",
        )


def _new_binding(
    target: Target, name: str, fields: Sequence[str], model: ModelProfile, options: dict[str, object]
) -> Binding:
    declared = target.mapping.get("properties", {}).get(name, {}).get("properties", {}).get("vector", {})
    return Binding(
        source=list(fields),
        fingerprint=model.fingerprint,
        similarity=model.similarity,
        index_options=declared.get("index_options", options),
    )


def _with_owner(target: Target, bindings: Bindings) -> Bindings:
    """Remember the final pipeline in force, unless it is ours already."""
    current = target.final_pipeline
    if bindings.fields or current == plan.pipeline_id(target):
        return bindings
    if current and current.startswith("es-semantic-"):
        raise SchemaError(
            f"{target.kind} {target.name!r} runs the pipeline {current!r} of another semantic field",
            hint="Detach that one first; its name tells where it was attached.",
        )
    return bindings.model_copy(update={"owner_final_pipeline": current})


def _require_scripts(target: Target, bindings: Bindings) -> Steps[None]:
    """Compile the pipeline without keeping it: a cluster may forbid inline scripts.

    Raises:
        SchemaError: with Elasticsearch's reason.
    """
    body = {"pipeline": render.pipeline(target.name, bindings), "docs": [{"_source": {}}]}
    try:
        yield Request("POST", "/_ingest/pipeline/_simulate", body=body)
    except RequestFailed as error:
        raise SchemaError(
            f"this cluster does not take the ingest pipeline for {target.name!r}: {error.what}",
            hint="Inline Painless scripts must be allowed (script.allowed_types, script.allowed_contexts).",
        ) from error


def _in_force(target: Target, bindings: Bindings, properties: dict[str, object]) -> Steps[bool]:
    """Say whether nothing is left to do; an index born from an attached template runs that template's pipeline."""
    current = target.final_pipeline
    if current is None or any(name not in target.mapping.get("properties", {}) for name in properties):
        return False
    template = (target.template or {}).get("template", {})
    if target.template is not None and current != _final_of(template.get("settings", {})):
        return False
    stored = yield from optional(Request("GET", url_path("/_ingest/pipeline/{}", current)))
    wanted = render.pipeline(target.name, bindings)["processors"]
    return bool((stored or {}).get(current, {}).get("processors") == wanted)


def _final_of(settings: dict[str, dict[str, str]]) -> str | None:
    return settings.get("index", {}).get("final_pipeline")


def _notes(target: Target) -> tuple[str, ...]:
    if target.kind == "data stream" and target.template_name:
        return (
            f"index template {target.template_name!r} changes too, so that the next backing index is like the others; "
            "every new data stream made from it is affected",
        )
    if target.kind == "index template":
        return ("only indices created from now on are affected; attach existing ones by their own names",)
    return ()
