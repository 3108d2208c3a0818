"""Hold back replicas and refreshes while an index is embedded for the first time, and give them back afterwards.

What the settings were is remembered in a setting of the same index, which one request sets together with what is held
back, and one request removes together with giving it back. So whoever is killed leaves either the owner's settings or
held-back ones beside the owner's; workers that hold back and give back at the same moment can come between no two
steps; and what is remembered goes with an index that is deleted, and comes with one that is restored from a snapshot.
(Which settings: Elastic docs, "Tune for indexing speed".)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import ClusterError, ControlDamaged
from es_semantic.schema.target import Target

HELD_BACK = {"index.refresh_interval": "-1", "index.number_of_replicas": "0", "index.auto_expand_replicas": "false"}

REMEMBERED = "index.routing.allocation.exclude.es_semantic_held_back"
"""The setting that remembers the others, as a JSON object of flat keys; null stands for one that was not set.

Elasticsearch takes no index settings that it does not know, but this one with any last name and value: it keeps shards
off nodes that have a custom attribute of that name and value (Elastic docs, "Index-level shard allocation filtering").
No node has this attribute, so it keeps them off none.
"""

LONGEST_PATH = 3000
"""Bytes of index names in one request; ``http.max_initial_line_length`` is 4 KB by default."""


def hold_back(target: Target) -> Steps[None]:
    """Turn off periodic refreshes and replicas of every index of the target; where that is so already, change nothing.

    Raises:
        Forbidden: that takes the privilege ``manage`` on the index; what was held back already is given back.
    """
    held: list[str] = []
    for index in target.indices:
        # Read now: another worker may have held back or given back since the target was looked up.
        for name, settings in (yield from _settings([index])).items():
            if REMEMBERED in settings:
                continue
            try:
                yield _put_settings(name, {**HELD_BACK, REMEMBERED: _remembered(settings)})
            except ClusterError:
                # Also here: the request may have been carried out though its answer was lost.
                yield from _give_back_if_possible([*held, name])
                raise
            held.append(name)


def give_back(indices: Sequence[str]) -> Steps[list[str]]:
    """Restore what was held back, and return the indices for which there was something to restore.

    What the owner has changed since is left as it is; an index that is gone needs nothing.

    Raises:
        ControlDamaged: what was remembered was edited.
        Forbidden: that takes the privilege ``manage`` on the index.
    """
    restored = []
    for some in _portions(indices):
        for index, settings in (yield from _settings(some)).items():
            if REMEMBERED not in settings:
                continue
            owners = _owners(index, settings[REMEMBERED])
            untouched = {key: value for key, value in owners.items() if settings.get(key) == HELD_BACK[key]}
            yield _put_settings(index, {**untouched, REMEMBERED: None})
            restored.append(index)
    return restored


def settings_of_owner(index: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings (flat keys) as the owner has them, whether some are held back or not.

    Raises:
        ControlDamaged: what was remembered was edited.
    """
    if REMEMBERED not in settings:
        return dict(settings)
    every = {**settings, **_owners(index, settings[REMEMBERED])}
    return {key: value for key, value in every.items() if key != REMEMBERED and value is not None}


def _give_back_if_possible(indices: Sequence[str]) -> Steps[None]:
    try:
        yield from give_back(indices)
    except (ClusterError, ControlDamaged):
        # What went wrong first matters more; the next sync gives it back.
        return


def _settings(indices: Sequence[str]) -> Steps[dict[str, Mapping[str, Any]]]:
    path = "/" + ",".join(url_path("{}", index) for index in indices) + "/_settings"
    found = yield Request("GET", path, {"flat_settings": "true", "ignore_unavailable": "true"})
    return {index: each["settings"] for index, each in found.items()}


def _put_settings(index: str, settings: Mapping[str, Any]) -> Request:
    return Request("PUT", url_path("/{}/_settings", index), body=dict(settings))


def _remembered(settings: Mapping[str, Any]) -> str:
    return orjson.dumps({key: settings.get(key) for key in HELD_BACK}).decode()


def _owners(index: str, remembered: str) -> dict[str, str | None]:
    try:
        owners = orjson.loads(remembered)
    except orjson.JSONDecodeError:
        owners = None
    if (
        not isinstance(owners, dict)
        or owners.keys() != HELD_BACK.keys()
        or not all(value is None or isinstance(value, str) for value in owners.values())
    ):
        raise ControlDamaged(
            f"index {index!r}: setting {REMEMBERED!r} does not say which settings were held back",
            hint="Set the index's refresh_interval and replicas as they should be and this setting to null: "
            f"PUT /{index}/_settings.",
        )
    return owners


def _portions(indices: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for index in indices:
        length = len(url_path("{}", index)) + 1
        if some and size + length > LONGEST_PATH:
            yield some
            some, size = [], 0
        some.append(index)
        size += length
    if some:
        yield some
