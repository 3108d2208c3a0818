"""What every benchmark shares: taking turns, texts, and the report.

A ratio is only worth something if both sides saw the same machine in the same minutes. So candidates take turns, and
what counts is the median of each.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from es_semantic.demo.pydocs import collect

DATASETS = Path(__file__).parents[2] / "shared" / "datasets"
"""Judged collections, where the machine has them: one folder each, with BEIR's ``corpus.jsonl``."""

VERSIONS = (
    "elasticsearch",
    "numpy",
    "sentence-transformers",
    "torch",
    "transformers",
    "openvino",
    "nncf",
)


@dataclass(frozen=True, slots=True)
class Rows:
    """A table for people: the names of its ``columns`` and the cells of its ``rows``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def alternate(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run the candidates in turn, ``rounds`` times, and return what each measured, in the order of the rounds.

    Each candidate returns the number that it took itself, such as seconds or documents a second. Every round starts
    with another candidate, so that none always runs after the same one.

    Raises:
        ValueError: no candidates, or fewer than one round.
    """
    if not candidates or rounds < 1:
        raise ValueError(f"{len(candidates)} candidates and {rounds} rounds: there must be at least one of each")
    names = list(candidates)
    values: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            values[name].append(candidates[name]())
    return values


def medians(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each candidate."""
    return {name: statistics.median(numbers) for name, numbers in values.items()}


def report(name: str, rows: Rows, ratios: Mapping[str, float], goals: Mapping[str, float]) -> None:
    """Print a table for people and, as the last line of stdout, one JSON object for programs.

    The object has the keys ``name``, ``ratios`` and ``goals`` (what → number) and ``machine``.
    """
    table = Table(*rows.columns, title=name)
    for row in rows.rows:
        table.add_row(*row)
    Console().print(table)
    result = {"name": name, "ratios": dict(ratios), "goals": dict(goals), "machine": machine()}
    print(json.dumps(result), flush=True)


def machine() -> dict[str, Any]:
    """Return what a number depends on: CPU, cores, memory in GiB, Python, system and library versions."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "os": platform.platform(),
        "versions": {name: version for name in VERSIONS if (version := _version(name))},
    }


def arguments(description: str, *, rounds: int = 3, **sizes: int) -> argparse.ArgumentParser:
    """Return a parser with ``--rounds``, ``--dataset``, ``--seed`` and one option of whole numbers per size.

    ``sizes`` maps a name to its default: ``texts=512`` makes ``--texts``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, default in sizes.items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=_positive, default=default, metavar="N", help=f"number of {name}")
    parser.add_argument("--rounds", type=_positive, default=rounds, metavar="N", help="turns of each candidate")
    parser.add_argument("--dataset", default="pydocs", help="pydocs, or the name of a folder in ../shared/datasets")
    parser.add_argument("--seed", type=int, default=1, help="which texts are drawn, and in what order")
    return parser


def texts(count: int, *, dataset: str = "pydocs", seed: int = 1, words: tuple[int, int] = (10, 160)) -> list[str]:
    """Return ``count`` passages, their lengths spread evenly from ``words[0]`` to ``words[1]`` words.

    ``pydocs`` is the documentation of this Python, so no file is needed; any other name is a folder in
    :data:`DATASETS`. The same arguments give the same passages on the same Python. The source is read again from its
    beginning when it is used up, with passages cut elsewhere.

    Raises:
        SystemExit: no such dataset, or it holds no text.
    """
    draw = random.Random(seed)
    sources = _pydocs() if dataset == "pydocs" else _corpus(dataset)
    draw.shuffle(sources)
    stream = [word for source in sources for word in source.split()]
    if not stream:
        raise SystemExit(f"dataset {dataset!r} holds no text")
    passages: list[str] = []
    at = 0
    while len(passages) < count:
        length = draw.randint(*words)
        passages.append(" ".join(stream[(at + i) % len(stream)] for i in range(length)))
        at += length
    return passages


def _pydocs() -> list[str]:
    return [f"{document['summary']} {document['body']}" for document in collect()]


def _corpus(dataset: str) -> list[str]:
    file = DATASETS / dataset / "corpus.jsonl"
    if not file.is_file():
        raise SystemExit(f"dataset {dataset!r}: there is no {file}")
    with file.open(encoding="utf-8") as lines:
        return [" ".join(filter(None, (d.get("title"), d["text"]))) for d in map(json.loads, lines)]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
