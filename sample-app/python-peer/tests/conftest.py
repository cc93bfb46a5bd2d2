"""Real things to test with: a Redis server, a shared directory, certificates, a hand-driven HTTP/2 client."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Iterator, List, Optional, Tuple

import h2.config
import h2.connection
import h2.events
import pytest

from nestjs_mesh import Peer
from nestjs_mesh.codec import JSON
from nestjs_mesh.frames import FrameDecoder, encode_frame

PACKAGE = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(test: Awaitable[None], timeout: float = 30) -> None:
    """Runs a coroutine test; one that hangs fails."""

    async def bounded() -> None:
        await asyncio.wait_for(test, timeout)

    asyncio.run(bounded())


async def eventually(condition: Callable[[], Any], timeout: float = 10) -> None:
    """Waits until `condition()` is true; looks often, since what it waits for has no event to wait on."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, "the condition never became true"
        await asyncio.sleep(0.02)


class RedisServer:
    """A redis-server that can be stopped and started on the same port."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", str(directory), *arguments]
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)  # a server that starts has no other sign
        raise RuntimeError("redis-server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not on the PATH; install Redis to run this test")
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["file", "redis"])
def registry(request: Any, tmp_path: Path) -> str:
    """Every test that takes this runs on both kinds of registry."""
    if request.param == "file":
        return f"file:{tmp_path / 'mesh'}"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
def files(tmp_path: Path) -> str:
    """A file registry, for tests that are not about registries."""
    return f"file:{tmp_path / 'mesh'}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tuple[str, str]:
    """A self-signed certificate for 127.0.0.1: (cert, key)."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on the PATH; install it to run the TLS tests")
    directory = tmp_path_factory.mktemp("tls")
    cert, key = str(directory / "cert.pem"), str(directory / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mesh"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return cert, key


@contextlib.asynccontextmanager
async def script(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs one of our scripts as a process of its own, and ends it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PACKAGE / name), *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            process.kill()
        await process.wait()


async def next_line(process: asyncio.subprocess.Process, start: str = "") -> str:
    """The next line of its output that begins with `start`."""
    assert process.stdout is not None
    while True:
        line = (await asyncio.wait_for(process.stdout.readline(), 15)).decode()
        assert line, f"the process ended before it printed {start!r}"
        if line.startswith(start):
            return line.rstrip("\n")


class RawClient(asyncio.Protocol):
    """An HTTP/2 client driven by hand, to send what no good peer sends."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.messages: List[Any] = []
        self.headers: Dict[str, str] = {}
        self.trailers: Dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.reset_code: Optional[int] = None
        self.lost = False
        self.settled = False
        self.codec = JSON
        #: True when the body of the answer is no frames.
        self.plain = False
        self._decoder = FrameDecoder()

    @staticmethod
    async def connect(port: int) -> RawClient:
        loop = asyncio.get_event_loop()
        client = RawClient()
        await loop.create_connection(lambda: client, "127.0.0.1", port)
        await eventually(lambda: client.settled)  # the big windows hold from here on
        return client

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settled = True
            elif isinstance(event, h2.events.ResponseReceived):
                self.headers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.body += event.data
                if self.headers[":status"] == "200" and not self.plain:
                    for payload in self._decoder.feed(event.data):
                        assert isinstance(payload, (bytes, bytearray))
                        self.messages.append(self.codec.decode(payload))
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
            elif isinstance(event, h2.events.StreamReset):
                self.reset_code = int(event.error_code)
        self.transport.write(self.h2.data_to_send())

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.lost = True

    def request(self, method: str = "POST", path: str = "/channel", **headers: str) -> None:
        """Opens stream 1; header names are given with _ for -."""
        head = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.h2.send_headers(1, head + [(key.replace("_", "-"), value) for key, value in headers.items()])
        self.transport.write(self.h2.data_to_send())

    def open_packets(self, **headers: str) -> None:
        """The packet channel of a peer that knows part 2."""
        headers = {"x_mesh_node_id": "11111111-1111-4111-8111-111111111111", "x_mesh_version": "1", **headers}
        self.request(x_service_name="raw", **headers)

    def send_bytes(self, data: bytes, end: bool = False) -> None:
        while len(data) > 16384:
            self.h2.send_data(1, data[:16384])
            data = data[16384:]
        self.h2.send_data(1, data, end_stream=end)
        self.transport.write(self.h2.data_to_send())

    def send(self, payload: str) -> None:
        self.send_bytes(encode_frame(payload.encode()))

    async def expect(self, count: int) -> List[Any]:
        """The first `count` messages, once they are there."""
        await eventually(lambda: len(self.messages) >= count)
        return self.messages[:count]


@contextlib.asynccontextmanager
async def raw_client(peer: Peer) -> AsyncIterator[RawClient]:
    client = await RawClient.connect(peer.port)
    try:
        yield client
    finally:
        client.transport.close()
