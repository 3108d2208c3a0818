from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from es_semantic.cluster.node.distribution import Distribution, inspect, major_minor, provide
from es_semantic.errors import NodeError

JAR, LAUNCHER = "lib/elasticsearch-9.4.3.jar", "lib/tools/server-launcher/server-launcher-9.4.3.jar"
NOISE = bytes(i * i % 251 for i in range(300_000))
MEMBERS = {f"elasticsearch-9.4.3/{name}": NOISE for name in (JAR, LAUNCHER)}


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def make_folder(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


class ArchiveServer(ThreadingHTTPServer):
    """Serves one file with ranges; can break off, change the file, or refuse."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), ArchiveHandler)
        self.content = content
        self.etag = '"one"'
        self.break_after: list[int] = []
        self.status = 0
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/elasticsearch-9.4.3.tar.gz"


class ArchiveHandler(BaseHTTPRequestHandler):
    server: ArchiveServer

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers["Range"]
        server.ranges.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        resumed = asked is not None and self.headers["If-Range"] == server.etag
        body = server.content[int(asked[6:-1]) :] if resumed else server.content
        self.send_response(206 if resumed else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[: server.break_after.pop(0)] if server.break_after else body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    archive = make_tar(tmp_path / "served.tar.gz", MEMBERS)
    with ArchiveServer(archive.read_bytes()) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "es", JAR, LAUNCHER, "lib/elasticsearch-core-9.4.3.jar")
    assert provide(str(folder), cache=tmp_path / "cache", report=print) == Distribution(folder, "9.4.3")
    assert not (tmp_path / "cache").exists()


def test_an_older_version_has_another_launcher(tmp_path: Path) -> None:
    old = inspect(
        make_folder(tmp_path / "old", "lib/elasticsearch-8.14.1.jar", "lib/cli-launcher/cli-launcher-8.14.1.jar")
    )
    assert (old.version, old.has_server_launcher) == ("8.14.1", False)
    new = inspect(make_folder(tmp_path / "new", JAR, LAUNCHER, "lib/cli-launcher/cli-launcher-9.4.3.jar"))
    assert (new.version, new.has_server_launcher) == ("9.4.3", True)


def test_a_distribution_without_a_launcher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"neither .* nor ") as caught:
        inspect(make_folder(tmp_path / "es", "lib/elasticsearch-8.16.1.jar"))
    assert "8.16.1" in caught.value.what


@pytest.mark.parametrize("version", ["7.17.29", "8.13.4"])
def test_a_version_that_is_too_old_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(NodeError, match=r"needs 8\.14 or newer") as caught:
        inspect(make_folder(tmp_path / "es", f"lib/elasticsearch-{version}.jar", "lib/cli-launcher/cli-launcher-1.jar"))
    assert version in caught.value.what


@pytest.mark.parametrize(
    ("version", "expected"), [("8.14.1", (8, 14)), ("9.5.0-SNAPSHOT", (9, 5)), ("10.0", (10, 0)), ("9", (9, 0))]
)
def test_the_major_and_minor_part_of_a_version(version: str, expected: tuple[int, int]) -> None:
    assert major_minor(version) == expected


@pytest.mark.parametrize("setting", ["missing", "empty", "notes.txt"])
def test_what_is_no_elasticsearch_is_refused(tmp_path: Path, setting: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(NodeError, match=r"holds no Elasticsearch|neither a folder nor an archive"):
        provide(str(tmp_path / setting), cache=tmp_path / "cache", report=print)


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "elasticsearch-9.4.3.tar.gz", MEMBERS)
    lines: list[str] = []
    first = provide(str(archive), cache=tmp_path / "cache", report=lines.append)
    second = provide(str(archive), cache=tmp_path / "cache", report=lines.append)
    assert first == second
    assert first.version == "9.4.3"
    assert lines == ["Unpacking elasticsearch-9.4.3.tar.gz"]


def test_another_file_of_the_same_name_is_unpacked_anew(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "es.tar.gz", MEMBERS)
    first = provide(str(archive), cache=tmp_path / "cache", report=print)
    make_tar(archive, {name.replace("9.4.3", "9.5.0"): b"" for name in MEMBERS})
    assert provide(str(archive), cache=tmp_path / "cache", report=print).version == "9.5.0"
    assert first.path.is_dir()


def test_a_url_is_downloaded_once_and_the_archive_is_not_kept(tmp_path: Path, server: ArchiveServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: provide(server.url, cache=tmp_path / "cache", report=print), range(4)))
    assert len(found) == 1
    assert len(server.ranges) == 1
    assert not list(tmp_path.glob("cache/**/*.tar.gz*"))


def test_a_broken_download_goes_on_where_it_ended(tmp_path: Path, server: ArchiveServer) -> None:
    server.break_after = [1000, 500]
    assert provide(server.url, cache=tmp_path / "cache", report=print).version == "9.4.3"
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_file_that_changed_meanwhile_is_downloaded_from_its_start(tmp_path: Path, server: ArchiveServer) -> None:
    server.break_after = [1000]
    server.etag = '"two"'
    part = next_part(tmp_path, server)
    part.write_bytes(b"old" * 100)
    part.with_name(part.name + ".validator").write_text('"one"')
    assert provide(server.url, cache=tmp_path / "cache", report=print).version == "9.4.3"
    assert server.ranges == ["bytes=300-", "bytes=1000-"]


def next_part(tmp_path: Path, server: ArchiveServer) -> Path:
    """Let a download fail, to learn where its part lies."""
    server.status = 503
    with pytest.raises(NodeError):
        provide(server.url, cache=tmp_path / "cache", report=print)
    server.status = 0
    server.ranges.clear()
    (lock,) = tmp_path.glob("cache/distributions/*.lock")
    return lock.with_name(lock.name.removesuffix(".lock") + ".tar.gz.part")


def test_a_refused_download_is_not_tried_again_and_shows_no_secret(tmp_path: Path, server: ArchiveServer) -> None:
    server.status = 404
    url = server.url.replace("http://", "http://me:hunter2@") + "?token=hunter2"
    with pytest.raises(NodeError, match="HTTP 404") as caught:
        provide(url, cache=tmp_path / "cache", report=print)
    assert "hunter2" not in str(caught.value)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/page.html", "http://[bad/es.zip", "http://host:port/es.zip"])
def test_a_url_of_no_archive_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(NodeError, match=r"does not look like an archive|not a valid URL"):
        provide(url, cache=tmp_path, report=print)
