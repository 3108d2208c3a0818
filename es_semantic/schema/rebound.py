"""Change what the mapping's ``_meta`` says of semantic fields, and nothing else: no field, no pipeline, no document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from es_semantic.cluster.steps import Forget, Request, Steps, url_path
from es_semantic.errors import IndexUnavailable, SchemaError
from es_semantic.schema.binding import Bindings, meta_with, read_bindings
from es_semantic.schema.plan import attached_template, meta_requests
from es_semantic.schema.target import Target, resolve, with_template

Change = Callable[[Bindings], Bindings]
"""Returns the bindings of an index as they shall be; the same ones to leave it as it is."""

TRIES = 3
"""Times that bindings are changed and looked at again: somebody else may change them in the same moment."""


def rebind(index: str, change: Change) -> Steps[bool]:
    """Change the bindings of every index behind a name, and say whether there was anything to change.

    Whatever the owner keeps in ``_meta`` stays. Indices whose ``_meta`` are the same change together, in one request,
    which is one change of the cluster's state. The index template of a data stream changes too, so that its next index
    is like the others.

    Raises:
        Forbidden: the privilege `manage` is missing.
        SchemaError: somebody else has changed ``_meta`` at the same time.
    """
    changed = False
    for _ in range(TRIES):
        # The template first: an index that it makes meanwhile is then like the others.
        requests = yield from _template_requests(index, change)
        mappings = yield Request("GET", url_path("/{}/_mapping", index))
        requests += rebinding_requests(mappings, change)
        if not requests:
            return changed
        for request in requests:  # noqa: UP028 (a list cannot be sent the answers)
            yield request
        changed = True
        yield Forget()
    # Elasticsearch has no optimistic locking for mappings.
    raise SchemaError(
        f"somebody else changed the _meta of {index!r} at the same time", hint="Run the same command again."
    )


def rebinding_requests(mappings: Mapping[str, Any], change: Change) -> list[Request]:
    """Return the requests for the answer of ``GET /index/_mapping``; none where all is so already."""
    metas = {}
    for concrete, body in sorted(mappings.items()):
        bindings = read_bindings(body["mappings"], index=concrete)
        if (wanted := change(bindings)) != bindings:
            metas[concrete] = meta_with(body["mappings"], wanted)
    return meta_requests(metas)


def _template_requests(index: str, change: Change) -> Steps[list[Request]]:
    try:
        target: Target = yield from with_template((yield from resolve(index)))
    except (SchemaError, IndexUnavailable):
        # An alias of several indices: none of them comes from a template that would be asked for again.
        return []
    if target.template is None or target.gives is None:
        return []
    bindings = read_bindings(target.gives.mapping, index=f"index template {target.template_name}")
    if not bindings.fields or (wanted := change(bindings)) == bindings:
        return []
    body = attached_template(target, wanted)
    return [Request("PUT", url_path("/_index_template/{}", str(target.template_name)), body=body)]
