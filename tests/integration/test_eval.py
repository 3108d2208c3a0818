"""Evaluation on a real node: judged collections in scratch indices and in indices of people's own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

import es_semantic
from es_semantic.cluster.steps import Request, Steps, run
from es_semantic.embedding import PROBE_TEXT, Embeddings
from es_semantic.errors import FingerprintMismatch, ModelUnavailable, NotAttached, UsageError
from es_semantic.evaluation.evaluate import MODES
from es_semantic.evaluation.metrics import METRICS, NDCG, measure
from es_semantic.evaluation.scratch import Scratch, corpus_content, with_scratch
from es_semantic.evaluation.watch import unwatched
from es_semantic.schema.control import CONTROL_INDEX
from tests.embedder import TinyEmbedder
from tests.integration.test_cli import Cli, cli
from tests.judged import beir_folder, corpus, csv_file, grades, queries
from tests.nodes import MakeIndex

__all__ = ["cli"]

TEXT = {"type": "text"}
LATENCY = ["p50_ms", "p95_ms", "p99_ms"]


class Broken(TinyEmbedder):
    """Knows its probe, and then does not answer."""

    def embed_documents(self, texts: Sequence[str]) -> Embeddings:  # noqa: ARG002 (the protocol's)
        raise ModelUnavailable("this model is gone")


def own_index(client: Elasticsearch, make_index: MakeIndex, *, leave_out: set[str] | None = None) -> str:
    """An index of the collection, attached and synced."""
    documents = {doc_id: dict(fields) for doc_id, fields in corpus().items() if doc_id not in (leave_out or set())}
    index = make_index({"title": TEXT, "text": TEXT}, documents=documents)
    es_semantic.attach(client, index, ["title", "text"], model=TinyEmbedder(), chunk="never")
    es_semantic.sync(client, index, model=TinyEmbedder())
    return index


def remains(client: Elasticsearch, index: str) -> dict[str, int]:
    """What is left of a scratch index."""
    client.options(ignore_status=404).indices.refresh(index=CONTROL_INDEX)
    query = {"term": {"index": index}}
    return {
        "index": int(bool(client.indices.exists(index=index))),
        "pipelines": len(client.options(ignore_status=404).ingest.get_pipeline(id=f"*{index}*").body),
        "control": client.count(index=CONTROL_INDEX, query=query)["count"],
    }


NOTHING = {"index": 0, "pipelines": 0, "control": 0}


def test_a_folder_in_a_scratch_index(client: Elasticsearch, tmp_path: Path) -> None:
    found = es_semantic.evaluate(client, dataset=beir_folder(tmp_path / "set"), model=TinyEmbedder())
    assert (found.index, found.documents, len(found.judged.queries)) == (None, len(corpus()), len(queries()))
    assert list(found.modes) == list(MODES)
    for scores in found.modes.values():
        assert list(scores.metrics) == list(METRICS)
        assert all(0 < value <= 1 for value in scores.metrics.values())
        assert list(scores.latency) == LATENCY
        assert 0 < scores.latency["p50_ms"] <= scores.latency["p95_ms"] <= scores.latency["p99_ms"]
    assert found.ann_recall is not None
    assert found.ann_recall.at_10 > 0.9
    assert found.missing.count == 0


def test_what_is_reported_is_what_searches_find(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    """The same values come from searching oneself."""
    index = own_index(client, make_index)
    found = es_semantic.evaluate(client, index, dataset=beir_folder(tmp_path / "set"), model=TinyEmbedder())
    assert found.index == index
    judged = {query: some for query, some in grades().items() if any(some.values())}
    for mode in MODES:
        runs = {
            query: [
                hit.id
                for hit in es_semantic.search(client, index, text, mode=mode, size=100, model=TinyEmbedder()).hits
            ]
            for query, text in queries().items()
            if query in judged
        }
        wanted = measure(judged, runs)
        assert {m: dict(v) for m, v in found.modes[mode].per_query.items()} == {
            m: pytest.approx(v) for m, v in wanted.items()
        }


def test_comparisons_add_up(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    index = own_index(client, make_index)
    found = es_semantic.evaluate(client, index, judgements=csv_file(tmp_path / "judged.csv"), model=TinyEmbedder())
    pairs = [(each.first, each.second) for each in found.comparisons if each.metric == NDCG]
    assert pairs == [("hybrid", "knn"), ("hybrid", "bm25"), ("knn", "bm25")]
    for each in found.comparisons:
        first, second = (found.modes[mode].metrics[each.metric] for mode in (each.first, each.second))
        assert each.result.difference == pytest.approx(first - second)
        assert each.result.wins + each.result.losses + each.result.ties == len(found.judged.queries)
        assert each.result.interval.low <= each.result.difference <= each.result.interval.high
        gains = [change.first - change.second for change in each.wins]
        assert gains == sorted(gains, reverse=True)
        assert all(gain > 0 for gain in gains)
        assert all(change.first < change.second for change in each.losses)
        assert len(each.wins) == (min(5, each.result.wins) if each.metric == NDCG else 0)


async def test_with_an_asynchronous_client(node_url: str, client: Elasticsearch, tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "set")
    async with AsyncElasticsearch(node_url) as asynchronous:
        found = await es_semantic.evaluate(asynchronous, dataset=folder, model=TinyEmbedder())
    wanted = es_semantic.evaluate(client, dataset=folder, model=TinyEmbedder())
    assert found.modes["knn"].metrics == pytest.approx(wanted.modes["knn"].metrics)


def test_judged_documents_that_are_not_there(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    gone = {"d1", "d2", "d3", "d4", "d5", "d6"}
    index = own_index(client, make_index, leave_out=gone)
    found = es_semantic.evaluate(client, index, dataset=beir_folder(tmp_path / "set"), model=TinyEmbedder())
    judged = {doc_id for some in grades().values() for doc_id in some}
    assert (found.missing.count, found.missing.judged) == (len(gone & judged), len(judged))
    assert found.missing.first == tuple(sorted(gone & judged)[:5])
    assert found.modes["knn"].metrics["recall@100"] < 1


def test_judgements_of_another_index(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    index = own_index(client, make_index)
    folder = beir_folder(tmp_path / "set", judged={"q0": {"elsewhere": 1}})
    with pytest.raises(UsageError, match="none of the 1 judged documents") as caught:
        es_semantic.evaluate(client, index, dataset=folder, model=TinyEmbedder())
    assert "elsewhere" in caught.value.what


def test_the_bound_model_is_needed(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    index = own_index(client, make_index)
    folder = beir_folder(tmp_path / "set")
    with pytest.raises(FingerprintMismatch):
        es_semantic.evaluate(client, index, dataset=folder, model=TinyEmbedder("other"))
    with pytest.raises(NotAttached):
        es_semantic.evaluate(client, index, dataset=folder, model=TinyEmbedder(), name="other")


def test_an_index_without_vectors(client: Elasticsearch, make_index: MakeIndex, tmp_path: Path) -> None:
    index = make_index({"title": TEXT, "text": TEXT}, documents={k: dict(v) for k, v in corpus().items()})
    es_semantic.attach(client, index, ["title", "text"], model=TinyEmbedder(), chunk="never")
    found = es_semantic.evaluate(client, index, dataset=beir_folder(tmp_path / "set"), model=TinyEmbedder())
    assert found.modes["knn"].metrics == dict.fromkeys(METRICS, 0.0)
    assert found.modes["hybrid"].metrics["recall@100"] == found.modes["bm25"].metrics["recall@100"] > 0
    assert found.notes == (f"no document has a vector: es-semantic sync {index}",)


def test_an_alias_of_two_indices(client: Elasticsearch, make_index: MakeIndex, unique: str, tmp_path: Path) -> None:
    """One id in both indices counts once."""
    for _ in range(2):
        client.indices.put_alias(index=own_index(client, make_index), name=f"{unique}-both")
    found = es_semantic.evaluate(client, f"{unique}-both", dataset=beir_folder(tmp_path / "set"), model=TinyEmbedder())
    assert found.documents == 2 * len(corpus())
    assert found.missing.count == 0
    assert all(len(set(run)) == len(run) for run in found.modes["hybrid"].runs.values())


def test_nothing_is_left_behind(client: Elasticsearch) -> None:
    content = corpus_content(lambda: list(corpus().items()), analyzer="standard", chunk="never")
    used: list[str] = []

    def use(scratch: Scratch) -> Steps[str]:
        yield from ()
        used.append(scratch.index)
        assert remains(client, scratch.index) == {"index": 1, "pipelines": 1, "control": 1}
        assert scratch.report.embedded == len(corpus())
        return "done"

    assert run(client, with_scratch(content, TinyEmbedder(), use, unwatched)) == ("done", ())
    assert remains(client, used[0]) == NOTHING


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_behind_by_what_goes_wrong(client: Elasticsearch, error: type[BaseException]) -> None:
    content = corpus_content(lambda: list(corpus().items()), analyzer="standard", chunk="never")
    used: list[str] = []

    def use(scratch: Scratch) -> Steps[None]:
        yield from ()
        used.append(scratch.index)
        raise error

    with pytest.raises(error):
        run(client, with_scratch(content, TinyEmbedder(), use, unwatched))
    assert remains(client, used[0]) == NOTHING


def test_what_cannot_be_removed_is_named_and_costs_no_result(client: Elasticsearch) -> None:
    """A pipeline that another index uses cannot be deleted."""
    content = corpus_content(lambda: list(corpus().items()), analyzer="standard", chunk="never")
    used: list[str] = []

    def use(scratch: Scratch) -> Steps[str]:
        pipeline = f"es-semantic-{scratch.index}"
        used.append(f"test-{uuid.uuid4().hex[:12]}")
        settings = {"index.final_pipeline": pipeline, "index.number_of_replicas": 0}
        yield Request("PUT", f"/{used[-1]}", body={"settings": settings})
        used.append(pipeline)
        return "done"

    try:
        result, notes = run(client, with_scratch(content, TinyEmbedder(), use, unwatched))
        assert (result, notes) == ("done", (f"could not be removed, please do: pipeline {used[1]}",))
        assert remains(client, used[1].removeprefix("es-semantic-")) == {"index": 0, "pipelines": 1, "control": 0}
    finally:
        client.indices.delete(index=used[0])
        client.ingest.delete_pipeline(id=used[1])


def test_a_model_that_fails_while_it_embeds(client: Elasticsearch, caplog: pytest.LogCaptureFixture) -> None:
    content = corpus_content(lambda: list(corpus().items()), analyzer="standard", chunk="never")
    caplog.set_level("INFO", logger="elastic_transport")

    def use(_: Scratch) -> Steps[None]:
        raise AssertionError("it must not get so far")

    with pytest.raises(ModelUnavailable):
        run(client, with_scratch(content, Broken(), use, unwatched))
    (index,) = set(re.findall(r"PUT \S*/(es-semantic-eval-[0-9a-f]+) ", caplog.text))
    assert remains(client, index) == NOTHING


def test_a_corpus_that_breaks_off(client: Elasticsearch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="elastic_transport")
    folder = beir_folder(tmp_path / "set")
    with (folder / "corpus.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(UsageError, match=rf"corpus\.jsonl:{len(corpus()) + 1}: not JSON"):
        es_semantic.evaluate(client, dataset=folder, model=TinyEmbedder())
    (index,) = set(re.findall(r"PUT \S*/(es-semantic-eval-[0-9a-f]+) ", caplog.text))
    assert remains(client, index) == NOTHING


def test_an_analyzer_that_does_not_exist(client: Elasticsearch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="klingon"):
        es_semantic.evaluate(client, dataset=beir_folder(tmp_path / "set"), model=TinyEmbedder(), analyzer="klingon")


def test_chinese_needs_its_analyzer(client: Elasticsearch, tmp_path: Path) -> None:
    documents = {
        "1": {"title": "", "text": "战国无双是一款动作游戏"},
        "2": {"title": "", "text": "锣鼓经是戏曲里的记谱方法"},
        "3": {"title": "", "text": "国家与战争的历史"},
    }
    folder = beir_folder(tmp_path / "set", documents=documents, texts={"q": "战国"}, judged={"q": {"1": 1}})
    found = es_semantic.evaluate(client, dataset=folder, model=TinyEmbedder(), analyzer="cjk")
    assert found.modes["bm25"].metrics["mrr@10"] == 1.0
    assert found.modes["bm25"].runs["q"] == ["1"]


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    folder = str(beir_folder(tmp_path / "set"))
    ran = cli("eval", "--dataset", folder, "--json", "--plot", str(tmp_path / "plot.html"))
    assert ran.code == 0, ran.err
    found = ran.json
    assert list(found)[:3] == ["bm25", "knn", "hybrid"]
    for mode in MODES:
        assert list(found[mode]) == [*METRICS, *LATENCY]
    assert (found["documents"], found["queries"], found["index"]) == (len(corpus()), len(queries()), None)
    assert found["missing_documents"]["count"] == 0
    assert "<svg" in (tmp_path / "plot.html").read_text()
    table = cli("eval", "--dataset", folder)
    for word in ("nDCG@10", "recall@100", "MRR@10", "MAP", "p95 ms", "ANN recall", "hybrid - bm25", "Where hybrid"):
        assert word in table.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which judged queries?"),
        (["--dataset", "nowhere"], "no folder nowhere"),
        (["--judgements", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["--dataset", "SET", "--qrels", "train"], "no judgements"),
        (["--dataset", "SET", "--plot", "plot.pdf"], "which format"),
        (["--dataset", "SET", "--analyzer", "english", "--language", "en"], "say the same"),
        (["--dataset", "SET", "--language", "xx"], "no built-in analyser"),
        (["--dataset", "SET", "--chunk", "sometimes"], "chunk 'sometimes' does not exist"),
    ],
)
def test_wrong_use(cli: Cli, tmp_path: Path, arguments: list[str], said: str) -> None:
    folder = str(beir_folder(tmp_path / "set"))
    ran = cli("eval", *[folder if argument == "SET" else argument for argument in arguments])
    assert ran.code == 2
    assert said in ran.err


def test_a_csv_file_without_an_index(cli: Cli, tmp_path: Path) -> None:
    ran = cli("eval", "--judgements", str(csv_file(tmp_path / "judged.csv")), "--json")
    assert ran.code == 2
    assert "need an index" in ran.json["error"]["what"]


class Slow(BaseHTTPRequestHandler):
    """An embedding server that answers the probe at once, and documents not before it is closed."""

    closed = threading.Event()

    def do_POST(self) -> None:
        """Answer as OpenAI's API does."""
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        if texts != [PROBE_TEXT]:
            self.closed.wait(60)
            return
        body = json.dumps({"data": [{"index": 0, "embedding": [1.0, 2.0, 3.0, 4.0]}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_sigterm_removes_the_scratch_index(client: Elasticsearch, node_url: str, tmp_path: Path) -> None:
    """Stopped by a service manager while the model works, it tidies up as after Ctrl-C."""
    folder = beir_folder(tmp_path / "set")
    Slow.closed.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = {"provider": "openai", "name": "slow", "url": f"http://127.0.0.1:{server.server_port}"}
    (tmp_path / "es-semantic.yml").write_text(json.dumps({"models": {"default": settings}}))
    command = [str(Path(sys.executable).with_name("es-semantic")), "-v", "eval", "--dataset", str(folder)]
    environment = {**os.environ, "ES_SEMANTIC_URL": node_url}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as ran:
        try:
            assert ran.stderr is not None
            # The last thing that attaching does; then the model is asked.
            lines = (re.search(r"PUT \S*/(es-semantic-eval-[0-9a-f]+)/_settings", line) for line in ran.stderr)
            index = next(line[1] for line in lines if line)
            assert client.indices.exists(index=index)
            ran.send_signal(signal.SIGTERM)
            Slow.closed.set()
            ran.communicate(timeout=60)
            assert ran.returncode == 130
        finally:
            ran.kill()
            server.shutdown()
    assert remains(client, index) == NOTHING


def test_two_sets_of_judgements_for_an_index_are_one_too_many(client: Elasticsearch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two sets of judgements"):
        es_semantic.evaluate(client, "no-such-index", dataset=tmp_path, judgements=tmp_path / "judged.csv")
    with pytest.raises(UsageError, match="two sets of judgements"):
        es_semantic.tune(client, "no-such-index", dataset=tmp_path, judgements=tmp_path / "judged.csv")
