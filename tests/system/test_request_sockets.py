# SPDX-License-Identifier: MIT
"""Requests in flight at sockets that are out of the ordinary, each by a server that does just that."""

import re
import socket
import subprocess
import time

from harness import skip, slow, timeout
from test_request_probe import PYTHON, SLOW_MS, Inflight, connect, read_answer, send, start

PATTERN = False

LISTENER = """
import os, socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
s, _ = listener.accept()
OK = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
"""


def serve(t, script, **limit):
    """A server that does this with its first connection, S, and then nothing: (it, what watches it, the client)"""
    server, port = start(t, PYTHON, "-c", f"{LISTENER}\n{script}\ntime.sleep(60)")
    probe = Inflight(t, server.pid, **limit)
    return server, probe, connect(t, port)


UNIX_CLIENT = """
import socket, sys, time
c = socket.socket(socket.AF_UNIX)
if sys.argv[2] == "bound":
    c.bind("\\0" + sys.argv[1] + ".client")
if sys.argv[2] == "credentials":
    c.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
print("ready", flush=True)
sys.stdin.readline()
c.connect(sys.argv[1])
for _ in range(2):
    c.sendall(b"a question\\n")
    c.recv(100)
time.sleep(60)
"""


def test_unix_client_with_an_address_is_no_server(t):
    """sd-bus binds its sockets, and the kernel does for SO_PASSCRED: what such a client is told is no request."""
    path = str(t.tmp / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    t.cleanup_with(listener.close)
    clients = [t.spawn([PYTHON, "-c", UNIX_CLIENT, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for how in ("plain", "bound", "credentials")]
    for client in clients:
        assert client.stdout.readline() == b"ready\n"
    probe = Inflight(t, *(client.pid for client in clients))
    for client in clients:
        client.stdin.write(b"\n")
        client.stdin.flush()
        s, _ = listener.accept()
        t.cleanup_with(s.close)
        for _ in range(2):
            assert s.recv(100) == b"a question\n"
            s.sendall(b"an answer\n")
    time.sleep(2.5)
    probe.assert_quiet()


UNIX_LISTENER = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(8)
print("ready", flush=True)
s, _ = listener.accept()
"""


def serve_unix(t, script):
    """A server that does this with its first connection, S, and then nothing: (it, its path)"""
    path = str(t.tmp / "socket")
    server = t.spawn([PYTHON, "-c", f"{UNIX_LISTENER}\n{script}\ntime.sleep(60)", path], stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    return server, path


def test_unix_server_of_a_client_with_an_address(t):
    server, path = serve_unix(t, "s.recv(100)")
    probe = Inflight(t, server.pid)
    client = socket.socket(socket.AF_UNIX)
    client.bind("\0" + path + ".client")
    client.connect(path)
    client.sendall(b"a question\n")
    assert probe.wait("slow")["reader"] == server.pid
    client.close()


def test_end_of_stream_is_no_work(t):
    """A server that forgets to close its connections has no bytes that it does not read."""
    _, probe, s = serve(t, "s.recv(4096); s.sendall(OK)")
    send(s, "/x")
    assert read_answer(s) == 200
    s.close()
    time.sleep(2.5)
    probe.assert_quiet()


def test_closed_connection_holds_no_request(t):
    """What a client does not take keeps the socket alive, but its process has done with it."""
    _, probe, s = serve(t, """
s.recv(4096)
s.setblocking(False)
try:
    while True:
        s.send(b"x" * 65536)
except BlockingIOError:
    s.setblocking(True)
s.recv(4096)
s.close()
""")
    s.sendall(b"SUBSCRIBE\n")
    s.recv(1)
    time.sleep(0.5)
    s.sendall(b"and another\n")
    time.sleep(2.5)
    probe.assert_quiet()


def test_times_of_what_was_sent_are_no_request(t):
    server, probe, s = serve(t, """
SO_TIMESTAMPING, TX_SOFTWARE, SOFTWARE = 37, 1 << 1, 1 << 4
s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | SOFTWARE)
s.recv(4096)
s.sendall(OK)
while True:
    try:
        assert OK in s.recvmsg(4096, 4096, socket.MSG_ERRQUEUE)[0]
        break
    except BlockingIOError:
        time.sleep(0.01)
print("read", flush=True)
""")
    send(s, "/x")
    assert server.stdout.readline() == b"read\n"
    time.sleep(2.5)
    probe.assert_quiet()


MPTCP = 262  # IPPROTO_MPTCP: older Pythons do not have it
MPTCP_LISTENER = f"""
import socket, time
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, {MPTCP})
listener.bind(("127.0.0.1", 0))
listener.listen(1)
print(listener.getsockname()[1], flush=True)
time.sleep(60)
"""


def test_full_backlog_of_mptcp(t):
    """Go's listeners are of that kind."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError as e:
        skip(f"no MPTCP: {e}")
    server, port = start(t, PYTHON, "-c", MPTCP_LISTENER)
    probe = Inflight(t, server.pid)
    waiting = [connect(t, port) for _ in range(2)]
    event = probe.wait("unread")
    assert event["listens"] and event["waiting"] == len(waiting) > event["room"], event


# Reads a record as OpenSSL does, the header first; an answer goes out at once, or after a body's second byte of seconds.
RECORDS = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
s = listener.accept()[0]
while header := s.recv(5, socket.MSG_WAITALL):
    body = s.recv(int.from_bytes(header[3:]), socket.MSG_WAITALL)
    time.sleep(body[1])
    s.sendall(b"\\x17\\x03\\x03\\x00\\x30" + b"a" * 48)
"""


def test_tls_body_that_looks_like_a_record(t):
    """What is encrypted may begin with any byte, also with that of an alert or a change of ciphers."""
    server, port = start(t, PYTHON, "-c", RECORDS)
    probe = Inflight(t, server.pid)
    s = connect(t, port)

    def ask(kind, body):
        s.sendall(bytes((kind, 3, 3)) + len(body).to_bytes(2) + body)

    def answer():
        assert len(s.recv(53, socket.MSG_WAITALL)) == 53

    ask(22, b"\x01\x00" + b"h" * 200)
    answer()
    for first in (20, 21, 23):
        ask(23, bytes((first, 0)) + b"\xff" * 98)
        answer()
    ask(23, b"e\x02" + b"e" * 98)
    event = probe.wait("slow")
    assert event["protocol"] == "tls" and event["age_ms"] >= SLOW_MS and event["holder"] == "thread", event
    answer()


def test_upload_that_is_read_a_little_late(t):
    """A pass every 200 ms finds bytes of it in the socket again and again: those that came since the pass before."""
    _, probe, s = serve(t, """
import select
while True:
    select.select([s], [], [])
    time.sleep(0.12)
    s.recv(4096)
""", slow_ms=2000)
    send(s, "/up", "Content-Length: 20", method="POST")
    for _ in range(5):
        time.sleep(2.2)
        s.sendall(b"x")
    time.sleep(0.5)
    probe.assert_quiet()


MANY = """
import socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print(listener.getsockname()[1], flush=True)
while True:
    s, _ = listener.accept()
    try:
        if s.recv(100):
            s.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    except OSError:
        pass  # it is gone already
    s.close()
"""

# Ends each by a reset: a million sockets in TIME_WAIT would run out of ports.
MANY_CLIENTS = """
import socket, struct, sys
for _ in range(int(sys.argv[2])):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
    s.recv(100)
    s.close()
"""


def objects_of_states():
    """Of the kernel's caches from which what is kept of a connection comes (1 KiB), with whatever else does."""
    with open("/proc/slabinfo") as lines:
        return sum(int(words[1]) for words in map(str.split, lines) if re.fullmatch(r"kmalloc-(\w+-)*1k", words[0]))


@slow
@timeout(1200)
def test_million_connections_leave_nothing(t):
    server, port = start(t, PYTHON, "-c", MANY)
    probe = Inflight(t, server.pid)
    before = objects_of_states()
    clients = t.spawn([PYTHON, "-c", MANY_CLIENTS, port, 1000000])
    assert clients.wait(900) == 0
    time.sleep(2)
    left = objects_of_states() - before
    print(f"{left} more objects of 1 KiB behind a million connections")
    assert left < 1000, left
    probe.assert_quiet()
    probe.process.terminate()
    probe.process.wait()
    assert not probe.of("loss"), probe.lines
