"""Whose final pipeline runs: ours, or one that the owner of the index had before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_semantic.errors import SchemaError
from es_semantic.schema.binding import read_bindings
from es_semantic.schema.target import Gives, Target

PREFIX = "es-semantic-"
TEMPLATE_PREFIX = f"{PREFIX}template-"


def is_ours(pipeline: str | None) -> bool:
    """Say whether a final pipeline is one that attach has made."""
    return pipeline is not None and pipeline.startswith(PREFIX)


def pipeline_id(target: Target) -> str:
    """Return the id of the pipeline that belongs to this target; all data streams of one template share theirs."""
    return f"{TEMPLATE_PREFIX}{target.template_name}" if target.template_name else f"{PREFIX}{target.name}"


def pipeline_target(target: Target) -> str:
    """Return the name that the pipeline of this target carries in its own ``_meta``."""
    return target.template_name or target.name


def require_own_pipeline(target: Target, stored: Mapping[str, Any] | None) -> None:
    """Refuse to write over a pipeline that has our name by chance.

    Raises:
        SchemaError: the stored pipeline was not made for this target.
    """
    meta = (stored or {}).get("_meta") or {}
    wanted = {"managed_by": "es-semantic", "target": pipeline_target(target)}
    if stored is not None and {key: meta.get(key) for key in wanted} != wanted:
        raise SchemaError(
            f"an ingest pipeline {pipeline_id(target)!r} exists that was not made for {target.kind} {target.name!r}",
            hint="Rename or delete that pipeline.",
        )


def owner_final_pipeline(target: Target, in_force: Mapping[str, Any] | None) -> str | None:
    """Return the final pipeline that is the owner's: the one in force, or the one that ours calls first.

    ``in_force`` is the body of the pipeline in force; it knows the owner's where the mapping's ``_meta`` was lost.

    Raises:
        SchemaError: another semantic field's pipeline is in force, or the indices of a data stream disagree.
    """
    states = dict(target.indices)
    if target.gives is not None:
        states[f"index template {target.template_name}"] = target.gives
    owners = {name: owner for name, state in states.items() for owner in _owner(state, name)}
    different = set(owners.values())
    if len(different) > 1:
        raise SchemaError(
            f"the final pipelines of {target.kind} {target.name!r} differ: "
            + ", ".join(f"{name} has {owner or 'none'}" for name, owner in owners.items()),
            hint="Give the indices and their index template one and the same index.final_pipeline first.",
        )
    if different:
        return different.pop()
    if target.final_pipeline != pipeline_id(target):
        raise SchemaError(
            f"{target.kind} {target.name!r} runs the pipeline {target.final_pipeline!r} of another semantic field",
            hint="Detach that one first; its name tells where it was attached.",
        )
    first = ((in_force or {}).get("processors") or [{}])[0]
    name: str | None = first.get("pipeline", {}).get("name")
    return name


def remembered_owner(state: Gives, name: str, *, otherwise: str | None) -> str | None:
    """Return the final pipeline to give back to an index that runs ours; ``otherwise`` where its ``_meta`` is lost."""
    return next(iter(_owner(state, name)), otherwise)


def _owner(state: Gives, name: str) -> list[str | None]:
    """The owner's final pipeline; empty where ours runs and nothing remembers the owner's."""
    if not is_ours(state.final_pipeline):
        return [state.final_pipeline]
    bindings = read_bindings(state.mapping, index=name)
    return [bindings.owner_final_pipeline] if bindings.fields else []
