# SPDX-License-Identifier: MIT
"""Functions that are entered and not left in time: caught while a thread is inside, and nowhere else."""

import os
import pathlib
import re
import shutil
import subprocess
import time

from harness import PATIENCE, skip, target_path, timeout, until
from test_requests import first_thread
from test_run import Run, forget_ledger

PATTERN = False

ENDLESS = ("--count", 0)
QUIET_S = 1.2  # so long nothing must happen


def inside(t, *words):
    target_path("libwork.so")
    return t.target("inside", *words, ready=True)


def caught(t, target, function, limit_ms, least, most, *how):
    """The capture of a call, which was from LEAST to MOST of its limit old; on a busy machine not the first time."""
    ages = []
    for _ in range(4):
        w = t.watch("-p", target.pid, "--function", f"{function}={limit_ms}ms", *how)
        capture = w.wait("capture", 20)
        assert w.wait_exit() == 0
        trigger = capture["trigger"]
        assert trigger["kind"] == "function" and trigger["function"] == function, trigger
        ages.append(trigger["age_ms"])
        assert ages[-1] >= limit_ms * least, trigger
        if ages[-1] <= limit_ms * most * PATIENCE:
            return capture
    raise AssertionError(f"never in time: {ages}")


def test_the_thread_that_is_inside_is_captured(t):
    target = inside(t, "handle", 3000)
    capture = caught(t, target, ":handle", 1000, 1.0, 1.3)
    trigger = capture["trigger"]
    assert trigger["tid"] == target.pid == capture["process"]["tid"], capture
    assert trigger["file"] == target_path("inside") and trigger["waits_in"]["call"] == "clock_nanosleep", trigger
    tid, text = first_thread(t, target_path("inside"), capture, "bt")
    assert tid == target.pid, text
    assert re.search(r"in handle .*\n.*in main ", text, re.S), text
    shown = t.coretrap("show", "-o", t.store, capture["capture"]["id"]).stdout
    assert re.search(rf"trigger +:handle is not left for 1\.\d+ s, in thread {tid} \(clock_nanosleep\)", shown), shown


def test_a_fast_function_does_not_trip(t):
    target = inside(t, "handle", 20)
    w = t.watch("-p", target.pid, "--function", ":handle=200ms", "--kind", "none", *ENDLESS)
    time.sleep(QUIET_S)
    assert not w.of("trip") and not w.of("loss"), w.events
    assert target.poll() is None


def test_one_trip_a_call(t):
    target = inside(t, "handle", 1000)
    w = t.watch("-p", target.pid, "--function", ":handle=100ms", "--kind", "none", *ENDLESS)
    begun = time.monotonic()
    w.wait("trip", 5)
    time.sleep(QUIET_S)
    calls = (time.monotonic() - begun) / 1.0 + 1
    assert 1 <= len(w.of("trip")) <= calls, [e["trigger"] for e in w.of("trip")]
    w.stop()


def test_the_outermost_of_a_recursion_counts(t):
    target = inside(t, "descend", 300)  # five calls within one another, each of which takes as long once more
    capture = caught(t, target, ":descend", 1000, 1.0, 1.3, "--kind", "mini")
    assert capture["trigger"]["tid"] == target.pid


def test_what_a_function_hands_on_to_is_not_the_function(t):
    target = inside(t, "hand_on", 1000)
    w = t.watch("-p", target.pid, "--function", ":hand_on=100ms", "--kind", "none", *ENDLESS)
    time.sleep(QUIET_S)
    assert not w.of("trip"), w.events
    w.stop()
    w = t.watch("-p", target.pid, "--function", ":handle=100ms", "--kind", "none")
    assert w.wait("trip", 5)["trigger"]["tid"] == target.pid


def test_a_function_that_is_thrown_out_of_has_been_left(t):
    target = inside(t, "throw")
    w = t.watch("-p", target.pid, "--function", ":throw_back=100ms", "--kind", "none", *ENDLESS)
    time.sleep(QUIET_S)
    assert not w.of("trip"), w.events


def test_an_exception_leaves_a_function(t):
    target = t.target("thrown", ready=True)
    w = t.watch("-p", target.pid, "--function", f":fail={50 * PATIENCE}ms", "--kind", "none", *ENDLESS)
    time.sleep(QUIET_S)
    assert not w.of("trip"), w.events


def test_what_is_too_long_during_a_capture_does_not_count_again(t):
    forget_ledger(t)
    path = t.copy_target("inside", f"{t.tmp.name}-i")
    target = t.target(path, "handle", 400, ready=True)
    script = t.tmp / "slow.sh"
    script.write_text("#!/bin/sh\nsleep 1.2\n")
    script.chmod(0o755)
    run = Run(t, f"  - {{rule: slow, name: {pathlib.Path(path).name}, function: ':handle=100ms', kind: stacks, "
                 f"before: 'exec:{script}'}}\n")
    run.wait("capture", 20, 2)
    first, second = run.of("trip")[:2]
    assert "folded" not in first["trigger"] and second["trigger"]["folded"] >= 2, [first["trigger"], second["trigger"]]
    assert target.poll() is None and run.stop() == 0


def test_two_rules_watch_the_same_function(t):
    forget_ledger(t)
    path = t.copy_target("inside", f"{t.tmp.name}-i")
    target = t.target(path, "handle", 1500, ready=True)
    name = pathlib.Path(path).name
    run = Run(t, f"  - {{rule: short, name: {name}, function: ':handle=200ms', kind: none}}\n"
                 f"  - {{rule: long, name: {name}, function: [':handle=1s', 'libc.so.6:fsync=1s'], kind: none}}\n")
    run.wait("armed", 15, 2)
    until(lambda: len({e["rule"] for e in run.of("trip")}) == 2, 10, "a trip of each")
    for e in run.of("trip"):
        limit = {"short": 200, "long": 1000}[e["rule"]]
        assert limit <= e["trigger"]["age_ms"] <= limit * 1.4 * PATIENCE + 100, e["trigger"]
    long = next(e for e in run.of("armed") if e["rule"] == "long")
    assert [f["function"] for f in long["functions"]] == [":handle", "libc.so.6:fsync"], long
    assert long["functions"][0]["file"] == path, long
    why = t.coretrap("why", target.pid).stdout
    assert ":handle, for 0.2 s: watched" in why and "libc.so.6:fsync, for 1 s: watched" in why, why
    assert run.stop() == 0


def test_a_command_is_watched_from_its_first_call_on(t):
    """Not quite from the first: a program that has just been executed has to be found first."""
    w = t.watch("--function", ":handle=300ms", "--kind", "none", command=[target_path("inside"), "handle", "500"])
    assert w.wait("trip", 10)["trigger"]["file"] == target_path("inside")


def test_symbols_of_a_separate_file(t):
    """What a distribution strips it has in a file of its own, which is found by the build ID."""
    path = t.copy_target("inside", f"{t.tmp.name}-i")
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes)[1]
    debug = pathlib.Path("/usr/lib/debug/.build-id", build_id[:2], build_id[2:] + ".debug")
    if debug.exists():
        skip("that build has its debug information installed")
    made = [p for p in (debug.parent, debug.parent.parent, debug.parent.parent.parent) if not p.exists()]
    debug.parent.mkdir(parents=True, exist_ok=True)
    for directory in reversed(made):
        t.cleanup_with(directory.rmdir)
    t.cleanup_with(debug.unlink)
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    debug.chmod(0o644)
    subprocess.run(["strip", path], check=True)
    target = t.target(path, "handle", 600, ready=True)
    w = t.watch("-p", target.pid, "--function", ":handle=200ms", "--kind", "none")
    assert w.wait("trip", 10)["trigger"]["tid"] == target.pid


def test_a_process_in_another_mount_namespace(t):
    """Its file has a name here that is another file, or none."""
    script = (f"mount -t tmpfs none /mnt && cp {target_path('inside')} /mnt/hidden && "
              "exec /mnt/hidden handle 800")
    target = t.target(shutil.which("unshare"), "-m", "sh", "-c", script, ready=True)
    w = t.watch("-p", target.pid, "--function", "/mnt/hidden:handle=300ms", "--kind", "none")
    assert w.wait("trip", 10)["trigger"]["file"] == "/mnt/hidden"


def test_eight_threads_at_once(t):
    target = inside(t, "threads", 900, 8)
    w = t.watch("-p", target.pid, "--function", ":handle=300ms", "--kind", "none", *ENDLESS)
    until(lambda: len(w.of("trip")) >= 3, 10, "three trips")
    w.stop()
    trips = w.of("trip")
    assert all(e["trigger"]["tid"] != target.pid for e in trips), trips
    # All of them are too long at once: one is told, the others are counted with the next.
    assert any(e["trigger"].get("folded", 0) >= 5 for e in trips), [e["trigger"] for e in trips]


def test_a_process_whose_first_thread_has_ended(t):
    target = inside(t, "headless", 900, 0)
    w = t.watch("-p", target.pid, "--function", ":handle=200ms", "--kind", "none")
    trigger = w.wait("trip", 10)["trigger"]
    assert trigger["file"] == target_path("inside") and trigger["tid"] != target.pid, trigger


def test_a_process_whose_first_thread_ends(t):
    """The kernel held the probes by that thread: each is gone once it has been hit again."""
    target = inside(t, "headless", 150, 1)
    w = t.watch("-p", target.pid, "--function", ":handle=2s", "--function", "inside:handle=60ms",
                "--kind", "none", *ENDLESS)
    w.wait("trip", 10)
    t.go(target)
    loss = w.wait("loss", 5)
    assert loss["reason"] == "probes-renewed" and target_path("inside") in loss["detail"], loss
    time.sleep(2.5)
    before = len(w.of("trip"))
    w.wait("trip", 5, count=before + 3)
    w.stop()
    assert len(w.of("loss")) == 2, w.of("loss")  # of each function
    late = [e["trigger"] for e in w.of("trip") if e["trigger"]["age_ms"] >= 1000]
    assert not late, late


def test_static_probes(t):
    target = inside(t, "probes", 1000)
    capture = caught(t, target, "usdt:inside:inside:begin,end", 300, 1.0, 1.5, "--kind", "mini")
    assert capture["trigger"]["tid"] == target.pid
    # Every second job never ends.
    capture = caught(t, target, "usdt::inside:begin,end@1", 300, 1.0, 1.5, "--kind", "mini")
    w = t.watch("-p", target.pid, "--function", "usdt::inside:begin,end@1=1500ms", "--kind", "none", *ENDLESS)
    w.wait("trip", 6)
    w.stop()
    w = t.watch("-p", target.pid, "--function", "usdt::inside:begin,end=1500ms", "--kind", "none", *ENDLESS)
    time.sleep(2.5)
    assert not w.of("trip"), w.events


def test_work_that_never_ends_is_given_up(t):
    target = inside(t, "probes", 10)  # every second job
    w = t.watch("-p", target.pid, "--function", "usdt::inside:begin,end@1=100ms", "--kind", "none", *ENDLESS)
    loss = w.wait("loss", 10)
    assert loss["reason"] == "calls-given-up", loss
    assert all(e["trigger"]["age_ms"] < 1000 for e in w.of("trip")), [e["trigger"] for e in w.of("trip")]
    w.stop()


def refused(t, pid, *functions):
    limits = [word for function in functions for word in ("--function", f"{function}=1s")]
    done = t.coretrap("watch", "-p", pid, *limits, "--kind", "none", "--json", seconds=10)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_pairs_of_probes_that_share_only_some_are_refused(t):
    target = inside(t, "probes", 100)
    joined, unjoined = "usdt::inside:begin,end@1", "usdt::inside:begin,end"
    assert "where another --function has a probe already" in refused(t, target.pid, joined, unjoined)
    assert "where another --function has a probe already" in refused(t, target.pid, unjoined, "usdt::inside:begin,pause")
    w = t.watch("-p", target.pid, "--function", f"{unjoined}=1s", "--function", "usdt:inside:inside:begin,end=2s",
                "--kind", "none", *ENDLESS)
    assert {f["file"] for f in w.wait("armed", 10)["functions"]} == {target_path("inside")}, w.events
    w.stop()


def test_what_cannot_be_watched_is_refused(t):
    target = inside(t, "handle", 10)
    assert "has no function handel (it has handle)" in refused(t, target.pid, ":handel")
    assert "never that never returns" in refused(t, target.pid, ":never")
    assert "alias that is left where it begins" in refused(t, target.pid, ":alias")
    assert "no static probe inside:nothing" in refused(t, target.pid, "usdt::inside:begin,nothing")
    assert "at run time" in refused(t, target.pid, "libc.so.6:memcpy")
    stripped = t.copy_target("inside", "stripped")
    subprocess.run(["strip", stripped], check=True)
    other = t.target(stripped, "handle", 10, ready=True)
    assert "is stripped, and exports no function handle" in refused(t, other.pid, ":handle")
    w = t.watch("--name", "stripped", "--function", ":handle=1s", "--function", "libc.so.6:clock_nanosleep=1s",
                "--kind", "none", *ENDLESS)
    loss = w.wait("loss", 5)
    assert loss["reason"] == "function-refused" and "is stripped" in loss["detail"], loss
    time.sleep(QUIET_S)
    assert len(w.of("loss")) == 1, w.events


def test_a_library_that_comes_and_goes(t):
    target = t.target("inside", "load", 700, target_path("libwork.so"), ready=True)
    assert target.stdout.readline() == b"loaded\n"
    w = t.watch("-p", target.pid, "--function", "libwork.so:work=200ms", "--kind", "none", *ENDLESS)
    for i in (1, 2):
        t.go(target)
        w.wait("trip", 5, count=i)
        assert target.stdout.readline() == b"unloaded\n"
        loss = w.wait("loss", 5, count=i)
        assert loss["reason"] == "function-unloaded" and "libwork.so" in loss["detail"], loss
        t.go(target)
        assert target.stdout.readline() == b"loaded\n"
        time.sleep(1.3)
    w.stop()


def test_probes_that_fire_too_often_are_taken_off(t):
    target = inside(t, "spin")
    w = t.watch("-p", target.pid, "--function", ":handle=1s", "--kind", "none", *ENDLESS)
    loss = w.wait("loss", 10)
    assert loss["reason"] == "probe-rate" and loss["function"] == ":handle", loss
    until(lambda: not probes_fire(target.pid), 10, "no more probes")
    assert len(w.of("loss")) == 1 and target.poll() is None


def probes_fire(pid):
    """Breakpoints that the code of the target has at the beginning of a function."""
    executable = os.readlink(f"/proc/{pid}/exe")
    text = subprocess.run(["nm", f"/proc/{pid}/exe"], capture_output=True, text=True, check=True).stdout
    offset = int(re.search(r"^([0-9a-f]+) T handle$", text, re.M)[1], 16)
    for line in open(f"/proc/{pid}/maps"):
        found = re.match(rf"([0-9a-f]+)-[0-9a-f]+ r-xp ([0-9a-f]+) .*{re.escape(executable)}", line)
        if found:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
                mem.seek(int(found[1], 16) + offset - int(found[2], 16))
                return mem.read(1).count(b"\xcc")
    raise AssertionError("not mapped")


def test_nothing_is_left_in_the_target(t):
    target = inside(t, "handle", 50)
    w = t.watch("-p", target.pid, "--function", ":handle=5s", "--kind", "none")
    until(lambda: probes_fire(target.pid), 5, "a probe")
    w.stop()
    until(lambda: not probes_fire(target.pid), 10, "no probe")
    w = t.watch("-p", target.pid, "--function", ":handle=5s", "--kind", "none")
    until(lambda: probes_fire(target.pid), 5, "a probe")
    w.process.kill()
    w.process.wait()
    until(lambda: not probes_fire(target.pid), 10, "no probe")
    time.sleep(0.2)
    assert target.poll() is None


def test_a_target_that_is_killed_or_becomes_another(t):
    path = t.copy_target("inside", f"{t.tmp.name}-i")
    name = pathlib.Path(path).name
    w = t.watch("--name", name, "--function", ":handle=300ms", "--kind", "none", *ENDLESS)
    target = t.target(path, "handle", 20000, wait=True)
    until(lambda: probes_fire(target.pid), 5, "a probe")
    t.go(target)
    assert w.wait("trip", 10)["process"]["pid"] == target.pid
    target.kill()
    w.wait("exit", 5)
    shell = t.target("/bin/sh", "-c", f"echo ready; read go; exec {path} -w handle 20000", ready=True)
    t.go(shell)
    until(lambda: shell.stdout.readline().startswith(b"ready"), 5, "the other image")
    until(lambda: probes_fire(shell.pid), 5, "a probe")
    t.go(shell)
    assert w.wait("trip", 10, count=2)["process"]["pid"] == shell.pid
    assert not w.of("loss"), w.of("loss")


@timeout(120)
def test_go(t):
    target = target_path("work")
    for mode in ("sleep", "read", "spin"):
        go = t.target(target, mode, 2000, ready=True)
        capture = caught(t, go, ":main.handle", 500, 1.0, 1.4, "--kind", "mini")
        trigger = capture["trigger"]
        assert trigger["goroutine"] > 0 and ("tid" in trigger) == (mode != "sleep"), trigger
        if mode == "read":
            assert trigger["waits_in"]["call"] == "nanosleep", trigger
            tid, text = first_thread(t, target, capture, "bt 60")
            assert tid == trigger["tid"] and "main.handle" in text, text
        go.kill()
    go = t.target(target, "panic", 100, ready=True)
    w = t.watch("-p", go.pid, "--function", ":main.fail=50ms", "--kind", "none", *ENDLESS)
    time.sleep(QUIET_S)
    assert not w.of("trip"), w.events
