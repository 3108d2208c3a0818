"""What engines import, print and send: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.small_models import small_model

ROOT = Path(__file__).resolve().parents[2]


QUIET = """
import logging, sys; logging.disable()
from es_semantic.config import SentenceTransformersModel
from es_semantic.embedding import load_embedder

def load(engine):
    return load_embedder(SentenceTransformersModel(engine=engine, name={small!r}, offline=True))

few = load("auto")
few.profile; few.embed_queries(["a"]); few.embed_documents(["a"] * 63)
assert not {{"openvino", "nncf"}} & set(sys.modules)
for embedder in (few, load("openvino-int8")):
    embedder.embed_documents(["a text"] * 64)
assert {{"openvino", "nncf"}} <= set(sys.modules)
assert sys.modules["openvino_telemetry"] is None
"""

# The sender starts a process per message: a send that is not stopped would appear here as a call. The program's own
# message, sent before, is the one that must appear.
IMPORTED_BEFORE = """
import logging; logging.disable()
import openvino, openvino.tools.ovc, openvino_telemetry
from openvino_telemetry.backend.backend_ga4 import GA4Backend
sent = []
GA4Backend.send = lambda self, message: sent.append(message)
openvino_telemetry.Telemetry("a", "1", "tid", "ga4", False).start_session("a")
from es_semantic.config import SentenceTransformersModel
from es_semantic.embedding import load_embedder
embedder = load_embedder(SentenceTransformersModel(engine="openvino", name={small!r}, offline=True))
embedder.embed_documents(["a text"] * 64)
openvino_telemetry.Telemetry().force_shutdown(1.0)
print(len(sent))
"""


CODES = (QUIET, IMPORTED_BEFORE)


@dataclass
class Ended:
    """A process, and its home folder."""

    code: int
    output: str
    errors: str
    home: Path


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Both processes, run at the same time with a small model."""
    small = small_model(tmp_path_factory.mktemp("small"), pooling="mean")
    started = {
        code: (_start(code.format(small=small), home := tmp_path_factory.mktemp("home")), home) for code in CODES
    }
    return {code: Ended(*_end(process), home) for code, (process, home) in started.items()}


def _start(code: str, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(home)}
    for name in ("CI", "TF_BUILD", "JENKINS_URL", "NNCF_CI", "NNCF_DEV"):
        environment.pop(name, None)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def test_few_texts_load_no_engine_nothing_is_printed_and_no_telemetry_file_is_made(ended: dict[str, Ended]) -> None:
    quiet = ended[QUIET]
    assert (quiet.output, quiet.errors, quiet.code) == ("", "", 0)
    assert [file for file in quiet.home.rglob("*") if "intel" in str(file)] == []


def test_nothing_is_sent_where_the_program_imported_openvino_before(ended: dict[str, Ended]) -> None:
    assert ended[IMPORTED_BEFORE].output == "1\n", ended[IMPORTED_BEFORE].errors
