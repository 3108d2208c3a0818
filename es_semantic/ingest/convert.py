"""Files to text: text as it is, all else by a process of its own with limits of time and memory."""

from __future__ import annotations

import codecs
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata, util
from pathlib import Path
from types import TracebackType

from es_semantic.errors import MissingExtra
from es_semantic.ingest.converter import LARGEST_TEXT
from es_semantic.ingest.documents import Document, Unreadable
from es_semantic.ingest.files import CONVERTED

SECONDS = 120.0
"""For one file."""

MEMORY = 1024 * 1024 * 1024
"""Bytes for one file, beside what the libraries take. Only Linux holds a process to it."""

START = 300.0
"""Seconds in which the libraries must be loaded."""

ENDING = 5.0
"""Seconds in which a process ends that answers no more."""

MOST = 4
"""Files that are converted at once, where there are as many processors."""

ENDED = "the run was ended"

NAMES = {".pdf": "PDF", ".docx": "DOCX", ".html": "HTML", ".htm": "HTML"}

KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMPDIR")
"""Environment variables that the process is given: none of them a secret."""


@cache
def converter_version() -> str:
    """Return the version of the library that converts.

    Raises:
        MissingExtra: it is not installed.
    """
    if util.find_spec("markitdown") is None:
        raise MissingExtra("reading PDF, DOCX and HTML takes markitdown", hint="pip install 'es-semantic[ingest]'")
    return metadata.version("markitdown")


def decoded(data: bytes) -> str:
    """Return the text of a file: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        Unreadable: it is neither, or no text.
    """
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        raise Unreadable("it is not text: it holds bytes of zero")
    if len(text) > LARGEST_TEXT:
        raise Unreadable(f"it has more than {LARGEST_TEXT:,} characters")
    return text


class Converters:
    """Processes that convert files, started when first needed, and ended with the block."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._limits = (seconds, memory)
        self._idle: queue.SimpleQueue[Converter] = queue.SimpleQueue()
        self._every: list[Converter] = []
        self._closed = False
        self._lock = threading.Lock()

    def texts(self, documents: Sequence[Document]) -> list[str | Unreadable]:
        """Return the text of each document, or why there is none.

        Raises:
            MissingExtra: the library that converts is not installed.
        """
        pool = ThreadPoolExecutor(max_workers=min(MOST, os.cpu_count() or 1), thread_name_prefix="es-semantic-convert")
        try:
            return list(pool.map(self._text, documents))
        except BaseException:
            # Ctrl-C as well: nobody waits for files that take their whole time.
            self.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the processes, whatever they are doing; from then on none is started."""
        with self._lock:
            self._closed = True
        for converter in self._every:
            converter.close()

    def __enter__(self) -> Converters:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _text(self, document: Document) -> str | Unreadable:
        try:
            if document.kind not in CONVERTED:
                return decoded(document.data)
            converter_version()
            converter = self._next()
            try:
                return converter.convert(document.kind, document.data)
            finally:
                self._idle.put(converter)
        except Unreadable as error:
            return error

    def _next(self) -> Converter:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                if self._closed:
                    raise Unreadable(ENDED) from None
                converter = Converter(*self._limits)
                self._every.append(converter)
                return converter


class Converter:
    """One process that converts one file after the other."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def convert(self, kind: str, data: bytes) -> str:
        """Return a file as Markdown.

        Raises:
            Unreadable: it cannot be converted, or not within the limits.
            MissingExtra: a library is not installed.
        """
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        request = json.dumps({"kind": kind, "size": len(data)}).encode() + b"\n" + data
        answer = self._within(process, request, self._seconds)
        if answer is None:
            raise Unreadable(f"reading it takes longer than {self._seconds:g} seconds")
        head, body = answer
        if "error" in head:
            raise self._refused(kind, head["error"])
        text = body.decode()
        if not text.strip():
            raise Unreadable("there is no text in it; is it a scan?")
        return text

    def close(self) -> None:
        """End the process; from then on none is started."""
        with self._lock:
            self._closed = True
        if self._process is not None:
            _kill(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        program = str(Path(__file__).with_name("converter.py"))
        with self._lock:
            if self._closed:
                raise Unreadable(ENDED)
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", program, str(self._seconds), str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
                # Ctrl-C is for us, and whoever ends the group ends the process that converts as well.
                start_new_session=True,
            )
        try:
            ready = self._within(process, b"", START) is not None
        except Unreadable:
            ready = False
        if not ready and not self._closed:
            raise MissingExtra(
                "the libraries that read PDF, DOCX and HTML cannot be loaded",
                hint="pip install --upgrade 'es-semantic[ingest]'",
            )
        return process

    def _within(
        self, process: subprocess.Popen[bytes], request: bytes, seconds: float
    ) -> tuple[dict[str, object], bytes] | None:
        """Send a request and return the answer, None where there is none in time."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            head = json.loads(process.stdout.readline())
            body = process.stdout.read(head.get("size", 0))
            if len(body) < head.get("size", 0):
                raise EOFError
        except (OSError, ValueError, EOFError):
            if late.is_set():
                return None
            _end(process)
            raise Unreadable(f"the process that reads it has ended ({_ended(process)})") from None
        finally:
            timer.cancel()
        return head, body

    def _refused(self, kind: str, error: object) -> Exception:
        match error:
            case "MissingDependencyException":
                return MissingExtra(
                    f"a library that reads {NAMES[kind]} is missing", hint="pip install 'es-semantic[ingest]'"
                )
            case "MemoryError":
                return Unreadable(f"reading it takes more than {self._memory >> 20:,} MiB of memory")
            case "TooLong":
                return Unreadable(f"it has more than {LARGEST_TEXT:,} characters")
        return Unreadable(f"it cannot be read as {NAMES[kind]} ({error})")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a process that answers no more end as it would, for its exit code."""
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and the one it has forked; one that has ended has waited for its own."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _ended(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    number = -code if code < 0 else code - 128
    try:
        return f"by {signal.Signals(number).name}"
    except ValueError:
        return f"with exit code {code}"
