"""A key that is revoked, or may too little, under a worker on a secured node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.errors import Forbidden
from es_semantic.schema.control import CONTROL_INDEX
from es_semantic.schema.roles import worker_role
from tests.faults.workers import IN_FLIGHT, Counting, Follower, Owner, attached, check, settle
from tests.nodes import SecuredNode, remove_everything

pytestmark = pytest.mark.usefixtures("impatient")

DOCUMENTS = 400


@pytest.fixture
def owner(superuser: Elasticsearch, unique: str) -> Iterator[Owner]:
    properties = {"title": {"type": "text"}, "count": {"type": "integer"}}
    settings = {"number_of_replicas": 0, "refresh_interval": "7s"}
    superuser.indices.create(index=unique, mappings={"properties": properties}, settings=settings)
    yield attached(superuser, unique, DOCUMENTS)
    superuser.security.invalidate_api_key(name=unique)
    remove_everything(superuser, unique)


def key_for(superuser: Elasticsearch, index: str) -> dict[str, Any]:
    """A new API key with what a worker needs."""
    return dict(superuser.security.create_api_key(name=index, role_descriptors={"worker": worker_role([index])}).body)


def test_a_key_revoked_under_a_sync(superuser: Elasticsearch, secured_node: SecuredNode, owner: Owner) -> None:
    key = key_for(superuser, owner.index)
    model = Counting()

    def revoke(_texts: object) -> None:
        if model.calls == 3:
            superuser.security.invalidate_api_key(ids=[key["id"]])

    model.meanwhile = revoke
    with Elasticsearch(secured_node.url, api_key=key["encoded"]) as client, pytest.raises(Forbidden) as refused:
        es_semantic.sync(client, owner.index, model=model)
    assert refused.value.status == 401
    assert key["encoded"] not in str(refused.value)
    assert key["api_key"] not in str(refused.value)
    model.meanwhile = lambda _texts: None
    with Elasticsearch(secured_node.url, api_key=key_for(superuser, owner.index)["encoded"]) as client:
        settle(client, owner, model)
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + IN_FLIGHT
    check(owner)


def test_a_key_revoked_under_a_follower(superuser: Elasticsearch, secured_node: SecuredNode, owner: Owner) -> None:
    key = key_for(superuser, owner.index)
    model = Counting()
    with (
        Elasticsearch(secured_node.url, api_key=key["encoded"]) as client,
        Follower(client, [owner.index], model) as follower,
    ):
        follower.wait_until(lambda: follower.reports != [])
        superuser.security.invalidate_api_key(ids=[key["id"]])
        owner.update({"1": {"title": "written after that"}})
        assert isinstance(follower.join(), Forbidden)
    with Elasticsearch(secured_node.url, api_key=key_for(superuser, owner.index)["encoded"]) as client:
        settle(client, owner, model)
    assert len(model.embedded) == owner.versions
    check(owner)


def test_an_initial_load_without_the_privilege_leaves_nothing_behind(
    superuser: Elasticsearch, secured_node: SecuredNode, owner: Owner
) -> None:
    before = superuser.indices.get_settings(index=owner.index).body
    with Elasticsearch(secured_node.url, api_key=key_for(superuser, owner.index)["encoded"]) as client:
        with pytest.raises(Forbidden, match="settings"):
            es_semantic.sync(client, owner.index, model=Counting(), initial_load=True)
        settle(client, owner, Counting())
    assert superuser.indices.get_settings(index=owner.index).body == before
    superuser.indices.refresh(index=CONTROL_INDEX)
    check(owner)


def test_writing_forbidden_under_a_sync(superuser: Elasticsearch, secured_node: SecuredNode, owner: Owner) -> None:
    """Privileges taken from a user's role take effect at once, item by item."""
    role, password = worker_role([owner.index]), "only-for-tests"
    superuser.security.put_role(name=owner.index, **role)
    superuser.security.put_user(username=owner.index, password=password, roles=[owner.index])
    model = Counting()

    def forbid(_texts: object) -> None:
        if model.calls == 3:
            indices = [{**role["indices"][0], "privileges": ["read", "view_index_metadata", "monitor", "maintenance"]}]
            superuser.security.put_role(name=owner.index, cluster=[], indices=[*indices, role["indices"][1]])

    model.meanwhile = forbid
    try:
        with Elasticsearch(secured_node.url, basic_auth=(owner.index, password)) as client:
            with pytest.raises(Forbidden, match="may not write") as refused:
                es_semantic.sync(client, owner.index, model=model)
            assert "es-semantic roles worker" in refused.value.hint
            superuser.security.put_role(name=owner.index, **role)
            model.meanwhile = lambda _texts: None
            settle(client, owner, model)
    finally:
        superuser.security.delete_user(username=owner.index)
        superuser.security.delete_role(name=owner.index)
    assert DOCUMENTS <= len(model.embedded) <= DOCUMENTS + IN_FLIGHT
    check(owner)
