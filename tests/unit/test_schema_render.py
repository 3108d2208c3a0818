"""Files filled with values, and the choice behind index_options."""

from __future__ import annotations

import pytest

from es_semantic.embedding.chunking import Chunking
from es_semantic.schema.index_options import index_options
from es_semantic.schema.render import all_properties, fill, is_foreign, pipeline, properties, what_it_does
from tests.schema_targets import binding, bindings


def test_a_placeholder_alone_becomes_the_value_itself() -> None:
    assert fill({"dims": "${dims}", "deep": [{"x": "${list}"}]}, {"dims": 3, "list": [1]}) == {
        "dims": 3,
        "deep": [{"x": [1]}],
    }


def test_a_placeholder_among_text_and_in_keys_becomes_text() -> None:
    assert fill({"${name}": "field ${name} of ${dims}"}, {"name": "semantic", "dims": 3}) == {
        "semantic": "field semantic of 3"
    }


def test_values_are_not_filled_again() -> None:
    assert fill("${a}", {"a": "${b}", "b": "never"}) == "${b}"
    assert fill("x ${a}", {"a": "${b}", "b": "never"}) == "x ${b}"


def test_a_template_is_not_changed_and_other_values_stay() -> None:
    template = {"a": [True, None, 1.5, "$notaplaceholder"]}
    assert fill(template, {}) == template
    assert fill(template, {}) is not template


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="absent"):
        fill(["${absent}"], {})


def test_the_mapping_of_a_semantic_field() -> None:
    field = properties("semantic", binding("title"))["semantic"]
    assert field["dynamic"] is False
    assert field["properties"]["vector"] == {
        "type": "dense_vector",
        "dims": 64,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": "int8_hnsw", "m": 16},
    }


def test_the_owners_pipeline_runs_first_then_every_field() -> None:
    body = pipeline("books", bindings("theirs", semantic=binding("title"), other=binding("a.b", "body")))
    owner, first, second = body["processors"]
    assert owner == {"pipeline": {"name": "theirs"}}
    assert first["script"]["params"]["paths"] == [["a", "b"], ["body"]]
    assert [first["script"]["params"]["name"], second["script"]["params"]["name"]] == ["other", "semantic"]
    assert body["_meta"] == {"managed_by": "es-semantic", "target": "books"}
    assert sorted(all_properties(bindings(semantic=binding("a"), other=binding("b")))) == ["other", "semantic"]


def test_what_a_pipeline_does_is_not_how_its_script_is_written() -> None:
    one = pipeline("books", bindings("theirs", semantic=binding("title")))
    older = {**one, "processors": [one["processors"][0], {"script": {**one["processors"][1]["script"], "source": "x"}}]}
    assert what_it_does(one) == what_it_does(older)
    assert what_it_does(one) != what_it_does(pipeline("books", bindings("theirs", semantic=binding("body"))))
    assert what_it_does(one) != what_it_does(pipeline("books", bindings(semantic=binding("title"))))


@pytest.mark.parametrize(
    ("dims", "version", "kind", "rescores"),
    [
        (384, (9, 4), "int8_hnsw", True),
        (768, (9, 4), "bbq_hnsw", True),
        (767, (9, 4), "int8_hnsw", True),
        (768, (9, 0), "bbq_hnsw", False),
        (768, (8, 18), "bbq_hnsw", False),
        (768, (8, 17), "int8_hnsw", False),
        (1024, None, "int8_hnsw", False),
    ],
)
def test_index_options_suit_vectors_and_server(
    dims: int, version: tuple[int, int] | None, kind: str, rescores: bool
) -> None:
    options = index_options(dims, version)
    assert options["type"] == kind
    assert ("rescore_vector" in options) is rescores


CHUNKED = binding("title").model_copy(update={"chunking": Chunking(max_tokens=256, overlap=25)})


def test_chunks_are_nested_and_take_the_place_of_the_vector() -> None:
    whole = properties("semantic", binding("title"))["semantic"]["properties"]
    parts = properties("semantic", CHUNKED)["semantic"]["properties"]
    chunks = parts.pop("chunks")
    assert (chunks["type"], chunks["dynamic"]) == ("nested", False)
    assert chunks["properties"]["vector"] == whole.pop("vector")
    assert set(chunks["properties"]) == {"start", "end", "vector"}
    assert parts == whole


def test_the_pipeline_looks_for_the_bound_chunks() -> None:
    script = pipeline("books", bindings(semantic=CHUNKED))["processors"][0]["script"]
    assert script["params"]["model"] == f"{CHUNKED.fingerprint.id}+256/25"
    assert script["params"]["holder"] == "chunks"
    assert script["on_failure"][0]["set"]["value"] == {"status": "pending", "chunks": None}
    script = pipeline("books", bindings(semantic=binding("title")))["processors"][0]["script"]
    assert script["on_failure"][0]["set"]["value"] == {"status": "pending", "vector": None}


def test_chunks_are_not_foreign() -> None:
    assert not is_foreign({"chunks": [{"start": 0, "end": 3}], "hash": "x"})
    assert is_foreign({"chunks": [], "theirs": 1})
