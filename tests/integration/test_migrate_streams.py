"""A data stream changes its model: all backing indices together, and the next one is like them."""

from __future__ import annotations

import inspect

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request
from tests.driving import Driver, Killed
from tests.integration.test_attach_streams import MakeStreams, add, make_streams
from tests.integration.test_migrate import OLD, OTHER, TEXTS, models
from tests.migrating import NEW
from tests.nodes import unique

__all__ = ["make_streams", "models", "unique"]


@pytest.mark.usefixtures("models")
def test_a_data_stream(client: Elasticsearch, make_streams: MakeStreams) -> None:
    (stream,) = make_streams()
    es_semantic.attach(client, stream, "title", model=OLD, chunk="never")
    add(client, stream, TEXTS["1"])
    client.indices.rollover(alias=stream)
    add(client, stream, TEXTS["2"])
    es_semantic.sync(client, stream)
    es_semantic.migrate(client, stream, model=OTHER, chunk="never")
    client.indices.rollover(alias=stream)
    add(client, stream, TEXTS["3"])
    es_semantic.switch_migration(client, stream)
    client.indices.rollover(alias=stream)
    add(client, stream, TEXTS["4"])
    es_semantic.sync(client, stream)
    es_semantic.drop_migration(client, stream)
    state = es_semantic.migration(client, stream)
    assert (state.phase, state.serving.field, state.serving.ready) == ("none", NEW, 5)
    for text in TEXTS.values():
        hit = es_semantic.search(client, stream, text, mode="knn", size=1).hits[0]
        assert (hit.source["title"], set(hit.source)) == (text, {"@timestamp", "title"})
    _, removed = es_semantic.detach(client, stream, purge=True)
    assert removed == 5


@pytest.mark.usefixtures("models")
def test_backing_indices_with_a_meta_of_their_own(client: Elasticsearch, make_streams: MakeStreams) -> None:
    """They change one after the other; between two of them, and after a run that was cut off there, searches go on."""
    (stream,) = make_streams()
    es_semantic.attach(client, stream, "title", model=OLD, chunk="never")
    add(client, stream, TEXTS["1"])
    first = next(iter(client.indices.get_mapping(index=stream)))
    known = client.indices.get_mapping(index=first)[first]["mappings"]["_meta"]
    client.indices.put_mapping(index=first, meta={**known, "owner": "a note"})
    client.indices.rollover(alias=stream)
    add(client, stream, TEXTS["2"])
    es_semantic.sync(client, stream)
    es_semantic.migrate(client, stream, model=OTHER, chunk="never")
    writes: list[str] = []

    def cut(request: Request) -> None:
        if request.path.endswith("_mapping") and request.method == "PUT":
            writes.append(request.path)
            if len(writes) == 2:
                raise Killed

    with pytest.raises(Killed):
        Driver(client, cut, lambda _: None).drive(inspect.unwrap(es_semantic.switch_migration)(stream))
    for text in (TEXTS["1"], TEXTS["2"]):
        hit = es_semantic.search(client, stream, text, mode="knn", size=1).hits[0]
        assert (hit.source["title"], hit.score > 0.99) == (text, True)
    es_semantic.switch_migration(client, stream)
    served = [
        each["mappings"]["_meta"]["es_semantic"]["serving"]
        for each in client.indices.get_mapping(index=stream).body.values()
    ]
    assert served == 2 * [{"semantic": NEW}]
    es_semantic.drop_migration(client, stream)
    assert client.indices.get_mapping(index=first)[first]["mappings"]["_meta"]["owner"] == "a note"
