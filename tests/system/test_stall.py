# SPDX-License-Identifier: MIT
"""Event loops that do not go back to their wait: caught while they do not, and left alone while they do."""

import contextlib
import glob
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from elfcore import Core
from harness import PATIENCE, need, own_processes, until
from test_requests import seconds_of
from test_thresholds import go_first

PATTERN = False

LIMIT_S = 1.0
LATE_S = 1.3
ENDLESS = ("--count", 0)


def start(t, *args):
    process = t.target("loop", *args, ready=True, preexec_fn=go_first)
    process.tids = {line.split()[1]: int(line.split()[2]) for line in process.lines if line.startswith("thread")}
    return process


def watch(t, process, *args):
    """What rules the loops of one process, which gets its time on a busy machine, as the process does."""
    return t.watch("-p", process.pid, "--stall", *args, preexec_fn=go_first)


def say(process, line):
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def settle():
    """All loops have been seen to wait."""
    time.sleep(2.2 * PATIENCE)


def stall_of(event):
    return event["trigger"]["stall"]


def caught(t, w, stall, pid, tid=None):
    """The trip and capture of a stall that STALL begins, from 1.0 to 1.3 s later; on a busy machine not the first time."""
    took = []
    for attempt in range(5):
        before = len(w.of("trip"))
        began = time.time()
        stall()
        trip = w.wait("trip", count=before + 1)
        took.append(seconds_of(trip) - began)
        assert took[-1] >= LIMIT_S and stall_of(trip)["age_ms"] >= LIMIT_S * 1000, (took, trip)
        assert trip["trigger"]["kind"] == "stall" and trip["process"]["pid"] == pid, trip
        assert stall_of(trip)["tid"] == trip["process"]["tid"] == (tid or pid), trip
        capture = w.wait("capture", count=before + 1, seconds=20)
        time.sleep(2 * PATIENCE)  # the stall ends, and is not told a second time
        assert len(w.of("trip")) == before + 1, w.events
        if took[-1] <= LATE_S * PATIENCE:
            t.log(f"tripped after {took} s: {trip['trigger']}")
            return trip, capture
    raise AssertionError(f"never within {LATE_S} s: {took}")


def held(pid):
    """How many uprobes a process holds."""
    found = 0
    for fd in glob.glob(f"/proc/{pid}/fd/*"):
        with contextlib.suppress(OSError):
            found += (os.readlink(fd) == "anon_inode:[perf_event]"  # before 5.15 it is the link
                      or "link_type:\tperf" in pathlib.Path(fd.replace("/fd/", "/fdinfo/")).read_text())
    return found


def probes():
    """The same of the watch and its helpers."""
    return sum(map(held, own_processes()))


def programs(pids):
    """The names of the BPF programs that these processes hold, themselves or by a link; others may run on this host."""
    ids = set()
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/fdinfo/*"):
            with contextlib.suppress(OSError):
                ids.update(re.findall(r"^prog_id:\t(\d+)", pathlib.Path(path).read_text(), re.MULTILINE))
    tool = "/usr/sbin/bpftool" if os.path.exists("/usr/sbin/bpftool") else need("bpftool")
    shown = [subprocess.run([tool, "-j", "prog", "show", "id", i], capture_output=True, text=True, check=True).stdout for i in ids]
    return {json.loads(text)["name"] for text in shown}


def test_a_loop_without_symbols_is_caught_however_it_stalls(t):
    loop = start(t, "epoll")
    w = watch(t, loop, "1s", "--kind", "mini", *ENDLESS)
    settle()
    for how in "spin", "sleep", "naps", "poll":
        trip, capture = caught(t, w, lambda: say(loop, f"{how} 2500"), loop.pid)
        assert stall_of(trip)["loop"] == "epoll_wait", trip
        if how == "spin":
            assert stall_of(trip)["runs"] and "waits_in" not in stall_of(trip), trip
        if how == "sleep":
            assert "nanosleep" in stall_of(trip)["waits_in"]["call"] and stall_of(trip)["waits_in"]["stack"], trip
        if how == "poll":  # as a query of a database does: it is not the wait of this loop
            assert "poll" in stall_of(trip)["waits_in"]["call"], trip
        assert Core(t.core(capture)).threads()[0] == loop.pid
    until(lambda: not probes(), 5, "no probe left")


def test_no_probe_stays_for_what_was_told_and_sleeps_on(t):
    loop = start(t, "epoll", "busy:500")
    w = watch(t, loop, "1s", "--observe", *ENDLESS)
    settle()
    say(loop, "sleep 6000")
    w.wait("trip")
    time.sleep(0.5)
    seen = []  # the other one is a suspect at times, and cleared at once
    for _ in range(20):
        seen.append(probes())
        time.sleep(0.1)
    assert seen.count(0) > len(seen) / 4, seen


def test_one_place_for_all_system_calls(t):
    """As musl has it: other calls come out of the same place, and are no rounds."""
    loop = start(t, "raw")
    w = watch(t, loop, "1s", "--kind", "mini", *ENDLESS)
    settle()
    caught(t, w, lambda: say(loop, "naps 2500"), loop.pid)


def test_the_first_thread_moves_the_wait(t):
    """libc has a wait for processes with one thread, and another one, which nobody has seen yet."""
    loop = start(t, "epoll")
    w = watch(t, loop, "1s", "--observe", *ENDLESS)
    settle()
    say(loop, "multi\nrepeat 5 800")
    for _ in range(2):
        assert loop.stdout.readline() == b"done\n"
    assert not w.of("trip") and not w.of("loss"), w.events


def test_loops_of_poll_and_select(t):
    for kind in "poll", "select":
        loop = start(t, kind)
        w = watch(t, loop, "1s", "--kind", "mini", *ENDLESS)
        time.sleep(3.5 * PATIENCE)  # seen twice, a second apart
        trip, _ = caught(t, w, lambda: say(loop, "spin 2500"), loop.pid)
        assert kind in stall_of(trip)["loop"], trip
        assert w.stop() == 0


def test_the_loop_that_stalls_is_named_beside_one_that_does_not(t):
    loop = start(t, "epoll", "idle", "busy:300")
    w = watch(t, loop, "1s", *ENDLESS)
    settle()
    _, capture = caught(t, w, lambda: say(loop, "spin 2500"), loop.pid)
    assert Core(t.core(capture)).threads()[0] == loop.pid
    assert len(Core(t.core(capture)).threads()) == 3
    assert not w.of("loss"), w.events


def test_probes_outlive_the_thread_they_were_asked_for(t):
    loop = start(t, "epoll")
    w = watch(t, loop, "1s", "--observe", *ENDLESS)
    settle()
    say(loop, "mortal 800")
    time.sleep(3.2)  # it is a suspect, when the other one becomes one as well, and then ends
    say(loop, "repeat 6 800")
    for _ in range(2):
        assert loop.stdout.readline() == b"done\n"
    assert not w.of("trip") and not w.of("loss"), w.events


def test_what_goes_round_does_not_trip(t):
    loops = [start(t, "epoll", "busy:2000"), start(t, "epoll", "park", "turns"), start(t, "poll")]
    args = [arg for loop in loops for arg in ("-p", loop.pid)]
    w = t.watch(*args, "--stall", "1s", "--observe", *ENDLESS, preexec_fn=go_first)
    settle()
    say(loops[0], "repeat 8 800")  # of a second, and it never sleeps in its wait
    for _ in range(7):
        say(loops[2], "sleep 800")
        time.sleep(1)
    trips = [e for e in w.of("trip") if stall_of(e)["tid"] != loops[1].tids["park"]]
    assert not trips and not w.of("loss"), w.events


def test_a_stopped_process_does_not_stall(t):
    loop = start(t, "epoll")
    w = watch(t, loop, "300ms", "--observe")
    settle()
    say(loop, "spin 200")
    time.sleep(0.05)
    loop.send_signal(signal.SIGSTOP)
    time.sleep(1)
    loop.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    assert not w.of("trip"), w.events


def frozen_process_does_not_stall(t, version):
    group, freeze = t.freezer(version)
    loop = start(t, "epoll")
    (group / "cgroup.procs").write_text(str(loop.pid))
    w = watch(t, loop, "1s", "--observe", *ENDLESS)
    settle()
    say(loop, "spin 10000")
    time.sleep(0.05)
    freeze(True)
    time.sleep(3)
    trips = w.of("trip")
    freeze(False)
    assert not trips, trips


def test_a_frozen_process_does_not_stall(t):
    frozen_process_does_not_stall(t, 2)


def test_a_process_frozen_by_version_1_does_not_stall(t):
    frozen_process_does_not_stall(t, 1)


def test_node_is_caught(t):
    need("node")
    script = t.tmp / "stall.js"
    script.write_text("process.stdin.on('data', d => { const end = Date.now() + Number(d); while (Date.now() < end); });\n"
                      "console.log('ready');\n")
    node = t.target("/usr/bin/node", script, ready=True)
    w = watch(t, node, "1s", *ENDLESS)
    settle()
    trip, capture = caught(t, w, lambda: say(node, "2500"), node.pid)
    assert "epoll" in stall_of(trip)["loop"] and stall_of(trip)["runs"], trip
    assert Core(t.core(capture)).threads()[0] == node.pid


def test_asyncio_is_caught(t):
    script = t.tmp / "stall.py"
    script.write_text("import asyncio, sys, time\n"
                      "loop = asyncio.new_event_loop()\n"
                      "loop.add_reader(0, lambda: time.sleep(float(sys.stdin.readline())))\n"
                      "loop.run_forever()\n")
    server = t.spawn(["/usr/bin/python3", script])
    w = watch(t, server, "1s", "--kind", "mini", *ENDLESS)
    settle()
    trip, capture = caught(t, w, lambda: say(server, "2.5"), server.pid)
    assert stall_of(trip)["waits_in"]["call"].startswith(("select", "pselect", "clock_nanosleep")), trip
    assert Core(t.core(capture)).threads()[0] == server.pid


# Waits in code of a file, which another file replaces at the same address; there the same offset is amidst an instruction.
REPLACED = """
import ctypes, os, select, sys, time
CODE = bytes.fromhex("4989ca b8e8000000 0f05 c3"), bytes.fromhex("90909090 48b8 9090 0f05 90909090 c3")
mmap = ctypes.CDLL(None).mmap
mmap.restype, mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
def put(i):
    with open(f"{sys.argv[1]}/{i}", "w+b") as file:
        file.write(CODE[i].ljust(4096, b"\\x90"))
        file.flush()
        assert mmap(0x100000000, 4096, 5, 0x12, file.fileno(), 0) == 0x100000000
put(0)
wait = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 4)(0x100000000)
poll, room, begin = select.epoll(), ctypes.create_string_buffer(64), time.time()
while time.time() < begin + float(sys.argv[2]):
    wait(poll.fileno(), ctypes.addressof(room), 1, 20)
put(1)
answer = ctypes.CFUNCTYPE(ctypes.c_uint64)(0x100000000)
begin = time.time()
while time.time() < begin + float(sys.argv[2]):
    poll.poll(0.02)
begin = time.time()
while time.time() < begin + 2.5:
    if answer() != 0x90909090050f9090:
        sys.exit("corrupted")
print("intact", flush=True)
sys.stdin.read()
"""


def test_another_file_at_the_place_of_a_wait_is_not_probed(t):
    (t.tmp / "replaced.py").write_text(REPLACED)
    server = t.spawn(["/usr/bin/python3", t.tmp / "replaced.py", t.tmp, str(3 * PATIENCE)], preexec_fn=go_first,
                     stdout=subprocess.PIPE)
    w = watch(t, server, "1s", "--observe", *ENDLESS)
    assert stall_of(w.wait("trip", 20))["runs"] and not w.of("loss"), w.events
    assert server.stdout.readline() == b"intact\n"


def test_a_probe_that_fires_all_the_time_is_taken_off(t):
    loop = start(t, "epoll", "full")
    w = watch(t, loop, "10s", "--observe", *ENDLESS)
    settle()
    say(loop, "spin 8000")
    loss = w.wait("loss", 20)
    assert loss["reason"] == "probe-rate" and loss["process"]["pid"] == loop.pid and "10,000" in loss["detail"], loss
    until(lambda: not probes(), 5, "no probe left")
    say(loop, "sleep 13000")  # what sleeps is seen all the same
    assert "nanosleep" in stall_of(w.wait("trip", 30))["waits_in"]["call"]
    assert len(w.of("loss")) == 1, w.events


def test_a_target_that_ends_with_a_probe_armed(t):
    loop = start(t, "epoll")
    w = watch(t, loop, "3s", "--observe", *ENDLESS)
    settle()
    say(loop, "spin 20000")
    until(lambda: probes(), 5, "a probe")
    loop.kill()
    assert w.wait_exit() in (3, 4), w.events
    assert not w.of("trip") and not w.of("loss"), w.events


def children(pid):
    return {int(child) for path in glob.glob(f"/proc/{pid}/task/*/children") for child in pathlib.Path(path).read_text().split()}


def cpu_ticks(pid):
    return sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))


def test_the_process_that_holds_the_probes_is_killed(t):
    """Once it is replaced; then what runs is not told any more, and what goes round is not told either."""
    loop = start(t, "epoll")
    w = watch(t, loop, "1s", "--observe", *ENDLESS)
    settle()
    for reason in "probe-lost", "no-probe":
        say(loop, "repeat 6 800")
        holder = until(lambda: next(filter(held, children(w.process.pid)), None), 5, "a probe")
        os.kill(holder, signal.SIGKILL)
        assert loop.stdout.readline() == b"done\n"
        until(lambda: any(e["reason"] == reason for e in w.of("loss")), 5, f"a loss: {reason}")
        assert len(w.of("trip")) == (reason == "no-probe"), w.events
        if reason == "probe-lost":
            say(loop, "spin 2500")
            assert stall_of(w.wait("trip"))["runs"], w.events
            assert loop.stdout.readline() == b"done\n"
            settle()
    ticks = cpu_ticks(w.process.pid)
    time.sleep(2)
    assert cpu_ticks(w.process.pid) - ticks < 60, "it spins"
    say(loop, "sleep 2500")  # what sleeps is seen all the same
    assert "nanosleep" in stall_of(w.wait("trip", count=2))["waits_in"]["call"]
    assert [e["reason"] for e in w.of("loss")] == ["probe-lost", "probe-lost", "no-probe"], w.events


def test_a_watch_that_is_killed_leaves_the_target_alone(t):
    loop = start(t, "epoll")
    w = watch(t, loop, "3s", "--observe", *ENDLESS)
    settle()
    say(loop, "spin 1500")
    until(lambda: probes(), 5, "a probe")
    w.process.kill()
    for _ in range(3):
        say(loop, "spin 10")
    assert [loop.stdout.readline() for _ in range(4)] == [b"done\n"] * 4
    assert loop.poll() is None


def test_loops_and_deaths_and_requests_are_watched_for_alone(t):
    """A rule of stalls alone loads nothing that looks at sockets."""
    loop = start(t, "epoll")
    w = watch(t, loop, "1s", "--observe")
    names = programs({w.process.pid} | children(w.process.pid))
    assert "stall_return" in names and not any(name.startswith("request_") for name in names), names
    assert w.armed["stall_ms"] == 1000, w.armed
