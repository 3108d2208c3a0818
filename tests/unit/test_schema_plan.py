"""In which order attach and detach change things, and what is left of a template afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.schema.binding import meta_with
from es_semantic.schema.plan import attach_requests, attached_template, detach_requests
from es_semantic.schema.target import Gives, Target
from es_semantic.schema.template import final_pipeline_of
from tests.schema_targets import TEXT, binding, bindings, index, templated

MAPPING = {"properties": {"title": TEXT}, "_meta": {"team": "search"}}
ONE = bindings("theirs", semantic=binding("title"))
TWO = bindings("theirs", semantic=binding("title"), other=binding("title"))
TEMPLATE: dict[str, Any] = {
    "index_patterns": ["logs-*"],
    "composed_of": ["component"],
    "priority": 7,
    "data_stream": {"hidden": True},
    "template": {"settings": {"index": {"number_of_replicas": "0"}}, "mappings": MAPPING, "aliases": {"all": {}}},
}


def steps(requests: Any) -> list[str]:
    return [f"{request.method} {request.path}" for request in requests]


def bound(owner: str | None = None) -> dict[str, Any]:
    return {**MAPPING, "_meta": meta_with(MAPPING, bindings(owner, semantic=binding("title")))}


def test_attach_writes_the_mapping_before_the_pipeline_before_the_setting() -> None:
    requests = attach_requests(index(MAPPING, final_pipeline="theirs"), ONE)
    assert steps(requests) == [
        "PUT /books/_mapping",
        "PUT /_ingest/pipeline/es-semantic-books",
        "PUT /books/_settings",
    ]
    mapping, pipeline, setting = (request.body for request in requests)
    assert isinstance(mapping, dict)
    assert isinstance(pipeline, dict)
    assert mapping["_meta"] == {"team": "search", "es_semantic": ONE.model_dump()}
    assert pipeline["processors"][0] == {"pipeline": {"name": "theirs"}}
    assert setting == {"index.final_pipeline": "es-semantic-books"}


def test_detach_goes_the_other_way() -> None:
    attached = index(bound("theirs"), final_pipeline="es-semantic-books")
    requests = detach_requests(attached, "semantic", ONE)
    assert steps(requests) == [
        "PUT /books/_settings",
        "DELETE /_ingest/pipeline/es-semantic-books",
        "PUT /books/_mapping",
    ]
    assert requests[0].body == {"index.final_pipeline": "theirs"}
    assert requests[2].body == {"_meta": {"team": "search"}}


def test_detach_does_not_touch_a_final_pipeline_that_the_owner_has_set_meanwhile() -> None:
    requests = detach_requests(index(bound("theirs"), final_pipeline="newer"), "semantic", ONE)
    assert steps(requests) == ["DELETE /_ingest/pipeline/es-semantic-books", "PUT /books/_mapping"]


def test_detaching_one_of_two_keeps_the_pipeline_for_the_other() -> None:
    requests = detach_requests(index(MAPPING, final_pipeline="es-semantic-books"), "semantic", TWO)
    assert steps(requests) == ["PUT /_ingest/pipeline/es-semantic-books", "PUT /books/_mapping"]
    body = requests[0].body
    assert isinstance(body, dict)
    assert [each.get("script", {}).get("params", {}).get("name") for each in body["processors"]] == [None, "other"]


def test_detaching_one_of_two_takes_an_index_off_its_templates_pipeline() -> None:
    requests = detach_requests(index(MAPPING, final_pipeline="es-semantic-template-t"), "semantic", TWO)
    assert steps(requests) == [
        "PUT /_ingest/pipeline/es-semantic-books",
        "PUT /books/_settings",
        "PUT /books/_mapping",
    ]


def test_names_cannot_change_the_shape_of_a_path() -> None:
    requests = attach_requests(index(MAPPING, name="a%2fb/../c?d"), ONE)
    assert steps(requests)[0] == "PUT /a%252fb%2F..%2Fc%3Fd/_mapping"


def test_a_data_stream_changes_its_template_last() -> None:
    requests = attach_requests(templated("data stream", TEMPLATE, MAPPING), ONE)
    assert steps(requests) == [
        "PUT /logs/_mapping",
        "PUT /_ingest/pipeline/es-semantic-template-logs-template",
        "PUT /logs/_settings",
        "PUT /_index_template/logs-template",
    ]


def test_every_backing_index_keeps_its_own_meta() -> None:
    first, second = Gives({"_meta": {"v": 1}}, {}), Gives({"_meta": {"v": 2}}, {})
    target = Target("data stream", "logs", second.mapping, {}, "t", TEMPLATE, second, {".ds-1": first, ".ds-2": second})
    everywhere, *own = attach_requests(target, ONE)[:3]
    assert (everywhere.path, list(everywhere.body or ())) == ("/logs/_mapping", ["properties"])
    binding_itself = ONE.model_dump()
    assert [(request.path, request.body) for request in own] == [
        ("/.ds-1/_mapping", {"_meta": {"v": 1, "es_semantic": binding_itself}}),
        ("/.ds-2/_mapping", {"_meta": {"v": 2, "es_semantic": binding_itself}}),
    ]


def test_a_template_is_bound_before_it_runs_the_pipeline() -> None:
    first, pipeline, last = attach_requests(templated("index template", TEMPLATE, MAPPING), ONE)
    assert pipeline.path == "/_ingest/pipeline/es-semantic-template-logs-template"
    assert isinstance(first.body, dict)
    assert isinstance(last.body, dict)
    assert "es_semantic" in first.body["template"]["mappings"]["_meta"]
    assert final_pipeline_of(first.body) is None
    assert final_pipeline_of(last.body) == "es-semantic-template-logs-template"


@pytest.mark.parametrize(
    "body",
    [
        TEMPLATE,
        {"index_patterns": ["logs-*"], "composed_of": ["component"]},
        {"index_patterns": ["logs-*"], "template": {"aliases": {"all": {}}}},
        {"index_patterns": ["logs-*"], "template": {"mappings": {"dynamic": "false"}}, "version": 3, "_meta": {"x": 1}},
    ],
)
def test_a_detached_template_is_what_it_was(body: dict[str, Any]) -> None:
    composed = {**MAPPING, "_meta": {"team": "search", "component": "says"}}
    attached = attached_template(templated("index template", body, composed), ONE)
    assert attached["template"]["mappings"]["properties"]["semantic"]["properties"]["vector"]["dims"] == 64
    assert "component" not in attached["template"]["mappings"]["_meta"]
    final = "es-semantic-template-logs-template"
    target = templated("index template", attached, attached["template"]["mappings"], final=final)
    released, delete, last = detach_requests(target, "semantic", ONE)
    assert (delete.method, last.body) == ("DELETE", body)
    assert isinstance(released.body, dict)
    assert final_pipeline_of(released.body) is None
    assert "es_semantic" in released.body["template"]["mappings"]["_meta"]


def test_a_template_that_its_owner_has_replaced_meanwhile_is_left_alone() -> None:
    mapping, final = bound(), "es-semantic-template-logs-template"
    state = Gives(mapping, {"index.final_pipeline": final})
    settings = state.settings
    target = Target("data stream", "logs", mapping, settings, "logs-template", TEMPLATE, state, {".ds-1": state})
    assert "PUT /_index_template/logs-template" not in steps(detach_requests(target, "semantic", ONE))
