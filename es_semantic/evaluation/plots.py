"""Draw what was measured, by matplotlib: PNG, or an HTML page that needs nothing else."""

from __future__ import annotations

import html
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from es_semantic.errors import MissingExtra, UsageError
from es_semantic.evaluation.candidates import share_of_knn
from es_semantic.evaluation.compare import ModelComparison
from es_semantic.evaluation.evaluate import Evaluation
from es_semantic.evaluation.metrics import INSTALL, METRICS, NDCG
from es_semantic.evaluation.searches import ModeScores
from es_semantic.evaluation.statistics import bootstrap
from es_semantic.evaluation.tune import Tuning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".html")

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#555555")
"""Told apart by colour-blind people too (Okabe and Ito, "Color Universal Design", 2008)."""

WIDTH = 9.0
HEIGHT = 3.6
"""Inches, of one chart."""

DPI = 130


def require_plot(path: Path | None) -> None:
    """Refuse before the work what could not be drawn after it.

    Raises:
        UsageError: the file is neither PNG nor HTML, or cannot be written.
        MissingExtra: matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: which format?", hint=f"The file must end in {' or '.join(FORMATS)}.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.absolute().parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise UsageError(f"--plot {path} cannot be written")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"plots need matplotlib: {error}", hint=INSTALL) from error


def evaluation_figure(found: Evaluation) -> Figure:
    """Draw the metrics of every mode with their intervals, the latency, and the gain of hybrid search by query."""
    figure, (metrics, latency, change) = _charts(3)
    _draw_metrics(metrics, found.modes)
    _draw_latency(latency, found.modes)
    hybrid = found.modes["hybrid"].per_query[NDCG]
    for leg, colour in zip(("bm25", "knn"), COLOURS, strict=False):
        values = found.modes[leg].per_query[NDCG]
        change.plot(sorted(hybrid[query] - value for query, value in values.items()), color=colour, label=leg)
    change.axhline(0, color="black", linewidth=0.6)
    _label(change, "nDCG@10 of hybrid minus that of a leg alone", "queries, worst to best")
    return figure


def comparison_figure(found: ModelComparison) -> Figure:
    """Draw the metrics of every model, where there are judgements, then speed and size."""
    judged = found.judged is not None
    figure, charts = _charts(3 if judged else 2)
    if judged:
        rows = {"bm25": found.bm25}
        for name, result in found.models.items():
            rows |= {f"{name}, {mode}": scores for mode, scores in result.modes.items() if mode != "bm25"}
        _draw_metrics(next(charts), rows)
    names = list(found.models)
    for axes, label, values in (
        (next(charts), "documents per second", [m.documents_per_second for m in found.models.values()]),
        (next(charts), "bytes per vector, graph included", [m.bytes_per_vector for m in found.models.values()]),
    ):
        axes.barh(names, [value or 0 for value in values], color=COLOURS[0])
        axes.set_title(label, loc="left")
    return figure


def tuning_figure(found: Tuning) -> Figure:
    """Draw nDCG@10 over the weight of the vector leg, a line for each way to fuse."""
    figure, (axes,) = _charts(1)
    lines: dict[str, list[tuple[float, float]]] = {}
    for tried in found.tried:
        ranking = tried.ranking
        if ranking.method == "auto":
            axes.axhline(tried.value, color="gray", linestyle=":", label="auto")
        else:
            how = f"rank_constant {ranking.rank_constant}" if ranking.method == "rrf" else ranking.normalizer
            lines.setdefault(f"{ranking.method}, {how}", []).append((share_of_knn(ranking), tried.value))
    for (label, points), colour in zip(lines.items(), cycle(COLOURS), strict=False):
        xs, ys = zip(*sorted(points), strict=True)
        axes.plot(xs, ys, color=colour, label=label, marker=".")
    axes.axhline(found.current.value, color="black", linestyle="--", label="in force before")
    _label(axes, "nDCG@10 on all queries", "weight of kNN, of 1 for both legs")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")
    return figure


def save(figure: Figure, path: Path, *, title: str, data: Mapping[str, Any]) -> None:
    """Write a PNG, or an HTML page with the chart and its numbers.

    Raises:
        UsageError: the file cannot be written.
    """
    figure.suptitle(title, x=0.01, ha="left")
    with warnings.catch_warnings():
        # A title may have characters that the font lacks, which then are boxes.
        warnings.filterwarnings("ignore", message="Glyph")
        _write(figure, path, title, data)


def page(svg: str, title: str, data: Mapping[str, Any]) -> str:
    """Return an HTML page that needs nothing else."""
    numbers = orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:15px sans-serif;margin:2em auto;max-width:62em}svg{width:100%;height:auto}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{svg[svg.index('<svg') :]}\n"
        f"<details><summary>Numbers</summary><pre>{html.escape(numbers)}</pre></details></body></html>\n"
    )


def _write(figure: Figure, path: Path, title: str, data: Mapping[str, Any]) -> None:
    import matplotlib

    try:
        if path.suffix.lower() == ".png":
            figure.savefig(path, dpi=DPI, format="png")
            return
        drawn = io.StringIO()
        # As text, not as outlines: so it can be searched and read aloud.
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            figure.savefig(drawn, format="svg")
        path.write_text(page(drawn.getvalue(), title, data), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--plot {path} cannot be written: {error.strerror or error}") from error


def _charts(count: int) -> tuple[Figure, Iterator[Axes]]:
    # Not pyplot, which keeps figures and may look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT * count), layout="constrained")
    return figure, iter(figure.subplots(count, 1, squeeze=False)[:, 0])


def _draw_metrics(axes: Axes, modes: Mapping[str, ModeScores]) -> None:
    width = 0.8 / len(modes)
    for number, ((mode, scores), colour) in enumerate(zip(modes.items(), cycle(COLOURS), strict=False)):
        places = [metric + (number - (len(modes) - 1) / 2) * width for metric in range(len(METRICS))]
        means = [scores.metrics[metric] for metric in METRICS]
        intervals = [bootstrap(list(scores.per_query[metric].values())) for metric in METRICS]
        low = [max(0.0, mean - each.low) for mean, each in zip(means, intervals, strict=True)]
        high = [max(0.0, each.high - mean) for mean, each in zip(means, intervals, strict=True)]
        axes.bar(
            places, means, width, yerr=[low, high], color=colour, label=mode, capsize=2, error_kw={"linewidth": 0.8}
        )
    axes.set_xticks(range(len(METRICS)), METRICS)
    _label(axes, "metrics, with their 95 % intervals", "")


def _draw_latency(axes: Axes, modes: Mapping[str, ModeScores]) -> None:
    keys = list(next(iter(modes.values())).latency)
    width = 0.8 / len(modes)
    for number, ((mode, scores), colour) in enumerate(zip(modes.items(), cycle(COLOURS), strict=False)):
        places = [key + (number - (len(modes) - 1) / 2) * width for key in range(len(keys))]
        axes.bar(places, [scores.latency[key] for key in keys], width, color=colour, label=mode)
    axes.set_xticks(range(len(keys)), [key.removesuffix("_ms") for key in keys])
    _label(axes, "milliseconds of a search, embedding apart", "")


def _label(axes: Axes, title: str, x: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.legend(frameon=False, fontsize="small")
