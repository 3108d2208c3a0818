"""Ask before changing anything whether these credentials may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from es_semantic.cluster.steps import Request, Steps
from es_semantic.errors import Forbidden, RequestFailed
from es_semantic.schema.target import Target

PIPELINES = "manage_ingest_pipelines"
TEMPLATES = "manage_index_templates"
INDEX = ("view_index_metadata", "manage")


def require_privileges(target: Target, *, also: Sequence[str] = ()) -> Steps[None]:
    """Check what attach and detach need on the target and the indices ``also`` (Elastic docs, "Has privileges API").

    A cluster without security answers that there is no such API; then everything is allowed.

    Raises:
        Forbidden: with every missing privilege named.
    """
    cluster = [PIPELINES] + ([TEMPLATES] if target.template is not None else [])
    wanted: dict[str, Any] = {"cluster": cluster}
    names = [*also, *([target.name] if target.kind != "index template" else [])]
    if names:
        wanted["index"] = [{"names": names, "privileges": list(INDEX)}]
    try:
        answer = yield Request("POST", "/_security/user/_has_privileges", body=wanted)
    except RequestFailed:
        return
    missing = [name for name, held in answer["cluster"].items() if not held]
    for index, held_there in answer.get("index", {}).items():
        missing += [f"{name} on {index}" for name, held in held_there.items() if not held]
    if missing:
        raise Forbidden(
            f"these credentials may not change {target.kind} {target.name!r}; missing: {', '.join(missing)}",
            status=403,
            hint="Attach and detach with an administrator's credentials; sync and search need far less.",
        )
