"""Print what attach and detach did or would do."""

from __future__ import annotations

from typing import Any

import orjson

from es_semantic.cli.output import out, print_json, say
from es_semantic.cluster.steps import Request
from es_semantic.schema.attach import Change
from es_semantic.schema.binding import Binding


def print_change(change: Change, *, dry_run: bool, as_json: bool, verb: str = "attached to", **more: Any) -> None:
    """Print the change; with ``dry_run`` its exact requests, in the form that Kibana's console takes."""
    if as_json:
        print_json({**summary(change), "dry_run": dry_run, **more})
    elif dry_run:
        for request in change.requests:
            out.print(console_form(request), soft_wrap=True)
    elif not change.changed:
        state = "is attached already" if change.binding else "is not attached"
        out.print(f"{change.kind} {change.target}: {change.field!r} {state}, nothing to do.", soft_wrap=True)
    elif change.binding:
        fingerprint = change.binding.fingerprint
        out.print(
            f"{change.field!r} {verb} {change.kind} {change.target}: {', '.join(change.binding.source)} by "
            f"{fingerprint.model}, {fingerprint.dims} dims, {change.binding.similarity}, "
            f"{change.binding.index_options.get('type')}{_chunks(change.binding)}{_language(change.binding)}.",
            soft_wrap=True,
        )
    for note in change.notes:
        say(f"Note: {note}.")


def summary(change: Change) -> dict[str, Any]:
    """Return the change as JSON values."""
    binding = change.binding
    return {
        "target": change.target,
        "kind": change.kind,
        "field": change.field,
        "changed": change.changed,
        "source": binding.source if binding else None,
        "model": binding.stamp if binding else None,
        "dims": binding.fingerprint.dims if binding else None,
        "similarity": binding.similarity if binding else None,
        "index_options": binding.index_options if binding else None,
        "chunking": binding.chunking.model_dump() if binding and binding.chunking else None,
        "language": binding.analysis.language if binding and binding.analysis else None,
        "bm25_fields": binding.bm25_fields if binding else None,
        "requests": [{"method": r.method, "path": r.path, "body": r.body} for r in change.requests],
        "notes": list(change.notes),
    }


def console_form(request: Request) -> str:
    """Return a request as one would type it: method, path, body."""
    body = orjson.dumps(request.body, option=orjson.OPT_INDENT_2).decode() if request.body is not None else ""
    return f"{request.method} {request.path}\n{body}\n"


def _language(binding: Binding) -> str:
    if binding.analysis is None:
        return ""
    return f"; for BM25 by the {binding.analysis.analyzer} analyser, in {', '.join(binding.analysis.fields)}"


def _chunks(binding: Binding) -> str:
    if binding.chunking is None:
        return ""
    return f", a vector for each chunk of {binding.chunking.max_tokens} tokens (overlap {binding.chunking.overlap})"
