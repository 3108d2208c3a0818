"""Keep a tuned ranking in the binding, and take it away again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.cluster.steps import Forget, Request, Steps, url_path
from es_semantic.errors import IndexUnavailable, SchemaError
from es_semantic.schema.binding import Bindings, meta_with, read_bindings
from es_semantic.schema.lookup import find_binding
from es_semantic.schema.plan import attached_template, meta_requests
from es_semantic.schema.ranking import Ranking
from es_semantic.schema.target import Target, resolve, with_template


def store_ranking(index: str, ranking: Ranking | None, *, name: str) -> Steps[bool]:
    """Put the ranking into the binding of every index behind a name, None for the default; say whether it is new.

    Whatever the owner keeps in ``_meta`` stays, and so do other semantic fields. Indices whose ``_meta`` are the same
    change together, in one request. The index template of a data stream changes too, so that its next index is like the
    others.

    Raises:
        NotAttached: one of the indices has no semantic field of that name.
        Forbidden: the privilege `manage` is missing.
        SchemaError: somebody else has changed ``_meta`` at the same time.
    """
    # Refuses indices that are bound differently.
    yield from find_binding(index, name)
    mappings = yield Request("GET", url_path("/{}/_mapping", index))
    requests = ranking_requests(mappings, name, ranking)
    requests += yield from _template_requests(index, name, ranking)
    for request in requests:  # noqa: UP028 (a list cannot be sent the answers)
        yield request
    if requests:
        yield Forget()
        now = yield Request("GET", url_path("/{}/_mapping", index))
        if any(_read(now, concrete).one(name, index=concrete).ranking != ranking for concrete in mappings):
            # Elasticsearch has no optimistic locking for mappings.
            raise SchemaError(
                f"somebody else changed the _meta of {index!r} at the same time", hint="Run the same command again."
            )
    return bool(requests)


def ranking_requests(mappings: Mapping[str, Any], name: str, ranking: Ranking | None) -> list[Request]:
    """Return the requests for the answer of ``GET /index/_mapping``; none where all is so already."""
    metas = {}
    for concrete, body in sorted(mappings.items()):
        bindings = _read(mappings, concrete)
        if bindings.one(name, index=concrete).ranking != ranking:
            metas[concrete] = meta_with(body["mappings"], _with_ranking(bindings, name, ranking))
    return meta_requests(metas)


def _template_requests(index: str, name: str, ranking: Ranking | None) -> Steps[list[Request]]:
    try:
        target: Target = yield from with_template((yield from resolve(index)))
    except (SchemaError, IndexUnavailable):
        # An alias of several indices: none of them comes from a template that would be asked for again.
        return []
    if target.template is None or target.gives is None:
        return []
    bindings = read_bindings(target.gives.mapping, index=f"index template {target.template_name}")
    if name not in bindings.fields or bindings.fields[name].ranking == ranking:
        return []
    body = attached_template(target, _with_ranking(bindings, name, ranking))
    return [Request("PUT", url_path("/_index_template/{}", str(target.template_name)), body=body)]


def _with_ranking(bindings: Bindings, name: str, ranking: Ranking | None) -> Bindings:
    return bindings.with_field(name, bindings.fields[name].model_copy(update={"ranking": ranking}))


def _read(mappings: Mapping[str, Any], concrete: str) -> Bindings:
    return read_bindings(mappings[concrete]["mappings"], index=concrete)
