# SPDX-License-Identifier: MIT
"""Who burns the processor: the threads in the trip, the stacks in the capture, and for how long it is looked at."""

import pathlib
import subprocess
import time

from elfcore import Core
from harness import CORETRAP, dig, timeout, until
from test_thresholds import burner, go_first, tell

PATTERN = False
ALONE = True


def watch(t, *args, **options):
    return t.watch(*args, preexec_fn=go_first, **options)


def hottest(process):
    """The thread that has used the most, as the kernel counts it."""
    def used(task):
        return int((task / "schedstat").read_text().split()[0])
    return int(max(pathlib.Path(f"/proc/{process.pid}/task").iterdir(), key=used).name)


def perf_events(w):
    """How many the watch has open."""
    found = 0
    for fd in pathlib.Path(f"/proc/{w.process.pid}/fd").iterdir():
        try:
            found += "perf_event" in str(fd.readlink())
        except OSError:
            pass  # closed meanwhile
    return found


def burn_among_idle(t):
    process = burner(t)
    tell(process, "threads", 5)
    return process


def captured(t, process, *args):
    """The capture of one hot thread among idle ones: (its event, the hot thread)."""
    w = watch(t, "-p", process.pid, "--cpu", 70, "--for", "3s", *args)
    time.sleep(1.2)
    tell(process, "busy", 1, 100)
    event = w.wait("capture", 40)
    assert w.wait_exit() == 0
    return event, hottest(process)


def test_trip_names_the_thread(t):
    process = burn_among_idle(t)
    w = watch(t, "-p", process.pid, "--observe", "--cpu", 70, "--for", "2s")
    tell(process, "busy", 1, 100)
    trip = w.wait("trip", 20)
    cpu = trip["trigger"]["cpu"]
    t.log(cpu)
    assert cpu["threads"][0]["tid"] == hottest(process) == trip["process"]["tid"], cpu
    assert cpu["threads"][0]["comm"] == "burn", cpu
    assert 80 <= cpu["threads"][0]["share"] <= 100, cpu
    assert 50 <= cpu["threads"][0]["cpu_percent"] <= 101, cpu
    assert sum(thread["share"] for thread in cpu["threads"]) <= 100.01, cpu
    assert 500 <= cpu["threads_ms"] <= 10000, cpu


def test_shares_follow_the_work(t):
    """Three quarters and one quarter of what the process uses."""
    process = burner(t)
    w = watch(t, "-p", process.pid, "--observe", "--cpu", 30, "--for", "4s")
    tell(process, "busy", 1, 45)
    tell(process, "busy", 1, 15)
    threads = w.wait("trip", 30)["trigger"]["cpu"]["threads"]
    t.log(threads)
    assert len(threads) >= 2, threads
    assert 60 <= threads[0]["share"] <= 90 and 10 <= threads[1]["share"] <= 40, threads


def test_ended_threads_count(t):
    """Threads of 30 ms leave nobody to name; their share is said."""
    process = burner(t)
    w = watch(t, "-p", process.pid, "--observe", "--cpu", 50, "--for", "2s")
    tell(process, "short", 30)
    cpu = w.wait("trip", 30)["trigger"]["cpu"]
    t.log(cpu)
    assert cpu["other_share"] >= 50, cpu


def test_more_threads_than_are_named(t):
    process = burner(t)
    w = watch(t, "-p", process.pid, "--observe", "--cpu", 30, "--for", "3s")
    tell(process, "busy", 15, 5)
    cpu = w.wait("trip", 30)["trigger"]["cpu"]
    assert len(cpu["threads"]) == 10 and cpu["more_threads"] in (5, 6), cpu  # the main one may have begun them since
    assert 20 <= cpu["other_share"] <= 45, cpu


@timeout(90)
def test_capture_holds_the_stacks(t):
    process = burn_among_idle(t)
    event, hot = captured(t, process, "--kind", "mini")
    profile = dig(event, "capture.profile")
    t.log(profile, event["capture"]["pause_ms"])
    assert profile["file"] == "stacks.folded" and profile["samples"] >= 50, profile
    path = pathlib.Path(event["capture"]["path"], "stacks.folded")
    lines = path.read_text().splitlines()
    assert path.stat().st_mode & 0o777 == 0o600
    assert lines[0] == profile["hottest"] and lines[0].startswith("burn;"), lines[0]
    assert ";works;burn_in_circles" in lines[0], lines[0]
    counts = [int(line.rsplit(" ", 1)[1]) for line in lines]
    assert counts == sorted(counts, reverse=True) and sum(counts) == profile["kept"] <= profile["samples"]
    hot_count = sum(n for n, line in zip(counts, lines) if ";burn_in_circles" in line)
    assert hot_count >= 0.8 * profile["kept"], lines
    assert Core(t.core(event)).threads()[0] == hot
    shown = t.coretrap("show", "-s", t.store, "latest").stdout
    t.log(shown)
    assert f"thread {hot}, at " in shown and f"hottest     {lines[0]}" in shown, shown


@timeout(90)
def test_kind_stacks_begins_with_the_thread(t):
    event, hot = captured(t, burn_among_idle(t), "--kind", "stacks")
    assert event["threads"][0]["tid"] == hot, event["threads"]
    assert any(frame.get("symbol", "").startswith("burn_in_circles") for frame in event["stack"]), event["stack"]


@timeout(90)
def test_file_takes_the_core_alone(t):
    process = burn_among_idle(t)
    core = t.tmp / "core"
    w = t.spawn([CORETRAP, "watch", "-p", process.pid, "--cpu", 70, "--for", "2s", "--kind", "mini", "--compress", "none",
                 "-o", core, "--json"],
                stdout=subprocess.PIPE, preexec_fn=go_first)
    tell(process, "busy", 1, 100)
    out = w.communicate(timeout=60)[0].decode()
    assert w.returncode == 0, out
    assert '"hottest":"burn;' in out and "stacks.folded" not in out, out
    assert Core(core).threads()[0] == hottest(process)


@timeout(90)
def test_sampled_only_while_it_burns(t):
    """Nobody pays for a process that is below its threshold, was, or is only observed."""
    process, observed = burner(t), burner(t)
    w = watch(t, "-p", process.pid, "--cpu", 70, "--for", "30s")
    o = watch(t, "-p", observed.pid, "--observe", "--cpu", 30, "--for", "3s")
    time.sleep(2.2)
    assert perf_events(w) == 0
    tell(process, "burst", 5000, 60000)
    tell(observed, "busy", 1, 60)
    until(lambda: perf_events(w) > 0, 10, "sampling")
    until(lambda: perf_events(w) == 0, 30, "the end of the sampling")
    assert not w.of("trip") and perf_events(o) == 0
    o.wait("trip", 20)


@timeout(90)
def test_ends_with_the_process(t):
    process = burner(t)
    w = watch(t, "-p", process.pid, "--cpu", 50, "--for", "60s")
    tell(process, "busy", 2, 100)
    until(lambda: perf_events(w) > 0, 20, "sampling")
    process.kill()
    assert w.wait_exit(20) == 3, w.events


@timeout(180)
def test_as_many_at_once_as_may_be(t):
    """Of ten that burn at once eight are sampled; the others' captures say why they have no stacks."""
    processes = [burner(t) for _ in range(10)]
    pids = [word for process in processes for word in ("-p", process.pid)]
    w = watch(t, *pids, "--cpu", 3, "--for", "8s", "--kind", "stacks", "-n", 10)
    for process in processes:
        tell(process, "busy", 1, 9)
    w.wait("capture", 120, 10)
    profiles = [dig(event, "capture.profile") for event in w.of("capture")]
    t.log(profiles)
    refused = [p for p in profiles if p.get("reason") == "too many other processes were sampled"]
    assert len(refused) == 2 and sum(p.get("samples", 0) > 0 for p in profiles) == 8, profiles


def test_trip_at_the_first_look_names_the_thread(t):
    """It has not been past the threshold before, so what was before that look counts."""
    process = burn_among_idle(t)
    tell(process, "burst", 1, 1000)
    w = watch(t, "-p", process.pid, "--observe", "--cpu", 70)
    time.sleep(2.2)
    tell(process, "busy", 1, 100)
    cpu = w.wait("trip", 20)["trigger"]["cpu"]
    assert cpu["threads"][0]["tid"] == hottest(process), cpu
    assert cpu["threads"][0]["share"] >= 80 and cpu["threads_ms"] <= 5000, cpu


@timeout(90)
def test_each_capture_has_its_own_stacks(t):
    """What was sampled for one is not the next one's, and in between nothing is."""
    process = burner(t)
    w = watch(t, "-p", process.pid, "--cpu", 50, "--for", "3s", "--kind", "stacks", "-n", 2)
    tell(process, "busy", 1, 100)
    w.wait("capture", 60, 2)
    assert w.wait_exit() == 0
    for event in w.of("capture"):
        profile, trigger = dig(event, "capture.profile"), dig(event, "trigger.cpu")
        t.log(profile, trigger)
        assert 40 <= profile["samples"] <= 110 * trigger["threads_ms"] / 1000, (profile, trigger)
        assert ";burn_in_circles" in profile["hottest"], profile
