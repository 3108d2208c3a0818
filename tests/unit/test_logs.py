"""What a process writes to stderr once its logs are configured; each test looks at a process of its own."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from es_semantic.cli.logs import Discreet

ROOT = Path(__file__).parents[2]
SECRET = "Q7xSecret0123456789"
TEXT = "the text of a document"

BEGIN = f"""
import logging, sys
from es_semantic.cli.logs import configure
SECRET, TEXT = {SECRET!r}, {TEXT!r}
"""


def logged(script: str, *, as_json: bool = False, verbose: bool = False) -> list[str]:
    """The lines on stderr of a process that configures its logs and runs the script."""
    configured = f"{BEGIN}\nconfigure(as_json={as_json}, verbose={verbose})\n{script}"
    ended = subprocess.run([sys.executable, "-c", configured], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def records(script: str, *, verbose: bool = False) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in logged(script, as_json=True, verbose=verbose)]


LEVELS = """
for as_json, verbose in ((False, False), (True, False), (False, True), (True, True)):
    configure(as_json=as_json, verbose=verbose)
    print(as_json, verbose, file=sys.stderr)
    for name in ("es_semantic.sync", "elastic_transport.transport", "httpx"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(level, "%s", level)
"""


def test_what_is_shown() -> None:
    shown: dict[str, list[str]] = {}
    for line in logged(LEVELS):
        if line.startswith(("True", "False")):
            lines = shown.setdefault(line, [])
        else:
            lines.append(line)
    names = ("es_semantic.sync", "elastic_transport.transport", "httpx")
    counts = {mode: [sum(name in line for line in lines) for name in names] for mode, lines in shown.items()}
    assert counts == {
        "False False": [2, 1, 1],
        "True False": [3, 1, 1],
        "False True": [3, 3, 3],
        "True True": [3, 3, 3],
    }


def test_json_lines_speak_ecs() -> None:
    (record,) = records('logging.getLogger("es_semantic").info("wrote %d", 5, extra={"index": "articles", "n": 2})')
    assert record.pop("@timestamp").endswith("+00:00")
    assert record == {
        "log.level": "info",
        "log.logger": "es_semantic",
        "message": "wrote 5",
        "ecs.version": "1.6.0",
        "index": "articles",
        "n": 2,
    }


def test_plain_lines_are_readable() -> None:
    (line,) = logged('logging.getLogger("es_semantic").warning("wrote %d", 5)')
    assert line.endswith(" WARNING es_semantic: wrote 5")


def test_what_cannot_be_written_harms_nobody() -> None:
    script = """
log = logging.getLogger("es_semantic")
log.warning("lone \\ud800", extra={"big": 2**80, "thing": object(), "lone": "\\ud800", "path": b"x"})
log.warning("too few %s %s", "a")
log.warning({"a": "mapping"})
"""
    first, second, third = records(script)
    assert (first["message"], first["big"], first["lone"]) == ("lone ?", str(2**80), "?")
    assert second["message"] == "too few %s %s"
    assert third["message"] == "{'a': 'mapping'}"


TRACEBACK = """
log = logging.getLogger("es_semantic")
try:
    try:
        raise ValueError(f"cannot reach http://elastic:{SECRET}@host")
    except ValueError as error:
        raise KeyError(f"Authorization: ApiKey {SECRET}") from error
except KeyError:
    extra = {"password": SECRET, "note": f"Basic {SECRET}"}
    log.exception("failed with api_key=%s", SECRET, stack_info=True, extra=extra)
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_no_credential_is_shown(as_json: bool) -> None:
    shown = "\n".join(logged(TRACEBACK, as_json=as_json))
    assert SECRET not in shown
    assert "failed with api_key=[masked]" in shown
    assert "http://[masked]@host" in shown
    assert "Traceback" in shown
    if as_json:
        (record,) = map(orjson.loads, shown.splitlines())
        assert record["password"] == "[masked]"
        assert record["error.stack_trace"].count("Traceback") == 2


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
@pytest.mark.parametrize("name", ["elastic_transport", "elastic_transport.node", "elastic_transport.transport"])
@pytest.mark.parametrize("form", ['> POST /_bulk HTTP/1.1\n> {"title": "TEXT"}', 'POST /_bulk {"title": "TEXT"}'])
def test_a_body_of_the_client_is_never_shown(level: int, name: str, form: str) -> None:
    record = logging.LogRecord(name, level, "", 0, "%s", (form.replace("TEXT", TEXT),), None)
    if Discreet().filter(record):
        assert TEXT not in record.getMessage()
        assert "POST /_bulk" in record.getMessage()
    else:
        assert level < logging.INFO or name.endswith(".node")


REQUESTS = """
import elastic_transport
from elasticsearch import Elasticsearch
WHEN
client = Elasticsearch("http://127.0.0.1:9", basic_auth=("elastic", SECRET), max_retries=1)
for logger in ("elastic_transport", "elastic_transport.node", "elastic_transport.transport", "elasticsearch"):
    logging.getLogger(logger).setLevel(logging.DEBUG)
try:
    client.index(index="articles", document={"title": TEXT})
except Exception:
    logging.getLogger("es_semantic").exception("no answer")
"""


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("debugging", ["", "elastic_transport.debug_logging()"])
def test_the_client_at_debug_shows_no_text(as_json: bool, debugging: str) -> None:
    """Nothing answers at the port: the client still logs the whole request, were it let."""
    lines = logged(REQUESTS.replace("WHEN", debugging), as_json=as_json, verbose=True)
    shown = "\n".join(lines)
    assert TEXT not in shown
    assert SECRET not in shown
    assert "POST http://127.0.0.1:9/articles/_doc" in shown
    assert "no answer" in shown


def test_without_the_configuration_the_client_would_show_it() -> None:
    """So that the test above cannot pass because the client has stopped logging bodies."""
    script = BEGIN + REQUESTS.replace("WHEN", "elastic_transport.debug_logging()")
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert TEXT in ended.stderr
