# SPDX-License-Identifier: MIT
"""Processes that are hard to capture: each is captured, or refused with a reason, and lives on as it was."""

import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import threading
import time

from elfcore import Core
from harness import CORETRAP, PATIENCE, need, skip, slow, target_path, timeout, until
from survivor import HeldDump, Odd, capture, children, possessions, refused, same, status

PATTERN = False
ALONE = True


def survives(t, odd, *args, snapshot="fork", times=3, check=True):
    """Captures it some times: the last event. It is alive after each, and has what it had."""
    before = possessions(odd.pid)
    for _ in range(times):
        event = capture(t, odd.pid, *args)
        assert event["capture"]["complete"] is True, event["capture"]
        assert event["capture"]["snapshot"] == snapshot, event["capture"]
        odd.alive()
    if check:
        assert not (changed := same(before, possessions(odd.pid))), changed
    return event


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_stopped(t):
    """A stopped process is captured, still stopped afterwards, and goes on with SIGCONT."""
    odd = Odd(t, "odd", "plain")
    os.kill(odd.pid, signal.SIGSTOP)
    until(lambda: state(odd.pid) == "T", 5, "a stopped process")
    for snapshot in ("fork", "stop", "fork"):
        event = capture(t, odd.pid, "--snapshot", snapshot)
        assert event["capture"]["complete"] is True, event["capture"]
        until(lambda: state(odd.pid) == "T", 2, f"stopped again, not {state(odd.pid)}")
        time.sleep(0.1)
        assert state(odd.pid) == "T", f"it was stopped, now it is {state(odd.pid)}"
    os.kill(odd.pid, signal.SIGCONT)
    odd.alive()


def test_stopped_meanwhile(t):
    """SIGSTOP while the capture runs: it stops once that is over, and not for ever."""
    odd = Odd(t, "odd", "plain")
    held = HeldDump(t, odd.pid, "--snapshot", "stop")
    os.kill(odd.pid, signal.SIGSTOP)
    assert held.release()[0] == 0
    until(lambda: state(odd.pid) == "T", 5, f"a stopped process, not {state(odd.pid)}")
    os.kill(odd.pid, signal.SIGCONT)
    odd.alive()


def test_all_signals_blocked(t):
    survives(t, Odd(t, "odd", "sigtrap"))


def test_seccomp_filter(t):
    """Its filter kills whoever calls clone() or wait4(): neither is its own call."""
    odd = Odd(t, "odd", "filter")
    until(lambda: status(odd.pid, "Seccomp") == "2", 5, "the filter")
    survives(t, odd)
    assert not children(odd.pid), f"left: {children(odd.pid)}"


def test_seccomp_strict(t):
    odd = Odd(t, "odd", "strict")
    until(lambda: status(odd.pid, "Seccomp") == "1", 5, "strict seccomp")
    event = survives(t, odd, snapshot="stop")
    assert any("strict seccomp" in note for note in event["capture"]["notes"]), event["capture"]["notes"]


def test_debugger(t):
    """Refused, and the debugger is named; the debugger goes on."""
    need("gdb")
    odd = Odd(t, "odd", "plain")
    gdb = t.spawn(["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", "-p", odd.pid, "-ex",
                   "shell sleep 1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: status(odd.pid, "TracerPid") == str(gdb.pid), 20, "gdb to be attached")
        refused(t, odd.pid, "gdb", str(gdb.pid), "traced")
        assert status(odd.pid, "TracerPid") == str(gdb.pid), "gdb was pushed away"
    finally:  # its parent hears of a traced process' end only once the tracer has
        gdb.kill()
        gdb.wait()


def test_threads_come_and_go(t):
    """None is missed: each capture has all threads that the process had, all of them stopped at once."""
    odd = Odd(t, "odd", "churn")
    for _ in range(20):
        event = capture(t, odd.pid, "--kind", "mini")
        assert event["capture"]["complete"] is True and event["capture"]["threads"] >= 2, event["capture"]
        odd.alive()
    capture(t, odd.pid)
    odd.alive()


def cgroup(t, controller):
    """A cgroup of our own, of whichever of the versions is there, and a way into it for Popen."""
    group = t.cgroup(controller, {}, {})
    if not group or not list(group.glob(f"{controller}.*")):
        skip(f"no {controller} controller for control groups here")
    return group, lambda: (group / "cgroup.procs").write_text(str(os.getpid()))


def test_no_more_processes(t):
    """At its pids.max nothing can be cloned: the process waits instead, and the capture says why."""
    group, enter = cgroup(t, "pids")
    odd = Odd(t, "odd", "churn", preexec_fn=enter)
    (group / "pids.max").write_text("1")
    time.sleep(0.05)
    event = survives(t, odd, snapshot="stop", check=False)
    assert any("EAGAIN" in note for note in event["capture"]["notes"]), event["capture"]["notes"]


def first(group, *names):
    """The one of these files that the version of the group has."""
    return next(group / name for name in names if (group / name).exists())


@timeout(120)
def test_no_more_memory(t):
    """It writes to nearly all that its cgroup may have, as fast as it can: nobody is killed for want of memory."""
    group, enter = cgroup(t, "memory")
    limit, events = first(group, "memory.max", "memory.limit_in_bytes"), first(group, "memory.events", "memory.oom_control")
    usage = first(group, "memory.current", "memory.usage_in_bytes")
    kills = lambda: int(re.search(r"^oom_kill (\d+)", events.read_text(), re.M)[1])  # noqa: E731
    for room in ("0", "96M", "120M"):  # no more than it has, hardly anything left, and half of its size
        limit.write_text("-1" if limit.name == "memory.limit_in_bytes" else "max")
        if room != "0":
            limit.write_text(room)
        odd = Odd(t, "odd", "dirty", 80, preexec_fn=enter)
        if room == "0":
            limit.write_text(str(int(usage.read_text()) + (64 << 10)))
        for args in ([], ["--compress", "none"], ["--kind", "mini"], ["--snapshot", "fork"]):
            done = t.coretrap("dump", odd.pid, "-o", t.store, "--json", *args)
            assert kills() == 0, f"{room}, {args}: the kernel killed for want of memory"
            assert done.returncode in (0, 1) and (done.returncode == 0 or done.stderr.strip()), done
            if "--snapshot" not in args:
                capture = json.loads(done.stdout.splitlines()[-1])["capture"]
                assert capture["snapshot"] != "fork" and any("memory cgroup" in n for n in capture["notes"]), capture
            odd.alive()
        odd.process.kill()
        odd.process.wait()


def test_no_more_memory_without_being_slowed(t):
    """At its memory.high, which kills nobody, a clone would cost whoever writes seconds of sleep."""
    group, enter = cgroup(t, "memory")
    if not (group / "memory.high").exists():
        skip("version 1 of control groups has no memory.high")
    odd = Odd(t, "odd", "dirty", 80, preexec_fn=enter)
    (group / "memory.high").write_text(str(int((group / "memory.current").read_text()) + (64 << 10)))
    slowed = lambda: int(re.search(r"^high (\d+)", (group / "memory.events").read_text(), re.M)[1])  # noqa: E731
    before = slowed()
    event = survives(t, odd, snapshot="stop", times=1, check=False)
    assert any("memory cgroup" in note for note in event["capture"]["notes"]), event["capture"]["notes"]
    assert slowed() == before, f"it was slowed {slowed() - before} times"


def in_freezer(t, version):
    """A process in a cgroup of this version, and what freezes and thaws that."""
    group, freeze = t.freezer(version)
    return Odd(t, "odd", "plain", preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid()))), freeze


def test_frozen(t):
    """What stands in a frozen cgroup cannot be cloned: it is read where it stands, and stays frozen."""
    odd, freeze = in_freezer(t, 2)
    before = possessions(odd.pid)
    freeze(True)
    for _ in range(2):
        event = capture(t, odd.pid)
        assert event["capture"]["complete"] and event["capture"]["snapshot"] == "stop", event["capture"]
        assert any("frozen" in note for note in event["capture"]["notes"]), event["capture"]["notes"]
        assert "main" in [frame.get("symbol") for frame in event["stack"]], event["stack"]
        freeze(True)  # it is still, or again
    refused(t, odd.pid, "cgroup is frozen", args=("--snapshot", "fork"))
    freeze(False)
    odd.alive()
    assert not (changed := same(before, possessions(odd.pid))), changed


def test_frozen_by_version_1(t):
    """There nothing can even be stopped."""
    odd, freeze = in_freezer(t, 1)
    freeze(True)
    refused(t, odd.pid, "cgroup is frozen")
    freeze(False)
    odd.alive()
    survives(t, odd)


def frozen_meanwhile(t, version):
    odd, freeze = in_freezer(t, version)
    before = possessions(odd.pid)
    held = HeldDump(t, odd.pid, "--snapshot", "fork")
    freeze(True)
    status, core, text = held.release(10 * PATIENCE)
    assert status == 0 and core[:4] == b"\x7fELF" and "still a child" in text, (status, text)
    freeze(False)
    odd.alive()
    capture(t, odd.pid)  # which reaps what was left
    odd.alive()
    assert not (changed := same(before, possessions(odd.pid))), changed


def test_frozen_meanwhile(t):
    frozen_meanwhile(t, 2)


def test_frozen_meanwhile_by_version_1(t):
    """Not even the clone can be killed."""
    frozen_meanwhile(t, 1)


def frozen_often(t, version):
    """Whatever step the capture is at as it is frozen, it comes to its end."""
    odd, freeze = in_freezer(t, version)
    before, stop = possessions(odd.pid), threading.Event()
    switch = threading.Thread(target=lambda: [freeze(on) for _ in iter(stop.is_set, True) for on in (True, False)])
    switch.start()
    try:
        done = [t.coretrap("dump", odd.pid, "-o", t.store, "--json", "--kind", "mini") for _ in range(30)]
    finally:
        stop.set()
        switch.join()
    for one in done:
        assert one.returncode == 0 or one.returncode == 1 and one.stderr.strip(), one
    capture(t, odd.pid)
    odd.alive()
    until(lambda: not same(before, possessions(odd.pid)), 5, "it has what it had")


def test_frozen_often(t):
    frozen_often(t, 2)


def test_frozen_often_by_version_1(t):
    frozen_often(t, 1)


def in_namespaces(t, *argv):
    """Runs it in a PID and a mount namespace of its own: Odd, whose pid is the one that we see."""
    need("unshare")
    odd = Odd(t, "/usr/bin/unshare", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child", *argv)
    odd.pid = next(iter(children(odd.process.pid)))
    return odd


def test_other_namespaces(t):
    odd = in_namespaces(t, target_path("odd"), "plain")
    event = survives(t, odd)
    assert not children(odd.pid), f"left: {children(odd.pid)}"
    assert event["process"]["namespace_pid"] == 1, event["process"]


def test_next_namespace(t):
    """A process whose children shall live in a new PID namespace: a clone would be the first of them, and its end the
    end of that namespace. None is made."""
    need("unshare", "python3")
    program = ("import os,sys\nprint('ready',flush=True)\n"
               "for line in sys.stdin:\n"
               "    p=os.fork()\n    if not p: os._exit(7)\n"
               "    print('alive', os.waitstatus_to_exitcode(os.waitpid(p,0)[1]), flush=True)\n")
    odd = Odd(t, "/usr/bin/unshare", "--pid", os.path.realpath("/usr/bin/python3"), "-c", program)
    event = capture(t, odd.pid)
    assert event["capture"]["snapshot"] == "stop" and event["capture"]["complete"], event["capture"]
    assert any("PID namespace" in note for note in event["capture"]["notes"]), event["capture"]["notes"]
    assert odd.ask() == "alive 7", "it cannot start its first child any more"


def test_waits_in_vfork(t):
    """It cannot be stopped: refused with a reason, within the deadline, and no worse for it."""
    odd = Odd(t, "odd", "vfork")
    until(lambda: state(odd.pid) == "D", 5, "the wait in vfork()")
    refused(t, odd.pid, "did not stop")
    odd.alive()
    assert odd.process.wait(5) == 0


def test_shares_its_memory(t):
    """Somebody else writes to the memory whatever stands still: it is not cloned, and the capture says who."""
    odd = Odd(t, "odd", "peer")
    event = survives(t, odd, snapshot="stop")
    assert any(f"process {odd.said('peer')}" in note for note in event["capture"]["notes"]), event["capture"]["notes"]


def test_in_a_handler_on_another_stack(t):
    odd = Odd(t, "odd", "handler")
    event = survives(t, odd)
    frames = [frame.get("symbol") for frame in event["stack"]]
    assert "handles" in frames and "main" in frames, frames


def test_leader_has_ended(t):
    odd = Odd(t, "odd", "leader")
    event = capture(t, odd.pid)
    assert event["capture"]["complete"] is True and event["capture"]["threads"] == 1, event["capture"]
    odd.alive()
    assert Core(t.core(event)).threads() != [odd.pid]
    zombies = {pid: s for pid, s in children(odd.pid).items() if s == "Z"}
    assert not zombies, f"left: {zombies}"


def test_narrow(t):
    """A 32-bit program is captured, or refused for that reason."""
    odd = Odd(t, "narrow")
    refused(t, odd.pid, "32-bit")
    odd.alive()


def test_zombie(t):
    process = t.spawn(["true"])
    until(lambda: state(process.pid) == "Z", 5, "a zombie")
    refused(t, process.pid, "ended", "zombie")


def test_own_processes(t):
    odd = Odd(t, "odd", "plain")
    held = HeldDump(t, odd.pid, "--snapshot", "stop")
    refused(t, held.process.pid, "coretrap's own")
    assert held.release()[0] == 0
    odd.alive()


def torn(core, address):
    """Whether the two counters differ by more than the step in which they move."""
    first, = struct.unpack("<Q", core.read(address, 8))
    last, = struct.unpack("<Q", core.read(address + (1 << 30) - 8, 8))
    return first - last not in (0, 1), first, last


def never_torn(t, times):
    odd = Odd(t, "odd", "apart")
    address, seen = int(odd.said("memory"), 16), set()
    path = t.tmp / "apart.core"
    for i in range(times):
        done = t.coretrap("dump", odd.pid, "-o", path, "--compress", "none", *(["--snapshot", "stop"] if i % 4 == 3 else []))
        assert done.returncode == 0, done.stderr
        core = Core(path)
        is_torn, first, last = torn(core, address)
        assert not is_torn, f"capture {i}: {first} and {last}"
        assert path.stat().st_blocks * 512 < 8 << 20, "untouched memory takes room"
        seen.add(first)
        core.file.close()
        path.unlink()
        odd.alive()
    assert len(seen) > times / 2, "the counters did not move"


def test_counters_that_move_together(t):
    never_torn(t, 24)


@slow
@timeout(300)
def test_counters_that_move_together_often(t):
    never_torn(t, 1000)


def test_signals_meanwhile(t):
    """Each of the signals that arrive while captures run is delivered, in its order."""
    odd = Odd(t, "odd", "signals")
    sent, captures = 0, []
    libc = __import__("ctypes").CDLL(None, use_errno=True)
    for snapshot in ("fork", "stop") * 4:
        process = t.spawn([CORETRAP, "dump", odd.pid, "-o", "-", "--compress", "none", "--snapshot", snapshot],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if libc.sigqueue(odd.pid, signal.SIGRTMIN, __import__("ctypes").c_void_p(sent)) == 0:
                sent += 1
            time.sleep(0.0005)
        captures.append(process.returncode)
    assert captures == [0] * 8, captures
    assert sent > 20, f"only {sent} signals"
    answer = until(lambda: (a := odd.ask()) and (a == f"caught {sent}" or a.startswith("wrong")) and a, 5,
                   f"{sent} signals caught; the last answer: {odd.ask()}")
    assert answer == f"caught {sent}", answer


def test_killed_meanwhile(t):
    """A process that is killed while it is captured: clearly said, nothing is published, nothing is left."""
    for args in (["--snapshot", "stop"], ["--snapshot", "fork"]):
        odd = Odd(t, "odd", "plain")
        held = HeldDump(t, odd.pid, *args)
        clones = children(odd.pid)
        odd.process.kill()
        odd.process.wait(5)
        # A busy machine may write the rest before the clone's holder hears of it.
        until(lambda: not any(pathlib.Path(f"/proc/{pid}/maps").exists() and
                              pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in clones), 5, "the clone's end")
        code, _, text = held.release()
        assert code in (1, 3), f"{args}: status {code}: {text}"
        lines = [line for line in text.splitlines() if line.strip()]
        assert lines and any(word in text for word in ("ended", "killed", "gone", "incomplete")), f"{args}: {text!r}"


def test_killed_while_it_is_written(t):
    """The same, for the store: a capture is whole or absent."""
    for i, args in enumerate((["--snapshot", "stop"], ["--snapshot", "fork"])):
        process = t.target("live", "memory", 192, "idle", ready=True)
        dumping = t.spawn([CORETRAP, "dump", process.pid, "-o", t.store, "--json", *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
        until(lambda: any(t.store.glob(".*/core*")) or dumping.poll() is not None, 10, "a core that is written")
        process.kill()
        process.wait(5)
        out, text = dumping.communicate(timeout=20)
        t.log(args, dumping.returncode, text)
        published = t.captures()
        if dumping.returncode == 0:  # it was quicker
            assert b'"complete":true' in out
        else:
            assert dumping.returncode in (1, 3) and (text.strip() or out.strip()), f"{args}: {dumping.returncode}"
            assert not published or b'"complete":false' in out, f"{args}: published {published}"
        assert not list(t.store.glob(".*")), f"left: {list(t.store.glob('.*'))}"
