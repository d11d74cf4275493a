# SPDX-License-Identifier: MIT
"""kernel.core_pattern: others' keeps serving, all three settings are put back, a death is never held for ever."""

import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import time

from harness import CORETRAP, PATIENCE, own_processes, read_sysctls, slow, target_path, timeout, until, write_sysctl

AFTER_PATTERNS = ("core", "core.%p", "|/bin/false %P", "", "/tmp/some where/core-%e.%p %h")


def sysctl(name):
    return pathlib.Path("/proc/sys", name).read_text().rstrip("\n")


def test_armed_settings(t):
    watch = t.watch("--exe", target_path("die"))
    pattern = sysctl("kernel/core_pattern")
    assert pattern.startswith("|") and "core-handler" in pattern, pattern
    assert len(pattern) < 128
    assert sysctl("kernel/core_pipe_limit") == "4096"
    assert sysctl("fs/suid_dumpable") == "2"
    watch.stop()


def restored(t, sig):
    for pattern in AFTER_PATTERNS:
        write_sysctl("kernel/core_pattern", pattern)
        write_sysctl("kernel/core_pipe_limit", "7")
        before = read_sysctls()
        watch = t.watch("--exe", target_path("die"))
        assert read_sysctls() != before
        watch.stop(sig)
        assert read_sysctls() == before, f"{before} became {read_sysctls()}"


def test_restored_after_sigterm(t):
    t.cleanup_with(t.put_back_sysctls)
    restored(t, signal.SIGTERM)


def test_restored_after_sigint(t):
    t.cleanup_with(t.put_back_sysctls)
    restored(t, signal.SIGINT)


def test_restored_after_failure(t):
    """The command cannot be started: nothing stays armed."""
    before = read_sysctls()
    done = t.coretrap("watch", "-o", t.store, "--", "/does/not/exist")
    assert done.returncode in (1, 2, 3), done
    assert read_sysctls() == before


def test_restored_at_the_next_start_after_kill(t):
    t.cleanup_with(t.put_back_sysctls)
    write_sysctl("kernel/core_pattern", "core-of-somebody.%p")
    before = read_sysctls()
    watch = t.watch("--exe", target_path("die"))
    watch.process.kill()
    watch.process.wait()
    assert read_sysctls() != before
    second = t.watch("--exe", target_path("die"))
    second.stop()
    assert read_sysctls() == before, f"{before} became {read_sysctls()}"


def test_restored_after_kill_of_its_command(t):
    watch = t.watch(command=[target_path("die"), "exit", "0"], wait_armed=False)
    watch.wait_exit()
    assert read_sysctls() == t.before


def test_previous_file_pattern_serves_others(t):
    """A crash that no rule wants leaves what it left before: a core in its own working directory, of its own user."""
    t.cleanup_with(t.put_back_sysctls)
    write_sysctl("kernel/core_pattern", "core-%e-%p")
    there = t.tmp / "there"
    there.mkdir()
    os.chown(there, 65534, 65534)
    watch = t.watch("--exe", target_path("latency"))
    pid, status, _ = t.run_target("threads", cwd=there, user=65534, group=65534, preexec_fn=unlimited_core)
    assert status == -11
    path = there / f"core-threads-{pid}"
    until(path.exists, 10, f"{path.name}; there: {os.listdir(there)}")
    until(lambda: not any("core-handler" in c for c in own_processes().values()), 10, "the handler's end")
    assert path.stat().st_uid == 65534, f"the core belongs to {path.stat().st_uid}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    seen = t.gdb(target_path("threads"), path, "thread apply all bt")
    assert "writes_through_null" in seen and "waits_in_poll" in seen, seen[-400:]
    assert not watch.of("capture")
    watch.stop()


def unlimited_core():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))


def test_previous_file_pattern_keeps_to_the_limit(t):
    """RLIMIT_CORE 0: without a watch there would be no file, so there is none with one."""
    t.cleanup_with(t.put_back_sysctls)
    write_sysctl("kernel/core_pattern", "core-%e-%p")
    there = t.tmp / "there"
    there.mkdir(mode=0o777)
    watch = t.watch("--exe", target_path("latency"))
    t.run_target("threads", cwd=there, preexec_fn=no_core)
    time.sleep(0.5)
    assert not os.listdir(there), os.listdir(there)
    watch.stop()


def test_previous_pipe_serves_others(t):
    """A script that was there before gets the core on its stdin, and the arguments it asked for."""
    t.cleanup_with(t.put_back_sysctls)
    script, out = t.tmp / "old", t.tmp / "old.out"
    script.write_text(f"#!/bin/sh\necho \"$@\" > {out}.args\ncat > {out}.new\nmv {out}.new {out}\n")
    script.chmod(0o755)
    write_sysctl("kernel/core_pattern", f"|{script} %P %s %e extra")
    watch = t.watch("--exe", target_path("latency"))
    pid, _, _ = t.run_target("threads")
    until(out.exists, 10, "the old handler's output")
    assert pathlib.Path(f"{out}.args").read_text().split() == [str(pid), "11", "threads", "extra"]
    seen = t.gdb(target_path("threads"), out, "thread apply all bt")
    assert "writes_through_null" in seen and "waits_in_poll" in seen, seen[-400:]
    assert not watch.of("capture") and not watch.of("trip")
    watch.stop()


def test_wanted_crash_does_not_reach_the_previous_handler(t):
    t.cleanup_with(t.put_back_sysctls)
    script, out = t.tmp / "old", t.tmp / "old.out"
    script.write_text(f"#!/bin/sh\ncat > {out}\n")
    script.chmod(0o755)
    write_sysctl("kernel/core_pattern", f"|{script}")
    watch = t.watch("--exe", target_path("latency"))
    t.run_target("latency")
    watch.wait("capture", 10)
    assert watch.wait_exit() == 0
    time.sleep(0.3)
    assert not out.exists()


def test_two_watches_share(t):
    t.cleanup_with(t.put_back_sysctls)
    before = read_sysctls()
    other = t.tmp / "other"
    other.mkdir(mode=0o700)
    t.stores.append(other)
    first = t.watch("--exe", target_path("latency"))
    second = t.watch("--exe", target_path("threads"), store=other)
    threads, _, _ = t.run_target("threads")
    second.wait("capture", 15, pid=threads)
    assert second.wait_exit() == 0
    assert read_sysctls() != before, "the first watch is not armed any more"
    latency, _, _ = t.run_target("latency")
    first.wait("capture", 15, pid=latency)
    assert first.wait_exit() == 0
    assert read_sysctls() == before
    assert len(t.captures()) == 1 and len(t.captures(other)) == 1
    assert not first.of("trip", pid=threads) and not second.of("trip", pid=latency)


def test_first_watch_stops_before_the_second(t):
    t.cleanup_with(t.put_back_sysctls)
    before = read_sysctls()
    first = t.watch("--exe", target_path("latency"))
    second = t.watch("--exe", target_path("threads"))
    first.stop()
    pid, _, _ = t.run_target("threads")
    second.wait("capture", 15, pid=pid)
    assert second.wait_exit() == 0
    assert read_sysctls() == before


def test_handler_works_when_the_pattern_was_rewritten(t):
    """Others rewrite core_pattern: it is said or put right, and their pattern is what stays at the end."""
    t.cleanup_with(t.put_back_sysctls)
    watch = t.watch("--exe", target_path("die"), "-n", 5)
    write_sysctl("kernel/core_pattern", "core-of-another")
    time.sleep(3)
    pid, _, _ = t.run_target("die", "segv")
    until(lambda: watch.of("capture", pid=pid) + watch.of("skip", pid=pid), 15, "a capture or skip")
    watch.stop()
    assert sysctl("kernel/core_pattern") == "core-of-another"


def handlers_of(pid):
    return [handler for handler, command in own_processes().items()
            if "core-handler" in command and str(pid) in command.split()]


def handler_of(pid):
    return next(iter(handlers_of(pid)), None)


@slow
@timeout(120)
def test_stopped_handler_does_not_hold_the_death(t):
    watch = t.watch("--exe", target_path("memory"))
    process = t.target("memory", "resident", 400, wait=True)
    t.go(process)
    # Its guard has the same arguments, and comes of it: before that nobody but the kernel would end it.
    handler = min(until(lambda: len(handlers_of(process.pid)) > 1 and handlers_of(process.pid), 10, "a handler and its guard"))
    os.kill(handler, signal.SIGSTOP)
    start = time.monotonic()
    process.wait(90)
    took = time.monotonic() - start
    assert took < 65, f"held for {took:.0f} s"
    event = until(lambda: watch.of("skip") + watch.of("capture"), 10, "a skip or capture")[0]
    assert event["event"] == "skip" or not event["capture"]["complete"], event
    watch.stop()


def test_killed_handler_is_a_skip(t):
    watch = t.watch("--exe", target_path("memory"))
    process = t.target("memory", "resident", 400, wait=True)
    t.go(process)
    handler = until(lambda: handler_of(process.pid), 10, "a handler")
    os.kill(handler, signal.SIGKILL)
    process.wait(20)
    event = watch.wait("skip", 10, pid=process.pid)
    assert event["reason"], event
    watch.stop()
    assert not t.captures()


def test_target_killed_while_it_is_captured(t):
    """Reads of 0: incomplete, never a success."""
    watch = t.watch("--exe", target_path("memory"), "-n", 5)
    process = t.target("memory", "resident", 600, wait=True)
    t.go(process)
    until(lambda: handler_of(process.pid), 10, "a handler")
    time.sleep(0.1)
    process.kill()
    process.wait(20)
    event = until(lambda: watch.of("skip") + watch.of("capture"), 15, "a skip or capture")[0]
    watch.stop()
    assert event["event"] == "skip" or not event["capture"]["complete"], event
    if event["event"] == "capture":
        assert event["capture"]["notes"], event


def test_target_may_be_waited_for_soon(t):
    """The death is not held longer than the capture takes."""
    watch = t.watch("--exe", target_path("die"))
    start = time.monotonic()
    t.run_target("die", "segv")
    took = time.monotonic() - start
    watch.wait("capture", 10)
    assert took < 3 * PATIENCE, f"the process was held for {took:.1f} s"
    watch.stop()


def test_program_path_too_long_for_the_pattern(t):
    """The kernel keeps 127 characters: a clear error before anything is set."""
    place = t.tmp / ("long" * 20)
    place.mkdir()
    binary = place / "coretrap"
    shutil.copy2(CORETRAP, binary)
    done = subprocess.run([binary, "watch", "--exe", "/x", "-o", t.store], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1, done
    assert "127" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert read_sysctls() == t.before
