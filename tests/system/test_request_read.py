# SPDX-License-Identifier: MIT
"""What TCP hands out is read where the kernel has it: in however many pieces it came, however it is taken."""

import os
import socket
import time

from harness import PATIENCE, skip, until
from test_request_probe import PYTHON, Inflight, connect, read_answer, start
from test_request_sockets import LISTENER, serve

PATTERN = False

LONG = "/" + "a-long-path/" * 15 + "end"
HEAD = f"GET {LONG} HTTP/1.1\r\nHost: test\r\nX-Request-Id: 4711\r\n\r\n".encode()


def send_pieces(s, pieces):
    """Each stays apart in the socket's buffer: its own page of a pipe."""
    out, into = os.pipe2(os.O_DIRECT)
    for piece in pieces:
        os.write(into, piece)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    left = sum(len(piece) for piece in pieces)
    while left:
        left -= os.splice(out, s.fileno(), left)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    os.close(out)
    os.close(into)


def assert_told(probe, bytes_in=len(HEAD)):
    event = probe.wait("slow")
    assert (event["protocol"], event["path"], event["request_id"]) == ("http", LONG, "4711"), event
    assert event["bytes_in"] == bytes_in, event


def test_head_in_many_pages(t):
    _, probe, s = serve(t, "s.recv(4096)")
    send_pieces(s, [HEAD[i:i + 17] for i in range(0, len(HEAD), 17)])
    assert_told(probe)


def test_head_that_begins_behind_other_pages(t):
    """The pages of the request before have been read; this one is in the same buffer."""
    _, probe, s = serve(t, "time.sleep(1); s.recv(7); s.sendall(OK); s.recv(4096)")
    send_pieces(s, [b"xxx", b"xxx", b"x" + HEAD[:9], HEAD[9:100], HEAD[100:]])
    assert_told(probe)


def test_head_that_is_read_bit_by_bit(t):
    _, probe, s = serve(t, f"for _ in range({len(HEAD)} // 17 + 1): s.recv(17)")
    s.sendall(HEAD)
    assert_told(probe)


def test_head_that_is_read_into_two_buffers(t):
    if "kernel's buffers" not in t.coretrap("doctor").stdout:
        skip("this kernel has no hook for what TCP hands out")
    _, probe, s = serve(t, "s.recvmsg_into([bytearray(20), bytearray(4096)])")
    s.sendall(HEAD)
    assert_told(probe)


def test_bytes_that_are_looked_at_are_not_read(t):
    _, probe, s = serve(t, "s.recv(4096, socket.MSG_PEEK); s.recv(50, socket.MSG_PEEK); s.recv(4096)")
    s.sendall(HEAD)
    assert_told(probe)


def test_end_of_chunks_in_pieces(t):
    """They are complete with their last byte, and not before."""
    head = f"POST {LONG} HTTP/1.1\r\nX-Request-Id: 4711\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [head, b"bb8\r\n", bytes(3000), b"\r", b"\n0", b"\r\n\r"]
    _, probe, s = serve(t, "while True: s.recv(65536)")
    send_pieces(s, pieces)
    time.sleep(2.5)
    probe.assert_quiet()
    send_pieces(s, [b"\n"])
    assert_told(probe, sum(len(piece) for piece in pieces) + 1)


def test_large_request_of_another_protocol(t):
    """A call that takes it from many buffers reads once: it is not one that nobody answers."""
    _, probe, s = serve(t, "time.sleep(1); s.recv(1000000)")
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(10):
        s.sendall(b"\x01" * 20000)
    event = probe.wait("slow")
    assert event["protocol"] == "generic", event



def test_unix_server_that_comes_later(t):
    """Until then nothing is hooked in for it."""
    path = str(t.tmp / "later")
    server, port = start(t, PYTHON, "-c", f"""{LISTENER}
u = socket.socket(socket.AF_UNIX)
u.bind({path!r})
u.listen(8)
s.sendall(OK)
kept = []
while True:
    kept.append(u.accept()[0])
    kept[-1].recv(100)""")
    probe = Inflight(t, server.pid)
    tcp = connect(t, port)
    assert read_answer(tcp) == 200

    def ask():
        client = socket.socket(socket.AF_UNIX)
        t.cleanup_with(client.close)
        client.connect(path)
        client.sendall(b"a question\n")
        time.sleep(0.3)
        return probe.of("slow")

    until(ask, 15 * PATIENCE, "a request of the Unix server")
    assert probe.of("slow")[0]["reader"] == server.pid


def test_two_requests_that_one_call_reads(t):
    """One answer is for both, though they came in two buffers: what a call reads is looked at as one."""
    _, probe, s = serve(t, "time.sleep(0.5); s.recv(4096); s.sendall(OK); s.recv(4096)", steady=False)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    send_pieces(s, [HEAD])
    send_pieces(s, [HEAD])
    assert read_answer(s) == 200
    time.sleep(2.5)
    probe.assert_quiet()


def test_what_is_spliced_begins_nothing(t):
    """A proxy that passes on what it never sees, and the end of it, owes no answer itself."""
    _, probe, s = serve(t, """
out, into = os.pipe()
while os.splice(s.fileno(), into, 65536):
    pass
""")
    s.sendall(HEAD)
    time.sleep(0.3)
    s.shutdown(socket.SHUT_WR)
    time.sleep(2.5)
    probe.assert_quiet()


def test_where_there_is_no_loopback(t):
    """Whether the kernel's pages are found cannot be tried: what the process has is read."""
    server, port = start(t, PYTHON, "-c", f"{LISTENER}\ns.recv(4096)\ntime.sleep(60)")
    probe = Inflight(t, server.pid, prefix=("unshare", "-n"))
    s = connect(t, port)
    s.sendall(HEAD)
    assert_told(probe)
