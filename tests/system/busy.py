# SPDX-License-Identifier: MIT
"""Load for servers: connections that ask as fast as they are answered, and the odd ones that every server has."""

import contextlib
import selectors
import socket
import ssl
import struct
import time

TCP_REPAIR = 19
PIPELINED = 3


class Asker:
    """Asks, and asks again once that is answered, AT_ONCE requests in a row."""

    def __init__(self, server, s, at_once):
        self.server, self.socket, self.at_once = server, s, at_once
        self.data, self.waits_for, self.answered, self.worst_s = b"", 0, 0, 0.0

    def ask(self):
        self.waits_for, self.asked = self.at_once, time.monotonic()
        for _ in range(self.at_once):
            self.socket.sendall(self.server.fast)

    def take(self):
        self.data += self.socket.recv(1 << 16)
        while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            self.data += self.socket.recv(1 << 16)
        while end := self.server.end(self.data):
            self.data = self.data[end:]
            self.waits_for -= 1
            self.answered += 1
        if self.waits_for == 0:
            self.worst_s = max(self.worst_s, time.monotonic() - self.asked)
            self.ask()


class Dripper:
    """Sends a request in five pieces, with a pause before each."""

    def __init__(self, server, s):
        self.server, self.socket, self.due, self.rest = server, s, 0, b""

    def turn(self, now):
        if now < self.due:
            return
        self.rest = self.rest or self.server.upload
        size = max(1, len(self.server.upload) // 5)
        self.socket.sendall(self.rest[:size])
        self.rest = self.rest[size:]
        self.due = now + self.server.pause_s


class SlowReader:
    """Takes a large answer by and by."""

    def __init__(self, server, s):
        self.socket, self.due, self.taken = s, 0, 0
        s.sendall(server.large)
        s.setblocking(False)

    def turn(self, now):
        if now >= self.due:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                self.taken += len(self.socket.recv(4096))
            self.due = now + 0.25


class Talker:
    """A WebSocket on which something is said now and then."""

    def __init__(self, server, s):
        self.socket, self.due = s, 0
        s.sendall(server.upgrade)
        assert s.recv(4096).startswith(b"HTTP/1.1 101")

    def turn(self, now):
        if now >= self.due:
            self.socket.sendall(b"\x81\x05hello")
            self.due = now + 0.7


class Load:
    def __init__(self, t, found):
        self.t, self.servers = t, found
        self.askers, self.odd, self.listeners = [], [], []
        for server in found:
            self.askers += [Asker(server, server.connect(t), 1), Asker(server, server.connect(t), 1)]
            if server.pipelines:
                self.askers.append(Asker(server, server.connect(t), PIPELINED))
            self.add_odd(server)

    def add_odd(self, server):
        server.connect(self.t)  # idle from now on
        silent = socket.create_connection(("127.0.0.1", server.port))
        self.t.cleanup_with(silent.close)
        half = server.connect(self.t)
        with contextlib.suppress(OSError):
            half.shutdown(socket.SHUT_WR)
        vanished = server.connect(self.t)
        vanished.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        vanished.close()  # without a word to the server
        self.odd.append(Dripper(server, server.connect(self.t)))
        if server.large:
            self.odd.append(SlowReader(server, self.slow(server)))
        if server.upgrade:
            self.odd.append(Talker(server, server.connect(self.t)))
        if server.events:
            listener = server.connect(self.t)
            listener.sendall(server.events)
            self.listeners.append(listener)

    def slow(self, server):
        s = server.connect(self.t)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return s

    def run(self, seconds):
        poll = selectors.DefaultSelector()
        for asker in self.askers:
            poll.register(asker.socket, selectors.EVENT_READ, asker)
            asker.ask()
        for listener in self.listeners:
            poll.register(listener, selectors.EVENT_READ, None)
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for key, _ in poll.select(0.05):
                if key.data:
                    key.data.take()
                else:
                    assert key.fileobj.recv(65536), "an event stream ended"
            for odd in self.odd:
                odd.turn(now)
        poll.close()

    def close(self):
        """Resets the connections: nothing of them is waited for afterwards."""
        for s in [asker.socket for asker in self.askers] + [odd.socket for odd in self.odd] + self.listeners:
            with contextlib.suppress(OSError):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()

    def served(self, server):
        """(answers, the longest that one took in seconds)"""
        mine = [asker for asker in self.askers if asker.server is server]
        return sum(asker.answered for asker in mine), max(asker.worst_s for asker in mine)
