"""Run notebooks by the interpreter that runs this, whatever kernels are installed, and keep their outputs.

``python notebooks/_execute.py notebooks/*.ipynb`` writes them back, without times of execution.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

LONGEST = 600
"""Seconds that a cell may take."""


def execute(notebook: nbformat.NotebookNode, folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run all cells in ``folder``, with ``env`` as the environment, by default this process's, and keep their outputs.

    Raises:
        CellExecutionError: a cell has raised; those after it were not run.
    """
    with tempfile.TemporaryDirectory(prefix="es-semantic-kernel-") as kernels:
        write_kernel_spec(str(Path(kernels) / "python3"))
        client = NotebookClient(
            notebook,
            timeout=LONGEST,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
        )
        # Not an argument, because the client would then leave the kernel running.
        client.km = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[kernels])
        )
        client.execute(**({} if env is None else {"env": dict(env)}))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        read = nbformat.read(path, as_version=4)
        execute(read, path.parent.resolve())
        nbformat.write(read, path)
