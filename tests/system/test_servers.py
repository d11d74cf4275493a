# SPDX-License-Identifier: MIT
"""Each kind of server is caught with the request that it is stuck in; none of them trips while it is only busy."""

import dataclasses
import re
import time
import typing

import servers
from busy import Load
from harness import IN_VM, PATIENCE, Skip, need, skip, slow, timeout, until
from servers import Postgres, http
from test_requests import LATE_S, SLOW_S, request_of, seconds_of

PATTERN = False
ALONE = True


@dataclasses.dataclass
class Case:
    start: typing.Callable
    ask: bytes
    frames: tuple = ()  # of the first thread in the core, where that has the request; (): it was handed off
    call: str = ""  # that the thread stands in
    prepare: typing.Callable = lambda server: None


# What gdb shows of a thread is what the program's file has names for: of an interpreter or a JIT its C functions, of which
# the innermost ones say where the script stands. Handed off: nginx goes on in its loop and node's timer is no thread's, a
# goroutine that sleeps has no thread.
CASES = {
    # The C function behind time.sleep().
    "python": Case(servers.start_python, http("/sleep/2500"), ("nanosleep",), "clock_nanosleep"),
    "tls": Case(servers.start_tls, http("/sleep/2500"), ("nanosleep",), "clock_nanosleep"),
    "sendfile": Case(servers.start_sendfile, http("/sendfile/2500"), ("nanosleep",), "clock_nanosleep"),
    "uring": Case(servers.start_uring, http("/sleep/2500"), ("handle_slow", "handle", "main"), "clock_nanosleep"),
    "go": Case(servers.start_go, http("/sleep/2500")),
    # In a system call the goroutine has a thread.
    "go_blocked": Case(servers.start_go, http("/block/2500"), ("syscall.Nanosleep", "main.block", "main.handle"),
                       "nanosleep"),
    "nginx_proxy": Case(servers.start_proxy, http("/sleep/2500")),
    # Serving: it writes of a missing file to its log, which nobody reads.
    "nginx_serve": Case(servers.start_nginx, http("/missing"),
                        ("ngx_log_error_core", "ngx_http_core_content_phase", "ngx_http_core_run_phases"), "write",
                        lambda server: server.fill_log()),
    # Its worker waits for the upstream in poll(), which it does not for new work.
    "apache_event": Case(servers.start_apache_event, http("/sleep/2500"),
                         ("poll", "proxy_run_scheme_handler", "ap_run_handler"), "poll"),
    # Its worker waits for the output of a script, in epoll_wait() or poll().
    "apache_prefork": Case(servers.start_apache_prefork, http("/run/sleep/2.5"),
                           ("ap_run_handler", "ap_process_request"), ""),
    "redis": Case(servers.start_redis, b"DEBUG SLEEP 2.5\r\n", ("nanosleep", "debugCommand", "processCommand"),
                  "clock_nanosleep"),
    # In epoll_wait(), on a set that holds no socket.
    "postgres": Case(servers.start_postgres, Postgres.query("select pg_sleep(2.5)"),
                     ("epoll_wait", "pg_sleep", "PostgresMain"), "epoll_wait"),
    "node": Case(servers.start_node, http("/sleep/2500")),
    # execFileSync() turns a loop of its own.
    "node_blocked": Case(servers.start_node, http("/run/2500"), ("uv_run", "node::SyncProcessRunner"), "epoll_pwait"),
    # The JVM's function behind Thread.sleep().
    "java": Case(servers.start_java, http("/sleep/2500"), ("pthread_cond_timedwait", "JVM_Sleep"), "futex"),
}


def check_holder(case, server, trip):
    request = request_of(trip)
    if case.frames:
        assert "handed_off" not in request and request["tid"], request
        assert case.call in request["waits_in"]["call"], request
    else:
        assert request["handed_off"] and "tid" not in request, request
    return request.get("tid", trip["process"]["pid"])


def catch_once(t, case, server):
    """A watch for one request: (trip, capture, seconds from the request to the trip)."""
    w = t.watch("-p", server.pid, "--tree", "--request-slow", "1s", "-n", 1, "--kind", "mini")
    s = server.connect(t)
    case.prepare(server)
    sent = time.time()
    s.sendall(case.ask)
    capture = w.wait("capture", 20)
    trip, = w.of("trip")
    assert request_of(trip)["peer"] == "127.0.0.1:%d" % s.getsockname()[1], trip
    assert w.wait_exit() == 0
    server.release()
    server.read(s)
    return trip, capture, seconds_of(trip) - sent


def catch(t, name):
    need("gdb")
    case = CASES[name]
    server = case.start(t)
    took = []
    while not took or took[-1] > LATE_S * PATIENCE:  # on a busy machine not the first time
        assert len(took) < 5, f"never within {LATE_S} s: {took}"
        trip, capture, seconds = catch_once(t, case, server)
        took.append(seconds)
        assert seconds >= SLOW_S and request_of(trip)["age_ms"] >= 1000, (took, trip)
    tid = check_holder(case, server, trip)
    text = t.gdb(server.executable, t.core(capture), "info threads", "bt 60")
    assert re.search(rf"^\* 1 .*LWP {tid}\b", text, re.M), (tid, text)
    missing = [frame for frame in case.frames if frame not in text]
    assert not missing, (missing, text[-3000:])
    request = request_of(trip)
    t.log(f"{name}: after {took} s, {'thread' if case.frames else 'handed off'}, {request.get('waits_in')}, {case.frames}")


def test_python(t):
    catch(t, "python")


def test_tls(t):
    catch(t, "tls")


def test_sendfile(t):
    catch(t, "sendfile")


def test_uring(t):
    catch(t, "uring")


def test_go(t):
    catch(t, "go")


def test_go_blocked(t):
    catch(t, "go_blocked")


def test_nginx_proxy(t):
    catch(t, "nginx_proxy")


def test_nginx_serve(t):
    catch(t, "nginx_serve")


def test_apache_event(t):
    catch(t, "apache_event")


def test_apache_prefork(t):
    catch(t, "apache_prefork")


def test_redis(t):
    catch(t, "redis")


def test_postgres(t):
    catch(t, "postgres")


def test_node(t):
    catch(t, "node")


def test_node_blocked(t):
    catch(t, "node_blocked")


@timeout(120)
def test_java(t):
    catch(t, "java")


def start_all(t, names):
    """Those of them that are installed: {name: server}."""
    found = {}
    for name in names:
        try:
            found[name] = CASES[name].start(t)
        except Skip as reason:
            t.log(f"{name}: {reason}")
    return found


def stick_each(t, w, found):
    """To prove that nothing was asleep: each is stuck once, all at the same time, and is told of."""
    asked = {}
    for name, server in found.items():
        s = server.connect(t)
        CASES[name].prepare(server)
        s.sendall(CASES[name].ask)
        asked["127.0.0.1:%d" % s.getsockname()[1]] = name
    for peer, name in asked.items():
        trip = until(lambda: next((e for e in w.of("trip") if request_of(e)["peer"] == peer), None), 10, f"{name}'s trip")
        check_holder(CASES[name], found[name], trip)
        t.log(f"{name}: {request_of(trip)['age_ms']} ms, {request_of(trip).get('tid', 'handed off')}")
    for server in found.values():
        server.release()


def stay_quiet(t, names, seconds):
    found = start_all(t, names)
    load = Load(t, found.values())
    pids = [argument for server in found.values() for argument in ("-p", server.pid)]
    w = t.watch(*pids, "--tree", "--request-slow", "1s", "--observe", "-n", 0)
    load.run(seconds)
    for name, server in found.items():
        answered, worst = load.served(server)
        t.log(f"{name}: {answered / seconds:.0f} requests/s, the slowest took {worst * 1000:.0f} ms")
        assert answered > 5 * seconds, (name, answered)
    told = [(e["process"]["comm"], request_of(e)) for e in w.of("trip")]
    assert not told and not w.of("loss"), (told, w.of("loss"), [load.served(server) for server in found.values()])
    load.close()
    stick_each(t, w, found)


@timeout(120)
def test_the_busy_are_left_alone(t):
    if IN_VM:
        skip("where all is emulated a busy server is a slow one")
    stay_quiet(t, ("python", "tls", "uring", "go", "nginx_serve", "apache_event"), 8)


@slow
@timeout(300)
def test_all_are_left_alone_for_a_minute(t):
    stay_quiet(t, ("python", "tls", "sendfile", "uring", "go", "nginx_proxy", "nginx_serve", "apache_event",
                   "apache_prefork", "redis", "postgres", "node", "java"), 60)
