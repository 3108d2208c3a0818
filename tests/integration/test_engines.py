"""Engines against torch in float32, with the real all-MiniLM-L6-v2 and with small models of other shapes."""

from __future__ import annotations

import logging
import random
import re
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from es_semantic.config import SentenceTransformersModel
from es_semantic.embedding.engines import BULK, bulk, prepare
from es_semantic.embedding.engines.choice import MIN_COSINE
from es_semantic.embedding.engines.hardware import no_bf16
from es_semantic.embedding.engines.openvino_engine import OpenVinoEngine
from es_semantic.embedding.engines.openvino_model import convert
from es_semantic.embedding.engines.probes import PROBES
from es_semantic.embedding.engines.tokens import DocumentTokenizer, library_features
from es_semantic.embedding.engines.trial import cosines, timed, tried
from es_semantic.embedding.protocol import Embeddings
from es_semantic.embedding.sentence_transformers import SentenceTransformerEmbedder
from es_semantic.embedding.unicode import encodable
from es_semantic.errors import InputRejected, MissingExtra, ModelUnavailable
from tests.small_models import HIDDEN, routed_model, small_model

BF16 = pytest.param(
    "torch-bf16",
    marks=pytest.mark.skipif(
        bool(no_bf16(torch.device("cpu"))), reason=no_bf16(torch.device("cpu")) or "this CPU has bfloat16"
    ),
)
EXACT = ["auto", "openvino", BF16]
ODD = ["", " ", "\x00", "\u200b", "\ufffe", "\U0010ffff", "a\x00b", "\n\n", "\ud800", "\u0301" * 400, "word " * 5000]
MANY = [f"text number {i} " + "word " * (i * 7 % 300) for i in range(BULK)]
FIXED = [*PROBES, *ODD, *MANY]


def embedder(**given: object) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(SentenceTransformersModel.model_validate(given))


@pytest.fixture(scope="module")
def fp32() -> SentenceTransformerEmbedder:
    return embedder(engine="torch")


@pytest.fixture(scope="module")
def prepared() -> Callable[[str], SentenceTransformerEmbedder]:
    """MiniLM on an engine that stands, once per engine."""
    ready: dict[str, SentenceTransformerEmbedder] = {}

    def get(engine: str) -> SentenceTransformerEmbedder:
        if engine not in ready:
            ready[engine] = embedder(engine=engine)
            ready[engine].embed_documents(["a text"] * BULK)
        return ready[engine]

    return get


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small model, for what does not depend on the weights."""
    return small_model(tmp_path_factory.mktemp("small"), pooling="mean")


@pytest.fixture(scope="module")
def wanted(fp32: SentenceTransformerEmbedder) -> Embeddings:
    """What torch makes of the fixed texts."""
    return fp32.embed_documents(FIXED)


def least(a: Embeddings, b: Embeddings) -> float:
    return float(cosines(a.vectors, b.vectors).min())


Prepared = Callable[[str], SentenceTransformerEmbedder]


# The same vectors


@pytest.mark.parametrize("engine", EXACT)
def test_fixed_texts_have_the_same_vectors(engine: str, prepared: Prepared, wanted: Embeddings) -> None:
    found = prepared(engine).embed_documents(FIXED)
    assert least(found, wanted) >= MIN_COSINE
    assert found.over_long == wanted.over_long
    assert found.vectors.dtype == np.float32
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("engine", EXACT)
def test_any_texts_have_the_same_vectors(engine: str, prepared: Prepared, fp32: SentenceTransformerEmbedder) -> None:
    one = prepared(engine)

    @settings(deadline=None, max_examples=15, print_blob=True)
    @given(st.lists(st.text(st.characters(codec=None), max_size=400), max_size=6))
    def check(texts: list[str]) -> None:
        found, wanted = one.embed_documents(texts), fp32.embed_documents(texts)
        assert found.over_long == wanted.over_long
        assert not texts or least(found, wanted) >= MIN_COSINE

    check()


def test_int8_is_near_and_says_how_near(
    fp32: SentenceTransformerEmbedder, wanted: Embeddings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "es_semantic.embedding"):
        int8 = embedder(engine="openvino-int8")
        found = int8.embed_documents(MANY)
    shown = re.search(r"openvino-int8 gives other vectors .* at least (0\.\d{4}), on average (0\.\d{4})", caplog.text)
    assert shown is not None
    assert 0.8 < float(shown[1]) < float(shown[2]) < MIN_COSINE
    before = FIXED.index(MANY[0])
    assert MIN_COSINE > cosines(found.vectors, wanted.vectors[before:]).mean() > 0.95
    assert found.over_long == tuple(i - before for i in wanted.over_long if i >= before)
    assert int8.embed_queries(["a"]).vectors == pytest.approx(fp32.embed_queries(["a"]).vectors, abs=1e-6)


@pytest.mark.parametrize("engine", EXACT)
def test_the_order_of_the_texts_is_kept(engine: str, prepared: Prepared, wanted: Embeddings) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    order = random.Random(seed).sample(range(len(FIXED)), BULK)
    mixed = prepared(engine).embed_documents([FIXED[i] for i in order])
    assert float(cosines(mixed.vectors, wanted.vectors[order]).min()) >= MIN_COSINE
    assert mixed.over_long == tuple(place for place, i in enumerate(order) if i in wanted.over_long)


def test_more_texts_than_one_slice(prepared: Prepared, fp32: SentenceTransformerEmbedder) -> None:
    texts = [f"number {i}" for i in range(1100)]
    texts[3] = texts[700] = "word " * 300
    found = prepared("openvino").embed_documents(texts)
    assert found.over_long == (3, 700)
    some = [*range(0, 1100, 9), 3, 511, 512, 700, 1023, 1024, 1099]
    wanted = fp32.embed_documents([texts[i] for i in some])
    assert float(cosines(found.vectors[some], wanted.vectors).min()) >= MIN_COSINE


def test_batches_have_few_widths_because_each_costs_memory(prepared: Prepared) -> None:
    engine = prepared("openvino")._bulk.for_texts(BULK)
    assert isinstance(engine, OpenVinoEngine)
    tokenised = engine._tokenizer.tokenise(["word " * words for words in range(0, 300, 3)])
    widths = [engine._features(tokenised, [i])["input_ids"].shape[1] for i in range(100)]
    assert set(widths) == set(range(8, 257, 8))
    assert all(length <= width < length + 8 for length, width in zip(tokenised.lengths, widths, strict=True))


# The same tokens


@settings(deadline=None, max_examples=60, print_blob=True)
@given(st.lists(st.text(st.characters(codec=None), max_size=1500) | st.sampled_from(ODD), min_size=1, max_size=5))
def test_tokens_are_those_of_the_library(texts: list[str]) -> None:
    for loaded in _tokenised_models():
        clean = encodable(texts)
        tokenizer = DocumentTokenizer(loaded, loaded.window or 0)
        ours, theirs = tokenizer.padded(tokenizer.tokenise(clean).rows), library_features(loaded, clean)
        for name, tokens in ours.items():
            assert np.array_equal(tokens, theirs[name].numpy()), name


_models: list[Any] = []


def _tokenised_models() -> list[Any]:
    if not _models:
        for given_settings in ({}, {"document_prompt": "passage: "}):
            one = embedder(engine="torch", **given_settings)
            _models.append(one._loaded())
        _models[1].model.tokenizer.truncation_side = "left"
    return _models


# Models of other shapes


@pytest.mark.parametrize(
    ("pooling", "dense"), [("cls", False), ("mean", False), ("max", False), ("lasttoken", False), ("cls", True)]
)
def test_small_models_of_other_shapes(tmp_path: Path, pooling: str, dense: bool) -> None:
    folder = small_model(tmp_path, pooling=pooling, dense=dense, window=64)
    shared = {"name": folder, "document_prompt": "passage: ", "offline": True}
    found = embedder(engine="openvino", **shared).embed_documents(MANY)
    wanted = embedder(engine="torch", **shared).embed_documents(MANY)
    assert least(found, wanted) >= MIN_COSINE
    assert found.over_long == wanted.over_long != ()


def test_pooling_that_leaves_out_the_prompt(tmp_path: Path) -> None:
    folder = small_model(tmp_path, pooling="mean", include_prompt=False)
    shared = {"name": folder, "document_prompt": "a long instruction that is not pooled: ", "offline": True}
    found = embedder(engine="openvino", **shared).embed_documents(MANY)
    assert least(found, embedder(engine="torch", **shared).embed_documents(MANY)) >= MIN_COSINE


def test_vectors_that_are_cut_short(tmp_path: Path) -> None:
    folder = small_model(tmp_path, pooling="mean", truncate_dim=16)
    found = embedder(engine="openvino", name=folder).embed_documents(MANY)
    assert found.vectors.shape == (len(MANY), 16)
    assert least(found, embedder(engine="torch", name=folder).embed_documents(MANY)) >= MIN_COSINE


def test_threads_that_are_limited(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray limits those of an actor, and people those of a process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    compiled: list[Any] = []

    class Remembering(OpenVinoEngine):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            compiled.append(self._compiled)

    monkeypatch.setattr(prepare, "OpenVinoEngine", Remembering)
    embedder(engine="openvino", name=small).embed_documents(MANY)
    assert [model.get_property("INFERENCE_NUM_THREADS") for model in compiled] == [1] * len(compiled) != []


def test_a_model_with_two_ways_stays_on_torch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = routed_model(tmp_path)
    with caplog.at_level(logging.INFO, "es_semantic.embedding"):
        found = embedder(name=folder, engine="auto").embed_documents(MANY)
    assert "engine openvino is not available" in caplog.text
    assert "Router" in caplog.text
    assert least(found, embedder(name=folder, engine="torch").embed_documents(MANY)) >= MIN_COSINE
    with pytest.raises(ModelUnavailable, match="Router") as caught:
        embedder(name=folder, engine="openvino").embed_documents(MANY)
    assert "models.*.engine" in caught.value.hint


def test_a_token_without_an_embedding_is_the_texts_fault(tmp_path: Path) -> None:
    folder = small_model(tmp_path, pooling="mean", extra_token="[beyond]")
    one = embedder(engine="openvino", name=folder)
    one.embed_documents(MANY)
    with pytest.raises(InputRejected, match="no embedding"):
        one.embed_documents(["fine", "a [beyond] token"])
    assert one.embed_documents(["fine"]).vectors.shape[0] == 1


# The choice


class Noisy:
    """An engine that is fast and wrong."""

    name = "noisy"

    def __init__(self, right: SentenceTransformerEmbedder) -> None:
        self._right = right

    def embed(self, texts: Sequence[str]) -> Embeddings:
        found = self._right.embed(texts)
        noise = np.random.default_rng(1).normal(scale=0.006, size=found.vectors.shape)
        return Embeddings((found.vectors + noise).astype(np.float32), found.over_long)


def test_an_engine_that_deviates_is_refused(
    small: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fp32 = embedder(engine="torch", name=small)
    trial = tried(Noisy(fp32), timed(fp32)[0])
    assert 0.99 < trial.min_cosine < MIN_COSINE
    assert "deviate" in trial.problem
    monkeypatch.setattr(bulk, "openvino_engines", lambda _: [lambda: Noisy(fp32)])
    one = embedder(engine="openvino", name=small)
    for texts in (MANY, ["one text"]):
        with pytest.raises(ModelUnavailable, match=r"min cosine 0\.99\d+, wanted 0\.9999") as caught:
            one.embed_documents(texts)
        assert "models.*.engine" in caught.value.hint
    assert one.embed_queries(["a query is not concerned"]).vectors.shape == (1, HIDDEN)
    with caplog.at_level(logging.INFO, "es_semantic.embedding"):
        found = embedder(engine="auto", name=small).embed_documents(MANY)
    assert "engine noisy is refused" in caplog.text
    assert least(found, fp32.embed_documents(MANY)) >= MIN_COSINE


def test_the_choice_is_logged_with_its_ratios(small: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "es_semantic.embedding"):
        one = embedder(engine="auto", name=small)
        one.embed_documents(MANY[: BULK - 1])
        assert not caplog.records
        one.embed_documents(MANY)
        one.embed_documents(MANY)
    choices = [record.getMessage() for record in caplog.records if "the fastest" in record.getMessage()]
    assert len(choices) == 1
    assert "torch 1.00x torch" in choices[0]
    assert "openvino" in choices[0]
    assert not any(text in caplog.text for text in (MANY[0], PROBES[3]))


def test_no_bfloat16_hardware_is_said(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(torch.cpu, "get_capabilities"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(ModelUnavailable, match="avx512_bf16") as caught:
        embedder(engine="torch-bf16", name=small).embed_documents(MANY)
    assert "auto" in caught.value.hint


def test_the_fingerprint_does_not_depend_on_the_engine(prepared: Prepared, fp32: SentenceTransformerEmbedder) -> None:
    assert prepared("auto").profile.fingerprint == fp32.profile.fingerprint


# Several threads


def test_a_query_is_answered_while_documents_are_embedded(prepared: Prepared) -> None:
    one = prepared("openvino")
    one.embed_queries(["warm"])
    documents = threading.Thread(target=one.embed_documents, args=(["word " * 250] * 200,))
    documents.start()
    one.embed_queries(["a question"])
    answered_first = documents.is_alive()
    documents.join()
    assert answered_first


def test_many_threads_prepare_one_engine_and_get_their_own_vectors(fp32: SentenceTransformerEmbedder) -> None:
    one = embedder(engine="openvino")
    parts = [[f"thread {n} text {i}" for i in range(BULK)] for n in range(4)]
    found: dict[int, Embeddings] = {}

    def work(number: int) -> None:
        found[number] = one.embed_documents(parts[number])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(least(found[n], fp32.embed_documents(parts[n])) >= MIN_COSINE for n in range(len(parts)))


def test_the_conversion_leaves_the_torch_model_as_it_was(small: str) -> None:
    one = embedder(engine="torch", name=small)
    before = one.embed_queries(MANY[:8]).vectors
    convert(one._loaded())
    assert np.array_equal(one.embed_queries(MANY[:8]).vectors, before)


# Libraries that are missing


@pytest.mark.parametrize(
    ("engine", "hidden"), [("openvino", "openvino"), ("openvino-int8", "openvino"), ("openvino-int8", "nncf")]
)
def test_a_missing_library_is_named_with_the_command_before_any_model_is_loaded(
    engine: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(MissingExtra, match=f"needs {hidden},") as caught:
        embedder(engine=engine, name="nobody/no-such-model", offline=True)
    assert f"pip install 'es-semantic[{engine}]'" in caught.value.hint
    with pytest.raises(ModelUnavailable, match="no-such-model"):
        embedder(engine="torch", name="nobody/no-such-model", offline=True)


def test_auto_does_without_openvino(
    small: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.INFO, "es_semantic.embedding"):
        found = embedder(engine="auto", name=small).embed_documents(MANY)
    assert least(found, embedder(engine="torch", name=small).embed_documents(MANY)) >= MIN_COSINE
    assert "openvino is not tried" in caplog.text
    assert "pip install 'es-semantic[openvino]'" in caplog.text
    assert "openvino (" not in caplog.text
