"""The documentation of Python's own standard library as plain documents, read from the running interpreter.

``python -m es_semantic.demo.pydocs`` writes them to stdout, one JSON object per line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from es_semantic.errors import EsSemanticError

TIMEOUT = 120.0
"""Seconds that reading the library may take; it takes about two."""

# Isolated and without site: no folder of the caller, no .pth file and no PYTHON* variable can shadow the library.
_COMMAND = [
    *(sys.executable, "-I", "-S", "-W", "ignore", "-X", "utf8", "-c"),
    # As a package of its own: without site the parent package could not import what it depends on.
    "import sys; sys.path.append(sys.argv[1]); from demo.harvest import write; sys.path.pop(); write()",
    str(Path(__file__).resolve().parents[1]),
]


def collect() -> list[dict[str, Any]]:
    """Return every public module, class, function, method and property that has a docstring, sorted by ``id``.

    Keys: ``id`` (full dotted name, unique; of builtins without the module: ``str.partition``), ``name``, ``kind``
    (``module``, ``class``, ``exception``, ``function``, ``method`` or ``property``), ``module``, ``qualname`` (empty
    for a module), ``signature`` (or None), ``summary`` (one line), ``body`` (may be empty) and, where the docstring
    states a version, ``since`` and ``deprecated``.

    The library is imported in a child process; this one imports nothing.

    Raises:
        EsSemanticError: the child failed or took longer than ``TIMEOUT`` seconds.
    """
    try:
        child = subprocess.run(_COMMAND, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=True)
    except subprocess.TimeoutExpired:
        raise EsSemanticError(f"reading Python's documentation took longer than {TIMEOUT:.0f} s") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise EsSemanticError(f"Python's documentation could not be read: {reason}") from None
    return [json.loads(line) for line in child.stdout.splitlines()]


def _main() -> None:
    for document in collect():
        print(json.dumps(document))


if __name__ == "__main__":
    _main()
