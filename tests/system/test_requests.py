# SPDX-License-Identifier: MIT
"""Servers that read a request and do not answer: caught while they have it, in the thread that has it."""

import json
import re
import shutil
import ssl
import subprocess
import time

from harness import CORETRAP, PATIENCE, need, skip, target_path, until
from test_request_probe import (PYTHON, SERVERS, UNREAD, certificate, connect, load, read_answer, send, start,
                                start_nginx)

PATTERN = False

SLOW_S = 1.0
LATE_S = 1.3
ENDLESS = ("--count", 0)


def own_name(t, source):
    """A copy of a server under a name that no other process has, which the rule can go by."""
    path = t.tmp / f"{t.tmp.name}-{source.name}"
    shutil.copy2(source, path)
    return path


def seconds_of(event):
    """The time of day of an event, as seconds since 1970."""
    stamp, fraction = event["time"].rstrip("Z").split(".")
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S")) - time.timezone + float("0." + fraction)


def request_of(event):
    return event["trigger"]["request"]


def trips_of(w, request_id):
    return [e for e in w.of("trip") if request_of(e).get("request_id") == request_id]


def trip_in_time(t, w, port, path, **match):
    """(trip, capture) of a request, tripped from 1.0 to 1.3 s after it was sent; on a busy machine not the first time."""
    took = []
    for attempt in range(5):
        s = connect(t, port)
        name = f"{path}#{attempt}"
        sent = time.time()
        send(s, f"{path}?attempt={attempt}", f"x-request-id: {name}")
        until(lambda: trips_of(w, name), 10 * PATIENCE, f"a trip of {name}; {w.events[-1:]} {w.stderr()[-300:]}")
        trip = trips_of(w, name)[0]
        assert read_answer(s) == 200
        took.append(seconds_of(trip) - sent)
        assert took[-1] >= SLOW_S and request_of(trip)["age_ms"] >= 1000, (took, trip)
        assert request_of(trip)["path"] == path and request_of(trip)["method"] == "GET", trip
        assert request_of(trip)["peer"] == "127.0.0.1:%d" % s.getsockname()[1], trip
        until(lambda: capture_of(w, trip), 30, "its capture")
        if took[-1] <= LATE_S * PATIENCE:
            t.log(f"tripped after {took} s: {trip['trigger']}")
            return trip, capture_of(w, trip)
    raise AssertionError(f"never within {LATE_S} s: {took}")


def capture_of(w, trip):
    return next((e for e in w.of("capture") if e["id"] == trip["id"]), None)


def first_thread(t, executable, capture, *commands):
    """(tid, what gdb says more) of the thread that a debugger comes upon first."""
    text = t.gdb(executable, t.core(capture), "info threads", *commands)
    found = re.search(r"^\* 1 .*LWP (\d+)", text, re.M)
    assert found, text
    return int(found[1]), text


def test_python_is_caught_in_its_handler(t):
    script = own_name(t, SERVERS / "serve.py")
    server, port = start(t, PYTHON, script)
    w = t.watch("--name", script.name, "--request-slow", "1s", *ENDLESS)
    trip, capture = trip_in_time(t, w, port, "/sleep/3000")
    request = request_of(trip)
    assert request["tid"] != server.pid and request["redacted"] and "handed_off" not in request, request
    assert request["waits_in"]["call"] == "clock_nanosleep" and request["waits_in"]["stack"], request
    assert capture["process"]["pid"] == server.pid and capture["capture"]["complete"], capture
    tid, text = first_thread(t, PYTHON, capture, "bt 30")
    assert tid == request["tid"], (request, text)
    assert "nanosleep" in text and "_PyEval_EvalFrameDefault" in text, text


def test_node_has_handed_it_off(t):
    need("node")
    script = own_name(t, SERVERS / "serve.js")
    server, port = start(t, "node", script)
    w = t.watch("--name", script.name, "--request-slow", "1s", "--kind", "mini", *ENDLESS)
    trip, _ = trip_in_time(t, w, port, "/sleep/2000")
    assert request_of(trip)["handed_off"] and "tid" not in request_of(trip), trip
    assert request_of(trip)["reader"] == server.pid and "epoll" in request_of(trip)["waits_in"]["call"], trip
    trip, capture = trip_in_time(t, w, port, "/spin/2000")
    assert request_of(trip)["tid"] == server.pid, trip
    assert first_thread(t, shutil.which("node"), capture)[0] == server.pid


def test_nginx_names_whom_it_waits_for(t):
    upstream, upstream_port = start(t, PYTHON, SERVERS / "serve.py")
    pids, port = start_nginx(t, upstream_port)
    w = t.watch("-p", pids[0], "--tree", "--request-slow", "1s", *ENDLESS)
    trip, capture = trip_in_time(t, w, port, "/sleep/2000")
    request = request_of(trip)
    assert request["handed_off"] and trip["process"]["pid"] == pids[1], trip
    assert f"127.0.0.1:{upstream_port}" in [peer["peer"] for peer in request["outbound"]], request
    assert first_thread(t, shutil.which("nginx"), capture)[0] == pids[1]


def test_go_names_its_goroutine(t):
    server_path = own_name(t, SERVERS.parent.parent / target_path("serve"))
    server, port = start(t, server_path)
    w = t.watch("--name", server_path.name, "--request-slow", "1s", "--kind", "mini", *ENDLESS)
    trip, capture = trip_in_time(t, w, port, "/sleep/2000")
    assert request_of(trip)["handed_off"] and request_of(trip)["goroutine"] > 0, trip
    assert first_thread(t, server_path, capture)[0] == server.pid


def send_all(t, port, paths):
    """All at once; returns when all are answered."""
    connections = [connect(t, port) for _ in paths]
    for s, path in zip(connections, paths):
        send(s, path, f"x-request-id: {path}")
    for s in connections:
        read_answer(s)
        s.close()


def test_what_else_a_client_sends_hides_nothing(t):
    """A handler that hangs while bytes that nobody reads come in all the time."""
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    w = t.watch("-p", server.pid, "--request-slow", "1s", "--observe")
    s = connect(t, port)
    send(s, "/sleep/8000")
    until(lambda: s.send(b"x") and w.of("trip"), 4 * PATIENCE, "a trip")


def test_the_tenth_trips_and_not_the_ninth(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    w = t.watch("-p", server.pid, "--request-slow", "200ms", "--request-count", "10/60s", "--observe")
    send_all(t, port, ["/sleep/260"] * 9)  # some end between two looks
    send_all(t, port, ["/x"] * 20)
    time.sleep(0.5)
    assert not w.of("trip"), w.events
    replies = json.loads(t.coretrap("why", server.pid, "--json").stdout)
    said = [rule["requests"] for reply in replies for rule in reply["rules"] if rule["watches"] and "requests" in rule]
    assert said == [{"slow": 9, "count": 10, "count_ms": 60000}], replies
    send_all(t, port, ["/sleep/800"])
    assert request_of(w.wait("trip"))["path"] == "/sleep/800"
    assert w.wait_exit() == 0


def test_only_some_paths_count(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    w = t.watch("-p", server.pid, "--request-slow", "300ms", "--request-path", "/sleep/*", "--request-path", "/y",
                "--request-exclude", "*/900", "--observe")
    send_all(t, port, ["/sleep/900"] * 3)
    assert not w.of("trip"), w.events
    send_all(t, port, ["/sleep/901"])
    assert request_of(w.wait("trip"))["path"] == "/sleep/901"
    assert w.wait_exit() == 0


def test_a_path_that_is_never_seen_is_said(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py", "tls", certificate(t))
    w = t.watch("-p", server.pid, "--request-slow", "300ms", "--request-path", "/sleep/*", "--observe")
    s = ssl._create_unverified_context().wrap_socket(connect(t, port))
    for _ in range(2):
        send(s, "/sleep/900")
        assert read_answer(s) == 200
    loss = w.wait("loss")
    assert loss["reason"] == "no-path" and "encrypted" in loss["detail"], loss
    assert loss["process"]["pid"] == server.pid and loss["rule"] == "watch", loss
    time.sleep(0.5)
    assert len(w.of("loss")) == 1 and not w.of("trip"), w.events


def test_answers_with_a_status_are_counted(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    w = t.watch("-p", server.pid, "--request-status", "500-599", "--request-count", "3/60s", "--observe")
    send_all(t, port, ["/x", "/broken", "/broken", "/x"])
    time.sleep(0.7)
    assert not w.of("trip"), w.events
    send_all(t, port, ["/broken"])
    request = request_of(w.wait("trip"))
    assert (request["why"], request["status_code"], request["answered"]) == ("status", 503, True), request
    assert w.wait_exit() == 0


def test_a_share_of_all_trips(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    w = t.watch("-p", server.pid, "--request-slow", "300ms", "--request-slow-share", "50%/60s", "--observe")
    send_all(t, port, ["/x"] * 20)
    time.sleep(0.4)
    send_all(t, port, ["/sleep/700"] * 8)
    assert not w.of("trip"), w.events  # 8 of 28
    send_all(t, port, ["/sleep/700"] * 16)
    assert request_of(w.wait("trip"))["why"] == "share"


def test_fast_requests_do_not_trip(t):
    server, port = start(t, PYTHON, SERVERS / "serve.py")
    w = t.watch("-p", server.pid, "--request-slow", "1s", "--request-status", "500-599", "--unread", "1s", "--observe")
    idle = connect(t, port)
    assert load(port, "/x", 2) > 20
    idle.close()
    time.sleep(1.2)
    assert not w.of("trip") and not w.of("loss"), w.events


NARROW = """ip link set lo up && echo %d >/proc/sys/net/core/optmem_max && exec "$@" """


def start_with_little(t, bytes_a_socket):
    """A server in a network of its own, where little may be kept beside a socket: (process, what sends it a request)."""
    need("unshare", "nsenter", "ip")
    server, port = start(t, "unshare", "-n", "sh", "-c", NARROW % bytes_a_socket, "sh", PYTHON, SERVERS / "serve.py")

    def ask(path):
        client = f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}); c.request('GET', '{path}', headers={{'Pad': 1000 * 'x'}}); "
        subprocess.run(["nsenter", "-t", str(server.pid), "-n", PYTHON, "-c", client + "c.getresponse().read()"], check=True,
                       timeout=30 * PATIENCE)

    return server, ask


def test_storage_that_is_refused_is_told(t):
    """The kernel charges what is kept of a connection to the socket. A request without it is not seen; without room for
    its head, if that is long, it has no path."""
    if subprocess.run(["unshare", "-n", "test", "-w", "/proc/sys/net/core/optmem_max"]).returncode:
        skip("before Linux 6.8 net.core.optmem_max is the whole host's")
    server, ask = start_with_little(t, 64)
    w = t.watch("-p", server.pid, "--request-slow", "300ms", "--observe")
    ask("/sleep/600")
    loss = w.wait("loss")
    assert loss["reason"] == "request-storage" and loss["count"] > 0 and loss["detail"] == "of requests", loss
    assert not w.of("trip"), w.events
    w.stop()
    server, ask = start_with_little(t, 1500)
    w = t.watch("-p", server.pid, "--request-slow", "300ms", "--observe")
    ask("/sleep/900")
    request = request_of(w.wait("trip"))
    assert request["protocol"] == "http" and "path" not in request, request
    assert w.of("loss")[0]["reason"] == "request-storage", w.events


def test_work_that_nobody_reads(t):
    server, port = start(t, PYTHON, "-c", UNREAD, "accepts")
    w = t.watch("-p", server.pid, "--unread", "1s")
    sent = time.time()
    send(connect(t, port), "/x")
    capture = w.wait("capture", 20)
    unread = capture["trigger"]["unread"]
    assert unread["what"] == "bytes" and unread["waiting"] > 20 and unread["local"] == f"127.0.0.1:{port}", unread
    assert 1.0 <= seconds_of(w.of("trip")[0]) - sent <= 2.5 * PATIENCE, w.of("trip")


def test_lab_slow_is_caught_as_it_says(t):
    lab = t.spawn([CORETRAP, "lab", "slow", "--time", "10s"], stdout=subprocess.PIPE)
    lines = [lab.stdout.readline().decode() for _ in range(3)]
    args = lines[1].split("coretrap watch ")[1].split()
    w = t.watch(*args)
    send(connect(t, int(re.search(r":(\d+)/", lines[2])[1])), "/slow")
    capture = w.wait("capture", 20)
    assert any(frame.get("symbol", "").startswith("handle_slow") for frame in capture["stack"]), capture["stack"]
    assert w.wait_exit() == 0
