"""An embedder behind the cache answers as the embedder itself, and asks it as little as possible."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_semantic.config.settings import EmbeddingCacheSettings
from es_semantic.embedding import PROBE_TEXT, Embedder, Embeddings, ModelProfile
from es_semantic.embedding.cache import VectorCache
from es_semantic.embedding.cached import CachingEmbedder, caching
from es_semantic.errors import BadVector, InputRejected, ModelUnavailable
from es_semantic.sync.embed import embed_each
from tests.embedder import TinyEmbedder

MEBIBYTE = 1 << 20
WINDOW = 4


class Windowed(TinyEmbedder):
    """Calls texts of more than four characters over-long; refuses texts with a control character."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        embeddings = super().embed_documents(texts)
        if any("\x00" in text for text in texts):
            raise InputRejected("a text holds a control character")
        return Embeddings(embeddings.vectors, tuple(i for i, text in enumerate(texts) if len(text) > WINDOW))


def cache_at(folder: str | Path, cap: int = MEBIBYTE) -> VectorCache:
    return VectorCache(Path(folder) / "embeddings.sqlite", cap)


TEXTS = st.lists(st.text(max_size=6) | st.sampled_from(["a", "b", "a b", "\ud800", "?", "a\ud800", PROBE_TEXT]))


@given(st.lists(TEXTS.filter(bool), max_size=4), TEXTS.filter(bool), st.sampled_from([0, MEBIBYTE]))
def test_the_answer_is_that_of_the_embedder_itself(prior: list[list[str]], texts: list[str], cap: int) -> None:
    texts = [text.replace("\x00", "") for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        known: set[str] = set()
        earlier = CachingEmbedder(Windowed(), cache_at(folder, cap))
        for call in prior:
            cleaned = [text.replace("\x00", "") for text in call]
            earlier.embed_documents(cleaned)
            known |= {text.encode("utf-8", "replace").decode() for text in cleaned}

        asked = Windowed()
        embedder = CachingEmbedder(asked, cache_at(folder, cap))
        result = embedder.embed_documents(texts)

    expected = Windowed().embed_documents([text.encode("utf-8", "replace").decode() for text in texts])
    np.testing.assert_array_equal(result.vectors, expected.vectors)
    assert result.vectors.dtype == np.float32
    assert result.over_long == expected.over_long

    distinct = list(dict.fromkeys(text.encode("utf-8", "replace").decode() for text in texts))
    unknown = [text for text in distinct if not cap or text not in known or text == PROBE_TEXT]
    assert asked.texts == unknown
    assert asked.calls == bool(unknown)
    assert (embedder.hits, embedder.misses) == (len(texts) - len(unknown), len(unknown))


def test_the_protocol_is_kept(tmp_path: Path) -> None:
    inner = TinyEmbedder()
    embedder: Embedder = CachingEmbedder(inner, cache_at(tmp_path))
    assert embedder.profile == inner.profile
    np.testing.assert_array_equal(embedder.embed_queries(["q"]).vectors, inner.embed_queries(["q"]).vectors)
    assert (inner.calls, inner.texts) == (0, [])


def test_what_an_embedder_may_have_is_passed_on(tmp_path: Path) -> None:
    plain = CachingEmbedder(TinyEmbedder(), cache_at(tmp_path))
    assert (plain.precision, plain.document_tokenizer) == ("", None)
    inner = Variant("int8")
    inner.document_tokenizer = object()
    rich = CachingEmbedder(inner, cache_at(tmp_path))
    assert (rich.precision, rich.document_tokenizer) == ("int8", inner.document_tokenizer)


class Variant(TinyEmbedder):
    """Another number format or window of one and the same model."""

    def __init__(self, precision: str = "", max_tokens: int | None = None, name: str = "tiny", dims: int = 64) -> None:
        super().__init__(name, dims)
        self.precision = precision
        self.document_tokenizer: object = None
        self.max_tokens = max_tokens

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile(super().profile.fingerprint, "cosine", self.max_tokens)


def test_what_makes_other_vectors_has_other_keys(tmp_path: Path) -> None:
    variants = [Variant(), Variant("int8"), Variant("bf16"), Variant(max_tokens=9), Variant(name="t"), Variant(dims=8)]
    for _ in range(2):
        for variant in variants:
            CachingEmbedder(variant, cache_at(tmp_path)).embed_documents(["text"])
    assert [variant.calls for variant in variants] == [1] * len(variants)
    plain = TinyEmbedder()
    CachingEmbedder(plain, cache_at(tmp_path)).embed_documents(["text"])
    assert plain.calls == 0


class Reweighted(TinyEmbedder):
    """Other weights under the same name: only the probe tells."""

    def vector(self, text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return -super().vector(text)


def test_other_weights_under_the_same_name_have_other_keys(tmp_path: Path) -> None:
    first, second = TinyEmbedder(), Reweighted()
    assert first.profile.fingerprint.id == second.profile.fingerprint.id
    CachingEmbedder(first, cache_at(tmp_path)).embed_documents(["text"])
    result = CachingEmbedder(second, cache_at(tmp_path)).embed_documents(["text"])
    np.testing.assert_array_equal(result.vectors[0], -first.vector("text"))


# Failures


def test_errors_pass_unchanged_and_nothing_of_the_call_is_kept(tmp_path: Path) -> None:
    inner = Windowed()
    embedder = CachingEmbedder(inner, cache_at(tmp_path))
    with pytest.raises(InputRejected, match="control character"):
        embedder.embed_documents(["good", "bad\x00"])
    assert (embedder.hits, embedder.misses) == (0, 0)
    embedder.embed_documents(["good"])
    assert inner.texts == ["good", "bad\x00", "good"]


def test_halving_finds_the_culprit_behind_the_cache(tmp_path: Path) -> None:
    inner = Windowed()
    embedder = CachingEmbedder(inner, cache_at(tmp_path))
    texts = ["a", "b", "bad\x00", "c", "a"]
    results = embed_each(embedder, texts)
    assert [bool(result.reason) for result in results] == [False, False, True, False, False]
    assert [result.over_long for result in results] == [False] * 5
    again = embed_each(CachingEmbedder(inner, cache_at(tmp_path)), ["a", "b", "c"])
    assert not any(result.reason for result in again)
    assert inner.texts.count("c") + inner.texts.count("b") <= 6


class Down(TinyEmbedder):
    """Answers nothing any more."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        raise ModelUnavailable(f"the provider does not answer to {len(texts)} texts")


def test_the_probe_is_never_answered_by_the_cache(tmp_path: Path) -> None:
    """Else a provider that is down would look alive, and its failures would be blamed on the texts."""
    CachingEmbedder(TinyEmbedder(), cache_at(tmp_path)).embed_documents([PROBE_TEXT, "known"])
    down = CachingEmbedder(Down(), cache_at(tmp_path))
    assert down.embed_documents(["known"]).vectors.shape == (1, 64)
    with pytest.raises(ModelUnavailable):
        embed_each(down, ["known", "unknown"])


class Broken(TinyEmbedder):
    def embed_documents(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(super().embed_documents(texts).vectors * np.float32(np.nan))


def test_an_unusable_vector_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(BadVector):
        CachingEmbedder(Broken(), cache_at(tmp_path)).embed_documents(["text"])
    inner = TinyEmbedder()
    CachingEmbedder(inner, cache_at(tmp_path)).embed_documents(["text"])
    assert inner.texts == ["text"]


# Settings


def test_the_configured_cache(tmp_path: Path) -> None:
    inner = TinyEmbedder()
    settings = EmbeddingCacheSettings(path=str(tmp_path / "a" / "b.sqlite"), max_size="1m")
    for _ in range(2):
        caching(inner, settings).embed_documents(["text"])
    assert inner.calls == 1
    assert (tmp_path / "a" / "b.sqlite").exists()


@pytest.mark.parametrize(
    ("given", "size"), [(0, 0), ("0", 0), ("1m", 1 << 20), ("2048k", 2 << 20), ("512M", 512 << 20), ("2g", 2 << 30)]
)
def test_sizes(given: object, size: int) -> None:
    settings = EmbeddingCacheSettings.model_validate({"max_size": given})
    assert settings.max_bytes == size


@pytest.mark.parametrize("given", [5, -1, "-1m", 0.0, "1023k", "1", "1.5g", "g", "1t", "", False, True, [], {}])
def test_refused_sizes(given: object) -> None:
    with pytest.raises(ValueError, match="must be a size such as 512m or 2g, at least 1m, or 0 for no cache"):
        EmbeddingCacheSettings.model_validate({"max_size": given})


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ES_SEMANTIC_EMBEDDING_CACHE", raising=False)
    settings = EmbeddingCacheSettings()
    assert (settings.file.name, settings.file.parent.name) == ("embeddings.sqlite", "es-semantic")
    assert settings.max_bytes == 1 << 30
    monkeypatch.setenv("HOME", "/home/somebody")
    assert EmbeddingCacheSettings(path="~/c.sqlite").file == Path("/home/somebody/c.sqlite")
