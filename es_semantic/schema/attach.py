"""Give an existing index a semantic field, and take it away again: procedures for either kind of client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_semantic.cluster.capabilities import server_version
from es_semantic.cluster.steps import Compute, Request, Steps, optional, url_path
from es_semantic.config import DEFAULT_FIELD_NAME
from es_semantic.embedding import ModelProfile, require_same_model
from es_semantic.embedding.chunking import Chunking
from es_semantic.errors import BindingConflict, FingerprintMismatch, Forbidden, RequestFailed, SchemaError
from es_semantic.schema import checks, owner, plan, preflight, render, subfields
from es_semantic.schema.analysis import require_language
from es_semantic.schema.binding import EXACTLY, Binding, Bindings, exactly, read_bindings
from es_semantic.schema.chunks import Choice, LoadTokenizer, choose_chunks, require_chunk_mode, require_same_chunks
from es_semantic.schema.control import CONCRETE_INDEX, control_exists, create_request, require_control
from es_semantic.schema.index_options import index_options
from es_semantic.schema.language import (
    added_to,
    choose_analysis,
    copied_fields,
    missing_note,
    remaining_note,
    require_sub_fields,
    with_completeness,
)
from es_semantic.schema.privileges import require_privileges
from es_semantic.schema.target import Target, composed_body, resolve, resolve_template, with_template
from es_semantic.schema.template import final_pipeline_of, with_final_pipeline


@dataclass(frozen=True, slots=True)
class Change:
    """What attach or detach did, or with ``dry_run`` would do.

    ``target`` is the concrete name; ``changed`` is False when all of it was so already, and then ``requests`` is empty.
    ``notes`` tell what the requests reach beyond the index itself, what ``chunk="auto"`` has found, and which documents
    are not in the analysed sub-fields yet.
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
    load_tokenizer: LoadTokenizer = lambda: None,
    chunk: str = "auto",
    language: str | None = None,
    name: str = DEFAULT_FIELD_NAME,
    stands_for: str | None = None,
    template: bool = False,
    dry_run: bool = False,
) -> Steps[Change]:
    """Attach a semantic field; see :func:`es_semantic.attach`. ``stands_for`` is the name that it may serve under."""
    checks.require_usable_name(name)
    mode = require_chunk_mode(chunk)
    language = None if language is None else require_language(language)
    version = yield from server_version()
    target = yield from _target(index, template=template)
    bindings = _known_bindings(target) or _templates_bindings(target)
    name = bindings.place(name)
    if name in bindings.leaving:
        raise BindingConflict(
            f"the values that field {name!r} of {target.name!r} had for another model are being removed",
            hint=f"Let that come to its end first: es-semantic migrate {target.name} drop",
        )
    checks.require_writable(target)
    checks.require_text_fields(target, fields, name=name)
    control = () if (yield from control_exists()) else (create_request(),)
    yield from require_privileges(target, also=(CONCRETE_INDEX,) if control else ())
    stored, in_force = yield from _pipelines(target)
    owners = owner.owner_final_pipeline(target, in_force)
    bound = bindings.fields.get(name)
    model = yield Compute(load_profile)
    if bound is not None:
        require_same_binding(bound, fields, model, target=target, name=name)
        require_same_chunks(bound, mode, target=target, name=name)
    choice = Choice(None) if bound else (yield from choose_chunks(target, name, fields, mode, model, load_tokenizer))
    options = index_options(model.dims, version)
    binding = bound or _new_binding(target, name, fields, model, options, choice.chunking)
    analysis = choose_analysis(target, fields, language, bound, name=name)
    binding = binding.model_copy(update={"analysis": analysis, "stands_for": stands_for or binding.stands_for})
    wanted = bindings.model_copy(update={"owner_final_pipeline": owners}).with_field(name, binding)
    also = subfields.with_added({}, added_to(target, wanted))
    for field, body in render.all_properties(wanted).items():
        checks.require_place(target, field, {field: body, **also})
    yield from require_sub_fields(target, wanted)
    requests, missing = [], None if analysis is not None and not analysis.complete else 0
    if not _is_done(target, wanted, in_force):
        wanted, missing = yield from with_completeness(target, wanted, name)
        requests, binding = plan.attach_requests(target, wanted), wanted.fields[name]
        yield from _require_possible(target, name, wanted, stored)
    if not dry_run:
        if control:
            yield from require_control()
        for request in requests:
            yield from _within_limits(target, request)
        if requests:
            yield from _require_in_force(index, name, binding, template=template)
    notes = (*_notes(target), *_copy_notes(target, fields)) if requests else ()
    notes += (choice.note,) if choice.note else ()
    notes += missing_note(target, binding, missing)
    all_requests = (*control, *requests)
    return Change(target.name, target.kind, name, binding, all_requests, bool(all_requests), notes)


def detach_steps(
    index: str, *, name: str = DEFAULT_FIELD_NAME, template: bool = False, dry_run: bool = False
) -> Steps[Change]:
    """Detach a semantic field; see :func:`es_semantic.detach`. By ``=name`` it may be one of two that stand for a name.

    Raises:
        BindingConflict: another field stands for the same name, because its model is being changed.
    """
    target = yield from _target(index, template=template)
    bindings = _known_bindings(target) or Bindings()
    exact, name = name.startswith(EXACTLY), bindings.place(name)
    if not bindings.fields or (name not in bindings.fields and checks.is_semantic_field(target.mapping, name)):
        return Change(target.name, target.kind, name, None, (), changed=False)
    binding = bindings.one(exactly(name), index=target.name)
    known = bindings.name_of(name)
    others = bindings.beside(name) or known in bindings.leaving.values()
    if others and not (exact and bindings.place(known) != name):
        raise BindingConflict(
            f"the model of semantic field {known!r} of {target.name!r} is being changed",
            hint=f"End that first: es-semantic migrate {target.name} drop (or cancel).",
        )
    checks.require_writable(target)
    yield from require_privileges(target)
    copied = yield from copied_fields(target, bindings, bindings.without_field(name))
    requests = plan.detach_requests(
        target,
        name,
        bindings,
        copied=copied,
        template_final=(yield from _templates_own_final(target, bindings)),
        unused=(yield from _unused_template_pipeline(target)),
    )
    if not dry_run:
        for request in requests:
            # A killed run may have deleted the pipeline already (404); other data streams may still run it (400).
            yield from optional(request, missing=(400, 404) if request.method == "DELETE" else ())
    notes = (*_notes(target), *remaining_note(target, bindings, name))
    return Change(target.name, target.kind, name, binding, tuple(requests), changed=True, notes=notes)


def _require_possible(target: Target, name: str, wanted: Bindings, stored: Mapping[str, Any] | None) -> Steps[None]:
    """Refuse what Elasticsearch would take, and the owner would regret; ``stored`` is the target's own pipeline."""
    owner.require_own_pipeline(target, stored)
    yield from preflight.require_unused(target, name)
    yield from preflight.require_alone(target, wanted, stored)
    yield from preflight.require_scripts(target, wanted)
    yield from preflight.require_template(target, wanted)


def _within_limits(target: Target, request: Request) -> Steps[None]:
    try:
        yield request
    except RequestFailed as error:
        if "Limit of total fields" not in error.what:
            raise
        raise SchemaError(
            f"the mapping of {target.kind} {target.name!r} has no room for more fields: {error.what}",
            hint=f"Raise it: PUT /{target.name}/_settings with index.mapping.total_fields.limit; then attach again.",
        ) from error


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
    target: Target,
    name: str,
    fields: Sequence[str],
    model: ModelProfile,
    options: dict[str, object],
    chunking: Chunking | None,
) -> Binding:
    declared = target.mapping
    for part in (name, "vector") if chunking is None else (name, "chunks", "vector"):
        declared = declared.get("properties", {}).get(part, {})
    return Binding(
        source=list(fields),
        fingerprint=model.fingerprint,
        similarity=model.similarity,
        index_options=declared.get("index_options", options),
        chunking=chunking,
    )


def _known_bindings(target: Target) -> Bindings | None:
    """Return the bindings of the target, of a data stream those of its newest index that has any.

    One that rolled over while a detach was cut off has an unbound index after its bound ones.
    """
    newest_first = (state.mapping for _, state in sorted(target.indices.items(), reverse=True))
    every = [read_bindings(mapping, index=target.name) for mapping in (target.mapping, *newest_first)]
    bound = next((bindings for bindings in every if bindings.fields), None)
    return None if bound is None else bound.no_more_complete_than(every)


def _require_in_force(index: str, name: str, binding: Binding, *, template: bool) -> Steps[None]:
    """Look once more: Elasticsearch has no optimistic locking for mappings, so two who attach at once can collide.

    Raises:
        SchemaError: somebody else has changed the mapping or the pipeline meanwhile.
    """
    target = yield from _target(index, template=template)
    bindings = _known_bindings(target) or Bindings()
    _, in_force = yield from _pipelines(target)
    if bindings.fields.get(name) != binding or not _is_done(target, bindings, in_force):
        raise SchemaError(
            f"somebody else changed the semantic fields of {target.kind} {target.name!r} at the same time",
            hint="Run the same command again; it completes what is missing.",
        )


def _templates_bindings(target: Target) -> Bindings:
    """Return the bindings that the next index of a data stream will have anyway."""
    return read_bindings(target.gives.mapping if target.gives else {}, index=f"index template {target.template_name}")


def _pipelines(target: Target) -> Steps[tuple[Any, Any]]:
    """Read the pipeline that belongs to the target and the one in force; None for one that does not exist."""
    own, current = owner.pipeline_id(target), target.final_pipeline
    stored = yield from _pipeline(own)
    if current is None or current == own:
        return stored, stored if current else None
    return stored, (yield from _pipeline(current))


def _pipeline(name: str) -> Steps[Any]:
    found = yield from optional(Request("GET", url_path("/_ingest/pipeline/{}", name)))
    return (found or {}).get(name)


def _is_done(target: Target, bindings: Bindings, in_force: Mapping[str, Any] | None) -> bool:
    """Say whether nothing is left to do; an index born from an attached template runs that template's pipeline."""
    states = [*target.indices.values(), *([target.gives] if target.gives is not None else [])]
    return (
        owner.is_ours(target.final_pipeline)
        and in_force is not None
        and in_force["processors"] == render.pipeline(target.name, bindings)["processors"]
        and all(
            state.final_pipeline == target.final_pipeline
            and read_bindings(state.mapping, index=target.name).completed() == bindings.completed()
            and bindings.fields.keys() <= state.mapping.get("properties", {}).keys()
            and not subfields.additions(state, bindings, where=f"{target.kind} {target.name!r}")
            for state in states
        )
    )


def _templates_own_final(target: Target, bindings: Bindings) -> Steps[str | None]:
    """Return what the template itself must say for its indices to have the owner's final pipeline again."""
    if target.template is None or not owner.is_ours(final_pipeline_of(target.template)):
        return None
    inherited = (yield from composed_body(with_final_pipeline(target.template, None))).final_pipeline
    if inherited == bindings.owner_final_pipeline:
        return None
    return bindings.owner_final_pipeline or "_none"


def _unused_template_pipeline(target: Target) -> Steps[tuple[str, ...]]:
    """Return the pipeline that an index has from its template, once that template is detached.

    Elasticsearch refuses to delete a pipeline that indices run, but not one that only a template names.
    """
    current = target.final_pipeline or ""
    if target.kind != "index" or not current.startswith(owner.TEMPLATE_PREFIX) or current == owner.pipeline_id(target):
        return ()
    template = current.removeprefix(owner.TEMPLATE_PREFIX)
    try:
        found = yield from optional(Request("GET", url_path("/_index_template/{}", template)))
    except Forbidden:
        return ()
    named = [final_pipeline_of(each["index_template"]) for each in (found or {}).get("index_templates", [])]
    return () if current in named else (current,)


def _copy_notes(target: Target, fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{source!r} is copied into {into!r} by copy_to, but copies are not in _source and will not be embedded; "
        f"name {source!r} itself as well"
        for source, into in checks.copies_into(target.mapping, fields)
    )


def _notes(target: Target) -> tuple[str, ...]:
    if target.kind == "data stream" and target.template_name:
        return (
            f"index template {target.template_name!r} changes too, so that the next backing index is like the others; "
            "every new data stream made from it is affected",
        )
    if target.kind == "index template":
        return ("only indices created from now on are affected; attach existing ones by their own names",)
    return ()
