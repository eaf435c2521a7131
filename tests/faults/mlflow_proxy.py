"""A proxy in front of an MLflow server that can be made to misbehave."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.faults.mlflow_server import free_port

Mode = Literal[
    "healthy", "refuse", "500", "429", "hang", "drop", "html", "list", "wrong shape", "empty",
    "slow uploads", "echo",
]  # fmt: skip
BAD_MODES: tuple[Mode, ...] = (
    "refuse", "500", "429", "hang", "drop", "html", "list", "wrong shape", "empty",
)  # fmt: skip
NONSENSE = {
    "html": ("text/html", b"<html><body>Please log in</body></html>"),
    "list": ("application/json", b"[]"),
    "wrong shape": ("application/json", b'{"run": 7}'),
    "empty": ("application/json", b"{}"),
}
LONGEST_HANG_S = 60.0
SLOW_S = 3.0


class MlflowProxy:
    """Listens on its port and forwards requests to `upstream`, or misbehaves as `mode` says.

    A hanging request is forwarded when the mode changes: it takes effect, though the client has
    disconnected and gets no answer. `authorizations` collects the Authorization headers.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream, self.port = upstream, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.authorizations: set[str] = set()
        self._mode: Mode = "healthy"
        self._changed = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._open()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = threading.Event()
        if mode == "refuse":
            self.close()
        else:
            self._open()

    def hold(self) -> None:
        """Wait until the mode changes, at most a minute."""
        self._changed.wait(LONGEST_HANG_S)

    def _open(self) -> None:
        if self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
            self._server.daemon_threads = True
            threading.Thread(
                target=self._server.serve_forever, args=(0.02,), daemon=True, name="proxy"
            ).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.socket.close()  # `server_close` would wait for hanging requests
            self._server = None


@contextlib.contextmanager
def mlflow_proxy(upstream: int) -> Iterator[MlflowProxy]:
    """Yield a proxy that is closed at the end of the block."""
    proxy = MlflowProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.mode = "refuse"


def _handler(proxy: MlflowProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            proxy.authorizations.add(self.headers.get("Authorization", ""))
            mode = proxy.mode
            if mode == "hang":
                proxy.hold()
            if mode == "slow uploads" and self.command == "PUT":
                time.sleep(SLOW_S)
            if mode == "500":
                self._answer(500, "text/plain", b"Internal Server Error")
            elif mode == "echo":
                self._answer(400, "text/plain", f"You sent: {self.headers}".encode())
            elif mode == "429":
                self._answer(429, "text/plain", b"slow down", {"Retry-After": "3600"})
            elif mode in NONSENSE:
                self._answer(200, *NONSENSE[mode])
            else:
                self._forward(body, half=mode == "drop")

        def _forward(self, body: bytes, *, half: bool) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=60)
            try:
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except OSError:
                self._answer(502, "text/plain", b"Bad Gateway")
                return
            finally:
                connection.close()
            kind = answer.headers.get("Content-Type", "application/json")
            self._answer(answer.status, kind, content, half=half)

        def _answer(
            self,
            status: int,
            kind: str,
            content: bytes,
            more: dict[str, str] | None = None,
            *,
            half: bool = False,
        ) -> None:
            with contextlib.suppress(OSError):  # the client has disconnected
                self.send_response(status)
                for name, value in {"Content-Type": kind, **(more or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(max(len(content), 2 * half)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if half else content)
                if half:
                    self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

    return Handler
