"""Which part of a list of indices each vector leg searches, where not all indices are bound alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from es_semantic.cluster.steps import Steps
from es_semantic.errors import FingerprintMismatch
from es_semantic.retrieval.semantic import Group
from es_semantic.schema.binding import Bindings
from es_semantic.schema.lookup import bindings_of


def targets_of(index: str, bindings: Mapping[str, Bindings], members: Sequence[Group]) -> Steps[list[str | None]]:
    """Return what each group's leg searches: None for everything, else the names in the list that lead to its indices.

    An alias is searched by its own name, because it may have a filter that the indices behind it do not know.

    Raises:
        FingerprintMismatch: an alias leads to indices of different models.
    """
    if all(set(group.indices) == set(bindings) for group in members):
        return [None] * len(members)
    parts: dict[str, tuple[str, ...]] = {}
    for part in index.split(","):
        if part.startswith("-"):
            _mixed(index, part)
        parts[part] = tuple((yield from bindings_of(part)))
    return [target(index, parts, group) for group in members]


def target(index: str, parts: Mapping[str, Sequence[str]], group: Group) -> str:
    """Return the names among ``parts`` (with the indices behind each) that lead to a group's indices and no others.

    Raises:
        FingerprintMismatch: a name leads to others as well, and is not the indices' own.
    """
    names: list[str] = []
    for part, behind in parts.items():
        mine = [concrete for concrete in behind if concrete in group.indices]
        if len(mine) == len(behind):
            names.append(part)
        elif all(fnmatchcase(concrete, part) for concrete in mine):
            names += mine
        else:
            _mixed(index, part)
    return ",".join(dict.fromkeys(names))


def _mixed(index: str, part: str) -> None:
    raise FingerprintMismatch(
        f"{part!r} in {index!r} leads to indices that are bound to different models",
        hint="Name the indices themselves, or search them one by one.",
    )
