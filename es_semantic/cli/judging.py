"""What eval, compare and tune share: their options, their progress and their tables."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from es_semantic.cli.output import LINE_EVERY, err, out, print_json, say, table
from es_semantic.config.languages import ANALYZERS
from es_semantic.errors import UsageError
from es_semantic.evaluation.evaluate import Comparison
from es_semantic.evaluation.judgements import LeftOut
from es_semantic.evaluation.lists import AnnRecall, Missing
from es_semantic.evaluation.metrics import METRICS, NDCG
from es_semantic.evaluation.plots import save
from es_semantic.evaluation.scratch import DEFAULT_ANALYZER
from es_semantic.evaluation.searches import ModeScores
from es_semantic.evaluation.statistics import Interval
from es_semantic.evaluation.watch import Watch
from es_semantic.schema.analysis import require_language

SHOWN = {NDCG: "nDCG@10", "recall@100": "recall@100", "mrr@10": "MRR@10", "map": "MAP"}
LATENCY = ("p50_ms", "p95_ms", "p99_ms")
QUERY_WIDTH = 70

F = TypeVar("F", bound="Findings")

Dataset = Annotated[
    Path | None, typer.Option("--dataset", help="A BEIR folder: corpus.jsonl, queries.jsonl, qrels/NAME.tsv.")
]
JudgementsFile = Annotated[
    Path | None, typer.Option("--judgements", help="A CSV file with the columns query,id,grade; for an index.")
]
Qrels = Annotated[str, typer.Option("--qrels", help="Which file of the folder's qrels/.")]
Fields = Annotated[str | None, typer.Option("--fields", help="Fields of the BM25 leg, separated by commas.")]
Analyzer = Annotated[
    str | None,
    typer.Option("--analyzer", help="One of Elasticsearch's, for a folder's documents. Default: english."),
]
Language = Annotated[
    str | None, typer.Option("--language", help="Of a folder's documents, in the place of --analyzer: en, de, zh ...")
]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw it into a .png or .html file.")]


@contextmanager
def watched() -> Iterator[Watch]:
    """Show on stderr what is going on, and let SIGTERM end it as Ctrl-C does, so that scratch indices are removed."""
    with _sigterm_interrupts():
        if not err.is_terminal:
            yield _Lines()
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("loading", total=None)

            def show(what: str, done: int, total: int) -> None:
                progress.update(task, description=what, completed=done, total=total or None)

            yield show


class Findings(Protocol):
    """What a measurement has found."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...


def present(
    found: F, *, show: Callable[[F], None], figure: Callable[[F], Any], title: str, plot: Path | None, as_json: bool
) -> None:
    """Print what was found, as JSON or as ``show`` does, and draw it where a plot is wanted."""
    if as_json:
        print_json(found.as_json())
    else:
        show(found)
    if plot is not None:
        save(figure(found), plot, title=title, data=found.as_json())
        say(f"Drawn: {plot}")


def analyzer_of(analyzer: str | None, language: str | None) -> str:
    """Return the analyzer for a folder's documents.

    Raises:
        UsageError: both are given, or there is no such language.
    """
    if language is None:
        return analyzer or DEFAULT_ANALYZER
    if analyzer is not None:
        raise UsageError("--analyzer and --language say the same", hint="Give one of them.")
    return ANALYZERS[require_language(language)]


def mode_rows(modes: Mapping[str, ModeScores]) -> list[list[str]]:
    """Return a row for each mode: its metrics where there are any, and the percentiles of its latency."""
    return [
        [
            mode,
            *(f"{scores.metrics[metric]:.4f}" for metric in METRICS if metric in scores.metrics),
            *(f"{scores.latency[key]:.1f}" for key in LATENCY),
        ]
        for mode, scores in modes.items()
    ]


def mode_columns(modes: Mapping[str, ModeScores]) -> list[str]:
    """Return the headings of :func:`mode_rows`."""
    metrics = next(iter(modes.values())).metrics
    return [*(SHOWN[metric] for metric in METRICS if metric in metrics), *(key.replace("_", " ") for key in LATENCY)]


def print_comparisons(comparisons: Sequence[Comparison], *, title: str) -> None:
    """Print what the differences in nDCG@10 are worth."""
    shown = [each for each in comparisons if each.metric == NDCG]
    rows = [
        [
            f"{each.first} - {each.second}",
            f"{each.result.difference:+.4f}",
            interval(each.result.interval),
            p_value(each.result.p),
            str(each.result.wins),
            str(each.result.losses),
            str(each.result.ties),
        ]
        for each in shown
    ]
    columns = ("", "nDCG@10", "95 % interval", "p", "better", "worse", "equal")
    out.print(table(*columns, rows=rows, title=title))


def print_changes(comparison: Comparison) -> None:
    """Print the queries where the difference is greatest."""
    for word, changes in (("wins", comparison.wins), ("loses", comparison.losses)):
        if changes:
            rows = [
                [each.query_id, f"{each.second:.3f}", f"{each.first:.3f}", shortened(each.query)] for each in changes
            ]
            title = f"Where {comparison.first} {word} most against {comparison.second}, nDCG@10"
            out.print(table("query", comparison.second, comparison.first, "", rows=rows, title=title))


def say_what_is_missing(missing: Missing | None, left_out: LeftOut | None) -> None:
    """Warn of judgements that say nothing, or of documents that cannot be found."""
    if missing is not None and missing.count:
        named = ", ".join(missing.first) + (", ..." if missing.count > len(missing.first) else "")
        say(f"{missing.count} of {missing.judged} judged documents are not in the index and count as missed: {named}")
    if left_out is None:
        return
    if left_out.unknown:
        say(f"{len(left_out.unknown)} judged queries have no text and are left out: {', '.join(left_out.unknown[:5])}")
    if left_out.without_relevant:
        say(f"{left_out.without_relevant} queries have no relevant document and are left out.")
    if left_out.unjudged:
        say(f"{left_out.unjudged} queries are not judged and are left out.")


def ann_words(recall: AnnRecall | None) -> str:
    """Return the recall of the approximate leg in words."""
    if recall is None:
        return "ANN recall: not known, this cluster runs no exact searches (script_score)"
    return (
        f"ANN recall against exact kNN: {recall.at_10:.4f} of the first 10, {recall.at_100:.4f} of the first 100 "
        f"({recall.queries} queries)"
    )


def interval(of: Interval) -> str:
    """Return a confidence interval as text."""
    return f"{of.low:+.4f} to {of.high:+.4f}"


def p_value(p: float | None) -> str:
    """Return a p-value as text."""
    if p is None:
        return "-"
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def shortened(query: str) -> str:
    """Return a query in one line that fits a table."""
    line = " ".join(query.split())
    return line if len(line) <= QUERY_WIDTH else line[: QUERY_WIDTH - 1] + "…"


class _Lines:
    """A line where something new begins, and every ten seconds."""

    def __init__(self) -> None:
        self._what = ""
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        if what == self._what and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_EVERY
        self._what = what
        say(f"{what} ..." if not done else f"{what}: {done}" + (f" of {total}" if total else ""))


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
