# SPDX-License-Identifier: MIT
"""Cores at exit, and what follows a capture."""

import json
import os
import pathlib
import re
import shutil
import signal
import time

from harness import IN_VM, target_path, until

# What exits is held by its tracer, but one rule here waits for signals as well.


def shell(t, end):
    """A process that ends so once it gets a line."""
    return t.target("/bin/sh", "-c", f"read line; {end}")


def go(t, process):
    t.go(process)


def test_core_of_an_exit(t):
    """Whole, whatever brought the end; the process that was killed still says who it was."""
    for end, code in (("exit 3", {"code": 3}), ("kill -9 $$", {"signal": "SIGKILL"}),
                      ("kill -15 $$", {"signal": "SIGTERM"})):
        process = shell(t, end)
        w = t.watch("-p", process.pid, "--exit", "nonzero")
        assert any("traced" in note for note in w.armed["notes"]), w.armed
        go(t, process)
        event = w.wait("capture", 15)
        assert w.wait_exit() == 0
        assert event["trigger"] == {"kind": "exit", "exit": code}, event["trigger"]
        assert event["capture"]["complete"] and event["capture"]["kind"] == "full", event["capture"]
        assert len(w.of("trip")) == 1 and not w.of("skip"), w.events
        assert "libc" in t.gdb("/bin/sh", t.core(event), "info sharedlibrary")


def test_one_death_trips_once(t):
    """A rule that waits for signals and exits both: a crash is the handler's, a kill the tracer's."""
    process = t.target("threads", wait=True)
    w = t.watch("-p", process.pid, "--signal", "fatal", "--exit", "nonzero", "--kind", "none", "-n", 0)
    process.kill()
    w.wait("trip", 10)
    w.wait_exit()
    assert len(w.of("trip")) == 1, w.events
    process = shell(t, "kill -9 $$")
    w = t.watch("-p", process.pid, "--signal", "fatal", "--exit", "nonzero")
    go(t, process)
    assert w.wait_exit() == 0, w.events
    assert [e["event"] for e in w.events if e["event"] in ("trip", "skip", "capture")] == ["trip", "capture"], w.events


def test_other_exits_pass(t):
    process = shell(t, "exit 4")
    w = t.watch("-p", process.pid, "--exit", "3")
    go(t, process)
    assert w.wait_exit() == 3, w.events
    assert not w.of("trip") and process.wait(5) == 4


def test_traced_already(t):
    """By strace: its end is told all the same."""
    process = shell(t, "exit 3")
    tracer = t.spawn(["strace", "-qq", "-o", "/dev/null", "-p", process.pid])
    until(lambda: "TracerPid:\t0" not in open(f"/proc/{process.pid}/status").read(), 5, "strace")
    w = t.watch("-p", process.pid, "--exit", "any")
    until(lambda: "traced" in w.stderr() or "trace" in w.stderr(), 5, "a word of the tracer")
    go(t, process)
    trip = w.wait("trip", 10)
    assert trip["trigger"]["exit"] == {"code": 3}, trip
    w.wait_exit()
    assert w.of("skip")[0]["reason"] == "memory-gone", w.events
    tracer.wait(5)


def test_capture_of_a_traced_process(t):
    """A threshold's capture needs the place of the tracer, which comes back behind it."""
    process = t.target("burn", ready=True)
    # For some time, so that the threshold does not take the second capture before the process is killed.
    w = t.watch("-p", process.pid, "--exit", "any", "--threads", 20, "--for", "5s", "-n", 2)
    process.stdin.write(b"threads 30\n")
    process.stdin.flush()
    first = w.wait("capture", 20)
    assert first["trigger"]["kind"] == "threads", first
    until(lambda: "TracerPid:\t0" not in open(f"/proc/{process.pid}/status").read(), 10, "the tracer's return")
    process.kill()
    second = w.wait("capture", 20, 2)
    assert second["trigger"] == {"kind": "exit", "exit": {"signal": "SIGKILL"}}, second["trigger"]
    assert w.wait_exit() == 0


def tracer_of(process):
    return int(re.search(r"TracerPid:\t(\d+)", open(f"/proc/{process.pid}/status").read())[1])


def test_one_file_for_the_first_end(t):
    """Several processes may be the one whose core goes into the file: it holds that of the first to end."""
    for first in (0, 1):
        path = t.tmp / f"core-{first}"
        processes = [shell(t, "one=of-several; exit 3") for _ in range(2)]
        w = t.watch("--cmdline", "*one=of-several*", "--exit", "any", store=path)
        until(lambda: all(tracer_of(p) for p in processes), 10, "the tracers")
        go(t, processes[first])
        event = w.wait("capture", 15)
        assert w.wait_exit() == 0 and event["capture"]["path"] == str(path), event["capture"]
        assert event["process"]["pid"] == processes[first].pid
        assert f"LWP {processes[first].pid}" in t.gdb("/bin/sh", t.core(event), "info threads")
        go(t, processes[1 - first])
        processes[1 - first].wait(5)


def test_another_program_is_let_go(t):
    """What a target executes may be none: it is not captured, and a debugger may have it."""
    process = shell(t, "exec sleep 1000")
    w = t.watch("--cmdline", "*read line; exec sleep*", "--exit", "any")
    until(lambda: tracer_of(process), 10, "the tracer")
    go(t, process)
    until(lambda: not tracer_of(process), 10, "the tracer's end")
    process.kill()
    process.wait(5)
    time.sleep(0.5)
    w.stop()
    assert not w.of("trip"), w.events


def test_end_after_the_tracer_died(t):
    """Its core is lost, its end is told."""
    process = shell(t, "exit 3")
    w = t.watch("-p", process.pid, "--exit", "any")
    until(lambda: tracer_of(process), 10, "the tracer")
    os.kill(tracer_of(process), signal.SIGKILL)
    until(lambda: not tracer_of(process), 5, "its end")
    go(t, process)
    w.wait_exit()
    assert w.of("trip")[0]["trigger"]["exit"] == {"code": 3}, w.events
    assert w.of("skip")[0]["reason"] == "memory-gone", w.events


def test_too_short_for_a_tracer(t):
    """Who has ended before its tracer came is no error: its end is told all the same."""
    program = t.tmp / "short-lived"
    shutil.copy2("/bin/true", program)
    w = t.watch("--name", "short-lived", "--exit", "any", "--kind", "stacks", "-n", 0)
    loop = t.target("/bin/sh", "-c", f"read go; for i in $(seq 60); do {program}; done")
    t.go(loop)
    until(lambda: len(w.of("trip")) == 60, 30, "all ends")
    loop.wait(5)
    w.stop(seconds=30)
    assert not w.stderr(), w.stderr()


def test_killed_watch_harms_nobody(t):
    process = shell(t, "exit 5")
    w = t.watch("-p", process.pid, "--exit", "any")
    until(lambda: "TracerPid:\t0" not in open(f"/proc/{process.pid}/status").read(), 10, "tracer")
    w.process.kill()
    w.process.wait()
    until(lambda: "TracerPid:\t0\n" in open(f"/proc/{process.pid}/status").read(), 5, "an untraced target")
    go(t, process)
    assert process.wait(5) == 5


def test_actions_follow_a_capture(t):
    """In order; the program gets the incident, the process gets its signal."""
    told = t.tmp / "told"
    program = t.tmp / "tell"
    program.write_text(f"#!/bin/sh\ncat > {told}\nenv | grep CORETRAP_ > {told}.env\n")
    program.chmod(0o755)
    process = t.target("burn", ready=True)
    w = t.watch("-p", process.pid, "--threads", 20, "--kind", "stacks", "--then", f"exec:{program}",
                "--then", "term:2s")
    process.stdin.write(b"threads 30\n")
    process.stdin.flush()
    assert w.wait_exit(20) == 0, w.events
    assert process.wait(5) == -15
    capture = w.of("capture")[0]
    assert json.loads(told.read_text())["id"] == capture["id"]
    assert re.search(rf"^CORETRAP_PID={process.pid}$", pathlib.Path(f"{told}.env").read_text(), re.M)
    assert [e["action"]["kind"] for e in w.of("action")] == ["exec", "term"], w.of("action")


def test_action_that_hangs_holds_up_nobody(t):
    """A child that hangs, floods its output or dies: the watch goes on, and ends."""
    process = t.target("burn", ready=True)
    w = t.watch("-p", process.pid, "--threads", 20, "--kind", "none", "-n", 0, "--every", "1s",
                "--then", "exec:/bin/sleep 1000", "--duration", "4s")
    process.stdin.write(b"threads 30\n")
    process.stdin.flush()
    w.wait("trip", 10, 2)
    began = time.monotonic()
    w.stop()
    assert time.monotonic() - began < (60 if IN_VM else 16)
    assert target_path("burn")
