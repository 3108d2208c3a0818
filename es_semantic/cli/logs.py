"""Log lines on stderr, for people or as JSON, without texts and secrets."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from es_semantic.masking import masked

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"

CLIENT = ("elastic_transport", "elasticsearch")
"""Loggers of Elasticsearch's client, with all below them."""

BODIES = "elastic_transport.node"
"""The client's logger of whole requests and responses, which are full of texts."""

ECS = {"levelname": "log.level", "name": "log.logger", "exc_info": "error.stack_trace"}
"""Names of the Elastic Common Schema (Elastic docs, "ECS field reference")."""

ECS_VERSION = "1.6.0"
"""The version that the specification of ECS loggers names; the fields above are in every later one."""

_QUERY_STRING = re.compile(r"\?\S*")


def configure(*, as_json: bool, verbose: bool) -> None:
    """Send all log records of this process to stderr, in place of any handlers before.

    Ours are shown from WARNING on, with ``as_json`` (a worker whose log is collected) from INFO on; those of libraries
    from ERROR on. ``verbose`` shows both from INFO on: one line per request to Elasticsearch. ``as_json`` writes one
    JSON object a line, with the names of the Elastic Common Schema and UTC times. Request and response bodies are never
    logged, whatever level a logger is set to.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else logging.Formatter(PLAIN))
    handler.addFilter(Discreet())
    logging.basicConfig(handlers=[handler], force=True, level=logging.INFO if verbose else logging.ERROR)
    logging.getLogger("es_semantic").setLevel(logging.INFO if as_json or verbose else logging.WARNING)
    # Switched off at the source: it does not hand its records on, but writes to handlers of its own.
    logging.getLogger(BODIES).disabled = True


class Discreet(logging.Filter):
    """Takes bodies and credentials out of a record: out of its message, traceback, stack and extra fields."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop the client's debugging; change any other record in place."""
        client = record.name.split(".")[0] in CLIENT
        if client and (record.levelno < logging.INFO or record.name == BODIES):
            return False
        message = _message(record)
        record.msg, record.args = masked(_first_part(message) if client else message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
        record.exc_text = masked(record.exc_text) if record.exc_text else None
        record.stack_info = masked(record.stack_info) if record.stack_info else None
        for name in record.__dict__.keys() - set(RESERVED_ATTRS) - {"taskName"}:
            record.__dict__[name] = _plain(name, record.__dict__[name])
        return True


class _Json(OrjsonFormatter):
    def __init__(self) -> None:
        static = {"ecs.version": ECS_VERSION}
        super().__init__(
            ["levelname", "name", "message"], rename_fields=ECS, static_fields=static, timestamp="@timestamp"
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        log_data["log.level"] = log_data["log.level"].lower()
        return log_data


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Arguments that do not fit their template; an exception here would reach whoever logs.
        return str(record.msg)


def _first_part(message: str) -> str:
    """The request line and its outcome: a body would follow on further lines or begin with a brace."""
    line = next(iter(message.splitlines()), "")
    return _QUERY_STRING.sub("?...", line.split("{", 1)[0]).rstrip()


def _plain(name: str, value: Any) -> Any:
    """A value that JSON has; a text is masked together with its name, which may call it a secret."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    text = value if isinstance(value, str) else repr(value)
    prefix = f"{name}="
    return masked(prefix + text).removeprefix(prefix)
