"""What may stand between a runner and its server: bad lines, and a pooler of transactions."""

from __future__ import annotations

import os
import queue
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from psycopg import pq

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
DELAYS = {"late": 0.05, "very late": 0.3}  # seconds; the tests' lock timeout lies between them
FAKE_PID = 4711  # a pooler answers with a process id of its own making


@dataclass
class BadLine:
    """Forwards bytes, and cuts: every so many seconds, or after a random number of bytes.

    cuts: connections that were ended by it
    """

    port: int
    every: float | None
    byte_range: tuple[int, int] | None
    random: random.Random
    cuts: int = 0
    pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)

    def cut(self, pair: tuple[socket.socket, socket.socket]) -> None:
        if pair in self.pairs:
            self.pairs.remove(pair)
            self.cuts += 1
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def forward(self, pair: tuple[socket.socket, socket.socket], direction: int) -> None:
        source, target = pair[direction], pair[1 - direction]
        left = self.random.randint(*self.byte_range) if self.byte_range else None
        with suppress(OSError):
            while data := source.recv(65536):
                if left is not None and len(data) >= left:
                    target.sendall(data[:left])  # a message is torn apart
                    self.cut(pair)
                    return
                left = None if left is None else left - len(data)
                target.sendall(data)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if pair in self.pairs:
            self.pairs.remove(pair)


@contextmanager
def bad_line(
    host: str, port: int, *, every: float | None = None,
    byte_range: tuple[int, int] | None = None, seed: int = 0,
) -> Iterator[BadLine]:  # fmt: skip
    """A bad line to a server, on a port of its own."""
    with _listener() as listener:
        line = BadLine(listener.getsockname()[1], every, byte_range, random.Random(seed))
        ended = threading.Event()

        def accept() -> None:
            for client in _clients(listener):
                pair = (client, socket.create_connection((host, port)))
                line.pairs.append(pair)
                for direction in (0, 1):
                    _thread(line.forward, pair, direction)

        def cut_all() -> None:
            while every and not ended.wait(every):
                for pair in list(line.pairs):
                    line.cut(pair)

        _thread(accept)
        _thread(cut_all)
        try:
            yield line
        finally:
            ended.set()
            line.byte_range = None
            for pair in list(line.pairs):
                line.cut(pair)


@dataclass
class Cutter:
    """A line that is cut at the COMMIT with a given number; `seen` counts them.

    answer lost:     the server commits, the client never hears of it
    never sent:      the server is left alone with an open transaction, and rolls back
    late, very late: the client has come back when the COMMIT arrives
    """

    port: int
    seen: int = 0
    at: tuple[int, str] = (0, "")

    def serve(self, client: socket.socket, backend: socket.socket) -> None:
        with client, backend, suppress(OSError):
            while True:
                ready, _, _ = select.select([client, backend], [], [])
                if backend in ready:
                    if not (data := backend.recv(65536)):
                        return
                    client.sendall(data)
                if client in ready:
                    if not (data := client.recv(65536)):
                        return
                    self.seen += b"COMMIT\0" in data
                    if b"COMMIT\0" in data and self.seen == self.at[0]:
                        self.cut(client, backend, data)
                        return
                    backend.sendall(data)

    def cut(self, client: socket.socket, backend: socket.socket, data: bytes) -> None:
        how = self.at[1]
        if how == "never sent":
            return
        if how in DELAYS:
            client.shutdown(socket.SHUT_RDWR)
            client.close()
            time.sleep(DELAYS[how])
        backend.sendall(data)
        while b"COMMIT\0" not in backend.recv(65536):  # the tag of its answer
            pass


@contextmanager
def cutter(host: str, port: int) -> Iterator[Cutter]:
    """A line to a server that is cut where a test says, on a port of its own."""
    with _listener() as listener:
        line = Cutter(listener.getsockname()[1])

        def accept() -> None:
            for client in _clients(listener):
                _thread(line.serve, client, socket.create_connection((host, port)))

        _thread(accept)
        yield line


@dataclass
class Pooler:
    """Gives each transaction of a client to another of its two server connections.

    pids: of the server processes, in the order of the transactions that they were given
    """

    port: int
    backends: queue.Queue[Any]
    pids: list[int] = field(default_factory=list)

    def serve(self, client: socket.socket, greeting: bytes) -> None:
        with client, suppress(OSError, ConnectionError):
            while True:
                (length,) = struct.unpack("!I", _exactly(client, 4))
                (code,) = struct.unpack("!I", _exactly(client, 4))
                _exactly(client, length - 8)
                if code == CANCEL_REQUEST:
                    return
                if code not in (SSL_REQUEST, GSS_REQUEST):
                    break
                client.sendall(b"N")
            client.sendall(greeting)
            while self.transaction(client):
                pass

    def transaction(self, client: socket.socket) -> bool:
        """From a client's first message to the server's word that no transaction is open."""
        kind, message = _message(client)
        if kind == b"X":
            return False
        pid, server = self.backends.get(timeout=30)
        self.pids.append(pid)
        expected, status = 0, b"I"  # answers "ready for query" that are to come
        try:
            while True:
                if message:
                    server.sendall(message)
                    expected += kind in (b"Q", b"S")
                    message = b""
                if expected == 0 and status == b"I" and kind in (b"Q", b"S"):
                    return True
                ready, _, _ = select.select([client, server], [], [], 30)
                if server in ready:
                    said, answer = _message(server)
                    client.sendall(answer)
                    if said == b"Z":
                        expected, status, kind = expected - 1, answer[-1:], b"Q"
                elif client in ready:
                    kind, message = _message(client)
                    if kind == b"X" and expected == 0 and status == b"I":
                        return False  # after a mere flush: the client's end is not the server's
        finally:
            self.backends.put((pid, server))


@contextmanager
def pooler(conninfo: str) -> Iterator[Pooler]:
    """A pooler in transaction mode with two connections to a server, on a port of its own."""
    connections = [pq.PGconn.connect(conninfo.encode()) for _ in range(2)]
    names = ("server_version", "client_encoding", "standard_conforming_strings", "TimeZone",
             "integer_datetimes", "DateStyle", "server_encoding")  # fmt: skip
    greeting = _packet(b"R", struct.pack("!I", 0))
    for name in names:
        value = connections[0].parameter_status(name.encode())
        if value is not None:
            greeting += _packet(b"S", name.encode() + b"\0" + value + b"\0")
    greeting += _packet(b"K", struct.pack("!II", FAKE_PID, 0)) + _packet(b"Z", b"I")
    with _listener() as listener:
        pool = Pooler(listener.getsockname()[1], queue.Queue())
        for each in connections:
            assert each.status == pq.ConnStatus.OK, each.error_message
            server = socket.socket(fileno=os.dup(each.socket))
            server.setblocking(True)
            pool.backends.put((each.backend_pid, server))

        def accept() -> None:
            for client in _clients(listener):
                _thread(pool.serve, client, greeting)

        _thread(accept)
        try:
            yield pool
        finally:
            for each in connections:
                each.finish()


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def _clients(listener: socket.socket) -> Iterator[socket.socket]:
    with suppress(OSError):
        while True:
            yield listener.accept()[0]


def _thread(work: Any, *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _packet(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    """The kind of the next message, and all of it."""
    head = _exactly(source, 5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], head + _exactly(source, length - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data
