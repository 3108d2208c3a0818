"""Ctrl-C in the middle of a request, or of waiting for a spawned procedure: the client can still be used to tidy up."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch

from es_semantic.cluster.steps import Join, Pause, Request, Spawn, Steps, run, url_path
from tests.nodes import remove_everything


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """As in a terminal: whoever runs the tests in the background lets them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupted(Urllib3HttpNode):
    """Real requests; at a PUT, Ctrl-C comes where a connection would be put back, under a lock."""

    in_order = True

    def perform_request(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """See the base class."""
        assert Interrupted.in_order, "the lock was never given back: this would wait for ever"
        answer = super().perform_request(method, *args, **kwargs)
        if method == "PUT":
            Interrupted.in_order = False
            os.kill(os.getpid(), signal.SIGINT)
            Interrupted.in_order = True
        return answer


def test_the_request_is_ended_first(node_url: str, client: Elasticsearch) -> None:
    index = f"test-interrupted-{uuid.uuid4().hex[:12]}"

    def procedure() -> Steps[None]:
        try:
            yield Request("PUT", url_path("/{}", index))
        except KeyboardInterrupt:
            yield Request("DELETE", url_path("/{}", index))
            raise

    try:
        with Elasticsearch(node_url, node_class=Interrupted) as interrupted, pytest.raises(KeyboardInterrupt):
            run(interrupted, procedure())
        assert not client.indices.exists(index=index)
    finally:
        remove_everything(client, index)


def test_waiting_ends_soon_and_can_be_gone_on_with(client: Elasticsearch) -> None:
    joined: list[str] = []

    def child() -> Steps[str]:
        yield Pause(2.0)
        return "done"

    def procedure() -> Steps[None]:
        handle = yield Spawn(child())
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            yield Join(handle)
        except KeyboardInterrupt:
            assert not handle.done()
            joined.append((yield Join(handle)))
            raise

    with pytest.raises(KeyboardInterrupt):
        run(client, procedure())
    assert joined == ["done"]
