"""What follows from a sample of texts, and what attach does where it cannot have one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from es_semantic.cluster.steps import Compute, Request
from es_semantic.embedding import ModelProfile
from es_semantic.embedding.chunking import Chunking, TokenCounter
from es_semantic.errors import BindingConflict, Forbidden, UsageError
from es_semantic.schema.chunks import Choice, Sample, choose_chunks, chosen, require_chunk_mode, require_same_chunks
from es_semantic.schema.render import properties
from es_semantic.schema.target import Target
from tests.embedder import TinyEmbedder
from tests.schema_targets import TEXT, binding, index, templated

MAPPING: dict[str, Any] = {"properties": {"title": TEXT}}
CHUNKED = binding("title").model_copy(update={"chunking": Chunking(max_tokens=256, overlap=25)})


def profile(window: int | None) -> ModelProfile:
    return ModelProfile(TinyEmbedder().profile.fingerprint, "cosine", window)


def choose(
    target: Target, mode: Any, window: int | None, *, error: Exception | None = None
) -> tuple[Choice, list[Any]]:
    """Drive the procedure without a server; the first request is answered by the error."""
    steps = choose_chunks(target, "semantic", ["title"], mode, profile(window), lambda: None)
    requests = []
    try:
        step = next(steps)
        while True:
            if isinstance(step, Compute):
                step = steps.send(step.function())
            else:
                requests.append(step)
                assert error is not None, step
                step = steps.throw(error)
    except StopIteration as stop:
        return stop.value, requests


@pytest.mark.parametrize(
    ("longer", "texts", "chunked", "note"),
    [
        (62, 1000, True, "62 of 1,000 sampled texts are longer than the model's 256 tokens: "),
        (51, 1000, True, "documents get one vector a chunk"),
        (50, 1000, False, "50 of 1,000 sampled texts are longer .*: documents get one vector each, of its beginning$"),
        (0, 4, False, "^0 of 4 sampled texts are longer than the model's 256 tokens: documents get one vector each$"),
        (1, 1, True, "1 of 1 sampled text is longer"),
    ],
)
def test_more_than_five_percent_of_long_texts_are_split(longer: int, texts: int, chunked: bool, note: str) -> None:
    choice = chosen(Sample(texts, longer), 256)
    assert choice.chunking == (Chunking(max_tokens=256, overlap=25) if chunked else None)
    assert re.search(note, choice.note), choice.note


def test_never_and_always_ask_nothing() -> None:
    assert choose(index(MAPPING), "never", 256) == (Choice(None), [])
    assert choose(index(MAPPING), "always", 256) == (Choice(Chunking(max_tokens=256, overlap=25)), [])
    assert choose(index(MAPPING), "always", None) == (Choice(Chunking(max_tokens=256, overlap=25)), [])


def test_without_a_known_window_auto_splits_nothing_and_says_so() -> None:
    choice, requests = choose(index(MAPPING), "auto", None)
    assert (choice.chunking, requests) == (None, [])
    assert "nothing tells how many tokens model tiny looks at" in choice.note
    assert "--chunk always" in choice.note


def test_a_template_has_nothing_to_sample() -> None:
    choice, requests = choose(templated("index template", {}, MAPPING), "auto", 256)
    assert (choice.chunking, requests) == (None, [])
    assert "an index template has no documents to look at" in choice.note


def test_credentials_that_may_not_read_are_told() -> None:
    choice, requests = choose(index(MAPPING), "auto", 256, error=Forbidden("no", status=403))
    assert choice.chunking is None
    assert "may not read" in choice.note
    (request,) = requests
    assert isinstance(request, Request)
    assert request.path == "/books/_search"


@pytest.mark.parametrize("bound", [binding("title"), CHUNKED])
def test_a_field_that_is_mapped_already_keeps_its_shape(bound: Any) -> None:
    target = index({"properties": {**MAPPING["properties"], **properties("semantic", bound)}})
    choice, requests = choose(target, "auto", 256)
    assert (choice.chunking, requests) == (bound.chunking, [])
    assert "field 'semantic' is mapped already" in choice.note


def test_what_is_bound_is_not_split_otherwise() -> None:
    target = index(MAPPING)
    for mode in ("auto", "never"):
        require_same_chunks(binding("title"), require_chunk_mode(mode), target=target, name="semantic")
    for mode in ("auto", "always"):
        require_same_chunks(CHUNKED, require_chunk_mode(mode), target=target, name="semantic")
    with pytest.raises(BindingConflict, match="is bound to one vector a document; wanted one vector a chunk"):
        require_same_chunks(binding("title"), "always", target=target, name="semantic")
    with pytest.raises(BindingConflict, match="is bound to one vector a chunk; wanted one vector a document"):
        require_same_chunks(CHUNKED, "never", target=target, name="semantic")


def test_an_unknown_mode_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="chunk 'sometimes' does not exist"):
        require_chunk_mode("sometimes")


def test_a_prompt_that_leaves_no_room_is_told_before_anything_changes() -> None:
    greedy = TokenCounter(None, 250)  # type: ignore[arg-type]
    steps = choose_chunks(index(MAPPING), "semantic", ["title"], "always", profile(256), lambda: greedy)
    step = next(steps)
    assert isinstance(step, Compute)
    with pytest.raises(UsageError, match="leave no room for text"):
        steps.send(step.function())
