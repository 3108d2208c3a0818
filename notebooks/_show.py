"""Tables, as a notebook and a code host show them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

from IPython.display import Markdown

# Models are loaded without progress bars here, so a kernel needs no ipywidgets for them.
warnings.filterwarnings("ignore", message="IProgress not found")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Markdown:
    """Return a Markdown table; floats have three decimals."""
    cells = [[_cell(value) for value in row] for row in rows]
    head = [f"| {' | '.join(columns)} |", f"|{'|'.join('---' for _ in columns)}|"]
    return Markdown("\n".join([*head, *(f"| {' | '.join(row)} |" for row in cells)]))


def code(text: object) -> str:
    """Return a name as it stands in running text."""
    return f"`{text}`"


def _cell(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
