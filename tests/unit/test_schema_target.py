"""Names that attach takes, and the template that a data stream is made from."""

from __future__ import annotations

from typing import Any

import pytest

from es_semantic.errors import SchemaError, UsageError
from es_semantic.schema.owner import owner_final_pipeline, require_own_pipeline
from es_semantic.schema.render import pipeline
from es_semantic.schema.target import Gives, Target, require_one_name, template_of
from tests.schema_targets import binding, bindings, index


def template(*patterns: str, priority: int | None = None, data_stream: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = {"index_patterns": list(patterns)}
    if priority is not None:
        body["priority"] = priority
    return {**body, "data_stream": {}} if data_stream else body


def test_the_highest_priority_among_the_matching_data_stream_templates_wins() -> None:
    templates = {
        "catch-all": template("*"),
        "logs": template("metrics-*", "logs-*", priority=100),
        "logs-app": template("logs-app-*", priority=200),
        "index-only": template("logs-*", priority=900, data_stream=False),
    }
    assert template_of("logs-app-1", templates) == "logs-app"
    assert template_of("logs-web", templates) == "logs"
    assert template_of("metrics-cpu", templates) == "logs"
    assert template_of("other", templates) == "catch-all"
    assert template_of("other", {"logs": templates["logs"]}) is None
    assert template_of("LOGS-web", {"logs": templates["logs"]}) is None


@pytest.mark.parametrize("name", ["", " ", "a*", "a?", "a,b", "_all", "-a"])
def test_patterns_and_lists_are_no_names(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of one index"):
        require_one_name(name)


def test_a_pipeline_that_has_our_name_by_chance_is_not_written_over() -> None:
    target = index({}, name="template-x")
    require_own_pipeline(target, None)
    require_own_pipeline(target, pipeline("template-x", bindings(semantic=binding("a"))))
    with pytest.raises(SchemaError, match="was not made for index 'template-x'"):
        require_own_pipeline(target, pipeline("x", bindings(semantic=binding("a"))))
    with pytest.raises(SchemaError, match="'es-semantic-template-x'"):
        require_own_pipeline(target, {"processors": []})


def attached(owner: str | None) -> Gives:
    meta = {"es_semantic": bindings(owner, semantic=binding("a")).model_dump()}
    return Gives({"_meta": meta}, {"index.final_pipeline": "es-semantic-template-t"})


def data_stream(*states: Gives) -> Target:
    write = states[-1]
    indices = {f".ds-{number}": state for number, state in enumerate(states)}
    return Target("data stream", "logs", write.mapping, write.settings, "t", {}, states[-1], indices)


def test_the_owners_final_pipeline_is_found_beside_and_behind_ours() -> None:
    assert owner_final_pipeline(index({}), None) is None
    assert owner_final_pipeline(index({}, final_pipeline="_none"), None) is None
    assert owner_final_pipeline(index({}, final_pipeline="theirs"), None) == "theirs"
    theirs = Gives({}, {"index.final_pipeline": "theirs"})
    assert owner_final_pipeline(data_stream(theirs, attached("theirs")), None) == "theirs"
    assert owner_final_pipeline(data_stream(Gives({}, {}), attached(None)), None) is None


def test_different_owners_in_one_data_stream_are_refused_and_shown() -> None:
    theirs = Gives({}, {"index.final_pipeline": "theirs"})
    with pytest.raises(SchemaError, match=r"\.ds-0 has theirs, \.ds-1 has none"):
        owner_final_pipeline(data_stream(theirs, attached(None)), None)


def test_the_pipeline_knows_the_owners_when_the_meta_is_lost() -> None:
    lost = index({}, final_pipeline="es-semantic-books")
    assert owner_final_pipeline(lost, pipeline("books", bindings("theirs", semantic=binding("a")))) == "theirs"
    assert owner_final_pipeline(lost, pipeline("books", bindings(semantic=binding("a")))) is None
    with pytest.raises(SchemaError, match="'es-semantic-other' of another semantic field"):
        owner_final_pipeline(index({}, final_pipeline="es-semantic-other"), None)
