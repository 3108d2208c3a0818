"""The command line as a script sees it: one JSON document on stdout, words on stderr, telling exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_semantic.cli.main import main
from tests.nodes import MakeIndex

TEXT = {"type": "text"}
DOCUMENTS = {
    "1": {"title": "The cat sat on the mat", "kind": "animal"},
    "2": {"title": "Dogs bark at night", "kind": "animal"},
    "3": {"title": "How to cook rice", "kind": "food"},
    "4": {"title": "", "kind": "nothing"},
}


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def cli(node_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run a command in this process, in an empty folder, against the open node."""
    monkeypatch.setenv("ES_SEMANTIC_URL", node_url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["es-semantic", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index({"title": TEXT, "kind": {"type": "keyword"}}, documents=DOCUMENTS)


def test_from_plain_index_to_answers_and_back(cli: Cli, client: Elasticsearch, index: str) -> None:
    before = client.indices.get(index=index)[index]
    dry = cli("attach", index, "--fields", "title", "--dry-run")
    assert dry.code == 0
    assert f"PUT /{index}/_mapping\n{{" in dry.out
    assert client.indices.get(index=index)[index] == before

    attached = cli("attach", index, "--fields", "title", "--json")
    assert attached.code == 0
    assert attached.json["changed"] is True
    assert (attached.json["dims"], attached.json["similarity"], attached.json["field"]) == (384, "cosine", "semantic")
    assert attached.json["index_options"]["type"] == "int8_hnsw"
    assert cli("attach", index, "--fields", "title", "--json").json["changed"] is False

    synced = cli("sync", index, "--json")
    assert synced.code == 0
    assert (synced.json["embedded"], synced.json["empty"], synced.json["failed"]) == (3, 1, 0)

    state = cli("status", index, "--json").json
    assert list(state) == ["index", "field", "model", "dims", "total", "ready", "pending", "failed", "empty", "unread"]
    assert (state["total"], state["ready"], state["pending"], state["failed"], state["empty"]) == (4, 3, 0, 0, 1)

    found = cli("search", index, "a feline animal", "--json", "--size", "2").json
    assert set(found) == {"index", "mode", "took_ms", "hits", "degraded"}
    assert (found["index"], found["mode"]) == (index, "hybrid")
    first = found["hits"][0]
    assert first["id"] == "1"
    assert first["source"] == DOCUMENTS["1"]
    assert first["legs"]["knn"]["rank"] == 1
    assert first["legs"]["knn"]["score"] > 0.5

    filtered = cli("search", index, "cat", "--mode", "knn", "--filter", "kind=food", "--json").json
    assert [hit["id"] for hit in filtered["hits"]] == ["3"]
    filtered = cli("search", index, "cat", "--filter", '{"terms": {"kind": ["food", "nothing"]}}', "--json").json
    assert [hit["id"] for hit in filtered["hits"]] == ["3"]

    detached = cli("detach", index, "--purge", "--json").json
    assert (detached["changed"], detached["purged"]) == (True, 4)
    sources = {hit["_id"]: hit["_source"] for hit in client.search(index=index)["hits"]["hits"]}
    assert sources == DOCUMENTS


def test_tables_for_people(cli: Cli, index: str) -> None:
    attached = cli("attach", index, "--fields", "title")
    assert "all-MiniLM-L6-v2, 384 dims, cosine, int8_hnsw" in attached.out
    assert f"Next: es-semantic sync {index}" in attached.out
    assert "nothing to do" in cli("attach", index, "--fields", "title").out
    assert "3 embedded, 0 already true, 1 without text, 0 failed" in cli("sync", index).out
    assert "ready" in cli("status", index).out
    hits = cli("search", index, "cooking")
    assert "How to cook rice" in hits.out
    assert "hybrid" in hits.out
    assert "the documents keep their stored values" in cli("detach", index).out.lower()
    assert "nothing to do" in cli("detach", index).out


def test_a_settings_file(cli: Cli, index: str, tmp_path: Path) -> None:
    Path(tmp_path / "es-semantic.yml").write_text(
        f"models:\n  mini:\n    provider: sentence-transformers\n    offline: true\n"
        f"semantic_fields:\n  - index: {index}\n    fields: [title]\n    model: mini\n    name: meaning\n"
    )
    assert cli("attach", index, "--json").json["field"] == "meaning"
    assert cli("sync", index, "--json").json["embedded"] == 3
    assert cli("status", index, "--json").json["field"] == "meaning"
    assert cli("search", index, "cat", "--json").json["hits"][0]["id"] == "1"
    assert cli("detach", index, "--json").json["field"] == "meaning"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["attach", "no-such-index", "--fields", "title"], 1, "no index, alias or data stream 'no-such-index'"),
        (["attach", "INDEX", "--fields", "kind"], 1, "field 'kind' is keyword, not text"),
        (["attach", "INDEX", "--fields", "nope"], 1, "Text fields there: title"),
        (["attach", "INDEX"], 2, "--fields title,body"),
        (["attach", "INDEX", "--fields", ""], 2, "at least one source field"),
        (["attach", "INDEX", "--fields", "title", "--name", "a.b"], 2, "cannot name a semantic field"),
        (["attach", "INDEX", "--fields", "title", "--model", "./no/such/model"], 1, "cannot be loaded"),
        (["attach", "*", "--fields", "title"], 2, "not the name of one index"),
        (["sync", "INDEX"], 1, "has no semantic field"),
        (["status", "INDEX"], 1, "has no semantic field"),
        (["search", "INDEX", "cat"], 1, "has no semantic field"),
        (["search", "INDEX", ""], 2, "the query is empty"),
        (["search", "INDEX", "\x01\x02"], 2, "the query is empty"),
        (["search", "INDEX", "cat", "--mode", "sparse"], 2, "hybrid, knn, bm25"),
        (["search", "INDEX", "cat", "--size", "0"], 2, "between 1 and 10,000"),
        (["search", "INDEX", "cat", "--filter", "kind"], 2, "neither FIELD=VALUE nor a JSON"),
        (["search", "INDEX", "cat", "--filter", "{"], 2, "not JSON"),
        (["search", "INDEX"], 2, "Missing argument"),
        (["no-such-verb"], 2, "No such command"),
        (["--url", "ftp://x", "status", "INDEX"], 2, "must be an http:// or https:// URL"),
        (["--config", "no-such.yml", "status", "INDEX"], 2, "no-such.yml"),
    ],
)
def test_wrong_use_and_failures(cli: Cli, index: str, arguments: list[str], code: int, said: str) -> None:
    ran = cli(*[index if argument == "INDEX" else argument for argument in arguments])
    assert ran.code == code
    assert said in ran.err
    assert ran.out == ""


def test_errors_are_json_too_when_json_is_asked_for(cli: Cli) -> None:
    ran = cli("status", "no-such-index", "--json")
    assert ran.code == 1
    assert ran.json["error"]["type"] == "IndexUnavailable"
    assert "no-such-index" in ran.json["error"]["what"]


def test_documents_that_are_hard_to_print(cli: Cli, client: Elasticsearch, make_index: MakeIndex) -> None:
    body = '{"title": "red \\\\[/usr/bin] [bold] :id: \\ud800", "count": 123456789012345678901234567890}'
    name = make_index({"title": TEXT}, dynamic=False)
    client.index(index=name, id="[/]", document=body, refresh=True)  # type: ignore[arg-type]
    cli("attach", name, "--fields", "title")
    cli("sync", name)
    found = cli("search", name, "red", "--json").json["hits"][0]
    assert found["id"] == "[/]"
    assert found["source"]["count"] == 123456789012345678901234567890
    assert found["source"]["title"] == "red \\[/usr/bin] [bold] :id: \ud800"
    table = cli("search", name, "red")
    assert table.code == 0
    assert "\\[/usr/bin] [bold] :id: ?" in table.out


def test_a_dry_run_prints_the_owner_s_own_words(cli: Cli, make_index: MakeIndex) -> None:
    name = make_index({"title": TEXT}, _meta={"note": "type:id:value [bold]"})
    assert '"note": "type:id:value [bold]"' in cli("attach", name, "--fields", "title", "--dry-run").out


@pytest.mark.parametrize(
    "arguments", [["sync", "--json"], ["search", "x", "--json", "--no-such"], ["status", "a\udcff", "--json"]]
)
def test_wrong_use_is_json_too(cli: Cli, arguments: list[str]) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.json["error"]["type"] == "UsageError"


def test_a_url_with_a_password_is_refused_without_showing_it(cli: Cli) -> None:
    ran = cli("--url", "http://elastic:s3cret@localhost:9200", "doctor", "--json")
    assert ran.code == 2
    assert "must not carry a user name or password" in ran.err
    assert "s3cret" not in ran.out + ran.err


def test_dead_letters_are_exit_code_3(cli: Cli, client: Elasticsearch, make_index: MakeIndex) -> None:
    documents = {"1": {"title": "fine"}, "2": {"title": "written before `count` was mapped", "count": "many"}}
    name = make_index({"title": TEXT}, documents=documents, dynamic=False)
    client.indices.put_mapping(index=name, properties={"count": {"type": "integer"}})
    cli("attach", name, "--fields", "title")
    ran = cli("sync", name, "--json")
    assert ran.code == 3
    assert (ran.json["embedded"], ran.json["failed"]) == (1, 1)
    failure = ran.json["failures"][0]
    assert failure["id"] == "2"
    assert "failed to parse field [count]" in failure["reason"]
    state = cli("status", name, "--json").json
    assert (state["ready"], state["pending"], state["failed"]) == (1, 1, 0)
    assert f"could not be embedded, 1 in all: es-semantic failures {name}" in cli("sync", name).err
    ran = cli("failures", name)
    assert (ran.code, "failed to parse field [count]" in ran.out) == (0, True)


def test_a_document_nested_as_deep_as_elasticsearch_takes_it(
    cli: Cli, client: Elasticsearch, make_index: MakeIndex
) -> None:
    name = make_index({"title": TEXT}, documents={"1": {"title": "shallow"}})
    deep = '{"title": ' + "[" * 990 + '"deep"' + "]" * 990 + "}"
    client.index(index=name, id="2", document=deep)  # type: ignore[arg-type]
    cli("attach", name, "--fields", "title")
    ran = cli("sync", name, "--json")
    assert (ran.code, ran.json["embedded"]) == (0, 2)


def test_up_with_a_configured_url_says_so(cli: Cli, node_url: str) -> None:
    answer = cli("up", "--json").json
    assert (answer["url"], answer["how"]) == (node_url, "configured")
    assert answer["version"].count(".") == 2


def test_doctor(cli: Cli, node_url: str) -> None:
    ran = cli("doctor", "--json")
    assert ran.code == 0
    findings = {finding["what"]: finding for finding in ran.json["findings"]}
    assert findings["Elasticsearch"]["ok"] is True
    assert node_url in findings["Elasticsearch"]["detail"]
    assert "sentence-transformers" in cli("doctor").out


def test_doctor_where_nothing_answers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_SEMANTIC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ES_SEMANTIC_API_KEY", "very-secret-key")
    ran = cli("doctor")
    assert ran.code == 1
    assert "no Elasticsearch answers" in ran.out
    assert "very-secret-key" not in ran.out + ran.err


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out.strip() == metadata.version("es-semantic")
    assert cli("--verbose").code == 2


def test_a_search_before_sync_says_what_is_missing(cli: Cli, index: str) -> None:
    cli("attach", index, "--fields", "title")
    ran = cli("search", index, "cat", "--mode", "knn")
    assert "no hits" in ran.out
    assert f"es-semantic sync {index}" in ran.err


def test_a_wrong_filter_is_wrong_use(cli: Cli, index: str) -> None:
    cli("attach", index, "--fields", "title")
    ran = cli("search", index, "cat", "--mode", "bm25", "--filter", '{"trem": {"kind": "food"}}')
    assert ran.code == 2
    assert "unknown query [trem]" in ran.err


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("es-semantic")
    ran = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    for verb in ("up", "down", "doctor", "attach", "detach", "sync", "status", "search", "demo"):
        assert verb in ran.stdout
