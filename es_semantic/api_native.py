"""The Python face of Elastic's own ``semantic_text``, embedded by our server: native and remove_native.

As in :mod:`es_semantic.api` each takes an ``Elasticsearch`` or an ``AsyncElasticsearch`` client first.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr

from es_semantic.cluster.served import served
from es_semantic.cluster.steps import Steps
from es_semantic.native.offer import Server
from es_semantic.native.procedure import NativeChange, native_steps, remove_steps


@served
def native(
    index: str,
    fields: str | Sequence[str],
    *,
    server: str,
    model: str = "default",
    key: SecretStr | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
) -> Steps[NativeChange]:
    """Let Elasticsearch itself embed what is written to ``fields`` of a new index, through ``es-semantic serve``.

    Registers the server at the URL ``server`` as an inference endpoint (by default ``es-semantic-INDEX``) of the
    service ``openai``, for the server's model ``model``, with an API ``key`` of its scope ``embed``; then makes the
    index, with ``fields`` as ``semantic_text``. From then on documents are embedded as they are written, by whomever,
    and Elastic's ``semantic`` and ``match`` queries find them by meaning; es-semantic's own worker and search have no
    part in it. Chunks are as long as the model's window allows, which is found out by asking the server.

    It needs a licence with inference endpoints: trial or Enterprise. Doing it again changes nothing, but gives the
    endpoint the key once more. An index or endpoint that is there and different is refused.

    Raises:
        UsageError: no usable index name, fields, URL, key or endpoint name, or the server has no such model.
        RequestFailed: the licence does not allow it, and nothing was changed; or Elasticsearch cannot reach the server.
        ModelUnavailable: the server does not answer from here, or refuses the key; nothing was changed.
        BindingConflict: there is an endpoint of that name for something else; nothing was changed.
        SchemaError: there is an index of that name and of another shape; nothing was changed.
        Forbidden: a privilege is missing: ``manage_inference`` for the endpoint, ``create_index`` for the index.
    """
    names = [fields] if isinstance(fields, str) else list(fields)
    return native_steps(index, names, Server(server, model, key), endpoint_id=endpoint, dry_run=dry_run)


@served
def remove_native(index: str, *, endpoint: str | None = None, dry_run: bool = False) -> Steps[NativeChange]:
    """Undo :func:`native`: delete the index, which must hold no document, and the endpoint, unless others use it.

    Where the index is gone already, only the endpoint is deleted. Doing it again changes nothing.

    Raises:
        UsageError: no usable index or endpoint name.
        SchemaError: the index holds documents, or is none that :func:`native` makes; nothing was removed.
        Forbidden: a privilege is missing: ``manage_inference`` for the endpoint, ``delete_index`` for the index.
    """
    return remove_steps(index, endpoint_id=endpoint, dry_run=dry_run)
