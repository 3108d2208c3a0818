"""A program of its own that turns files into Markdown, so that a hostile one can harm nothing but this process.

It imports nothing of es-semantic. On stdin it is given one request after the other, and answers on stdout: a line of
JSON (``{"kind": ".pdf", "size": 7}``; ``{"size": 9}`` or ``{"error": "..."}``), then as many bytes. Each file is
converted in a process of its own, forked once the libraries are loaded; where there is no fork, this process ends after
one file. The converters themselves are called, not markitdown's front: that would load plugins and fetch addresses.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import sysconfig
from collections.abc import Callable
from typing import IO, Any

LEASH = 10.0
"""Seconds after the time limit at which a conversion ends by itself, should the process that started it be gone."""

LARGEST_TEXT = 20_000_000
"""Characters of Markdown."""

REFUSED = (
    *("socket.", "subprocess.", "urllib.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill"),
    *("os.startfile", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "shutil.", "ftplib.", "smtplib.", "webbrowser."),
)
"""How audit events begin that no conversion needs (Python docs, "Audit events table")."""

WRITING = os.O_WRONLY | os.O_RDWR

Convert = Callable[[str, bytes], str]


class TooLong(Exception):
    """The Markdown has more characters than it may."""


def main() -> None:
    """Serve requests until stdin ends. Arguments: the time limit in seconds, the memory limit in bytes."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    convert = load()
    _answer(answers, {"ready": True})
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        data = sys.stdin.buffer.read(request["size"])
        if not hasattr(os, "fork"):
            _serve(convert, request["kind"], data, answers)
            return
        child = os.fork()
        if not child:
            _limit(seconds, memory)
            _serve(convert, request["kind"], data, answers)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            # There may be half an answer: whoever waits for it learns from the exit code that it is none.
            sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else 1)


def load() -> Convert:
    """Import the libraries, and return the function that turns a file of a kind into Markdown."""
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter, HtmlConverter, PdfConverter

    html = HtmlConverter()
    docx = DocxConverter()  # type: ignore[no-untyped-call]
    by_kind = {".pdf": PdfConverter(), ".docx": docx, ".html": html, ".htm": html}

    def convert(kind: str, data: bytes) -> str:
        found = by_kind[kind].convert(io.BytesIO(data), StreamInfo(extension=kind)).markdown
        return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in found.splitlines())).strip()

    return convert


def _serve(convert: Convert, kind: str, data: bytes, answers: IO[bytes]) -> None:
    sys.addaudithook(_guard())
    try:
        text = convert(kind, data)
        if len(text) > LARGEST_TEXT:
            raise TooLong
        answer = text.encode("utf-8", "replace")
    except BaseException as error:
        # Not its text, which may quote the file.
        _answer(answers, {"error": type(error).__name__})
    else:
        _answer(answers, {"size": len(answer)}, answer)


def _answer(answers: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    answers.write(json.dumps(head).encode() + b"\n" + body)
    answers.flush()


def _limit(seconds: float, memory: int) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds + LEASH)
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm", "rb") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _guard() -> Callable[[str, tuple[Any, ...]], None]:
    """Return what refuses network, programs, and all files but those that Python and its libraries consist of."""
    library = os.path.dirname(os.path.dirname(str(sys.modules["markitdown"].__file__)))
    own = {*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")), library}
    own |= {os.path.realpath(folder) for folder in own}

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int):
                return
            place = os.path.abspath(os.fsdecode(path))
            reads = not set(mode or "") & set("wax+") and not (flags or 0) & WRITING
            if not reads or not any(place.startswith(f"{folder}{os.sep}") for folder in own):
                raise PermissionError("no files")
        elif event.startswith(REFUSED):
            raise PermissionError(event)

    return guard


if __name__ == "__main__":
    main()
