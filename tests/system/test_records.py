# SPDX-License-Identifier: MIT
"""One right record of each death, none of a process that lives."""

import calendar
import contextlib
import os
import pathlib
import signal
import time

from harness import IN_VM, dig, find_key, skip, target_path, timeout, until

ALONE = True


def watched(t, *argv, args=(), wait=False):
    """Runs die with ARGV under a watch: (watch, pid, status), the watch stopped after the events had time to come."""
    watch = t.watch("--exe", target_path("die"), "-n", 50, "--kind", "mini", *args)
    pid, status, _ = t.run_target("die", *argv)
    time.sleep(0.7)
    watch.stop()
    return watch, pid, status


def one_trip(t, name, *argv, code=None, args=()):
    watch, pid, status = watched(t, *argv, args=args)
    trips = watch.of("trip", pid=pid)
    assert status == -getattr(signal, name), f"ended with {status}"
    assert len(trips) == 1, f"{len(trips)} trips: {[e['trigger'] for e in trips]}"
    found = dig(trips[0], "trigger.signal")
    assert dig(trips[0], "trigger.kind") == "signal", trips[0]["trigger"]
    assert found["name"] == name and found["number"] == getattr(signal, name), found
    assert code is None or found.get("code") == code, found
    assert not [e for e in watch.of("trip") if dig(e, "process.pid") != pid], "a trip of another process"
    after = watch.of("capture", pid=pid) + watch.of("skip", pid=pid)
    assert len(after) == 1, f"{len(after)} captures and skips for one death"
    return trips[0], after[0]


def test_segv_with_address(t):
    trip, after = one_trip(t, "SIGSEGV", "segv", code="SEGV_MAPERR")
    assert int(dig(trip, "trigger.signal.address"), 16) == 8, trip["trigger"]
    assert after["event"] == "capture", after
    process = trip["process"]
    assert process["comm"] == "die" and process["executable"] == target_path("die"), process
    assert process["command_line"][1:] == ["segv"] and process["uid"] == 0, process
    assert process["ppid"] == os.getpid() and process["tid"] == process["pid"], process
    assert trip["stack"][0]["symbol"].split("+")[0] == "reads_null", trip["stack"]


def test_protection_fault_says_accerr(t):
    trip, _ = one_trip(t, "SIGSEGV", "exec-data", code="SEGV_ACCERR")
    assert "exec" in str(trip["trigger"]), f"the access was an execution: {trip['trigger']}"


def test_abort(t):
    trip, after = one_trip(t, "SIGABRT", "abort")
    assert after["event"] == "capture", after


def test_fpe(t):
    one_trip(t, "SIGFPE", "fpe", code="FPE_INTDIV")


def test_bus(t):
    one_trip(t, "SIGBUS", "bus", code="BUS_ADRERR")


def test_overflow_with_handler_carries_the_address(t):
    """The kernel's last word has no address any more; the record has the one of the fault before."""
    trip, after = one_trip(t, "SIGSEGV", "overflow-handled")
    address = dig(trip, "trigger.signal.address")
    assert address and int(address, 16) > 0x1000, trip["trigger"]
    assert after["event"] == "capture", after


def test_protection_fault_after_a_handled_fault_is_no_overflow(t):
    trip, _ = one_trip(t, "SIGSEGV", "gp-after-fault", code="SI_KERNEL")
    found = dig(trip, "trigger.signal")
    assert "address" not in found and "stack_overflow" not in found and found["trap"] == 13, found


def test_timer_blames_nobody(t):
    """Neither who ran when the timer expired, nor who sent the same signal before."""
    trip, _ = one_trip(t, "SIGALRM", "alarm", args=["--signal", "ALRM"])
    assert "sender" not in dig(trip, "trigger.signal"), trip["trigger"]


def memory_limit(t, size):
    """A control group with that much memory, as a function that makes a new process a member."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = pathlib.Path(root, f"coretrap-test-{os.getpid()}")
        with contextlib.suppress(OSError):
            group.mkdir()
            t.cleanup_with(group.rmdir)
            (group / limit).write_text(str(size))
            return lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    skip("no memory control group")


def test_oom_kill(t):
    """The OOM killer's SIGKILL has no sender, and says whose it is."""
    join = memory_limit(t, 32 << 20)
    python = os.path.realpath("/usr/bin/python3")
    watch = t.watch("--cmdline", "*eats_memory*", "--signal", "KILL", "-n", 5)
    pid, status, _ = t.run_target(python, "-c", "eats_memory = bytearray(1 << 30)", preexec_fn=join)
    assert status == -9, status
    trip = watch.wait("trip", 5, pid=pid)
    time.sleep(0.3)
    watch.stop()
    assert len(watch.of("trip")) == 1
    found = dig(trip, "trigger.signal")
    assert found["name"] == "SIGKILL" and found.get("oom") is True and "sender" not in found, found


def no_memory(t, name, *argv):
    """A signal whose default action dumps no core: the record, and a skip that says so."""
    _, after = one_trip(t, name, *argv, args=["--signal", name])
    assert after["event"] == "skip" and after["reason"] == "memory-gone", after


def test_sigterm(t):
    no_memory(t, "SIGTERM", "term")


def test_sigpipe(t):
    no_memory(t, "SIGPIPE", "pipe")


def test_default_is_signals_that_dump_core(t):
    assert nothing_died(t, "term") == -15


def test_seccomp_kills_process(t):
    one_trip(t, "SIGSYS", "seccomp-process")


def test_leader_exits_first(t):
    trip, after = one_trip(t, "SIGSEGV", "leader-exits", code="SEGV_MAPERR")
    assert trip["process"]["tid"] != trip["process"]["pid"], trip["process"]
    assert after["event"] == "capture", after


def test_sigkill_names_its_sender(t):
    watch = t.watch("--exe", target_path("die"), "-n", 50, "--signal", "KILL")
    process = t.target("die", "sleep", ready=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    trip = watch.wait("trip", 5, pid=process.pid)
    time.sleep(0.5)
    watch.stop()
    assert len(watch.of("trip")) == 1, [e["trigger"] for e in watch.of("trip")]
    found = dig(trip, "trigger.signal")
    assert found["name"] == "SIGKILL", found
    assert found["sender"]["pid"] == os.getpid(), f"{found['sender']}, sent by {os.getpid()}"
    assert found["sender"]["comm"] == open("/proc/self/comm").read().strip(), found["sender"]
    assert not watch.of("capture"), "a SIGKILLed process has no memory to capture"
    assert len(watch.of("skip", pid=process.pid)) == 1, "no skip says why there is no core"


def nothing_died(t, *argv, args=()):
    watch, pid, status = watched(t, *argv, args=args)
    assert not watch.of("trip"), [e["trigger"] for e in watch.of("trip")]
    assert not watch.of("capture") and not watch.of("skip")
    assert not t.captures()
    return status


def test_exec_from_a_thread_is_no_death(t):
    assert nothing_died(t, "exec-thread", args=["--signal", "fatal"]) == 0
    assert nothing_died(t, "exec-thread", args=["--signal", "KILL"]) == 0


def test_exit_group_with_threads_is_no_signal(t):
    assert nothing_died(t, "exit-group") == 7
    assert nothing_died(t, "exit-group", args=["--signal", "KILL"]) == 7


def test_handled_signals_are_no_death(t):
    assert nothing_died(t, "handled", 200) == 0


def test_seccomp_errno_is_no_death(t):
    assert nothing_died(t, "seccomp-errno") == 0


def test_seccomp_that_kills_one_thread_is_no_death(t):
    assert nothing_died(t, "seccomp-thread") == 0


def test_exactly_one_record_of_a_process_that_many_kill(t):
    """SIGTERM, SIGABRT and SIGKILL nearly at once, twenty times."""
    watch = t.watch("--exe", target_path("die"), "-n", 100, "--kind", "mini", "--signal", "TERM,ABRT,KILL")
    pids = []
    for _ in range(20):
        process = t.target("die", "sleep", ready=True)
        for sig in (signal.SIGTERM, signal.SIGABRT, signal.SIGKILL):
            process.send_signal(sig)
        process.wait()
        pids.append(process.pid)
    watch.wait("trip", 10, count=20)
    time.sleep(1)
    watch.stop()
    tripped = [dig(e, "process.pid") for e in watch.of("trip")]
    assert sorted(tripped) == sorted(pids), f"{len(tripped)} trips for 20 deaths"


def test_first_chance(t):
    watch = t.watch("--exe", target_path("die"), "--first-chance", "SEGV", "-n", 10, "--observe")
    pid, status, _ = t.run_target("die", "handled", 3)
    assert status == 0
    watch.wait("trip", 5, count=3)
    watch.stop()
    trips = watch.of("trip")
    assert len(trips) == 3 and all(dig(e, "trigger.kind") == "first-chance" for e in trips), trips
    assert all(dig(e, "trigger.signal.name") == "SIGSEGV" and dig(e, "process.pid") == pid for e in trips)


def test_first_chance_noise_does_not_push_out_a_death(t):
    """What the records of 20,000 handled signals cost is counted, and costs no death."""
    n = 20000
    watch = t.watch("--exe", target_path("die"), "--first-chance", "SEGV", "--signal", "ABRT", "-n", 0, "--observe")
    noisy = t.target("die", "handled", n)
    dead = [t.run_target("die", "abort")[0] for _ in range(5)]
    assert noisy.wait(60) == 0
    until(lambda: len(watch.of("trip", signal="SIGABRT")) == 5, 10, "five deaths")
    time.sleep(1.5)
    watch.stop()
    assert sorted(dig(e, "process.pid") for e in watch.of("trip", signal="SIGABRT")) == sorted(dead)
    handled, lost = len(watch.of("trip", signal="SIGSEGV")), sum(e["count"] for e in watch.of("loss"))
    t.log(f"{handled} records, {lost} lost")
    assert handled + lost == n, f"{handled} records and {lost} lost of {n} handled signals"


def test_only_the_signals_asked_for(t):
    watch = t.watch("--exe", target_path("die"), "--signal", "ABRT", "-n", 10)
    t.run_target("die", "segv")
    pid, _, _ = t.run_target("die", "abort")
    watch.wait("capture", 10, pid=pid)
    watch.stop()
    assert [dig(e, "trigger.signal.name") for e in watch.of("trip")] == ["SIGABRT"]
    assert len(t.captures()) == 1


def signature(t, site):
    watch = t.watch("--exe", target_path("deep"), "--kind", "mini")
    t.run_target("deep", site)
    capture = watch.wait("capture", 15)
    assert watch.wait_exit() == 0
    return find_key(capture, "signature"), [f.get("symbol", "?").split("+")[0] for f in capture["stack"]]


def test_signature_without_frame_pointers(t):
    """The unwound frames are the true ones, and the signature is that of the place, not of the process."""
    one, frames = signature(t, 1)
    again, _ = signature(t, 1)
    two, other = signature(t, 2)
    assert frames[:4] == ["crash_site_one", "middle_frame", "outer_frame", "main"], frames
    assert other[:4] == ["crash_site_two", "middle_frame", "outer_frame", "main"], other
    assert one and len(one) == 16, f"signature {one!r}"
    assert one == again and one != two, (one, again, two)


def test_gdb_finds_the_frames_of_the_signature(t):
    executable = target_path("deep")
    watch = t.watch("--exe", executable)
    t.run_target("deep", 2)
    capture = watch.wait("capture", 15)
    seen = t.gdb(executable, t.core(capture), "bt")
    for name in ("crash_site_two", "middle_frame", "outer_frame", "main"):
        assert name in seen, seen[-400:]


@timeout(90)
def test_trip_comes_within_20_ms_and_names_the_function(t):
    watch = t.watch("--exe", target_path("latency"), "-n", 100, "--kind", "mini")
    received, stamped = [], []
    for _ in range(20):
        pid, status, out = t.run_target("latency")
        assert status == -11
        trip = watch.wait("trip", 5, pid=pid)
        fault = int(out) / 1e9
        received.append(watch.time_of(trip) - fault)
        stamped.append(parse_time(trip["time"]) - fault)
        assert trip["stack"][0]["symbol"].split("+")[0] == "crashes_at_known_time", trip["stack"]
        watch.wait("capture", 10, pid=pid)
    received.sort()
    stamped.sort()
    t.log(f"received: median {received[10] * 1e3:.2f} ms, worst {received[-1] * 1e3:.2f} ms;"
          f" stamped: median {stamped[10] * 1e3:.2f} ms")
    assert -0.001 < stamped[0], f"the event's time is before the fault: {stamped[0]}"
    limit = 2.0 if IN_VM else 0.020
    assert received[10] < limit, f"median {received[10] * 1e3:.1f} ms"
    assert stamped[10] < limit, f"stamped median {stamped[10] * 1e3:.1f} ms"


def parse_time(text):
    """RFC 3339 with nanoseconds, UTC."""
    seconds, fraction = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


def test_forked_child_is_watched_with_tree(t):
    watch = t.watch("-n", 50, "--kind", "mini", "--tree", "--signal", "SEGV", command=[target_path("storm"), "row", 5])
    watch.wait("capture", 15, count=5)
    watch.stop()
    assert len({dig(e, "process.pid") for e in watch.of("trip")}) == 5
