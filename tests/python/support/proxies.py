"""What may stand between a runner and its server: bad lines, and a pooler of transactions."""

from __future__ import annotations

import os
import queue
import random
import select
import socket
import struct
import sys
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
class Line:
    """Forwards bytes to a server and back, and cuts connections: all of them every so many seconds,
    each after a random number of bytes, or one at the COMMIT with the number in `at`.

    at:   the number, and how. answer lost: the server commits, the client never hears of it.
          never sent: the server is left alone with an open transaction, and rolls back.
          late, very late: the client has come back when the COMMIT arrives.
    seen: COMMITs that came by. cuts: connections that were cut.
    """

    server: tuple[str, int]
    port: int
    byte_range: tuple[int, int]
    random: random.Random
    at: tuple[int, str] = (0, "")
    seen: int = 0
    cuts: int = 0
    pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        pair = (client, backend) = (client, socket.create_connection(self.server))
        left = {source: self.random.randint(*self.byte_range) for source in pair}
        self.pairs.append(pair)
        with client, backend, suppress(OSError, ValueError):
            while self.pass_on(client, backend, left):
                pass
        if pair in self.pairs:
            self.pairs.remove(pair)

    def pass_on(
        self, client: socket.socket, backend: socket.socket, left: dict[socket.socket, int]
    ) -> bool:
        """What has come from either end; False at the end of the connection."""
        for source in select.select([client, backend], [], [])[0]:
            if not (data := source.recv(65536)):
                return False
            if source is client and b"COMMIT\0" in data:
                self.seen += 1
                if self.seen == self.at[0]:
                    self.cut_commit(client, backend, data)
                    return False
            target = backend if source is client else client
            target.sendall(data[: left[source]])
            left[source] -= len(data)
            if left[source] <= 0:  # a message is torn apart
                self.cuts += 1
                return False
        return True

    def cut_commit(self, client: socket.socket, backend: socket.socket, data: bytes) -> None:
        how = self.at[1]
        if how == "never sent":
            return
        if how in DELAYS:
            client.shutdown(socket.SHUT_RDWR)
            client.close()
            time.sleep(DELAYS[how])
        backend.sendall(data)
        answer = b""
        while not any(each in answer for each in (b"COMMIT\0", b"ROLLBACK\0", b"SERROR\0")):
            answer += backend.recv(65536)

    def cut_all(self) -> None:
        while self.pairs:
            for end in self.pairs.pop():
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self.cuts += 1


@contextmanager
def bad_line(
    host: str, port: int, *, every: float | None = None,
    byte_range: tuple[int, int] = (sys.maxsize, sys.maxsize), seed: int = 0,
) -> Iterator[Line]:  # fmt: skip
    """A bad line to a server, on a port of its own."""
    with _listener() as listener:
        own_port = listener.getsockname()[1]
        line = Line((host, port), own_port, byte_range, random.Random(seed))
        ended = threading.Event()

        def accept() -> None:
            for client in _clients(listener):
                _thread(line.serve, client)

        def cut_all() -> None:
            while not ended.wait(every):
                line.cut_all()

        _thread(accept)
        _thread(cut_all)
        try:
            yield line
        finally:
            ended.set()
            line.cut_all()


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
