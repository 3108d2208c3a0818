"""Which engine serves, given what was measured; and the fixed texts it is measured on."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from es_semantic.embedding.engines.choice import MIN_COSINE, Trial, fastest
from es_semantic.embedding.engines.probes import PROBES, calibration_texts
from es_semantic.embedding.engines.trial import WARM_UP
from es_semantic.embedding.engines.unit import unit_length

REFERENCE = Trial("torch", speed=100.0, min_cosine=1.0, mean_cosine=1.0)

trials = st.builds(
    Trial,
    name=st.sampled_from(["a", "b", "c"]),
    speed=st.floats(0, 1e6),
    min_cosine=st.floats(-1, 1) | st.floats(0.9998, 1.0) | st.just(math.nan),
    refusal=st.sampled_from(["", "", "no hardware"]),
)


def test_the_fastest_wins() -> None:
    others = [Trial("a", 200, 0.99995), Trial("b", 400, 0.99991), Trial("c", 300, 1.0)]
    assert fastest(REFERENCE, others) == "b"


def test_torch_stays_where_nothing_is_faster() -> None:
    assert fastest(REFERENCE, []) == "torch"
    assert fastest(REFERENCE, [Trial("a", 99, 1.0), Trial("b", 100, 1.0)]) == "torch"


@pytest.mark.parametrize("cosine", [0.99989999, 0.5, -1.0, math.nan])
def test_an_engine_that_deviates_is_never_chosen(cosine: float) -> None:
    fast = Trial("a", 1000, cosine, 1.0)
    assert fastest(REFERENCE, [fast]) == "torch"
    assert f"{cosine:.6f}" in fast.problem
    assert str(MIN_COSINE) in fast.problem


def test_the_least_cosine_is_enough() -> None:
    assert fastest(REFERENCE, [Trial("a", 1000, MIN_COSINE)]) == "a"


def test_an_engine_that_did_not_run_says_why() -> None:
    fast = Trial("a", 1000, 1.0, refusal="no hardware")
    assert (fast.problem, fastest(REFERENCE, [fast])) == ("no hardware", "torch")


@given(st.lists(trials, max_size=5))
def test_the_choice_is_the_best_of_those_without_a_problem(others: list[Trial]) -> None:
    chosen = fastest(REFERENCE, others)
    usable = {trial.name: trial for trial in others if not trial.problem}
    assert chosen == "torch" or chosen in usable
    best = max([REFERENCE.speed, *(trial.speed for trial in others if not trial.problem)])
    speeds = [t.speed for t in (REFERENCE, *others) if t.name == chosen and not t.problem]
    assert best in speeds


def test_the_probes_cover_what_documents_are_made_of() -> None:
    assert len(PROBES) == len(set(PROBES)) == 48
    words = [len(text.split()) for text in PROBES]
    assert min(words) == 1
    assert words[-1] > 512
    assert sum(count < 10 for count in words) >= 20
    assert len(PROBES[WARM_UP]) == 8
    everything = "".join(PROBES)
    for character in "ßéяωעبの한हก語🚀7\x00\u0301𠜎":
        assert character in everything, ascii(character)


def test_the_calibration_texts_are_the_same_in_every_process() -> None:
    code = (
        "import hashlib; from es_semantic.embedding.engines.probes import calibration_texts;"
        "print(hashlib.sha256(chr(10).join(calibration_texts()).encode()).hexdigest())"
    )
    hashes = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 65
    assert not set(calibration_texts()) & {text for text in PROBES if len(text.split()) > 2}


@given(arrays(np.float32, (3, 5), elements=st.floats(-100, 100, width=32)))
def test_unit_length_keeps_the_direction(vectors: NDArray[np.float32]) -> None:
    vectors[:, 0] = np.where(np.abs(vectors).sum(axis=1) < 0.1, 1.0, vectors[:, 0])
    found = unit_length(vectors)
    assert found.dtype == np.float32
    assert np.linalg.norm(found.astype(np.float64), axis=1) == pytest.approx(1, abs=1e-6)
    assert np.einsum("ij,ij->i", found, vectors) == pytest.approx(np.linalg.norm(vectors, axis=1), rel=1e-4)
