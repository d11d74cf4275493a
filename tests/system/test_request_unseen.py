# SPDX-License-Identifier: MIT
"""Answers, and what a process asks of others, that nobody was seen sending."""

import socket
import time

from harness import until
from test_request_probe import PYTHON, SLOW_MS, Inflight, read_answer, send, start
from test_request_sockets import LISTENER, serve, serve_unix

PATTERN = False

CONTINUE = r"""
while not s.recv(4096).endswith(b"\r\n\r\n"):
    pass
s.sendall(b"HTTP/1.1 100 %s\r\n\r\n")
s.recv(4096)
"""

BODY = b"a body is no head: GET /secret HTTP/1.1 " * 4


def upload(t, pause, word="Continue"):
    _, probe, s = serve(t, CONTINUE % word)
    send(s, "/upload", "Expect: 100-continue", f"Content-Length: {len(BODY)}", method="POST")
    assert s.recv(100).startswith(b"HTTP/1.1 100 ")
    time.sleep(pause)
    s.sendall(BODY)
    event = probe.wait("slow", path="/upload")
    assert event["holder"] == "thread" and event["age_ms"] >= SLOW_MS and event["method"] == "POST", event
    s.close()


def test_upload_that_was_told_to_go_on(t):
    upload(t, 0)


def test_upload_that_goes_on_later(t):
    """A pass has taken the 100 Continue for the answer meanwhile."""
    upload(t, 0.7)


def test_upload_to_one_of_few_words(t):
    """Tomcat's has no reason phrase."""
    upload(t, 0.7, "")


def test_answer_of_the_size_of_a_continue(t):
    _, probe, s = serve(t, 's.recv(4096); s.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n123456"); time.sleep(3); s.recv(4096)')
    send(s, "/x")
    assert len(s.recv(100)) == 25
    time.sleep(2)
    probe.assert_quiet()
    s.close()


ANSWERS = """
while question := s.recv(100):
    if question == b"stuck":
        time.sleep(60)
    s.sendall(b"an answer")
"""


def connect_unix(t, path):
    client = socket.socket(socket.AF_UNIX)
    t.cleanup_with(client.close)
    client.connect(path)
    return client


def test_unix_connection_that_seemed_one_way(t):
    """Until it was answered."""
    server, path = serve_unix(t, ANSWERS)
    probe = Inflight(t, server.pid)
    client = connect_unix(t, path)
    for _ in range(10):
        client.sendall(b"quick")
        time.sleep(0.005)
    time.sleep(0.3)
    client.recv(4096)
    client.sendall(b"stuck")
    assert probe.wait("slow")["reader"] == server.pid


def test_unix_answers_are_seen_at_the_client(t):
    """Read, or left in its socket."""
    server, path = serve_unix(t, ANSWERS)
    probe = Inflight(t, server.pid)
    client = connect_unix(t, path)
    client.sendall(b"quick")
    time.sleep(0.3)
    assert client.recv(100)
    time.sleep(1.5)
    client.sendall(b"quick")
    time.sleep(2)
    probe.assert_quiet()
    client.recv(100)
    client.sendall(b"stuck")
    assert probe.wait("slow")["reader"] == server.pid


ASKS = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
peers = []
for word in sys.argv[1:]:
    address = ("127.0.0.1", int(word)) if word.isdigit() else word
    c = socket.socket(socket.AF_INET if word.isdigit() else socket.AF_UNIX)
    c.connect(address)
    peers.append(c)
s, _ = listener.accept()
s.recv(4096)
for c in peers:
    for _ in range(3):
        c.sendall(b"quick")
        c.recv(100)
peers[-1].sendall(b"stuck")
peers[-1].recv(100)
"""


def test_kept_connections_to_others(t):
    """One waits for its peer right behind an answer, in the same tick of the kernel's clock; the other is idle."""
    (_, idle), (_, stuck) = (start(t, PYTHON, "-c", LISTENER + ANSWERS) for _ in range(2))
    server, port = start(t, PYTHON, "-c", ASKS, idle, stuck)
    probe = Inflight(t, server.pid)
    with socket.create_connection(("127.0.0.1", port)) as s:
        send(s, "/x")
        probe.wait("slow", path="/x")
        peers = probe.of("peer")
        assert [p["peer"] for p in peers] == [f"127.0.0.1:{stuck}"] and peers[0]["age_ms"] >= 500, probe.lines


def test_kept_unix_connection_to_another(t):
    _, path = serve_unix(t, ANSWERS)
    server, port = start(t, PYTHON, "-c", ASKS, path)
    probe = Inflight(t, server.pid)
    with socket.create_connection(("127.0.0.1", port)) as s:
        send(s, "/x")
        probe.wait("slow", path="/x")
        assert [p["peer"] for p in probe.of("peer")] == ["unix"], probe.lines


def test_sends_are_looked_at_while_a_request_is_late(t):
    """Its answer is told with the time that it took; behind it all is as before."""
    _, probe, s = serve(t, "s.recv(4096); s.sendall(OK); s.recv(4096); time.sleep(1.05); s.sendall(OK)")
    send(s, "/quick")
    assert read_answer(s) == 200
    time.sleep(0.5)
    assert not probe.of("sends"), probe.lines
    send(s, "/late")
    assert read_answer(s) == 200
    assert probe.of("sends", seen=True), probe.lines
    assert probe.wait("answer", path="/late")["age_ms"] >= SLOW_MS
    assert not probe.of("answer", path="/quick"), probe.lines
    until(lambda: probe.of("sends", seen=False), 13, "an end of it")
    s.close()
