"""The index that every notebook starts from: a part of Python's own documentation, as any program would write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from es_semantic.demo import pydocs
from es_semantic.resources import resource

TOPICS = {
    "files": ("csv", "glob", "os", "os.path", "pathlib", "shutil", "tempfile", "zipfile"),
    "text": ("json", "re", "textwrap", "urllib.parse"),
    "time": ("datetime", "time"),
    "numbers": ("hashlib", "math", "random", "secrets", "statistics"),
    "containers": ("bisect", "collections", "copy", "contextlib", "functools", "heapq", "itertools"),
    "processes and threads": ("queue", "subprocess", "threading"),
}
"""Modules by what they are about."""

_KEPT = ("kind", "module", "signature", "summary", "body", "since", "deprecated")


def fill(client: Elasticsearch, index: str) -> int:
    """Make the index anew, with the mapping of ``es-semantic demo``, and return the number of documents in it.

    There are about nine hundred, each one module, class, function or method of the interpreter that runs the notebook.
    """
    client.indices.delete(index=index, ignore_unavailable=True)
    client.indices.create(index=index, **json.loads(resource("mappings/python-docs.json").read_bytes()))
    written, _ = bulk(client, _actions(index), refresh=True)
    return written


def _actions(index: str) -> Iterator[dict[str, Any]]:
    modules = {module for some in TOPICS.values() for module in some}
    for document in pydocs.collect():
        if document["module"] in modules:
            source = {key: document[key] for key in _KEPT if key in document}
            yield {"_index": index, "_id": document["id"], "_source": {"name": document["id"], **source}}
