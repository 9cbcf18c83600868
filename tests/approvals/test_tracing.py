"""Traces go to LangSmith, or to a collector of OpenTelemetry, without what a graph's author marked as secret."""

import gzip
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import zstandard

from agentcore.graphs import tracing
from agentcore.plain.masks import MASK, Mask
from tests.approvals.test_run_logs import kept, texts
from tests.console import Console, wait_for


class Receiver:
    """Where LangSmith's client and exporters of OpenTelemetry send to: it keeps each body, as plain bytes."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
                receiver.bodies.append((self.path, _unpacked(body, self.headers.get("Content-Encoding", ""))))
                self._answer()

            do_PATCH = do_POST

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                self.send_response(202 if self.command != "GET" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def _chunks(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return b""
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                return found

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def has(self, text: str, *, at: str = "") -> bool:
        return any(text.encode() in body for path, body in list(self.bodies) if at in path)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return gzip.decompress(body) if encoding == "gzip" else body


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.stop()


def test_a_secret_leaves_neither_for_langsmith_nor_for_opentelemetry(
    own_console: Callable[..., Console], receiver: Receiver
) -> None:
    sent = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": receiver.url, "LANGSMITH_API_KEY": "none"}
    exported = {"LANGSMITH_TRACING_MODE": "hybrid", "OTEL_EXPORTER_OTLP_ENDPOINT": f"{receiver.url}/otel"}
    traced = own_console(**sent, **exported, LOG_LEVEL="DEBUG").start()
    secret = "\n".join(f"canary-'é\\{uuid.uuid4().hex}" for _ in range(3))
    word = f"word-{uuid.uuid4().hex}"
    thread_id = traced.start_run("printing", {"word": word, "api_key": secret, "fails": True})
    found = kept(traced, thread_id)
    assert found["status"] == "failed"
    with traced.api("olga") as olga:
        olga.post(f"/runs/{found['id']}/retry").raise_for_status()
    found = kept(traced, thread_id, lambda found: found["status"] == "finished")
    assert f"{word} in detail" in texts(found), "LOG_LEVEL reaches the loggers of a graph"
    for path in ("/runs", "/otel"):
        wait_for(lambda path=path: receiver.has("I was told", at=path), what=f"what the model said, at {path}")  # type: ignore[misc]
    assert traced.stop() == 0
    for path in ("/runs", "/otel"):
        for told in (word, "was refused", MASK.encode().decode(), thread_id):
            assert receiver.has(told, at=path) or receiver.has(ascii(told)[1:-1], at=path), (path, told)
    leaks = [(path, body[max(0, body.find(b"canary-") - 200) :][:400]) for path, body in receiver.bodies]
    assert not receiver.has("canary-"), [each for each in leaks if b"canary-" in each[1]]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"input": {"key": "canary-1", "note": "of canary-1"}}, {"input": {"key": MASK, "note": f"of {MASK}"}}),
        ({"update": [["key", "canary-2"]]}, {"update": [["key", MASK]]}),
        ({"a": [{"account": {"token": "canary-3", "host": "h"}}]}, {"a": [{"account": {"token": MASK, "host": "h"}}]}),
        ({"error": "canary-0 was refused"}, {"error": f"{MASK} was refused"}),
        ({"key": "12"}, {"key": MASK}),
        ({"key": None, "n": 2**70}, {"key": None, "n": 2**70}),
    ],
)
def test_a_secret_is_found_wherever_a_state_lies_in_what_is_traced(told: Any, shown: Any) -> None:
    assert Mask(["key", "account.token"], {"key": "canary-0"}).everywhere(told) == shown


def test_what_is_traced_of_no_run_is_masked_by_the_paths_of_all_graphs() -> None:
    told, paths = {"input": {"key": "canary-1", "token": "canary-2"}}, ("key", "token")
    assert tracing._hidden(told, paths) == {"input": {"key": MASK, "token": MASK}}
    with tracing.masked_by(Mask(("key",))):
        assert tracing._hidden(told, paths) == {"input": {"key": MASK, "token": "canary-2"}}
    with tracing.masked_by(Mask(())):
        assert tracing._hidden(told, paths) is told, "a graph without secrets costs nothing"
