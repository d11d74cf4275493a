# SPDX-License-Identifier: MIT
"""coretrap dump: cores of processes that go on."""

import json
import os
import re
import signal
import subprocess
import time

from elfcore import Core
from harness import IN_VM, backtraces, dig, skip, target_path, timeout, until

ALONE = True


def dump(t, pid, *args, status=0):
    """The capture event of a dump that ends with STATUS."""
    done = t.coretrap("dump", pid, "--json", "-o", f"{t.store}/", *args)
    assert done.returncode == status, (done.returncode, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


def live(t, *args):
    return t.target("live", *args, ready=True)


def ask(process, word="gap"):
    process.stdin.write(word.encode() + b"\n")
    process.stdin.flush()
    return process.stdout.readline().decode().split()


def children(pid):
    return subprocess.run(["ps", "--ppid", str(pid), "-o", "pid=,stat="], capture_output=True, text=True).stdout.split()


def check_unharmed(process, threads):
    assert process.poll() is None, process.returncode
    status = open(f"/proc/{process.pid}/status").read()
    assert "TracerPid:\t0" in status and re.search(r"State:\t[SR]", status), status
    assert f"Threads:\t{threads}\n" in status, status
    assert not children(process.pid), "a clone is left"


def test_full_core_in_gdb(t):
    """Threads and frames as an attached gdb shows them."""
    process = t.target("threads", wait=True)
    for how in ("fork", "stop"):
        event = dump(t, process.pid, "--snapshot", how)
        assert event["capture"]["snapshot"] == how and event["capture"]["complete"], event["capture"]
        assert dig(event, "trigger.kind") == "manual", event
        assert event["stack"][0]["symbol"].split("+")[0] in ("read", "__libc_read", "__GI___libc_read"), event["stack"]
        seen = backtraces(t.gdb(target_path("threads"), t.core(event), "thread apply all bt"))
        done = subprocess.run(["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(process.pid),
                               "-ex", "thread apply all bt"], capture_output=True, text=True, timeout=60)
        assert seen == backtraces(done.stdout), (seen, done.stdout[-800:])
        assert len(seen) == 4
    check_unharmed(process, 4)


def test_kinds(t):
    process = live(t, "memory", 64)
    sizes = {}
    for kind in ("full", "heap", "mini", "stacks"):
        event = dump(t, process.pid, "--kind", kind)
        assert event["capture"]["kind"] == kind and event["capture"]["complete"], event["capture"]
        sizes[kind] = event["capture"]["memory_bytes"]
        if kind == "stacks":
            assert len(event["threads"]) == 2 and all(thread["stack"] for thread in event["threads"]), event["threads"]
    assert sizes["full"] >= sizes["heap"] >= 64 << 20 > 8 << 20 > sizes["mini"] > sizes["stacks"] == 0, sizes
    check_unharmed(process, 2)


def test_pause_is_that_of_a_fork(t):
    """Of 512 MiB in small pages, seen from inside: no more than thrice a fork(), where a write takes many times that."""
    process = live(t, "memory", 512)
    ask(process)
    forks = min(int(ask(process, "fork")[1]) for _ in range(3))
    ask(process)
    events, gaps = [], []
    for _ in range(3):
        events.append(dump(t, process.pid, "--compress", "none"))
        gaps.append(int(ask(process)[1]))
    assert all(e["capture"]["snapshot"] == "fork" for e in events), events
    t.log("fork", forks, "gaps", gaps, [e["capture"]["pause_us"] for e in events])
    assert min(gaps) < (30 if IN_VM else 3) * forks + 5000, (gaps, forks)  # a stop costs much where all is emulated


@timeout(120)
def test_pages_are_of_one_moment(t):
    """Two words, 512 MiB apart, that are moved together."""
    process = live(t, "memory", 512, "pair")
    address, size = next((int(l.split()[1], 16), int(l.split()[2])) for l in process.lines if l.startswith("memory"))
    for _ in range(3):
        event = dump(t, process.pid, "--compress", "none")
        core = Core(t.core(event))
        first, last = (int.from_bytes(core.read(a, 8), "little") for a in (address, address + size - 8))
        assert first - last in (0, 1), f"torn: {first} {last}"
        os.unlink(t.core(event))


def test_max_pause(t):
    process = live(t, "memory", 1024)
    ask(process)
    event = dump(t, process.pid, "--max-pause", "20ms")
    assert event["capture"]["kind"] == "stacks" and event["capture"]["pause_us"] < 20000, event["capture"]
    assert any("20 ms are the most" in note for note in event["capture"]["notes"]), event["capture"]
    assert event["stack"], "no stack"


@timeout(120)
def test_stop_breaks_off_at_max_pause(t):
    """Its core goes into a pipe that nobody empties."""
    process = live(t, "memory", 64)
    ask(process)
    writer = t.spawn([os.environ.get("CORETRAP", "build/coretrap"), "dump", process.pid, "--snapshot", "stop",
                      "--max-pause", "400ms", "--compress", "none", "-o", "-"], stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE)
    until(lambda: "TracerPid:\t0" not in open(f"/proc/{process.pid}/status").read(), 70, "stop")
    time.sleep(0.8)
    gap = int(ask(process)[1])
    assert 100_000 < gap < 600_000, gap
    _, err = writer.communicate(timeout=20)
    assert writer.returncode == 1 and b"longest pause" in err, (writer.returncode, err)
    check_unharmed(process, 2)


def test_refusals(t):
    process = live(t)
    tracer = t.spawn(["strace", "-qq", "-o", "/dev/null", "-p", process.pid])
    until(lambda: "TracerPid:\t0" not in open(f"/proc/{process.pid}/status").read(), 5, "strace")
    assert "traced by strace" in dump(t, process.pid, status=1)
    tracer.terminate()
    tracer.wait()
    assert "kernel thread" in dump(t, 2, status=1)
    assert "no process" in dump(t, 2 ** 22 - 1, status=3)
    zombie = subprocess.Popen(["true"])
    until(lambda: "State:\tZ" in open(f"/proc/{zombie.pid}/status").read(), 5, "zombie")
    assert "zombie" in dump(t, zombie.pid, status=1)
    zombie.wait()
    for wrong in (["x"], [], [process.pid, process.pid], [process.pid, "--kind", "none"]):
        assert t.coretrap("dump", *wrong).returncode == 2, wrong
    assert not t.captures()


def test_not_dumpable(t):
    code = ("import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print('ready', flush=True); time.sleep(60)")
    process = t.target("/usr/bin/env", "python3", "-c", code, ready=True)
    assert "not" in dump(t, process.pid, status=1)
    assert not t.captures() and not children(process.pid)


def test_stopped_process_stays_stopped(t):
    process = live(t)
    os.kill(process.pid, signal.SIGSTOP)
    until(lambda: "State:\tT" in open(f"/proc/{process.pid}/status").read(), 5, "stop")
    event = dump(t, process.pid)
    assert event["capture"]["snapshot"] == "fork" and event["capture"]["complete"], event["capture"]
    status = open(f"/proc/{process.pid}/status").read()
    assert "State:\tT" in status and "TracerPid:\t0" in status, status
    os.kill(process.pid, signal.SIGCONT)
    ask(process)
    check_unharmed(process, 2)


def test_memory_and_descriptors_are_as_before(t):
    process = t.target("threads", wait=True)
    # Its line comes before it waits: until then its own stack changes.
    until(lambda: all(open(f"/proc/{process.pid}/task/{tid}/stat").read().rsplit(")", 1)[1].split()[0] == "S"
                      for tid in os.listdir(f"/proc/{process.pid}/task")), 5, "four sleeping threads")

    def state():
        maps = open(f"/proc/{process.pid}/maps").read()
        low, high = (int(x, 16) for x in re.search(r"(\w+)-(\w+) rw-p .*\[stack\]", maps).groups())
        with open(f"/proc/{process.pid}/mem", "rb") as mem:
            mem.seek(low)
            return maps, mem.read(high - low), sorted(os.listdir(f"/proc/{process.pid}/fd"))

    before = state()
    for _ in range(5):
        dump(t, process.pid)
    after = state()
    assert after[0] == before[0] and after[2] == before[2], (before[0], after[0], before[2], after[2])
    changed = [i for i, (a, b) in enumerate(zip(before[1], after[1])) if a != b]
    assert not changed, f"{len(changed)} bytes of the stack's {len(before[1])}, from {changed[0]} on"
    check_unharmed(process, 4)


@timeout(120)
def test_interrupt_leaves_nothing(t):
    process = live(t, "memory", 1024)
    dumper = t.spawn([os.environ.get("CORETRAP", "build/coretrap"), "dump", process.pid, "-o", f"{t.store}/"],
                     stderr=subprocess.PIPE)
    until(lambda: children(process.pid), 65, "clone")  # one live capture at a time on a host
    dumper.send_signal(signal.SIGINT)
    _, err = dumper.communicate(timeout=20)
    assert dumper.returncode == 1 and b"interrupted" in err, (dumper.returncode, err)
    assert not list(t.store.iterdir()), "something was left in the store"
    check_unharmed(process, 2)


@timeout(120)
def test_killed_dump_leaves_nothing(t):
    process = live(t, "memory", 1024)
    dumper = t.spawn([os.environ.get("CORETRAP", "build/coretrap"), "dump", process.pid, "-o", f"{t.store}/"],
                     stderr=subprocess.DEVNULL)
    until(lambda: children(process.pid), 65, "clone")  # one live capture at a time on a host
    dumper.kill()
    dumper.wait()
    until(lambda: not children(process.pid), 5, "end of the clone")
    check_unharmed(process, 2)
    assert not t.captures()
    dump(t, process.pid, "--kind", "mini")  # removes what the killed one left in the store


def test_untouched_memory_costs_nothing(t):
    process = live(t, "memory", 16, "untouched", 4)
    event = dump(t, process.pid, "--compress", "none")
    assert event["capture"]["complete"] and event["capture"]["memory_bytes"] < 32 << 20, event["capture"]
    before = re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{process.pid}/status").read())[1]
    assert int(before) < 64 << 10, "reading made memory"


def test_leader_that_has_gone(t):
    code = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *body(void *arg) { sleep(1); puts("ready"); fflush(stdout); for (;;) sleep(100); return arg; }
int main(void) { pthread_t thread; pthread_create(&thread, 0, body, 0); pthread_exit(0); }
"""
    source, program = t.tmp / "leader.c", t.tmp / "leader"
    source.write_text(code)
    if subprocess.run(["gcc", "-pthread", "-o", program, source]).returncode:
        skip("no compiler")
    process = t.target(program, ready=True)
    event = dump(t, process.pid)
    assert event["capture"]["complete"] and event["capture"]["threads"] == 1, event["capture"]
    assert "body" in t.gdb(program, t.core(event), "bt")
