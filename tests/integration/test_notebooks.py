"""The notebooks: what is committed shows results, and each one, run on a real node, comes to what it says."""

from __future__ import annotations

import base64
import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from elasticsearch import Elasticsearch

from es_semantic.schema.control import CONTROL_INDEX
from tests.nodes import remove_everything

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 250_000
LARGEST_PLOT = 60_000
"""Bytes."""

ABSOLUTE_PATH = re.compile(r"(?<![\w.])(?:/(?:home|Users|root|tmp|usr|var|opt|work|private)/|[A-Z]:\\)")

FACTS: dict[str, dict[str, str]] = {
    "01-attach": {
        "embedded": "first.embedded",
        "failed": "first.failed",
        "requests": "[request.path for request in plan.requests]",
        "carried": "carried",
        "hybrid": "hybrid",
        "ready": "[state.ready for _, state in states]",
        "pending": "[state.pending for _, state in states]",
        "later": "[later.embedded, later.unchanged, later.failed]",
        "now": "now",
        "left": "[purged, left, settings.get('index.final_pipeline')]",
    },
    "02-keyword-knn-hybrid": {
        "means": "means",
        "metrics": "{mode: scores.metrics for mode, scores in judged.modes.items()}",
        "missing": "judged.missing.count",
        "gains": "{each.first + '-' + each.second: each.result.interval.low for each in paired}",
        "changes": "len(against_knn.wins) + len(against_knn.losses)",
    },
    "03-which-model": {
        "dims": "[model.dims for model in compared.models.values()]",
        "bytes": "[model.bytes_per_vector for model in compared.models.values()]",
        "speed": "[model.documents_per_second for model in compared.models.values()]",
        "knn": "[model.modes['knn'].metrics['ndcg@10'] for model in compared.models.values()]",
        "bm25": "bm25['ndcg@10']",
        "documents": "compared.documents",
        "differences": "{mode: each.result.difference for mode, each in paired.items()}",
        "overlap": "overlap",
        "gigabytes": "gigabytes",
    },
    "04-rag-context": {
        "tokens": "context.tokens",
        "cited": "[each.id for each in context.citations]",
        "exact": "exact",
        "prompt": "context.text in prompt and QUESTION in prompt",
        "faults": "[fault for _, fault in found]",
        "shares": "shares",
    },
    "05-change-the-model": {
        "queries": "len(asked)",
        "failed": "failed",
        "steps": "[name for name, *_ in steps]",
        "phases": "[state.phase for *_, state in steps]",
        "dims": "[state.serving.dims for *_, state in steps]",
        "before": "before",
        "switched": "switched",
        "back": "back",
        "again": "again",
        "pending": "list(pending.values())",
        "new": "[both.embedded, both.notes]",
        "ready": "[steps[-1][3].serving.ready, prepared.report.embedded]",
        "during": "sum(steps[0][1] <= at <= steps[-1][1] + steps[-1][2] for at, *_ in asked)",
    },
    "06-how-vectors-look": {
        "shape": "vectors.shape",
        "explained": "explained[:2].sum()",
        "kept": "list(kept.values())",
        "cosines": "[np.median(right), np.median(chance)]",
        "curves": "curves",
        "exact": "exact_recall",
    },
}
"""What each notebook has in hand at its end, as expressions over its variables."""


@pytest.fixture(scope="module")
def execute() -> Iterator[Callable[..., None]]:
    """What runs a notebook."""
    sys.path.insert(0, str(FOLDER))
    module: ModuleType = importlib.import_module("_execute")
    yield module.execute
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def env(node_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the kernels: none of the user's settings of IPython; bytecode, where it is not written beside
    the source, kept from one kernel to the next, because compiling torch anew takes longer than most notebooks."""
    given = {**os.environ, "ES_SEMANTIC_URL": node_url, "IPYTHONDIR": str(tmp_path_factory.mktemp("ipython"))}
    if given.pop("PYTHONDONTWRITEBYTECODE", ""):
        given["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("bytecode"))
    return given


@pytest.fixture
def index(client: Elasticsearch, unique: str) -> Iterator[str]:
    """The index that the notebook makes, and removes itself: it is gone, with its pipelines and checkpoints."""
    yield unique
    try:
        assert not client.indices.get(index=f"{unique}*").body
        assert not client.options(ignore_status=404).ingest.get_pipeline(id=f"es-semantic-{unique}*").body
        own = {"prefix": {"index": unique}}
        assert client.count(index=CONTROL_INDEX, query=own, ignore_unavailable=True)["count"] == 0
    finally:
        remove_everything(client, unique)


Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def run(execute: Callable[..., None], env: dict[str, str], index: str, tmp_path: Path) -> Run:
    """Run a notebook in a copy of its folder, and return its :data:`FACTS`."""

    def of(name: str) -> dict[str, Any]:
        folder = tmp_path / "notebooks"
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.ipynb", "__pycache__"))
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        wanted = kinds(notebook)
        facts = ", ".join(f"{key!r}: {expression}" for key, expression in FACTS[name].items())
        parameters = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
        notebook.cells.insert(parameters + 1, nbformat.v4.new_code_cell(f"INDEX = {index!r}"))
        asking = f"import json\n\nprint(json.dumps({{{facts}}}, default=float))"
        notebook.cells.append(nbformat.v4.new_code_cell(asking))
        execute(notebook, folder, env)
        told: dict[str, Any] = json.loads(notebook.cells.pop().outputs[0].text)
        del notebook.cells[parameters + 1]
        assert kinds(notebook) == wanted, "the committed outputs are not of this code: run notebooks/_execute.py"
        return told

    return of


def kinds(notebook: nbformat.NotebookNode) -> list[list[list[str]]]:
    """What each code cell shows, without warnings of this run."""
    return [
        [sorted(each.get("data", {"text": ""})) for each in cell.outputs if each.get("name") != "stderr"]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_six_and_the_readme_names_them() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(FACTS)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in readme for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_was_run_and_is_clean(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [each for each in outputs if each.output_type == "error" or each.get("name") == "stderr"]
    assert not ABSOLUTE_PATH.search(path.read_text(encoding="utf-8"))
    plots = [each.data["image/png"] for each in outputs if "image/png" in each.get("data", {})]
    assert all(len(base64.b64decode(plot)) < LARGEST_PLOT for plot in plots)
    assert plots or path.stem == "01-attach"
    assert any("text/markdown" in each.get("data", {}) for each in outputs)


def test_attach(run: Run, index: str) -> None:
    told = run("01-attach")
    documents = told["embedded"]
    assert documents > 500
    assert told["failed"] == 0
    assert {f"/{index}/_mapping", f"/_ingest/pipeline/es-semantic-{index}", f"/{index}/_settings"} <= {
        *told["requests"]
    }
    assert told["carried"]["status"] == "ready"
    assert "vector" not in told["carried"]
    assert told["hybrid"][0] == "functools.lru_cache"
    assert told["ready"] == [0, documents, documents, documents + 1]
    assert told["pending"] == [documents, 0, 1, 0]
    assert told["later"] == [2, 1, 0]
    assert told["now"] == {"a place for my automobile": "parking", "how long do I boil an egg": "time.sleep"}
    assert told["left"] == [documents + 1, 0, None]


def test_keyword_knn_and_hybrid(run: Run) -> None:
    told = run("02-keyword-knn-hybrid")
    names, words = told["means"]["name"], told["means"]["words"]
    assert told["missing"] == 0
    assert names["bm25"] > names["knn"]
    assert words["knn"] > words["bm25"] > 0
    assert told["gains"]["hybrid-bm25"] > 0
    assert all(metrics["recall@100"] > 0.7 for metrics in told["metrics"].values())
    assert told["changes"] > 2


def test_which_model(run: Run) -> None:
    told = run("03-which-model")
    assert told["dims"] == [384, 128]
    assert 0.25 < told["bytes"][1] / told["bytes"][0] < 0.4
    assert min(told["speed"]) > 0
    assert told["knn"][0] > told["knn"][1] > told["bm25"] > 0.3
    assert told["documents"] > 500
    assert told["differences"]["knn"] == pytest.approx(told["knn"][1] - told["knn"][0])
    assert 0.3 < told["overlap"]["knn"] < told["overlap"]["hybrid"] < 1
    assert list(told["gigabytes"].values()) == [pytest.approx(each / 100) for each in told["bytes"]]


def test_rag_context(run: Run) -> None:
    told = run("04-rag-context")
    assert 100 < told["tokens"] <= 400
    assert told["exact"]
    assert all(told["exact"])
    assert told["prompt"]
    assert told["cited"].index("shutil.copytree") == 1, "the answer written by hand cites it as [2]"
    assert told["faults"] == ["no passage [99] was given", "no citation"]
    for shares in told["shares"].values():
        assert 0 < shares[0] <= shares[-1] <= 1
    assert told["shares"]["hybrid"][-1] > told["shares"]["bm25"][-1]


def test_change_the_model(run: Run) -> None:
    told = run("05-change-the-model")
    assert told["failed"] == []
    assert told["queries"] >= told["during"] > 20
    assert told["steps"] == ["prepare", "compare", "switch", "roll back", "switch again", "sync a new document", "drop"]
    assert told["phases"] == ["ready", "ready", "switched", "ready", "switched", "switched", "none"]
    assert told["dims"] == [384, 384, 128, 384, 128, 128, 128]
    assert told["back"] == told["before"]
    assert told["again"] == told["switched"] != told["before"]
    assert told["pending"] == [0, 0]
    assert told["new"][0] == 1
    assert "1 embedded" in told["new"][1][-1]
    assert told["ready"][0] == told["ready"][1] + 1


def test_how_vectors_look(run: Run) -> None:
    told = run("06-how-vectors-look")
    assert told["shape"][0] > 500
    assert told["shape"][1] == 384
    assert 0.05 < told["explained"] < 0.5
    assert all(fewer < more for fewer, more in pairwise(told["kept"]))
    right, chance = told["cosines"]
    assert right > chance + 0.2
    curves = {label: list(zip(*points, strict=True)) for label, points in told["curves"].items()}
    assert min(curves["this index"][0]) > 0.98
    rescored, plain = curves["made up"], curves["made up, not scored again"]
    assert plain[0][0] < plain[0][-1] - 0.1
    assert rescored[0][0] > plain[0][0]
    assert rescored[0][-1] > 0.95
    assert all(fewer <= more for fewer, more in pairwise(rescored[2]))
    assert told["exact"] > 0.99
