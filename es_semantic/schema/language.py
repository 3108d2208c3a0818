"""What attach decides, refuses and asks before it adds sub-fields that are analysed by language."""

from __future__ import annotations

from collections.abc import Sequence

from es_semantic.cluster.steps import Request, Steps, optional, url_path
from es_semantic.config.languages import ANALYZERS
from es_semantic.errors import BindingConflict, Forbidden, RequestFailed, SchemaError
from es_semantic.schema import subfields
from es_semantic.schema.analysis import Analysis, missing_query
from es_semantic.schema.binding import Binding, Bindings
from es_semantic.schema.checks import declaration
from es_semantic.schema.target import Gives, Target, composed_body
from es_semantic.schema.template import properties_of, with_properties


def choose_analysis(
    target: Target, fields: Sequence[str], language: str | None, bound: Binding | None, *, name: str
) -> Analysis | None:
    """Return how the source fields are analysed: as is bound, else by the language, where one is wanted.

    Raises:
        BindingConflict: the semantic field is bound to another language.
        SchemaError: the index template does not map a source field, so that its next index would have no sub-field.
    """
    known = bound.analysis if bound is not None else None
    if known is not None and language not in (None, known.language):
        raise BindingConflict(
            f"semantic field {name!r} of {target.name!r} is bound to the language {known.language!r}, "
            f"wanted {language!r}",
            hint="Detach first, or attach under another --name.",
        )
    if known is not None or language is None:
        return known
    analyzer = ANALYZERS[language]
    _require_in_template(target, fields, analyzer)
    analysed = subfields.analysed_fields(_states(target), fields, analyzer)
    return Analysis(language=language, analyzer=analyzer, fields=analysed)


def added_to(target: Target, wanted: Bindings) -> subfields.Additions:
    """Return the fields of the target's mapping that get sub-fields, with these.

    Raises:
        SchemaError: a sub-field of ours is there with another type or analyser.
    """
    return subfields.additions(Gives(target.mapping, target.settings), wanted, where=f"{target.kind} {target.name!r}")


def require_sub_fields(target: Target, wanted: Bindings) -> Steps[None]:
    """Refuse what the owner's mapping does not allow, and an analyser that the cluster does not know.

    Raises:
        SchemaError: a sub-field of ours is there with another analyser, undeclared fields are forbidden where it
            belongs (``dynamic: strict``), or there is no such analyser.
    """
    added = added_to(target, wanted)
    strict = {keys: body for keys, body in added.items() if subfields.dynamic_at(target.mapping, keys) == "strict"}
    if strict:
        paths = ", ".join(".".join(keys) for keys in strict)
        raise SchemaError(
            f"{target.kind} {target.name!r} has `dynamic: strict` where {paths} would get a sub-field: only its owner "
            "declares fields there",
            hint="If you are the owner, declare it, then attach again; or attach without --language:\n"
            + declaration(target, subfields.with_added({}, strict)),
        )
    for analyzer in sorted({each.analysis.analyzer for each in wanted.fields.values() if each.analysis and added}):
        yield from _require_analyzer(target, analyzer)


def with_completeness(target: Target, wanted: Bindings, name: str) -> Steps[tuple[Bindings, int | None]]:
    """Say in the binding whether every document is in the analysed fields; return it, and how many are not.

    None for how many where these credentials may not count them.
    """
    binding = wanted.fields[name]
    if binding.analysis is None or not target.indices:
        return wanted.with_field(name, binding.analyzed(complete=True)), 0
    missing = yield from count_missing(target, binding.source, binding.analysis)
    return wanted.with_field(name, binding.analyzed(complete=missing == 0)), missing


def count_missing(target: Target, source: Sequence[str], analysis: Analysis) -> Steps[int | None]:
    """Return how many documents have a source field and are not in the analysed one; None if that may not be known."""
    yield from optional(Request("POST", url_path("/{}/_refresh", target.name)), missing=(403,))
    count = Request("POST", url_path("/{}/_count", target.name), body={"query": missing_query(source, analysis)})
    answer = yield from optional(count, missing=(403,))
    return None if answer is None else int(answer["count"])


def missing_note(target: Target, binding: Binding, missing: int | None) -> tuple[str, ...]:
    """Return what to tell about documents that are not in the analysed fields yet."""
    if binding.analysis is None or missing == 0:
        return ()
    what = "documents from before" if missing is None else f"{missing:,} documents"
    fields = ", ".join(path for path in binding.analysis.fields if path not in binding.source)
    return (
        f"{what} are not in {fields} yet, and BM25 finds them by {', '.join(binding.source)} alone; sync brings in "
        f"those that it embeds, and `es-semantic analyze {target.name}` whatever is left, with the vectors it has",
    )


def copied_fields(target: Target, bindings: Bindings, rest: Bindings) -> Steps[tuple[str, ...]]:
    """Return the fields that the template repeats for a sub-field that goes, and that its components say just so."""
    if target.template is None:
        return ()
    properties = properties_of(target.template)
    left, bare = properties, {}
    for field, sub in subfields.unneeded(bindings, rest):
        keys = subfields.find(properties, field)
        if keys is not None:
            bare[field] = subfields.without_sub_field(subfields.field_at(properties, keys), sub)
            left = subfields.removed(left, keys)
    if not bare:
        return ()
    gives = (yield from composed_body(with_properties(target.template, left))).mapping.get("properties", {})
    composed = {field: subfields.find(gives, field) for field in bare}
    return tuple(field for field, keys in composed.items() if keys and subfields.field_at(gives, keys) == bare[field])


def remaining_note(target: Target, bindings: Bindings, name: str) -> tuple[str, ...]:
    """Return what to tell about sub-fields after detaching."""
    gone = subfields.unneeded(bindings, bindings.without_field(name)) if target.indices else []
    if not gone:
        return ()
    fields = ", ".join(f"{field}.{sub}" for field, sub in gone)
    return (f"{fields} remain mapped, as Elasticsearch cannot remove a sub-field; what is written is analysed on",)


def _states(target: Target) -> list[Gives]:
    return [*target.indices.values(), *([target.gives] if target.gives is not None else [])]


def _require_in_template(target: Target, fields: Sequence[str], analyzer: str) -> None:
    """A field that documents add to the mapping would be added without the sub-field in every new index."""
    if target.gives is None:
        return
    properties, here = target.gives.mapping.get("properties", {}), target.mapping.get("properties", {})
    left = [field for field in fields if subfields.find(properties, field) is None]
    if left:
        added: subfields.Additions = {}
        for field in left:
            keys = subfields.find(here, field)
            added |= {keys: subfields.field_at(here, keys)} if keys else {}
        raise SchemaError(
            f"index template {target.template_name!r} does not map {', '.join(left)}: documents add it to each new "
            f"index, and without the sub-field for the {analyzer} analyser",
            hint="Map it in the template (or in a component template), then attach again; or attach without "
            f"--language:\n{declaration(target, subfields.with_added({}, added))}",
        )


def _require_analyzer(target: Target, analyzer: str) -> Steps[None]:
    """Ask an index of the target to analyse nothing; who may not ask is told by the mapping's refusal."""
    index = next(iter(target.indices), None)
    if index is None:
        # A template is composed on trial before it is changed, and that is refused where there is no such analyser.
        return
    body = {"analyzer": analyzer, "text": ""}
    try:
        yield Request("POST", url_path("/{}/_analyze", index), body=body)
    except Forbidden:
        return
    except RequestFailed as error:
        raise SchemaError(
            f"this cluster has no analyser {analyzer!r}: {error.what}",
            hint="It is a part of Elasticsearch (module analysis-common); attach without --language.",
        ) from error
