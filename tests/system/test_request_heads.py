# SPDX-License-Identifier: MIT
"""What begins a request of HTTP, what only looks like it, and what is told of its target."""

import json
import time

from test_request_probe import SLOW_MS, read_answer, send
from test_request_sockets import serve

PATTERN = False


def test_connect_of_another_protocol_tells_no_password(t):
    """NATS begins with CONNECT and JSON."""
    _, probe, s = serve(t, "s.recv(4096)")
    s.sendall(b'CONNECT {"user":"joe","pass":"S3CRET"}\r\nPING\r\n\r\n')
    event = probe.wait("slow")
    assert event["protocol"] == "generic" and not event["path"] and "S3CRET" not in json.dumps(event), event


def test_connect_to_a_host(t):
    _, probe, s = serve(t, "s.recv(4096)")
    s.sendall(b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test\r\n\r\n")
    event = probe.wait("slow")
    assert (event["method"], event["path"]) == ("CONNECT", "example.test:443"), event


def test_method_that_nobody_knows(t):
    """On a connection that speaks HTTP it is a request all the same."""
    _, probe, s = serve(t, "s.recv(4096); s.sendall(OK); s.recv(4096)")
    send(s, "/x")
    assert read_answer(s) == 200
    send(s, "/stuck", method="PURGE")
    event = probe.wait("slow")
    assert (event["method"], event["path"]) == ("PURGE", "/stuck") and event["age_ms"] >= SLOW_MS, event


def test_body_that_begins_like_a_method(t):
    """In a read of its own it is still no request behind the one that it belongs to."""
    _, probe, s = serve(t, "s.recv(4096); s.recv(4096); s.sendall(OK); s.recv(4096)")
    body = b"COPYRIGHT is a word like others"
    send(s, "/up", f"Content-Length: {len(body)}", method="POST")
    time.sleep(0.3)
    s.sendall(body)
    assert read_answer(s) == 200
    time.sleep(2.5)
    probe.assert_quiet()


def test_rest_of_an_upload_that_was_refused(t):
    _, probe, s = serve(t, """
s.recv(4096)
s.sendall(b"HTTP/1.1 413 Too large\\r\\nContent-Length: 2\\r\\n\\r\\nno")
s.recv(4096)
""")
    send(s, "/up", "Content-Length: 30000", method="POST")
    assert read_answer(s) == 413
    s.sendall(bytes(4096))
    time.sleep(2.5)
    probe.assert_quiet()


def test_url_is_told_without_who_asks(t):
    for target, path in (("http://joe:S3CRET@host/a", "host/a"), ("http://host/a/@babel/core", "http://host/a/@babel/core"),
                         ("/a/@babel/core?S3CRET", "/a/@babel/core")):
        _, probe, s = serve(t, "s.recv(4096)")
        send(s, target)
        event = probe.wait("slow")
        assert event["path"] == path and "S3CRET" not in json.dumps(event), event
