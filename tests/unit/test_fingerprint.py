"""The identity of a model's output, and the vector form it is kept in."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_arrays
from numpy.typing import NDArray

from es_semantic.embedding import Embeddings, Fingerprint, require_same_model
from es_semantic.embedding.encoding import decode_vector, encode_vector
from es_semantic.embedding.fingerprint import MIN_PROBE_COSINE, probe_of
from es_semantic.embedding.probe import probe_vector
from es_semantic.errors import BadVector, FingerprintMismatch, InputRejected, ModelUnavailable


def _vector(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


MINILM = Fingerprint(
    provider="sentence-transformers",
    model="sentence-transformers/all-MiniLM-L6-v2",
    revision=None,
    dims=3,
    pooling="mean",
    normalized=True,
    document_prompt="",
    query_prompt="",
    probe=probe_of(_vector(1, 0, 0)),
)


def _with(**changes: object) -> Fingerprint:
    return Fingerprint.model_validate({**MINILM.model_dump(), **changes})


def test_the_id_is_what_it_was_when_documents_were_written_with_it() -> None:
    assert MINILM.id == "all-MiniLM-L6-v2-c3436ef4b242"


def test_the_id_does_not_depend_on_the_probe() -> None:
    assert _with(probe=probe_of(_vector(0, 1, 0))).id == MINILM.id


OTHERS: dict[str, object] = {
    "provider": "openai",
    "model": "elsewhere/all-MiniLM-L6-v2",
    "revision": "main",
    "dims": 4,
    "pooling": "cls",
    "normalized": False,
    "document_prompt": "passage: ",
    "query_prompt": "query: ",
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_id_depends_on_everything_else(name: str) -> None:
    assert _with(**{name: OTHERS[name]}).id != MINILM.id


def test_everything_but_the_probe_is_covered_here() -> None:
    assert {*OTHERS, "probe"} == set(Fingerprint.model_fields)


@pytest.mark.parametrize(
    ("model", "name"), [("nomic-embed-text", "nomic-embed-text"), ("a/b/c", "c"), ("models/mine/", "mine")]
)
def test_the_id_starts_with_the_last_name_of_the_model(model: str, name: str) -> None:
    assert re.fullmatch(rf"{name}-[0-9a-f]{{12}}", _with(model=model).id)


def test_the_same_model_is_accepted() -> None:
    require_same_model(MINILM, _with(), index="docs")
    assert _with() == MINILM


@pytest.mark.parametrize("name", OTHERS)
def test_another_model_is_refused_with_both_sides_shown(name: str) -> None:
    other = _with(**{name: OTHERS[name]})
    with pytest.raises(FingerprintMismatch) as caught:
        require_same_model(MINILM, other, index="docs")
    assert "'docs'" in caught.value.what
    assert MINILM.id in caught.value.what
    assert other.id in caught.value.what
    assert f"{name}: index {getattr(MINILM, name)!r}, here {OTHERS[name]!r}" in caught.value.what
    assert "attach another semantic field" in caught.value.hint


def test_only_what_differs_is_listed() -> None:
    with pytest.raises(FingerprintMismatch) as caught:
        require_same_model(MINILM, _with(pooling="cls", dims=4), index="docs")
    assert [line.split(":")[0] for line in caught.value.what.splitlines()[1:]] == ["  dims", "  pooling"]


def _at_cosine(cosine: float) -> str:
    return probe_of(_vector(cosine, (1 - cosine**2) ** 0.5, 0))


def test_another_engine_or_number_format_moves_the_probe_a_little_and_is_accepted() -> None:
    require_same_model(MINILM, _with(probe=_at_cosine(MIN_PROBE_COSINE + 0.0005)), index="docs")
    with pytest.raises(FingerprintMismatch):
        require_same_model(MINILM, _with(probe=_at_cosine(MIN_PROBE_COSINE - 0.0005)), index="docs")


def test_other_weights_under_the_same_name_are_refused_with_the_cosine() -> None:
    with pytest.raises(FingerprintMismatch, match=r"cosine 0\.5000, at least 0\.99 wanted") as caught:
        require_same_model(MINILM, _with(probe=_at_cosine(0.5)), index="docs")
    assert "revision" in caught.value.hint


def test_the_length_of_the_probe_vector_does_not_matter() -> None:
    require_same_model(MINILM, _with(probe=probe_of(_vector(1e30, 0, 0))), index="docs")
    assert decode_vector(MINILM.probe)[0] == 1


BROKEN = {
    "no base64": "!!!!",
    "half a number": "AAA=",
    "not even ASCII": "\u00e9",
    "empty": "",
    "another size": probe_of(_vector(1, 0)),
    "zeros": probe_of(_vector(0, 0, 0)),
    "NaN": probe_of(_vector(float("nan"), 0, 0)),
    "infinity": probe_of(_vector(float("inf"), 0, 0)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("probe", BROKEN.values(), ids=BROKEN)
def test_a_probe_that_was_tampered_with_never_passes(probe: str) -> None:
    with pytest.raises(FingerprintMismatch, match="probe vector stored in its mapping is unusable"):
        require_same_model(_with(probe=probe), MINILM, index="docs")


vectors = numpy_arrays.arrays(np.float32, st.integers(0, 64), elements=st.floats(width=32))


@given(vectors)
def test_a_vector_survives_its_base64_form_bit_by_bit(vector: NDArray[np.float32]) -> None:
    decoded = decode_vector(encode_vector(vector))
    assert decoded.dtype == np.float32
    assert decoded.tobytes() == vector.tobytes()


def test_the_base64_form_is_big_endian_as_elasticsearch_has_it() -> None:
    assert encode_vector(_vector(1, -2)) == "P4AAAMAAAAA="


def test_a_vector_that_is_a_slice_of_another_is_encoded_alike() -> None:
    assert encode_vector(_vector(1, 5, -2, 5)[::2]) == encode_vector(_vector(1, -2))


@pytest.mark.parametrize(
    "text", ["!!!!", "P4AAAA", "P4AAA===", "P4AA", "P4A AAA==", "P4AAAA==\n", "\u00e9\u00e9\u00e9\u00e9"]
)
def test_broken_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_vector(text)


@given(st.binary(max_size=64))
def test_only_base64_of_whole_numbers_is_decoded(raw: bytes) -> None:
    text = base64.b64encode(raw).decode()
    if len(raw) % 4:
        with pytest.raises(ValueError, match=r"."):
            decode_vector(text)
    else:
        assert decode_vector(text).astype(">f4").tobytes() == raw


@pytest.mark.parametrize("failure", [InputRejected("refused: unknown dimension"), BadVector("not a vector")])
def test_a_model_that_fails_for_the_probe_sentence_is_unavailable(failure: InputRejected | BadVector) -> None:
    def embed(_: object) -> Embeddings:
        raise failure

    with pytest.raises(ModelUnavailable, match=f"model 'broken' cannot embed even .*: {failure.what}"):
        probe_vector(embed, "broken")


def test_a_model_whose_vectors_no_field_takes_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable, match="vectors of 4097 dimensions; Elasticsearch takes at most 4096"):
        probe_vector(lambda texts: Embeddings(np.ones((len(texts), 4097), dtype=np.float32)), "huge")
