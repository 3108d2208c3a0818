"""The moment of the switch: what is refused, late, deleted, blocked or killed around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, run
from es_semantic.errors import JobStopped, UsageError
from es_semantic.reindex.job import find_record
from tests.driving import Driver, Killed
from tests.embedder import TinyEmbedder
from tests.nodes import MakeIndex
from tests.reindexing import documents

TITLE = {"title": {"type": "text"}, "code": {"type": "keyword"}}


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index(TITLE, documents={str(i): {"title": f"text {i}"} for i in range(8)})


def job(source: str, new: str, **options: Any) -> Any:
    wanted = {"fields": "title", "model": TinyEmbedder(), **options}
    return es_semantic.reindex.__wrapped__(source, new, **wanted)  # type: ignore[attr-defined]


def nothing(_: Request) -> None:
    return


def when(matches: Callable[[Request], bool], do: Callable[[], None]) -> Callable[[Request], None]:
    """Do something before the first request that matches."""
    done = False

    def before(request: Request) -> None:
        nonlocal done
        if not done and matches(request):
            done = True
            do()

    return before


def switches(request: Request) -> bool:
    """Whether this is the request that moves the names."""
    return request.path == "/_aliases" and "must_exist': True" in repr(request.body)


def goes_back(request: Request) -> bool:
    """Whether this is the request that moves the names back."""
    return request.path == "/_aliases" and "must_exist" in repr(request.body)


def killed() -> None:
    raise Killed


def test_a_newer_version_that_the_new_mapping_refuses_stops_the_switch(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    client.index(index=index, id="3", document={"title": "text 3", "code": "7"}, refresh=True)
    changes = {"properties": {"code": {"type": "integer"}}}

    def reindex(switch: Any) -> Any:
        return es_semantic.reindex(
            client, alias, new, fields="title", model=TinyEmbedder(), mappings=changes, switch=switch
        )

    assert reindex("none").stage == "ready"
    client.index(index=alias, id="3", document={"title": "text 3", "code": "seven"})
    with pytest.raises(JobStopped, match="'3'"):
        reindex("block")
    assert set(client.indices.get_alias(name=alias)) == {index}
    client.index(index=alias, id="3", document={"title": "text 3", "code": "8"})
    assert reindex("block").switched


def test_what_programs_write_after_the_switch_holds(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)

    def late() -> None:
        # These reach the old index in the last moment, and are several versions ahead.
        for word in ("one", "two", "three"):
            client.index(index=index, id="1", document={"title": f"late {word}"})
            client.index(index=index, id="2", document={"title": f"late {word}"})
        client.index(index=index, id="late", document={"title": "late and new"})
        client.delete(index=index, id="4")
        client.delete(index=index, id="5")

    def programs() -> None:
        client.index(index=alias, id="2", document={"title": "a program's own"})
        client.index(index=alias, id="5", document={"title": "a program's own"})
        client.index(index=alias, id="new", document={"title": "a program's own"})

    after = when(lambda request: switches(request), programs)
    driver = Driver(client, when(switches, late), after)
    assert driver.drive(job(alias, new, switch="caught-up")).switched
    found = {doc_id: source["title"] for doc_id, (source, _, _) in documents(client, new).items()}
    own = "a program's own"
    assert found == {
        **{doc_id: f"text {doc_id}" for doc_id in "0367"},
        "1": "late three",
        "2": own,
        "5": own,
        "new": own,
        "late": "late and new",
    }
    assert client.options(ignore_status=403).index(index=index, id="x", document={}).meta.status == 403


@pytest.mark.parametrize("switch", ["block", "caught-up"])
def test_killed_around_the_switch(client: Elasticsearch, index: str, switch: Any) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    before = documents(client, index)
    for moment in (Driver(client, when(switches, killed), nothing), Driver(client, nothing, when(switches, killed))):
        with pytest.raises(Killed):
            moment.drive(job(alias, new, switch=switch, keep_old=False))
    if switch == "caught-up":
        with pytest.raises(UsageError, match="is not finished"):
            es_semantic.undo_reindex(client, new)
    report = es_semantic.reindex(
        client,
        alias,
        new,
        fields="title",
        model=TinyEmbedder(),
        switch=switch,
        keep_old=False,
    )
    assert report.switched
    assert not client.indices.exists(index=index)
    assert documents(client, alias) == before
    client.index(index=alias, id="more", document={"title": "more"})


def test_killed_between_the_copy_and_the_switch_of_an_index_s_own_name(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"
    before = documents(client, index)
    with pytest.raises(Killed):
        Driver(client, when(switches, killed), nothing).drive(job(index, new))
    assert client.indices.exists(index=f"{index}-before-{new}")
    assert client.options(ignore_status=403).index(index=index, id="x", document={}).meta.status == 403
    assert es_semantic.reindex(client, index, new, fields="title", model=TinyEmbedder()).switched
    assert documents(client, index) == documents(client, f"{index}-before-{new}") == before
    driver = Driver(client, nothing, when(goes_back, killed))
    with pytest.raises(Killed):
        driver.drive(es_semantic.undo_reindex.__wrapped__(new))  # type: ignore[attr-defined]
    assert es_semantic.undo_reindex(client, new).stage == "back"
    client.index(index=index, id="again", document={"title": "again"})
    client.index(index=new, id="free", document={"title": "not blocked"})


def test_a_block_that_a_killed_run_left_is_lifted(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    client.indices.put_settings(index=index, settings={"index.blocks.write": False})
    for end in ("cancel", "again"):
        with pytest.raises(Killed):
            Driver(client, when(switches, killed), nothing).drive(job(alias, new))
        assert client.options(ignore_status=403).index(index=alias, id="x", document={}).meta.status == 403
        if end == "cancel":
            es_semantic.cancel_reindex(client, new)
            client.index(index=alias, id="x", document={"title": "x"})
        else:
            es_semantic.reindex(client, alias, new, fields="title", model=TinyEmbedder(), switch="none")
            client.index(index=alias, id="y", document={"title": "y"})


def test_a_block_of_the_owner_s_stays(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)
    client.indices.add_block(index=index, block="write")
    es_semantic.reindex(client, alias, new, fields="title", model=TinyEmbedder())
    client.index(index=alias, id="x", document={"title": "x"})
    settings = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    assert settings["index.blocks.write"] == "true"
    settings = client.indices.get_settings(index=new, flat_settings=True)[new]["settings"]
    assert not {key for key in settings if "block" in key or "verified" in key}


def test_a_run_that_has_lost_its_job_cannot_switch(client: Elasticsearch, index: str) -> None:
    alias, new = f"{index}-alias", f"{index}-new"
    client.indices.put_alias(index=index, name=alias)

    def other() -> None:
        es_semantic.reindex(client, alias, new, fields="title", model=TinyEmbedder(), switch="none")
        client.index(index=alias, id="between", document={"title": "written between"})

    with pytest.raises(es_semantic.EsSemanticError):
        Driver(client, when(switches, other), nothing).drive(job(alias, new))
    assert set(client.indices.get_alias(name=alias)) == {index}
    client.index(index=alias, id="more", document={"title": "not blocked"})
    assert es_semantic.reindex(client, alias, new, fields="title", model=TinyEmbedder()).switched
    assert {"between", "more"} <= documents(client, alias).keys()


def test_an_index_that_is_used_is_neither_filled_again_nor_deleted(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"
    wanted: dict[str, Any] = {"fields": "title", "model": TinyEmbedder()}
    es_semantic.reindex(client, index, new, **wanted, switch="none")
    es_semantic.reindex(client, index, new, **wanted, switch="none")
    client.index(index=new, id="own", document={"title": "a program's own"})
    with pytest.raises(UsageError, match="others have written to it"):
        es_semantic.reindex(client, index, new, **wanted)
    with pytest.raises(UsageError, match="others have written to it"):
        es_semantic.cancel_reindex(client, new)
    assert documents(client, new)["own"][0] == {"title": "a program's own"}


def test_a_job_that_is_cancelled_under_a_run_ends(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"

    def cancel() -> None:
        es_semantic.cancel_reindex(client, new)

    driver = Driver(client, when(switches, cancel), nothing)
    with pytest.raises(es_semantic.EsSemanticError):
        driver.drive(job(index, new))
    assert run(client, find_record(new)) is None
    assert client.indices.exists(index=index)
    client.index(index=index, id="more", document={"title": "not blocked"})


def test_asked_to_stop_it_stops_before_the_switch_and_goes_on_later(client: Elasticsearch, index: str) -> None:
    new = f"{index}-new"
    report = es_semantic.reindex(client, index, new, fields="title", model=TinyEmbedder(), stop=lambda: True)
    assert (report.complete, report.switched) == (False, False)
    assert es_semantic.reindex(client, index, new, fields="title", model=TinyEmbedder()).switched
