"""Files become text in a process of its own: what it reads, and what a hostile file cannot do."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from es_semantic.errors import MissingExtra
from es_semantic.ingest import convert, converter
from es_semantic.ingest.convert import Converters, decoded
from es_semantic.ingest.documents import Document, Unreadable

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def pdf(text: str) -> bytes:
    """A PDF of one page with one line."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    page = b"/MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R " + page + b" >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(places)
    return out + table + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)


def docx(*paragraphs: str, body: str = "", links: str = "") -> bytes:
    """A Word document of these paragraphs, the first as a heading, and of more XML."""
    texts = [f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs]
    if texts:
        texts[0] = texts[0].replace("<w:p>", '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>')
    styles = '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    types = (
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/>'
    )
    start = f'<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="word/document.xml"/>'
    own = f'<Relationship Id="s1" Type="{OFFICE}/styles" Target="styles.xml"/>{links}'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{start}</Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{own}</Relationships>',
        "word/styles.xml": f'<w:styles xmlns:w="{WORD}">{styles}</w:styles>',
        "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{"".join(texts)}{body}</w:body></w:document>',
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')
    return file.getvalue()


def document(kind: str, data: bytes) -> Document:
    return Document("1", "n", "s", "l", kind, data)


@pytest.fixture(scope="module")
def converters() -> Iterator[Converters]:
    with Converters() as every:
        yield every


def text(converters: Converters, kind: str, data: bytes) -> str:
    (found,) = converters.texts([document(kind, data)])
    return found if isinstance(found, str) else f"({found})"


def test_what_is_read(converters: Converters) -> None:
    html = b"<html><body><h1>Title</h1><script>bad()</script><ul><li>one</ul><p>d\xc3\xa9j\xc3\xa0</p></body></html>"
    assert text(converters, ".html", html) == "# Title\n\n* one\n\nd\u00e9j\u00e0"
    assert text(converters, ".htm", b'<meta charset="latin-1"><p>d\xe9j\xe0') == "d\u00e9j\u00e0"
    assert text(converters, ".pdf", pdf("Wombats dig burrows")) == "Wombats dig burrows"
    assert text(converters, ".docx", docx("Title", "First", "Second")) == "# Title\n\nFirst\n\nSecond"
    assert text(converters, ".md", "\ufeff# a\r\n\u00e9".encode()) == "# a\r\n\u00e9"
    assert text(converters, ".txt", "\u00e9".encode("utf-16")) == "\u00e9"


def test_what_cannot_be_read_is_said_without_a_word_of_it(converters: Converters) -> None:
    assert text(converters, ".pdf", b"%PDF-1.4 secret") == "(it cannot be read as PDF (PDFSyntaxError))"
    assert text(converters, ".pdf", pdf("secret")[:300]).startswith("(it cannot be read as PDF (")
    assert text(converters, ".docx", b"secret") == "(it cannot be read as DOCX (BadZipFile))"
    assert text(converters, ".pdf", pdf("")) == "(there is no text in it; is it a scan?)"
    assert text(converters, ".pdf", b"") == "(it cannot be read as PDF (PDFSyntaxError))"
    assert text(converters, ".txt", b"\xff\xfe\x00") == "(it is not UTF-8 text; save it as UTF-8)"
    assert text(converters, ".txt", b"d\xe9j\xe0") == "(it is not UTF-8 text; save it as UTF-8)"
    assert text(converters, ".md", b"a\0b") == "(it is not text: it holds bytes of zero)"


def test_many_at_once_keep_their_order(converters: Converters) -> None:
    wanted = [f"text {number}" for number in range(20)]
    some = [
        document(".html", f"<p>{each}</p>".encode()) if n % 3 else document(".md", each.encode())
        for n, each in enumerate(wanted)
    ]
    assert converters.texts(some) == wanted


def test_too_much_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "LARGEST_TEXT", 3)
    with pytest.raises(Unreadable, match="more than 3 characters"):
        decoded(b"text")


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    # Tags that never end take Python's HTML parser quadratic time: minutes for so many.
    endless = b"<p a" * 1_000_000
    with Converters(seconds=1) as converters:
        assert text(converters, ".html", b"<p>before</p>") == "before"
        process = converters._every[0]._process
        assert process is not None
        assert text(converters, ".html", endless) == "(reading it takes longer than 1 seconds)"
        assert process.returncode is not None
        assert text(converters, ".html", b"<p>after</p>") == "after"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to a limit of memory")
def test_a_bomb_is_given_up_and_the_next_is_read() -> None:
    bomb = docx(body=f"<w:p><w:r><w:t>{'x' * 300_000_000}</w:t></w:r></w:p>")
    assert len(bomb) < 1_000_000
    with Converters(memory=256 * 1024 * 1024) as converters:
        assert "reading it takes more than 256 MiB of memory" in text(converters, ".docx", bomb)
        assert text(converters, ".docx", docx("after")) == "# after"


def test_the_processes_end_with_the_block() -> None:
    with Converters() as converters:
        assert text(converters, ".html", b"<p>x</p>") == "x"
        process = converters._every[0]._process
        assert process is not None
        assert psutil.pid_exists(process.pid)
    assert process.returncode is not None
    assert text(converters, ".html", b"<p>x</p>") == "(the run was ended)"
    unused = Converters()
    unused.close()
    assert text(unused, ".html", b"<p>x</p>") == "(the run was ended)"


INTERRUPTED = """
import signal
# Whoever runs the tests in the background may have let them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from es_semantic.ingest.convert import Converters
from es_semantic.ingest.documents import Document
with Converters() as converters:
    converters.texts([Document("1", "n", "s", "l", ".html", b"<p>ready</p>")])
    print("ready", flush=True)
    converters.texts([Document("1", "n", "s", "l", ".html", b"<p a" * 1_000_000)])
"""


def test_ctrl_c_waits_for_no_file() -> None:
    running = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    started = psutil.Process(running.pid).children(recursive=True)
    assert started
    running.send_signal(signal.SIGINT)
    # Far less than the two minutes that a file may take.
    assert running.wait(timeout=60) != 0
    assert psutil.wait_procs(started, timeout=10)[1] == []


def test_the_process_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_SEMANTIC_API_KEY", "secret")
    with Converters() as own:
        text(own, ".html", b"x")
        process = own._every[0]._process
        assert process is not None
        assert not any(name.startswith(("ES_", "HF_")) for name in psutil.Process(process.pid).environ())


def test_the_library_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    convert.converter_version.cache_clear()
    with pytest.raises(MissingExtra, match="takes markitdown") as raised, Converters() as converters:
        converters.texts([document(".pdf", b"")])
    assert raised.value.hint == "pip install 'es-semantic[ingest]'"


GUARDED = """
import sys
sys.path.insert(0, sys.argv[1])
import converter
convert = converter.load()
sys.addaudithook(converter._guard())
import io, os, socket, subprocess, urllib.request
def refused(do):
    try:
        do()
    except PermissionError:
        return
    print("not refused:", do.__code__.co_firstlineno)
refused(lambda: open("/etc/passwd"))
refused(lambda: open(os.path.dirname(os.__file__) + "/../../../etc/passwd"))
refused(lambda: open(sys.argv[1] + "/converter.py"))
refused(lambda: open(os.__file__, "a"))
refused(lambda: os.open(os.__file__, os.O_RDWR))
refused(lambda: open("new", "w"))
refused(lambda: socket.socket())
refused(lambda: socket.getaddrinfo("localhost", 80))
refused(lambda: subprocess.run(["true"]))
refused(lambda: os.system("true"))
refused(lambda: os.fork())
refused(lambda: os.remove("new"))
refused(lambda: os.kill(os.getppid(), 0))
open(os.__file__).close()
print(convert(".html", b"<p>still reads</p>"))
"""


def test_a_conversion_has_no_network_no_programs_and_no_files(tmp_path: Path) -> None:
    folder = str(Path(converter.__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-c", GUARDED, folder], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.stdout, ran.returncode) == ("still reads\n", 0), ran.stderr
    assert os.listdir(tmp_path) == []


def test_what_a_document_refers_to_is_not_fetched(converters: Converters, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"SECRET")
    link = f'<Relationship Id="p1" Type="{OFFICE}/image" TargetMode="External" Target="{secret.as_uri()}"/>'
    drawing = (
        '<w:p><w:r><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing">'
        '<a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData>'
        '<pic:pic xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:blipFill>'
        f'<a:blip xmlns:r="{OFFICE}" r:link="p1"/></pic:blipFill></pic:pic></a:graphicData></a:graphic>'
        "</wp:inline></w:drawing></w:r></w:p>"
    )
    found = text(converters, ".docx", docx("Title", body=drawing, links=link))
    assert "U0VDUkVU" not in found
    assert "SECRET" not in found
