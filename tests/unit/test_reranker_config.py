"""The part of the configuration file that names rerankers."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from es_semantic.config import CohereSettings, CrossEncoderSettings, TeiSettings
from tests.configs import FILE, parse, refuse


def test_there_is_no_reranker_unless_one_is_configured() -> None:
    assert parse("").rerankers == {}


def test_each_provider_is_read_with_its_defaults() -> None:
    rerankers = parse(
        """
        rerankers:
          local: {provider: cross-encoder, name: ./model}
          cohere: {provider: cohere, name: rerank-v3.5, api_key: k}
          jina: {provider: cohere, name: jina-reranker-v2-base-multilingual, url: https://api.jina.ai/v1/}
          tei: {provider: tei, url: "http://tei:8080"}
        """
    ).rerankers
    assert rerankers == {
        "local": CrossEncoderSettings(provider="cross-encoder", name="./model", timeout=60, batch_size=32),
        "cohere": CohereSettings(
            provider="cohere",
            name="rerank-v3.5",
            url="https://api.cohere.com/v2",
            api_key=SecretStr("k"),
            timeout=10,
            max_retries=2,
            batch_size=1000,
        ),
        "jina": CohereSettings(
            provider="cohere", name="jina-reranker-v2-base-multilingual", url="https://api.jina.ai/v1"
        ),
        "tei": TeiSettings(provider="tei", url="http://tei:8080", batch_size=32, raw_scores=False),
    }


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("{provider: tei}", "rerankers.r.url: is required"),
        ("{provider: cohere}", "rerankers.r.name: is required"),
        ("{provider: cross-encoder}", "rerankers.r.name: is required"),
        ("{name: m}", "rerankers.r.provider: is required; allowed: cross-encoder, cohere, tei"),
        ("{provider: jina, name: m}", "rerankers.r.provider: unknown provider; allowed: cross-encoder, cohere, tei"),
        ("5", "rerankers.r: must be a mapping of keys to values"),
        ("{provider: tei, url: ftp://h}", "rerankers.r.url: must be an http:// or https:// URL"),
        ("{provider: tei, url: 'http://a', timeout: 0}", "rerankers.r.timeout: must be greater than 0"),
        ("{provider: tei, url: 'http://a', timeout: true}", "rerankers.r.timeout: must be a number, not true or false"),
        (
            "{provider: tei, url: 'http://a', max_retries: -1}",
            "rerankers.r.max_retries: must be greater than or equal to 0",
        ),
        ("{provider: cohere, name: m, batch_size: 0}", "rerankers.r.batch_size: must be greater than or equal to 1"),
        (
            "{provider: cross-encoder, name: m, max_length: 7}",
            "rerankers.r.max_length: must be greater than or equal to 8",
        ),
        ("{provider: cross-encoder, name: ''}", "rerankers.r.name: must have at least 1 character"),
    ],
)
def test_a_mistake_is_told_with_its_place(given: str, wrong: str) -> None:
    assert refuse(f"rerankers:\n  r: {given}\n") == [f"{FILE}:2: {wrong}"]


def test_an_unknown_key_is_told_with_those_that_this_provider_has() -> None:
    (line,) = refuse("rerankers:\n  r: {provider: tei, url: 'http://a', nam: m}\n")
    assert line.startswith(f"{FILE}:2: rerankers.r.nam: unknown key")
    assert "raw_scores" in line
    assert "max_length" not in line


@pytest.mark.parametrize(
    "given",
    [
        "{provider: cohere, name: m, api_key: [S3cretS3cret]}",
        "{provider: cohere, name: 5, api_key: S3cretS3cret}",
        "{provider: tei, url: 'http://user:S3cretS3cret@h'}",
        "{provider: S3cretS3cret}",
        "S3cretS3cret",
    ],
)
def test_no_error_shows_a_value(given: str) -> None:
    assert "S3cret" not in "".join(refuse(f"rerankers: {{r: {given}}}"))


def test_the_key_comes_from_the_environment_and_is_never_shown() -> None:
    config = parse("rerankers: {r: {provider: cohere, name: m, api_key: '${KEY}'}}", KEY="S3cretS3cret")
    settings = config.rerankers["r"]
    assert isinstance(settings, CohereSettings)
    assert settings.api_key == SecretStr("S3cretS3cret")
    assert "S3cret" not in f"{config!r}{config.rerankers!r}{settings!r}{settings}"
