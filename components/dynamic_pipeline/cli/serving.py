"""`--serve`: what a run is like, for a browser and for Prometheus, while it goes on. It can be read, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socket import AF_INET6
from threading import Lock, Thread
from time import monotonic
from typing import Any, NamedTuple

from dynamic_pipeline.errors import UsageError

_FRESH_S = 5.0  # a page is made anew no more often
_PATIENCE_S = 5.0  # for a client that does not send what it began
_MOST_PORT = 65535
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1", "[::1]"}


class Pages(NamedTuple):
    """What is served, made when it is asked for."""

    page: Callable[[], bytes]
    status: Callable[[], dict[str, Any]]
    metrics: Callable[[], bytes] | None  # None: the library for them is not installed


class Server:
    """Listens at *address* from the beginning on; it never holds up the exit.

    Raises:
        UsageError: that is no address, or it is taken.
    """

    def __init__(self, address: str) -> None:
        host, port = parse_address(address)
        self.is_loopback = _is_loopback(host)
        kind = type("_Server6", (_Server,), {"address_family": AF_INET6}) if ":" in host else _Server
        try:
            self._server = kind((host, port), _Handler)
        except OSError as error:
            raise UsageError(f"--serve {address}: {error.strerror}") from None
        self._server.is_loopback = self.is_loopback
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_address[1]}/"
        serve = self._server.serve_forever
        Thread(target=serve, name="server", daemon=True, kwargs={"poll_interval": 60.0}).start()

    def begin(self, pages: Pages) -> None:
        """There is something to be seen now."""
        self._server.fresh = _Fresh(pages.page)
        self._server.pages = pages


class _Server(ThreadingHTTPServer):
    """A daemon thread for each request."""

    daemon_threads = True
    block_on_close = False
    is_loopback = True
    pages: Pages | None = None
    fresh: _Fresh

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE_S
    server_version, sys_version = "dynamic-pipeline", ""
    server: _Server

    def do_GET(self) -> None:
        pages = self.server.pages
        if self.server.is_loopback and not _is_ours(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this is not the host that was asked for")
        elif pages is None:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "the run has not begun")
        elif self.path == "/":
            self._answer_page()
        elif self.path == "/status.json":
            self._answer("application/json", json.dumps(pages.status()).encode() + b"\n")
        elif self.path == "/metrics" and pages.metrics is not None:
            self._answer("text/plain; version=0.0.4; charset=utf-8", pages.metrics())
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there are /, /status.json and /metrics")

    def _answer_page(self) -> None:
        try:
            page = self.server.fresh.get()
        except Exception as error:  # the journal may be busy, or gone: the next look tells
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, f"no page now: {type(error).__name__}")
        else:
            self._answer("text/html; charset=utf-8", page, refresh=True)

    def _answer(self, kind: str, body: bytes, *, refresh: bool = False) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if refresh:
            self.send_header("Refresh", f"{_FRESH_S:.0f}")
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self) -> None:
        self.send_response(HTTPStatus.METHOD_NOT_ALLOWED)
        self.send_header("Allow", "GET")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = _refuse  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's
        pass  # the log is the run's


class _Fresh:
    """A page that is made by one thread at a time, and not again within a few seconds."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._making = Lock()
        self._made, self._made_s = b"", float("-inf")

    def get(self) -> bytes:
        with self._making:
            if monotonic() - self._made_s >= _FRESH_S:
                self._made, self._made_s = self._make(), monotonic()
            return self._made


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `PORT`, of this machine.

    Raises:
        UsageError: neither.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= _MOST_PORT):
        raise UsageError(f"--serve {text}: it must be HOST:PORT or PORT, such as 127.0.0.1:8787")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_ours(host: str) -> bool:
    """A page of another site may have a name that leads here; it cannot have ours."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.lower() in _LOOPBACK_NAMES or _is_loopback(name.strip("[]"))
