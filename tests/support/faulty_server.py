"""A web server that fails as real ones do: lost connections, wrong lengths, corrupt bytes."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class FaultyServer:
    """Serves ``files`` by path; each GET request uses up the first of ``faults``.

    Faults: ``cut N`` closes the connection after N bytes, ``long`` announces too many bytes and
    ``short`` too few, ``extra`` sends more bytes than the file has, ``whole`` ignores Range
    (``whole-cut N`` closes after N bytes as well), ``elsewhere`` answers with another range,
    ``flip`` corrupts a byte, ``no-length N`` sends no length and closes after N bytes, ``chunked``
    sends chunks, ``status N`` and ``status N after S`` answer with a status (and Retry-After).
    ``requests`` holds method, path and Range of each request; ``on_request`` is called before a
    file is sent.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.faults: list[str] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.on_request: Callable[[str], None] = lambda path: None
        self._lock = threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                owner._answer(self, body=False)

            def do_GET(self) -> None:
                owner._answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def ranges(self) -> list[str | None]:
        return [wanted for method, _, wanted in self.requests if method == "GET"]

    def _answer(self, handler: http.server.BaseHTTPRequestHandler, body: bool) -> None:
        path = handler.path.partition("?")[0].lstrip("/")
        wanted = handler.headers.get("Range")
        with self._lock:
            self.requests.append((handler.command, path, wanted))
            fault = self.faults.pop(0) if self.faults and body else ""
        if body:
            self.on_request(path)
        kind, *details = fault.split() or [""]
        if fault.startswith("status") or path not in self.files:
            handler.send_response(int(details[0]) if details else 404)
            if "after" in details:
                handler.send_header("Retry-After", details[-1])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        content = self.files[path]
        start = 0
        if wanted is not None and not kind.startswith("whole"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                handler.send_response(416)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            start = start // 2 if kind == "elsewhere" else start
        sent = content[start:]
        if kind == "flip":
            sent = bytes([sent[0] ^ 1]) + sent[1:]
        length = len(sent)
        if kind == "long":
            length += 100
        elif kind == "short":
            length //= 2
        elif kind == "extra":
            sent += b"more"
            length = len(sent)
        elif kind in ("cut", "no-length", "whole-cut"):
            sent = sent[: int(details[0])]
        if kind == "chunked":
            handler.protocol_version = "HTTP/1.1"
            handler.close_connection = True
        handler.send_response(206 if wanted is not None and not kind.startswith("whole") else 200)
        if wanted is not None and not kind.startswith("whole"):
            handler.send_header("Content-Range", f"bytes {start}-{start + length - 1}/*")
        if kind == "chunked":
            handler.send_header("Transfer-Encoding", "chunked")
            half = len(sent) // 2
            parts = (sent[:half], sent[half:], b"")
            sent = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
        elif kind != "no-length":
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if body:
            handler.wfile.write(sent)


@contextmanager
def faulty_server(files: dict[str, bytes]) -> Iterator[FaultyServer]:
    served = FaultyServer(files)
    thread = threading.Thread(target=served.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()
