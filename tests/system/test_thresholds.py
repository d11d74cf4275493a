# SPDX-License-Identifier: MIT
"""Sustained CPU, memory, threads and descriptors: when they trip, and when they do not."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

from harness import CORETRAP, IN_VM, dig, need, skip, timeout, until

PATTERN = False  # a threshold needs no crash handler


def burner(t):
    """It gets the time it asks for, whatever else the machine has to do."""
    return t.target("burn", ready=True, preexec_fn=go_first)


def go_first():
    """Sessions share the processors, where the kernel groups by them; only among those of one does nice matter."""
    os.nice(-20)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text("-20")


def tell(process, *words):
    """Has the target begin to use something: CLOCK_BOOTTIME of that, in seconds."""
    process.stdin.write((" ".join(map(str, words)) + "\n").encode())
    process.stdin.flush()
    return int(process.stdout.readline().split()[1]) / 1e9


def watch(t, process, *args, **options):
    """A watch whose kind is none: what trips and when, without a capture."""
    return t.watch("-p", process.pid, "--observe", *args, preexec_fn=go_first, **options)


def after(w, began, seconds=20, count=1):
    """Seconds from BEGAN to the trip, as its event dates it."""
    trip = w.wait("trip", seconds, count)
    return since(trip, began)


def since(event, began):
    stamp = event["time"].rstrip("Z")
    whole, fraction = stamp.split(".")
    wall = time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) - time.timezone + float("0." + fraction)
    return wall - (time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)) - began


def settle(seconds=2.2):
    """The sampler has seen the process idle."""
    time.sleep(seconds)


def cpu_after_idle(t, idle):
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--for", "3s")
    time.sleep(idle)
    began = tell(process, "busy", 1, 100)
    took = after(w, began)
    trip = w.of("trip")[0]
    t.log("tripped after", took, trip["trigger"])
    assert trip["trigger"]["kind"] == "cpu", trip
    assert 3.0 <= took <= (8 if IN_VM else 4.1), took
    return trip


def test_cpu_trips_in_time(t):
    cpu_after_idle(t, 4.3)


@timeout(120)
def test_cpu_trips_in_time_after_long_idleness(t):
    cpu_after_idle(t, 40)


test_cpu_trips_in_time_after_long_idleness.slow = True


@timeout(60)
def test_bursts_do_not_trip(t):
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--for", "3s", "--duration", "20s")
    tell(process, "burst", 2000, 700)
    assert w.wait_exit(40) == 4, w.events
    assert not w.of("trip")


def test_threads_add_up(t):
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--for", "2s")
    began = tell(process, "busy", 8, 12)
    took = after(w, began)
    assert 1.95 <= took <= (8 if IN_VM else 4.1), took  # at 96 %, when within an interval it began is a guess


def test_short_threads_count(t):
    """Their time is only in what the process remembers of the dead."""
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--for", "2s")
    settle()
    took = after(w, tell(process, "short", 30))
    assert 2.0 <= took <= 15, took  # a busy machine keeps each new thread waiting


def test_machine_is_the_base(t):
    """One busy thread is 100 % of a core, and half of a machine of two."""
    cores = os.cpu_count()
    if cores < 2:
        skip("one processor: a core is the machine")
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--cpu-base", "machine", "--for", "1s", "--duration", "6s")
    tell(process, "busy", 1, 100)
    assert w.wait_exit(30) == 4, w.events


def quota_group(t, cores):
    """A cgroup with so much of a quota."""
    group = t.cgroup("cpu", {"cpu.cfs_quota_us": int(cores * 100000), "cpu.shares": 262144},
                     {"cpu.max": f"{int(cores * 100000)} 100000", "cpu.weight": 10000})
    return group or skip("no cpu controller to make a quota with")


def memory_group(t, limit):
    group = t.cgroup("memory", {"memory.limit_in_bytes": limit}, {"memory.max": limit})
    return group or skip("no memory controller to set a limit with")


def test_quota_is_the_base(t):
    """At 90 % of half a core."""
    group = quota_group(t, 0.5)
    process = burner(t)
    (group / "cgroup.procs").write_text(str(process.pid))
    w = watch(t, process, "--cpu", 90, "--cpu-base", "quota", "--for", "2s")
    settle()
    took = after(w, tell(process, "busy", 1, 100))
    value = dig(w.of("trip")[0], "trigger.cpu.value")
    t.log("after", took, "at", value)
    assert 2.0 <= took <= (8 if IN_VM else 4.1), took


def test_cpu_below(t):
    process = burner(t)
    tell(process, "burst", 3000, 60000)
    w = watch(t, process, "--cpu-below", 5, "--for", "2s")
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    took = after(w, began)
    assert 4.0 < took < 9 or IN_VM, took


def test_memory_in_one_interval(t):
    process = burner(t)
    w = watch(t, process, "--memory", "400M")
    settle()
    took = after(w, tell(process, "anonymous", 500))
    trip = w.of("trip")[0]
    assert took <= (5 if IN_VM else 1.5), took  # the touching of it takes a part of a second
    assert trip["trigger"]["kind"] == "memory", trip
    # It may be met in the middle of the touching.
    assert 400 << 20 <= dig(trip, "trigger.memory.value") < 510 << 20, trip


def test_shared_memory_counts_only_as_resident(t):
    process = burner(t)
    w = watch(t, process, "--memory", "200M", "--duration", "4s")
    rss = watch(t, process, "--memory", "200M", "--memory-base", "rss")
    tell(process, "shared", 300)
    assert after(rss, 0) > 0
    assert w.wait_exit(20) == 4, w.events


def test_memory_growth(t):
    process = burner(t)
    tell(process, "anonymous", 100)
    w = watch(t, process, "--memory-growth", "40M/10s")
    settle()
    tell(process, "grow", 50, 9000)
    trip = w.wait("trip", 15)
    assert trip["trigger"]["kind"] == "memory", trip


def test_slow_growth_does_not_trip(t):
    process = burner(t)
    w = watch(t, process, "--memory-growth", "40M/3s", "--duration", "8s")
    settle(1)
    tell(process, "grow", 50, 7000)
    assert w.wait_exit(20) == 4, w.events


def swap_area(t, mebibytes):
    """Some swap for the length of the test. Where the file system takes no swap (an overlay, tmpfs), a loop device does."""
    need("mkswap", "swapon", "losetup", "modprobe")
    area = t.tmp / "swap"
    with open(area, "wb") as f:
        f.write(bytes(mebibytes << 20))  # a hole would be refused
    area.chmod(0o600)
    subprocess.run(["mkswap", area], check=True, capture_output=True)
    if subprocess.run(["swapon", area], capture_output=True).returncode == 0:
        t.cleanup_with(subprocess.run, ["swapoff", area])
        return
    subprocess.run(["modprobe", "loop"], capture_output=True)  # built in, or there already: it fails for nothing
    loop = subprocess.run(["losetup", "--find", "--show", area], capture_output=True, text=True)
    if loop.returncode != 0:
        skip(f"no swap to be had: {loop.stderr.strip()}")
    device = loop.stdout.strip()
    t.cleanup_with(subprocess.run, ["losetup", "--detach", device])
    done = subprocess.run(["swapon", device], capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"no swap to be had: {done.stderr.strip()}")
    t.cleanup_with(subprocess.run, ["swapoff", device])


def status_field(process, field):
    line = next(line for line in open(f"/proc/{process.pid}/status") if line.startswith(field + ":"))
    return line.split()[1]


def status_bytes(process, field):
    return int(status_field(process, field)) << 10


def test_swapped_memory_counts(t):
    """What is resident stays below the threshold: it trips by what was swapped out."""
    group = memory_group(t, "30M")
    swap_area(t, 96)
    process = burner(t)
    (group / "cgroup.procs").write_text(str(process.pid))  # first: what it has by then is another group's
    w = watch(t, process, "--memory", "45M")
    settle()
    assert not w.of("trip"), w.events
    tell(process, "anonymous", 60)
    trip = w.wait("trip", 10)
    resident, swapped = status_bytes(process, "RssAnon"), status_bytes(process, "VmSwap")
    t.log("resident", resident, "swapped", swapped, trip["trigger"])
    assert resident < 45 << 20 and swapped >= 15 << 20, (resident, swapped)
    assert dig(trip, "trigger.memory.value") >= 45 << 20, trip


def test_memory_share_of_the_limit(t):
    group = memory_group(t, "200M")
    process = burner(t)
    (group / "cgroup.procs").write_text(str(process.pid))
    w = watch(t, process, "--memory", "50%")
    settle()
    assert not w.of("trip")
    tell(process, "anonymous", 120)
    w.wait("trip", 10)


def test_threads_and_descriptors(t):
    for flag, word, kind in (("--threads", "threads", "threads"), ("--fds", "fds", "fds")):
        process = burner(t)
        w = watch(t, process, flag, 50)
        settle()
        assert not w.of("trip"), w.events
        tell(process, word, 60)
        trip = w.wait("trip", 5)
        assert trip["trigger"]["kind"] == kind and dig(trip, f"trigger.{kind}.value") >= 60, trip


def test_all_of(t):
    process = burner(t)
    w = watch(t, process, "--threads", 20, "--memory", "100M", "--all-of")
    tell(process, "threads", 30)
    settle(3)
    assert not w.of("trip"), w.events
    tell(process, "anonymous", 150)
    w.wait("trip", 5)


def test_short_interval(t):
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--for", "400ms", "--interval", "50ms")
    settle(1)
    took = after(w, tell(process, "busy", 1, 100))
    assert 0.39 <= took <= (3 if IN_VM else 0.9), took


def test_capture_is_of_the_process(t):
    """It is captured by its clone, goes on, and the core opens; the trip comes first."""
    process = burner(t)
    w = t.watch("-p", process.pid, "--threads", 20)
    tell(process, "threads", 30)
    event = w.wait("capture", 15)
    assert w.wait_exit() == 0
    assert [e["event"] for e in w.events[-2:]] == ["trip", "capture"], w.events
    assert event["capture"]["snapshot"] == "fork" and event["capture"]["complete"], event["capture"]
    assert event["capture"]["pause_ms"] < 250 and event["capture"]["threads"] >= 31, event["capture"]
    assert "-threads-" in event["capture"]["id"], event["capture"]
    assert "main" in t.gdb(build_path(process), t.core(event), "thread apply all bt")
    tell(process, "fds", 1)  # it goes on


def test_its_clone_is_no_target(t):
    """A capture's copy of the process neither joins the targets nor dies as one."""
    name = t.copy_target("burn", "cloned-burner")
    process = t.target(name, ready=True)
    w = t.watch("--name", "cloned-burner", "--signal", "fatal", "--threads", 20, "-n", 2, "--every", "1s", "--kind",
                "mini")
    tell(process, "threads", 30)
    assert w.wait_exit(30) == 0, w.events
    assert not w.of("target") and not w.of("exit"), w.events
    assert {dig(e, "process.pid") for e in w.of("trip")} == {process.pid}, w.of("trip")


@timeout(120)
def test_end_whatever_trips(t):
    """With one process or another past the threshold all the time, the watch ends as it was told to."""
    path = t.copy_target("burn", "burn-on")
    processes = [t.target(path, ready=True) for _ in range(3)]
    for process in processes:
        tell(process, "threads", 30)
    flags = ("--name", "burn-on", "--threads", 20, "--interval", "50ms", "--kind", "stacks", "-n", 0)
    w = t.watch(*flags, "--duration", "2s")
    assert w.wait_exit(60) == 0, w.events[-3:]
    w = t.watch(*flags)
    w.wait("capture", 20)
    w.stop(signal.SIGINT, 11)
    settled = {e["id"] for e in w.events if e["event"] in ("capture", "skip")}
    assert all(e["id"] in settled for e in w.of("trip")), w.events


def test_own_processes_are_no_targets(t):
    """Neither those of this watch nor another one's, whether they were there before it or came later."""
    process = burner(t)
    others = [t.watch("-p", process.pid, "--threads", 1000, "--kind", "none")]
    w = t.watch("--all", "--threads", 1, "--observe", "-n", 0, "--interval", "100ms")
    others.append(t.watch("-p", process.pid, "--threads", 1000, "--kind", "none"))
    seen = burner(t)
    w.wait("trip", 20, 1, pid=process.pid)
    w.wait("trip", 20, 3, pid=seen.pid)
    own = [e for e in w.events if dig(e, "process.executable") == os.path.realpath(CORETRAP)]
    assert not own, own[0]
    assert [o.stop() for o in others] == [4, 4]


def test_long_capture_trips_once(t):
    """Who is past the threshold while being captured for it does not trip again and again."""
    process = burner(t)
    tell(process, "anonymous", 1500)
    w = t.watch("-p", process.pid, "--memory", "200M", "--interval", "50ms", "--compress-threads", 1)
    event = w.wait("capture", 30)
    took = event["capture"]["duration_ms"]
    assert took > 150, f"too quick to tell: {took} ms"
    assert w.wait_exit() == 0
    assert len(w.of("trip")) == 1 and not w.of("skip"), w.events


def test_uncapturable_is_tried_ever_more_seldom(t):
    """With a debugger at it: it says when it will try again, tells nothing meanwhile, and captures once it can."""
    need("strace")
    process = burner(t)
    tracer = t.spawn(["strace", "-qq", "-o", "/dev/null", "-p", process.pid])
    until(lambda: status_field(process, "TracerPid") != "0", 5, "strace")
    w = t.watch("-p", process.pid, "--threads", 20, "--kind", "stacks", "--interval", "200ms")
    tell(process, "threads", 30)
    skips = [w.wait("skip", 20, i + 1) for i in range(4)]
    assert [s["retry_in_ms"] for s in skips] == [200, 400, 800, 1600], skips
    replies = json.loads(t.coretrap("why", process.pid, "--json").stdout)
    why = next(r for r in replies if r["pid"] == w.process.pid)["rules"][0]
    assert why["phase"] == "cooling" and why["reason"] == "failed-before" and 0 < why["left_ms"] <= 1600, why
    tracer.terminate()
    tracer.wait(5)
    w.wait("capture", 20)
    assert w.wait_exit() == 0
    assert len(w.of("trip")) == len(w.of("skip")) + 1 <= 6, w.events


def build_path(process):
    return os.readlink(f"/proc/{process.pid}/exe")


@timeout(90)
def test_count_and_spacing(t):
    """Three captures, so far apart, each after the threshold held anew."""
    process = burner(t)
    w = t.watch("-p", process.pid, "--memory", "100M", "-n", 3, "--every", "4s", "--kind", "stacks")
    tell(process, "anonymous", 150)
    assert w.wait_exit(40) == 0, w.events
    captures = w.of("capture")
    assert len(captures) == 3
    times = [since(e, 0) for e in w.of("trip")]
    taken = [since(e, 0) for e in captures]
    gaps = [b - a for a, b in zip(taken, taken[1:])]
    t.log("gaps", gaps, "trips", len(times))
    assert all(3.5 < gap < (20 if IN_VM else 8) for gap in gaps), gaps


def test_sustained_anew_after_each_dump(t):
    process = burner(t)
    w = t.watch("-p", process.pid, "--cpu", 80, "--for", "2s", "-n", 2, "--kind", "stacks")
    tell(process, "busy", 1, 100)
    assert w.wait_exit(30) == 0, w.events
    first, second = (since(e, 0) for e in w.of("trip"))
    assert second - since(w.of("capture")[0], 0) >= 1.9, (first, second)


def test_target_that_ends(t):
    process = burner(t)
    w = watch(t, process, "--cpu", 80, "--for", "60s")
    process.kill()
    process.wait()
    assert w.wait_exit(10) == 3, w.events


@timeout(120)
def test_short_processes_leave_nothing(t):
    """However long the interval is, who has ended is forgotten at once."""
    n = 3000
    process = t.target("/bin/sh", "-c", f"read go; i=0; while [ $i -lt {n} ]; do (:); i=$((i+1)); done; read end")
    w = watch(t, process, "--tree", "--memory-growth", "1G/12h", "--interval", "1m", "-n", 0)
    before = status_bytes(w.process, "VmRSS")
    t.go(process)
    until(lambda: len(w.of("exit")) >= n, 60, "the children's ends")
    grown = status_bytes(w.process, "VmRSS") - before
    t.log("grown by", grown)
    assert grown < 4 << 20, grown  # a page each and more, were they kept
    assert not w.of("loss"), w.of("loss")


def test_exec_starts_again(t):
    """Another image: what was seen of the one before does not count."""
    process = t.target("/bin/sh", "-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; exec sleep 60")
    w = watch(t, process, "--cpu", 80, "--for", "8s", "--duration", "10s")
    assert w.wait_exit(30) == 4, w.events


def test_targets_by_name_that_come_later(t):
    name = t.copy_target("burn", "late-burner")
    w = t.watch("--name", "late-burner", "--observe", "--threads", 20)
    process = t.target(name, ready=True)
    tell(process, "threads", 30)
    trip = w.wait("trip", 10)
    assert dig(trip, "process.pid") == process.pid, trip


def test_exit(t):
    for args, status, trips in ((("any",), 0, True), (("nonzero",), 3, True), (("nonzero",), 0, False),
                                (("3",), 3, True), (("3",), 4, False)):
        process = t.target("/bin/sh", "-c", f"read line; exit {status}")
        w = watch(t, process, "--exit", *args)
        process.stdin.write(b"\n")
        process.stdin.flush()
        if trips:
            trip = w.wait("trip", 10)
            assert trip["trigger"] == {"kind": "exit", "exit": {"code": status}}, trip
            assert w.wait_exit() == 0
        else:
            assert w.wait_exit() == 3, (args, status, w.events)
            assert not w.of("trip")


def test_exit_of_a_killed_process(t):
    process = burner(t)
    w = watch(t, process, "--exit", "nonzero")
    process.kill()
    trip = w.wait("trip", 10)
    assert dig(trip, "trigger.exit.signal") == "SIGKILL", trip


def test_why(t):
    process = burner(t)
    w = watch(t, process, "--threads", 20, "--cpu", 80, "--for", "30s")
    settle()
    done = t.coretrap("why", process.pid, "--json")
    assert done.returncode == 0, done.stderr
    rules = next(r for r in json.loads(done.stdout) if r["pid"] == w.process.pid)["rules"]
    assert rules[0]["watches"] and rules[0]["phase"] == "armed", rules
    conditions = {c["condition"]: c for c in rules[0]["conditions"]}
    assert conditions["threads"]["limit"] == 20 and conditions["threads"]["value"] == 1, conditions
    assert not conditions["cpu"]["met"]
    tell(process, "busy", 1, 100)
    settle(3)
    done = t.coretrap("why", process.pid)
    assert "breaching" in done.stdout and "cpu" in done.stdout, done.stdout
    other = t.coretrap("why", os.getpid())
    assert "does not watch it" in other.stdout, other.stdout
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    for _ in range(2):  # not reaped yet, and not there at all
        gone = t.coretrap("why", process.pid)
        assert gone.returncode == 3 and not gone.stdout, gone
        assert gone.stderr == f"coretrap why: there is no process {process.pid}\n", gone.stderr
        process.wait()
