# SPDX-License-Identifier: MIT
"""The command lines that coretrap was asked for, as they stand: <PID>, <PATH> and # filled in."""

import json
import os
import subprocess

from harness import CORETRAP, IN_VM, PATIENCE, skip, timeout, until
from test_thresholds import go_first, since, tell

PREFIX = ["-accepteula", "-ma"]


def start(t, *line, **popen):
    """`coretrap procdump LINE PATH`, once it watches."""
    process = t.spawn([CORETRAP, "procdump", *map(str, line), t.store], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                      preexec_fn=go_first, **popen)
    line = process.stdout.readline().decode()
    assert "watching 1 process" in line, (line, process.stderr.read() if process.poll() is not None else "")
    return process


def end(process, seconds=30):
    out, err = process.communicate(timeout=seconds * PATIENCE)
    assert process.returncode == 0, (process.returncode, out, err)


def incidents(t):
    return sorted((json.loads((c / "incident.json").read_text()) for c in t.captures()), key=lambda e: e["time"])


def burner(t):
    return t.target("burn", ready=True, preexec_fn=go_first)


@timeout(90)
def test_excessive_cpu(t):
    """procdump -accepteula -ma -n 3 -s # -c 80 <PID>: the machine is 100, so long in a row, anew after each dump."""
    if os.cpu_count() > 8:
        skip("too many processors to keep busy in a test")
    process = burner(t)
    watch = start(t, *PREFIX, "-n", 3, "-s", 2, "-c", 80, process.pid)
    tell(process, "busy", os.cpu_count(), 100)
    end(watch, 60)
    events = incidents(t)
    assert len(events) == 3 and all(e["trigger"]["kind"] == "cpu" for e in events), events
    assert all(e["capture"]["kind"] == "full" and e["capture"]["complete"] for e in events)
    assert all(e["trigger"]["cpu"]["base"] == "machine" for e in events), events[0]["trigger"]
    times = [since(e, 0) for e in events]
    assert all(b - a > 1.9 for a, b in zip(times, times[1:])), times
    tell(process, "fds", 1)


@timeout(60)
def test_one_core_is_not_the_machine(t):
    if os.cpu_count() < 2 or IN_VM:
        skip("one processor")
    process = burner(t)
    watch = start(t, *PREFIX, "-s", 1, "-c", 80, process.pid)
    tell(process, "busy", 1, 100)
    try:
        watch.wait(5)
        assert False, watch.stdout.read()
    except subprocess.TimeoutExpired:
        pass
    watch.terminate()
    watch.wait(15 * PATIENCE)
    assert not t.captures()


def test_excessive_memory(t):
    """procdump -accepteula -ma -m 2000 <PID>, of a tenth of that: for ten seconds in a row unless -s says otherwise."""
    process = burner(t)
    watch = start(t, *PREFIX, "-m", 200, "-s", 1, process.pid)
    tell(process, "anonymous", 250)
    end(watch)
    [event] = incidents(t)
    assert event["trigger"]["kind"] == "memory" and event["trigger"]["memory"]["value"] >= 250 << 20, event["trigger"]
    assert event["capture"]["memory_bytes"] >= 250 << 20 and event["capture"]["snapshot"] == "fork", event["capture"]


def test_process_termination(t):
    """procdump -accepteula -ma -t <PID>: a full core of what exits, however it does."""
    process = t.target("/bin/sh", "-c", "read line; exit 0")
    watch = start(t, *PREFIX, "-t", process.pid)
    t.go(process)
    end(watch)
    [event] = incidents(t)
    assert event["trigger"] == {"kind": "exit", "exit": {"code": 0}}, event["trigger"]
    assert event["capture"]["kind"] == "full" and event["capture"]["complete"], event["capture"]


def test_unhandled_exceptions(t):
    """procdump -accepteula -ma -e <PID>: a fatal signal, or a status that is not 0; each once."""
    process = t.target("threads", wait=True)
    watch = start(t, *PREFIX, "-e", process.pid)
    t.go(process)
    end(watch)
    [event] = incidents(t)
    assert event["trigger"]["kind"] == "signal" and event["trigger"]["signal"]["name"] == "SIGSEGV", event["trigger"]
    assert event["capture"]["kind"] == "full" and event["capture"]["complete"], event["capture"]


def test_unhandled_exit(t):
    process = t.target("/bin/sh", "-c", "read line; exit 3")
    watch = start(t, *PREFIX, "-e", process.pid)
    t.go(process)
    end(watch)
    [event] = incidents(t)
    assert event["trigger"] == {"kind": "exit", "exit": {"code": 3}}, event["trigger"]


def test_handled_exceptions(t):
    """procdump -accepteula -ma -e 1 -f <filter> <PID>: refused by name, until there are language exceptions."""
    process = burner(t)
    done = t.coretrap("procdump", *PREFIX, "-e", "1", "-f", "NotFound", process.pid)
    assert done.returncode == 2 and "-f" in done.stderr and len(done.stderr.splitlines()) == 1, done
    until(lambda: process.poll() is None, 1, "a process that lives")
