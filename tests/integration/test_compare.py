"""Several models side by side on a real node: own documents, samples, costs, and nothing left behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import es_semantic
from es_semantic.config import SentenceTransformersModel
from es_semantic.embedding import Embeddings, ModelProfile
from es_semantic.errors import ModelUnavailable, SchemaError, UsageError
from es_semantic.evaluation.metrics import METRICS, NDCG
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.integration.test_eval import NOTHING, Broken, remains
from tests.judged import beir_folder, corpus, csv_file, queries
from tests.nodes import MakeIndex
from tests.small_models import small_model

__all__ = ["cli"]

TEXT = {"type": "text"}


class Noise(TinyEmbedder):
    """Vectors that have nothing to do with the text."""

    def vector(self, text: str) -> Any:
        return super().vector(text.replace(" ", "_"))


@pytest.fixture
def scratch(caplog: pytest.LogCaptureFixture) -> Any:
    """The scratch indices made since the test began."""
    caplog.set_level("INFO", logger="elastic_transport")
    return lambda: sorted(set(re.findall(r"PUT \S*/(es-semantic-eval-[0-9a-f]+) ", caplog.text)))


def own(client: Elasticsearch, make_index: MakeIndex, **more: Any) -> str:
    documents = {doc_id: {**fields, "secret": "s"} for doc_id, fields in corpus().items()}
    name = make_index({"title": TEXT, "text": TEXT, "secret": {"type": "keyword"}}, documents=documents, **more)
    client.indices.refresh(index=name)
    return name


def test_judged_models(client: Elasticsearch, make_index: MakeIndex, scratch: Any, tmp_path: Path) -> None:
    index = own(client, make_index)
    before = client.indices.get(index=index).body
    good, noise = TinyEmbedder("good", 32), Noise("noise", 48)
    found = es_semantic.compare_models(
        client, {"good": good, "noise": noise}, index, fields=["title", "text"], dataset=beir_folder(tmp_path / "set")
    )
    assert (found.documents, found.subject) == (len(corpus()), index)
    assert {name: result.dims for name, result in found.models.items()} == {"good": 32, "noise": 48}
    assert found.models["good"].modes["knn"].metrics[NDCG] > found.models["noise"].modes["knn"].metrics[NDCG]
    for result in found.models.values():
        assert list(result.modes["knn"].metrics) == list(METRICS)
        assert result.vectors == len(corpus())
        # Raw float32 and one byte a dimension at least.
        assert result.bytes_per_vector is None or result.bytes_per_vector >= 5 * result.dims
    assert {(each.first, each.second, each.mode) for each in found.overlaps} == {
        ("good", "noise", "knn"),
        ("good", "noise", "hybrid"),
    }
    (knn,) = (each for each in found.comparisons["knn"] if each.metric == NDCG)
    assert (knn.first, knn.second) == ("noise", "good")
    assert knn.result.difference < 0
    assert client.indices.get(index=index).body == before
    assert len(scratch()) == 2
    assert all(remains(client, name) == NOTHING for name in scratch())


def test_the_same_model_twice(client: Elasticsearch, make_index: MakeIndex) -> None:
    """Two models of the same vectors find the same; no judgements are needed to see that."""
    index = own(client, make_index)
    found = es_semantic.compare_models(client, {"a": TinyEmbedder(), "b": TinyEmbedder()}, index, fields=["title"])
    assert found.judged is None
    assert found.queries_from == "the first words of documents"
    assert [each.value for each in found.overlaps] == [1.0, 1.0]
    assert found.comparisons == {}
    assert found.models["a"].modes["knn"].metrics == {}
    assert "p50_ms" in found.models["a"].as_json()["knn"]


def test_only_source_fields_are_copied_and_analysed_as_there(client: Elasticsearch, make_index: MakeIndex) -> None:
    """The scratch index is looked at by the model, when it embeds the queries."""
    analysis = {"analyzer": {"mine": {"type": "custom", "tokenizer": "whitespace", "filter": ["lowercase"]}}}
    index = make_index(
        {"title": {"type": "text", "analyzer": "mine"}, "person": {"properties": {"name": TEXT}}, "secret": TEXT},
        documents={str(i): {"title": f"One-{i}", "person": {"name": "Ann"}, "secret": "s"} for i in range(5)},
        settings={"analysis": analysis},
    )
    seen: list[dict[str, Any]] = []

    class Looking(TinyEmbedder):
        def embed_queries(self, texts: Sequence[str]) -> Embeddings:
            client.indices.refresh(index="es-semantic-eval-*", expand_wildcards="all")
            hits = client.search(index="es-semantic-eval-*", expand_wildcards="all", size=100)["hits"]["hits"]
            seen.extend(hit for hit in hits if hit["_source"].get("title", "").startswith("One-"))
            return super().embed_queries(texts)

    found = es_semantic.compare_models(
        client, {"a": Looking(), "b": TinyEmbedder()}, index, fields=["title^2", "person.name"]
    )
    assert {hit["_id"] for hit in seen} == {str(i) for i in range(5)}
    assert all(set(hit["_source"]) <= {"title", "person", "semantic"} for hit in seen)
    # By the owner's analyzer "One-3" is one word.
    assert found.queries["1"].startswith("One-")
    assert all(len(run) == 1 for run in found.bm25.runs.values())


def test_a_sample_holds_what_is_judged(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    index = own(client, make_index)
    judged = {"q0": {"d1": 1, "d2": 1}, "q1": {"d3": 1, "nowhere": 1}}
    folder = beir_folder(tmp_path / "set", judged=judged)
    models = {"a": TinyEmbedder(), "b": TinyEmbedder()}
    found = es_semantic.compare_models(client, models, index, fields=["title", "text"], dataset=folder, sample=20)
    assert found.documents == 20
    assert found.missing is not None
    assert (found.missing.count, found.missing.first) == (1, ("nowhere",))
    assert found.models["a"].modes["knn"].metrics["recall@100"] == pytest.approx((1 + 0.5) / 2)
    folder_alone = es_semantic.compare_models(client, models, dataset=folder, sample=20)
    assert folder_alone.documents == 20


def test_the_bound_model_is_compared_with_one_other(
    client: Elasticsearch, make_index: MakeIndex, tmp_path: Path, cli: Cli
) -> None:
    index = own(client, make_index)
    cli("attach", index, "--fields", "title,text")
    other = small_model(tmp_path / "small", pooling="mean")
    queries_file = tmp_path / "queries.txt"
    queries_file.write_text("\n".join(queries().values()))
    ran = cli(
        *("compare", index, "--model", other, "--queries", str(queries_file), "--json"),
        *("--plot", str(tmp_path / "plot.png")),
    )
    assert ran.code == 0, ran.err
    assert list(ran.json["models"]) == ["all-MiniLM-L6-v2", other]
    assert ran.json["queries_from"] == "queries as given"
    assert ran.json["queries"] == len(queries())
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    judged = cli("compare", index, "--model", other, "--judgements", str(csv_file(tmp_path / "judged.csv")))
    for word in ("nDCG@10", "bytes a vector", "docs/s", "overlap@10", "all-MiniLM-L6-v2"):
        assert word in judged.out


def test_chunks_as_the_index_has_them(client: Elasticsearch, make_index: MakeIndex) -> None:
    class Windowed(TinyEmbedder):
        @property
        def profile(self) -> ModelProfile:
            return ModelProfile(super().profile.fingerprint, "cosine", 16)

    index = make_index({"title": TEXT}, documents={str(i): {"title": f"w{i} " * 60} for i in range(4)})
    es_semantic.attach(client, index, "title", model=Windowed(), chunk="always")
    models = {"a": Windowed(), "b": Windowed()}
    found = es_semantic.compare_models(client, models, index)
    assert found.models["a"].vectors > 4
    assert found.models["a"].vectors == found.models["b"].vectors
    never = es_semantic.compare_models(client, models, index, chunk="never")
    assert never.models["a"].vectors == 4


def test_a_model_that_fails(client: Elasticsearch, make_index: MakeIndex, scratch: Any) -> None:
    index = own(client, make_index)
    with pytest.raises(ModelUnavailable):
        es_semantic.compare_models(client, {"a": TinyEmbedder(), "b": Broken("broken")}, index, fields=["title"])
    assert len(scratch()) == 2
    assert all(remains(client, name) == NOTHING for name in scratch())


def test_judgements_of_another_index_are_told_before_anything_is_embedded(
    client: Elasticsearch, make_index: MakeIndex, scratch: Any, tmp_path: Path
) -> None:
    index = make_index({"title": TEXT}, documents={"another": {"title": "a text"}})
    first = TinyEmbedder()
    judged = csv_file(tmp_path / "judged.csv")
    with pytest.raises(UsageError, match=r"none of the \d+ judged documents is in"):
        es_semantic.compare_models(client, {"a": first, "b": Noise()}, index, judgements=judged, fields=["title"])
    assert (first.texts, scratch()) == ([], [])


def test_queries_of_a_file_for_the_documents_of_a_folder(client: Elasticsearch, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    asked = tmp_path / "queries.txt"
    asked.write_text("\n".join(list(queries().values())[:3]) + "\n")
    found = es_semantic.compare_models(client, {"a": TinyEmbedder(), "b": Noise()}, dataset=folder, queries=asked)
    assert (len(found.queries), found.judged) == (3, None)
    with pytest.raises(UsageError, match="two ways"):
        es_semantic.compare_models(
            client,
            {"a": TinyEmbedder(), "b": Noise()},
            dataset=folder,
            queries=asked,
            judgements=csv_file(tmp_path / "judged.csv"),
        )


def test_texts_without_spaces_make_queries(client: Elasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"title": TEXT}, documents={str(n): {"title": f"{n}" + "x" * 12_000} for n in range(3)})
    client.indices.refresh(index=index)
    found = es_semantic.compare_models(client, {"a": TinyEmbedder(), "b": Noise()}, index, fields=["title"])
    assert sorted(map(len, found.queries.values())) == [200, 200, 200]


def test_a_model_that_is_not_there_is_told_before_another_has_embedded(
    client: Elasticsearch, make_index: MakeIndex, scratch: Any
) -> None:
    index = own(client, make_index)
    first = TinyEmbedder()
    missing = SentenceTransformersModel(provider="sentence-transformers", name="no/such-model", offline=True)
    with pytest.raises(ModelUnavailable, match="no/such-model"):
        es_semantic.compare_models(client, {"a": first, "b": missing}, index, fields=["title"])
    assert (first.texts, scratch()) == ([], [])


def test_wrong_use(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path, cli: Cli) -> None:
    index = own(client, make_index)
    two = {"a": TinyEmbedder(), "b": TinyEmbedder()}
    with pytest.raises(UsageError, match="needs two models"):
        es_semantic.compare_models(client, {"a": TinyEmbedder()}, index, fields=["title"])
    with pytest.raises(UsageError, match="on which documents"):
        es_semantic.compare_models(client, two)
    with pytest.raises(UsageError, match="has no semantic field 'semantic'"):
        es_semantic.compare_models(client, two, index)
    with pytest.raises(SchemaError, match="no field 'nope'"):
        es_semantic.compare_models(client, two, index, fields=["nope"])
    with pytest.raises(UsageError, match="sample must be"):
        es_semantic.compare_models(client, two, index, fields=["title"], sample=-1)
    empty = make_index({"title": TEXT})
    with pytest.raises(UsageError, match="no document of"):
        es_semantic.compare_models(client, two, empty, fields=["title"])
    ran = cli("compare", index, "--model", "a", "--model", "a")
    assert (ran.code, "names one model twice" in ran.err) == (2, True)
    assert cli("compare", "--dataset", str(tmp_path / "nowhere"), "--model", "a", "--model", "b").code == 2
