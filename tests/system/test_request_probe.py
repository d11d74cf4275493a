# SPDX-License-Identifier: MIT
"""Requests in flight, as the kernel side and its decoder see them: which are told of, and which are not."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

from harness import PATIENCE, ROOT, need, skip, target_path, timeout, until

PATTERN = False

SLOW_MS = 1000
LATE_MS = 1300
SERVERS = ROOT / "tests" / "targets"
PYTHON = os.path.realpath(sys.executable)


class Inflight:
    """The helper that prints what crosses a second, and its lines so far."""

    def __init__(self, t, *pids, slow_ms=SLOW_MS, steady=True, prefix=()):
        """STEADY: what is sent is not looked at, as mostly. PREFIX: what runs it."""
        environment = dict(os.environ, STEADY="1") if steady else None
        self.process = t.spawn([*prefix, target_path("inflight"), slow_ms, *pids], stdout=subprocess.PIPE, env=environment)
        self.lines = []
        self.ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.ready.wait(30 * PATIENCE), "inflight did not attach"

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            self.ready.set() if event["kind"] == "ready" else self.lines.append(event)

    def of(self, kind, **match):
        return [e for e in list(self.lines)
                if e["kind"] == kind and all(e[key] == value for key, value in match.items())]

    def wait(self, kind, seconds=10, **match):
        until(lambda: self.of(kind, **match), seconds, f"{kind} {match}; there was {self.lines}")
        return self.of(kind, **match)[0]

    def assert_quiet(self):
        told = [e for e in self.lines if e["kind"] in ("slow", "answer", "unread")]
        assert not told, told


def start(t, *argv):
    """A server whose first line is its port: (process, port)."""
    process = t.spawn(argv, stdout=subprocess.PIPE, cwd=t.tmp)
    line = process.stdout.readline().strip()
    assert line.isdigit(), f"{argv}: {line!r}"
    return process, int(line)


def connect(t, port):
    s = socket.create_connection(("127.0.0.1", port), timeout=60 * PATIENCE)
    t.cleanup_with(s.close)
    return s


def send(s, path, *fields, method="GET", body=b""):
    head = [f"{method} {path} HTTP/1.1", "Host: test", *fields, "", ""]
    s.sendall("\r\n".join(head).encode() + body)


def read_answer(s):
    """One answer with a Content-Length, its status."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    chunked = fields.get(b"transfer-encoding") == b"chunked"
    while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < int(fields.get(b"content-length", 0)):
        piece = s.recv(65536)
        if not piece:
            break
        body += piece
    return int(head.split()[1])


def tell_in_time(t, probe, port, path="/sleep/2000"):
    """A slow request is told of between 1.0 and 1.3 s; on a busy machine not the first time."""
    for attempt in range(5):
        s = connect(t, port)
        name = f"{path}#{attempt}"
        send(s, f"{path}?attempt={attempt}", f"x-request-id: {name}")
        event = probe.wait("slow", request_id=name)
        t.log(event)
        assert event["age_ms"] >= SLOW_MS, event
        assert event["peer"] == "127.0.0.1:%d" % s.getsockname()[1] and event["local"] == f"127.0.0.1:{port}", event
        assert read_answer(s) == 200
        answer = probe.wait("answer", request_id=name)
        assert answer["status"] == 200 and answer["age_ms"] >= event["age_ms"], answer
        s.close()
        if event["age_ms"] <= LATE_MS * PATIENCE:
            return event
    raise AssertionError(f"never within {LATE_MS} ms: {probe.of('slow')}")


def thread_names(pid):
    names = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as f:
            names[int(tid)] = f.read().strip()
    return names


def test_python_thread_is_named(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    probe = Inflight(t, server.pid)
    event = tell_in_time(t, probe, port)
    assert event["holder"] == "thread" and event["reader"] != server.pid, event
    assert event["call"] == "clock_nanosleep" and "nanosleep" in event["channel"], event
    assert (event["protocol"], event["method"], event["path"]) == ("http", "GET", "/sleep/2000"), event


def test_head_is_redacted(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    probe = Inflight(t, server.pid)
    s = connect(t, port)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    send(s, "/sleep/1500;jsessionid=S1?token=S2", "Authorization: Bearer S3", "Cookie: session=S4",
         f"TraceParent: {trace}", "X-Request-ID:  id-7")
    event = probe.wait("slow")
    assert event["path"] == "/sleep/1500" and event["redacted"], event
    assert event["traceparent"] == trace and event["request_id"] == "id-7", event
    assert read_answer(s) == 200
    assert not [e for e in [*probe.lines, probe.wait("answer")] for secret in ("S1", "S2", "S3", "S4")
                if secret in json.dumps(e)], probe.lines


def test_head_in_pieces(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    probe = Inflight(t, server.pid)
    s = connect(t, port)
    send(s, "/x")
    read_answer(s)
    for piece in (b"GET /sleep/1800 HTTP/1.1\r\nHo", b"st: x\r\nx-requ", b"est-id: pieces\r\n", b"\r\n"):
        s.sendall(piece)
        time.sleep(0.1)
    event = probe.wait("slow")
    assert event["path"] == "/sleep/1800" and event["request_id"] == "pieces" and event["age_ms"] >= SLOW_MS, event


def test_node_event_loop(t):
    """A request that waits for a timer is in nobody's hands; one that spins is in the loop's."""
    need("node")
    server, port = start(t, "node", SERVERS / "serve.js")
    probe = Inflight(t, server.pid)
    assert tell_in_time(t, probe, port)["holder"] == "handed-off"
    event = tell_in_time(t, probe, port, "/spin/2000")
    assert event["holder"] == "thread" and event["reader"] == server.pid, event


def test_go(t):
    server, port = start(t, target_path("serve"))
    probe = Inflight(t, server.pid)
    event = tell_in_time(t, probe, port)
    assert event["path"] == "/sleep/2000" and event["holder"] == "handed-off", event
    s = connect(t, port)
    send(s, "/sleep/1800", "x-request-id: goroutine")
    event = probe.wait("slow", request_id="goroutine")
    answer = s.recv(4096).decode()
    assert f"Goroutine: {event['goroutine']}\r\n" in answer, (event, answer)


@timeout(120)
def test_java_worker_is_named(t):
    need("java", "javac")
    subprocess.run(["javac", "-d", t.tmp, SERVERS / "Serve.java"], check=True, timeout=90 * PATIENCE)
    server, port = start(t, "java", "-Xshare:auto", "-cp", t.tmp, "Serve")
    probe = Inflight(t, server.pid)
    event = tell_in_time(t, probe, port)
    names = thread_names(server.pid)
    assert event["holder"] == "thread" and names[event["reader"]] == "serve-worker", (event, names)


NGINX = """daemon off; worker_processes 1; error_log stderr; pid {tmp}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 100000;
    client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; fastcgi_temp_path {tmp}/f;
    uwsgi_temp_path {tmp}/u; scgi_temp_path {tmp}/s;
    server {{
        listen 127.0.0.1:{port}; root {tmp}/www;
        location /sleep/ {{ proxy_pass http://127.0.0.1:{upstream}; }}
        location /events {{ proxy_pass http://127.0.0.1:{upstream}; proxy_buffering off; }}
    }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_nginx(t, upstream=1):
    """(pids of master and worker, port)"""
    need("nginx")
    port = free_port()
    (t.tmp / "www").mkdir()
    (t.tmp / "www" / "small").write_bytes(b"x" * 600)
    (t.tmp / "nginx.conf").write_text(NGINX.format(tmp=t.tmp, port=port, upstream=upstream))
    master = t.spawn(["nginx", "-p", t.tmp, "-c", t.tmp / "nginx.conf"], stderr=subprocess.DEVNULL)
    children = f"/proc/{master.pid}/task/{master.pid}/children"
    until(lambda: open(children).read().split(), 15, "nginx's worker")
    worker = int(open(children).read().split()[0])
    return [master.pid, worker], port


def test_nginx_before_a_stuck_upstream(t):
    """nginx hands the request on: nobody in it has it, and it waits for the upstream."""
    upstream, upstream_port = start(t, PYTHON, SERVERS / "serve.py")
    pids, port = start_nginx(t, upstream_port)
    probe = Inflight(t, *pids, upstream.pid)
    for attempt in range(5):
        s = connect(t, port)
        send(s, "/sleep/2500", f"x-request-id: n{attempt}")
        event = probe.wait("slow", pid=pids[1], request_id=f"n{attempt}")
        assert event["holder"] == "handed-off" and event["path"] == "/sleep/2500", event
        behind = probe.wait("slow", pid=upstream.pid, request_id=f"n{attempt}")
        assert behind["holder"] == "thread", behind
        assert probe.of("peer", pid=pids[1], peer=f"127.0.0.1:{upstream_port}"), probe.lines
        read_answer(s)
        if event["age_ms"] <= LATE_MS * PATIENCE:
            return
    raise AssertionError(f"never within {LATE_MS} ms: {probe.of('slow')}")


def test_redis(t):
    need("redis-server")
    port = free_port()
    server = t.spawn(["redis-server", "--port", port, "--save", "", "--enable-debug-command", "yes", "--dir", t.tmp],
                     stdout=subprocess.DEVNULL)
    until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 15, "redis")
    probe = Inflight(t, server.pid)
    s = connect(t, port)
    s.sendall(b"PING\r\n")
    assert s.recv(100) == b"+PONG\r\n"
    s.sendall(b"DEBUG SLEEP 2\r\n")
    event = probe.wait("slow")
    assert event["protocol"] == "generic" and event["age_ms"] >= SLOW_MS and not event["path"], event
    assert event["holder"] == "thread" and event["reader"] == server.pid, event
    assert event["call"] in ("nanosleep", "clock_nanosleep"), event
    assert s.recv(100) == b"+OK\r\n"
    assert probe.wait("answer")["age_ms"] >= 1900


def certificate(t):
    need("openssl")
    path = t.tmp / "certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2",
                    "-keyout", path, "-out", t.tmp / "public"], check=True, capture_output=True)
    with open(path, "a") as f:
        f.write((t.tmp / "public").read_text())
    return path


def test_tls(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py", "tls", certificate(t))
    probe = Inflight(t, server.pid)
    context = ssl._create_unverified_context()
    idle = context.wrap_socket(connect(t, port))
    busy = context.wrap_socket(connect(t, port))
    send(busy, "/x")
    read_answer(busy)
    closing = context.wrap_socket(connect(t, port))
    send(closing, "/x")
    read_answer(closing)
    closing.setblocking(False)
    try:
        closing.unwrap()  # a close_notify, which nobody answers
    except (ssl.SSLError, OSError):
        pass
    time.sleep(2.5)
    probe.assert_quiet()
    send(busy, "/sleep/2000")
    event = probe.wait("slow")
    assert event["protocol"] == "tls" and event["holder"] == "thread" and event["age_ms"] >= SLOW_MS, event
    assert event["call"] == "clock_nanosleep" and not event["path"], event
    assert read_answer(busy) == 200
    idle.close()


def fill_uploads(t, port):
    """Uploads whose client pauses for longer than a request may wait, then goes on: nobody's fault but its own."""
    plain, chunked, large, long_head = (connect(t, port) for _ in range(4))
    send(plain, "/x", "Content-Length: 20", method="POST", body=b"0123456789")
    send(chunked, "/x", "Transfer-Encoding: chunked", method="POST", body=b"5\r\n01234\r\n")
    send(large, "/x", "Content-Length: 200000", method="POST", body=b"a" * 100000)
    long_head.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n")
    return [(plain, b"0123456789"), (chunked, b"0\r\n\r\n"), (large, b"a" * 100000), (long_head, b"\r\n")]


def test_python_is_quiet(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    idle = connect(t, port)
    probe = Inflight(t, server.pid)
    connect(t, port)  # says nothing at all
    send(idle, "/x")  # a connection older than the probe
    read_answer(idle)
    sendfile = connect(t, port)
    send(sendfile, "/sendfile")
    assert read_answer(sendfile) == 200
    slow_reader = connect(t, port)
    send(slow_reader, "/large")
    pipelined = connect(t, port)
    pipelined.sendall(b"GET /sleep/400 HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    uploads = fill_uploads(t, port)
    assert read_answer(pipelined) == 200
    time.sleep(2.5)
    probe.assert_quiet()
    for s, rest in uploads:
        s.sendall(rest)
        assert read_answer(s) == 200
    time.sleep(0.5)
    probe.assert_quiet()


def test_upload_is_slow_once_it_is_complete(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    probe = Inflight(t, server.pid)
    for fields, first, rest in (("Content-Length: 20", b"0123456789", b"0123456789"),
                                ("Transfer-Encoding: chunked", b"5\r\n01234\r\n", b"0\r\n\r\n"),
                                ("Content-Length: 9000", b"a" * 4000, b"a" * 5000)):
        s = connect(t, port)
        send(s, "/sleep/1800", fields, f"x-request-id: {fields[:20]}", method="POST", body=first)
        time.sleep(1.5)
        assert not probe.of("slow", request_id=fields[:20]), probe.lines
        s.sendall(rest)
        event = probe.wait("slow", request_id=fields[:20])
        assert event["age_ms"] < 1800 * PATIENCE and event["method"] == "POST", event
        read_answer(s)


def test_chunks_that_come_at_once_are_complete(t):
    """More than is kept of a head: the end tells, though the first read had all of it."""
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    probe = Inflight(t, server.pid)
    s = connect(t, port)
    send(s, "/sleep/1800", "Transfer-Encoding: chunked", method="POST",
         body=b"1000\r\n" + b"a" * 4096 + b"\r\n0\r\n\r\n")
    assert probe.wait("slow")["method"] == "POST"


def test_body_that_nobody_reads(t):
    """The client has sent all of it: that the handler leaves it in the socket is no slow upload."""
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    probe = Inflight(t, server.pid)
    s = connect(t, port)
    send(s, "/sleep/unread", "Content-Length: 200000", method="POST", body=b"a" * 200000)
    event = probe.wait("slow")
    assert event["holder"] == "thread" and event["bytes_in"] > 100000, event


def test_node_is_quiet(t):
    need("node")
    server, port = start(t, "node", SERVERS / "serve.js")
    probe = Inflight(t, server.pid)
    upgraded, events, halves = connect(t, port), connect(t, port), connect(t, port)
    send(upgraded, "/", "Connection: Upgrade", "Upgrade: websocket")
    assert upgraded.recv(1000).startswith(b"HTTP/1.1 101")
    send(events, "/events")
    events.recv(1000)
    halves.shutdown(socket.SHUT_WR)
    pipelined = connect(t, port)
    pipelined.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    for _ in range(3):
        upgraded.sendall(b"\x81\x05hello")
        time.sleep(0.8)
    probe.assert_quiet()


def test_one_way_protocol_is_left_alone(t):
    """Somebody who never answers is told of once at most."""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        s, _ = listener.accept()
        while s.recv(100):
            pass
        os._exit(0)
    t.cleanup_with(os.waitpid, pid, 0)
    probe = Inflight(t, pid)
    s = connect(t, listener.getsockname()[1])
    for _ in range(4):
        s.sendall(b"<14>a line of a log\n")
        time.sleep(0.4)
    time.sleep(1.5)
    s.close()
    probe.assert_quiet()


INTERIM = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
hints = b"HTTP/1.1 103 Early Hints\\r\\nLink: </style.css>; rel=preload; as=style; crossorigin\\r\\n\\r\\n"
for _ in range(2):
    s, _ = listener.accept()
    for path in sys.argv[1:]:
        while not s.recv(4096).endswith(b"\\r\\n\\r\\n"):
            pass
        s.sendall(b"HTTP/1.1 100 Continue\\r\\n\\r\\n" if path == "continue" else hints)
        if path == "stuck":
            time.sleep(2)
        s.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 70\\r\\n\\r\\n" + b"x" * 70)
"""


def test_interim_answers_are_none(t):
    """Behind the first answer of a connection too. That a server gives some is learned while what it sends is looked at."""
    _, port = server = start(t, PYTHON, "-c", INTERIM, "hints", "stuck", "continue", "stuck")
    probe = Inflight(t, server[0].pid, steady=False)
    for _ in range(2):
        s = connect(t, port)
        for i in range(4):
            send(s, f"/{i}")
            data = b""
            while not data.endswith(b"x" * 70):
                data += s.recv(4096)
        s.close()
    probe.wait("slow", path="/1")
    until(lambda: len(probe.of("slow")) == 4, 3, f"four slow ones; there was {probe.lines}")


UNREAD = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0), backlog=1)
print(listener.getsockname()[1], flush=True)
if sys.argv[1] == "accepts":
    accepted = listener.accept()
time.sleep(60)
"""


def test_unread_bytes(t):
    """A pool that is exhausted reads nothing, so there is no request to be seen."""
    server, port = start(t, PYTHON, "-c", UNREAD, "accepts")
    s = connect(t, port)
    send(s, "/x")
    probe = Inflight(t, server.pid)
    event = probe.wait("unread")
    assert event["held_ms"] >= SLOW_MS and event["waiting"] > 20 and not event["listens"], event


def test_full_backlog(t):
    server, port = start(t, PYTHON, "-c", UNREAD, "waits")
    probe = Inflight(t, server.pid)
    waiting = [connect(t, port) for _ in range(2)]
    event = probe.wait("unread")
    assert event["listens"] and event["waiting"] == len(waiting) > event["room"], event


def load(port, path, seconds):
    """Requests as fast as four connections can, their number."""
    counts, end = [0] * 4, time.monotonic() + seconds

    def run(i):
        s = socket.create_connection(("127.0.0.1", port))
        while time.monotonic() < end:
            send(s, path)
            assert read_answer(s) == 200
            counts[i] += 1
        s.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def test_nginx_under_load_is_quiet(t):
    pids, port = start_nginx(t)
    probe = Inflight(t, *pids)
    served = load(port, "/small", 5)
    t.log(f"{served} requests")
    assert served > 100
    time.sleep(1.5)
    probe.assert_quiet()
    probe.process.stdin.close()
    probe.process.wait(10 * PATIENCE)
    assert not probe.of("loss"), probe.lines
