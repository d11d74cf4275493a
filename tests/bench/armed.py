# SPDX-License-Identifier: MIT
"""A watch that is armed while something else is measured, what its BPF programs took, and work to measure."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys

import bench

BPFTOOL = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin") or sys.exit("bpftool is missing")
PERF = shutil.which("perf") or sys.exit("perf is missing")
RESAMPLES = 10000
STATS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")


def end_on_sigterm():
    """Through every finally, so that no watch and no setting stays behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


@contextlib.contextmanager
def watch(*arguments):
    """A watch that captures nothing, from its arming to its end; the events behind that."""
    process = subprocess.Popen([bench.CORETRAP, "watch", *arguments, "-n", "0", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        if json.loads(process.stdout.readline() or "{}").get("event") != "armed":
            sys.exit("the watch did not arm")
        yield process
        if process.poll() is not None:
            sys.exit(f"the watch ended by itself, status {process.returncode}")
    finally:
        process.terminate()
        process.events = [json.loads(line) for line in process.communicate()[0].splitlines()]


@contextlib.contextmanager
def bpf_stats():
    """The kernel counts the runs of BPF programs, and their time."""
    enabled = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(enabled)


def programs(watch):
    """{name: (runs, ns)} of the BPF programs that WATCH has loaded: others may have the same ones."""
    held = set()
    for info in pathlib.Path(f"/proc/{watch.pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held.update(map(int, re.findall(r"^prog_id:\s+(\d+)", info.read_text(), re.M)))
    out = subprocess.run([BPFTOOL, "-j", "prog", "show"], check=True, capture_output=True, text=True).stdout
    return {p["name"]: (p.get("run_cnt", 0), p.get("run_time_ns", 0)) for p in json.loads(out) if p["id"] in held}


def go_first(cpu):
    """On one CPU, whose other work, if there is any, gets a hundredth of it."""
    os.sched_setaffinity(0, {cpu})
    os.nice(-20)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text("-20")  # of the session: there is where nice matters


def ran(watch):
    """Nanoseconds of processor time that WATCH and its processes have had, in the kernel too."""
    return sum(int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in bench.family(watch.pid))


def pipe(loops, cpu=None):
    """Two processes that wake each other by pipes, on one CPU and ahead of others there if that is given: microseconds a
    round trip."""
    prepare = {"start_new_session": True, "preexec_fn": lambda: go_first(cpu)} if cpu is not None else {}
    out = subprocess.run([PERF, "bench", "sched", "pipe", "-l", str(loops)], check=True, capture_output=True, text=True,
                         **prepare).stdout
    return float(re.search(r"([\d.]+) usecs/op", out)[1])


def interval(values):
    """Of the median, 95 % by bootstrap."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES * 25 // 1000], medians[RESAMPLES * 975 // 1000]
