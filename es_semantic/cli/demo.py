"""``es-semantic demo``"""

from __future__ import annotations

import textwrap

import typer
from elasticsearch import Elasticsearch
from rich.table import Table
from rich.text import Text

import es_semantic
from es_semantic.cli.options import Json
from es_semantic.cli.output import out, print_json, say, sync_progress
from es_semantic.cli.sync import print_report
from es_semantic.cli.up import find_or_start
from es_semantic.cluster.client import connect
from es_semantic.demo import index
from es_semantic.demo.pydocs import collect
from es_semantic.demo.questions import QUESTIONS
from es_semantic.retrieval.query import Mode
from es_semantic.retrieval.results import SearchResult

SHOWN = 3
TITLES: dict[Mode, str] = {"bm25": "BM25 (words)", "knn": "kNN (meaning)", "hybrid": "hybrid (both)"}

Answers = dict[Mode, SearchResult]


def demo(ctx: typer.Context, as_json: Json = False) -> None:
    """From a plain index of Python's documentation to hybrid answers, on a real Elasticsearch."""
    url, version, how = find_or_start(ctx.obj)
    say(f"1. Elasticsearch {version or ''} at {url} ({how})")
    client = connect(ctx.obj.config.connection, default_url=url)
    documents = collect()
    created = index.fill(client, documents)
    say(f"2. Plain index {index.INDEX}: {len(documents)} documents" + (f", {created} added" if created else ""))
    say(f"3. es-semantic attach {index.INDEX} --fields {','.join(index.FIELDS)}")
    change = es_semantic.attach(client, index.INDEX, list(index.FIELDS))
    for note in change.notes:
        say(f"   Note: {note}.")
    say(f"4. es-semantic sync {index.INDEX}")
    with sync_progress() as progress:
        report = es_semantic.sync(client, index.INDEX, progress=progress)
    if not as_json:
        print_report(report)
    say("5. Eight questions, three ways")
    answers = {question: ask(client, question) for question in QUESTIONS}
    if as_json:
        print_json({"url": url, "sync": report, "answers": answers})
        return
    out.print("Scores compare within a column only; “bm25 #4, knn #1” are a hit's ranks in the two legs.")
    for question, by_mode in answers.items():
        out.print(side_by_side(question, by_mode))
    print_next(url)


def ask(client: Elasticsearch, question: str) -> Answers:
    """Return the answers of every mode."""
    return {mode: es_semantic.search(client, index.INDEX, question, mode=mode, size=SHOWN) for mode in TITLES}


def side_by_side(question: str, answers: Answers) -> Table:
    """Return one question's answers, a column per mode: rank, name, score, summary; for hybrid the legs' ranks."""
    assert set(answers) == {"hybrid", "knn", "bm25"}
    grid = Table(title=f"“{question}”", title_justify="left", title_style="bold", expand=True, show_lines=True)
    grid.add_column("")
    for mode in TITLES:
        grid.add_column(TITLES[mode], ratio=1, overflow="fold")
    for rank in range(SHOWN):
        grid.add_row(str(rank + 1), *(cell(answers[mode], rank) for mode in TITLES))
    return grid


def cell(result: SearchResult, rank: int) -> Text:
    """Return one hit as a table cell."""
    if rank >= len(result.hits):
        return Text("-")
    hit = result.hits[rank]
    legs = "".join(f", {leg} #{place.rank}" for leg, place in hit.legs.items()) if result.mode == "hybrid" else ""
    summary = textwrap.shorten(str(hit.source.get("summary", "")), 110, placeholder=" ...")
    return Text.assemble((hit.id, "bold cyan"), (f"\n{hit.score:.3f}{legs}", "dim"), f"\n{summary}")


def print_next(url: str) -> None:
    """Tell what to type next."""
    out.print(
        "\nNext:\n"
        f'  your own question   es-semantic search {index.INDEX} "remove duplicates but keep the order"\n'
        "  your own index      es-semantic --url http://your-cluster:9200 attach INDEX --fields title,body\n"
        "                      es-semantic --url http://your-cluster:9200 sync INDEX\n"
        f"  undo                es-semantic detach {index.INDEX} --purge\n"
        "  stop                es-semantic down\n"
        f"(es-semantic is .venv/bin/es-semantic in a checkout; Elasticsearch answers at {url})",
        highlight=False,
        soft_wrap=True,
    )
