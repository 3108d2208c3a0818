"""Hold back replicas and refreshes while an index is embedded for the first time, and give them back afterwards.

What the settings were is written down in the control index before they are changed, so that the next sync of the index
restores them, should this one be killed (Elastic docs, "Tune for indexing speed").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from es_semantic.cluster.steps import Request, Steps, url_path
from es_semantic.errors import ControlDamaged, Forbidden
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.schema.target import Target
from es_semantic.sync.bulk import Item
from es_semantic.sync.control import get_control, write_control
from es_semantic.sync.dead_letters import delete_letter, now

HELD_BACK = {"index.refresh_interval": "-1", "index.number_of_replicas": "0", "index.auto_expand_replicas": "false"}


def hold_back(target: Target) -> Steps[None]:
    """Turn off periodic refreshes and replicas of every index of the target.

    Raises:
        Forbidden: that takes the privilege ``manage`` on the index.
    """
    settings = {index: _held(gives.settings) for index, gives in target.indices.items()}
    # Only created, never replaced: what a killed run wrote down is what the owner had.
    outcomes = yield from write_control([_remember(index, held) for index, held in settings.items()])
    new = [index for index, outcome in zip(settings, outcomes, strict=True) if outcome.ok]
    for index in settings:
        try:
            yield _put_settings(index, HELD_BACK)
        except Forbidden:
            # Nothing to restore there: left behind, it would ask the same privilege of every later sync.
            yield from write_control([delete_letter(_doc_id(each)) for each in new])
            raise
        new = [each for each in new if each != index]


def give_back(indices: Sequence[str]) -> Steps[list[str]]:
    """Restore what was held back, and return the indices for which there was something to restore.

    Raises:
        ControlDamaged: what was written down was edited.
        Forbidden: that takes the privilege ``manage`` on the index.
    """
    found = yield from get_control([_doc_id(index) for index in indices])
    restored = []
    for document in found:
        source = document["_source"]
        held = source.get("held_back")
        if not isinstance(held, dict) or held.keys() != HELD_BACK.keys() or source.get("index") not in indices:
            raise ControlDamaged(
                f"document {document['_id']!r} of {CONTROL_INDEX!r} does not say which settings were held back",
                hint=f"Check the index's refresh_interval and replicas, then DELETE /{CONTROL_INDEX}/_doc/"
                f"{document['_id']}.",
            )
        yield _put_settings(source["index"], held)
        yield from write_control([delete_letter(document["_id"])])
        restored.append(source["index"])
    return restored


def _held(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings.get(key) for key in HELD_BACK}


def _remember(index: str, held: Mapping[str, Any]) -> Item:
    body = {"kind": "held_back", "index": index, "held_back": held, "at": now()}
    return [orjson.dumps({"create": {"_index": CONTROL_INDEX, "_id": _doc_id(index)}}), orjson.dumps(body)]


def _put_settings(index: str, settings: Mapping[str, Any]) -> Request:
    return Request("PUT", url_path("/{}/_settings", index), body=dict(settings))


def _doc_id(index: str) -> str:
    return "held-back-" + hashlib.sha256(index.encode()).hexdigest()[:32]
