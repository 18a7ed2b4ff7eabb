"""Folders at URLs: what web servers cannot do is told, and so is a server that does not answer."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import tensorstore as ts

from lca_jax.errors import SettingsError, StoreError
from lca_jax.machine import folders
from lca_jax.machine.folders import list_files, open_folder, reaching, remove_subfolder, write_file
from lca_jax.machine.remote import write_object_at
from lca_jax.machine.urls import is_there, read_content
from lca_jax.store import lock
from lca_jax.store.lock import Heartbeat


class _Words(BaseHTTPRequestHandler):
    """Answers every request with the same text."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"words")

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - nothing is said
        pass


@contextmanager
def late_server(seconds: float) -> Iterator[str]:
    """The address of a server that refuses all connections, and after some seconds answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    servers = []

    def serve() -> None:
        time.sleep(seconds)
        servers.append(HTTPServer(("127.0.0.1", port), _Words))
        servers[0].serve_forever()

    thread = Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        while not servers:
            time.sleep(0.05)
        servers[0].shutdown()
        thread.join()
        servers[0].server_close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/z", "https://127.0.0.1:1/z"])
def test_a_web_server_is_no_folder(url: str) -> None:
    with pytest.raises(SettingsError, match=f"{url} is on a web server.*gs://"):
        open_folder(url)
    with pytest.raises(SettingsError, match=f"{url} is on a web server"):
        write_object_at(url, b"words")
    folder = open_folder(url, of_single_files=True)
    for does, told in (
        (lambda: list_files(folder), "cannot be listed or read so"),
        (lambda: write_file(folder, "a", b""), "cannot be written so"),
        (lambda: remove_subfolder(folder, "a/"), "cannot be written so"),
    ):
        with pytest.raises(StoreError, match=f"{url} is a place that {told}: .*does not support.*gs://"):
            does()


def test_a_server_that_does_not_answer_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folders, "SILENT_S", 0.3)
    with late_server(1.0) as address:
        readers = [Thread(target=read_content, args=(f"{address}/{name}",)) for name in "ab"]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert read_content(f"{address}/a") == b"words"
        assert is_there(f"{address}/a")
    [line] = [record for record in caplog.records if record.name == "lca_jax.machine.folders"]
    assert line.levelno == logging.WARNING
    assert line.getMessage().startswith(f"{address} has not answered for 0 s. A server that does not answer is asked")


def test_nothing_is_told_of_answers_on_a_disk_and_of_waiting_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folders, "SILENT_S", 0.1)
    monkeypatch.setattr(lock, "WATCH_S", 1.0)
    with reaching(open_folder(tmp_path)):
        time.sleep(0.3)
    bucket = ts.KvStore.open("memory://bucket/").result()
    write_file(bucket, "lock-0", b"{}")
    Heartbeat(bucket, "lock-0").release()
    assert not [record for record in caplog.records if record.name == "lca_jax.machine.folders"]
