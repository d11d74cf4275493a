# SPDX-License-Identifier: MIT
"""Many crashes: each is captured, skipped with a reason or counted as lost, and nothing is left behind."""

import fcntl
import os
import subprocess
import time

from harness import CORETRAP, IN_VM, PATIENCE, check_store, dig, target_path, timeout, until

ALONE = True


def accounted(watch):
    """Deaths that the events account for: every one ends as a capture, a skip, or in a loss' count."""
    losses = sum(e["count"] for e in watch.of("loss") if e.get("source", "death") == "death")
    return len(watch.of("capture")) + len(watch.of("skip")) + losses


def storm(t, how, n, patience, *args):
    executable = target_path("storm")
    watch = t.watch("--exe", executable, "--signal", "SEGV", "-n", n, "--kind", "mini", *args)
    done = subprocess.run([executable, how, str(n)], capture_output=True, text=True, timeout=patience * 10)
    assert done.stdout.strip() == f"died {n}", done
    until(lambda: watch.process.poll() is not None or accounted(watch) >= n, patience,
          f"{n} accounted deaths")
    watch.stop(seconds=60)
    captured, skipped = len(watch.of("capture")), len(watch.of("skip"))
    t.log(f"{captured} captured, {skipped} skipped, {accounted(watch) - captured - skipped} lost")
    assert accounted(watch) == n, f"{captured} captured + {skipped} skipped + losses = {accounted(watch)}, not {n}"
    for event in watch.of("skip"):
        assert event.get("reason"), f"a skip without a reason: {event}"
    ends = [(dig(e, "process.pid"), dig(e, "process.start_time")) for e in watch.of("capture") + watch.of("skip")]
    assert len(ends) == len(set(ends)), f"a process has two ends: {[e for e in ends if ends.count(e) > 1]}"
    assert len(t.captures()) == captured, f"{len(t.captures())} in the store, {captured} events"
    check_store(t.store)
    assert captured > 0, "nothing was captured at all"
    return captured


@timeout(240)
def test_1000_crashes_in_a_row(t):
    storm(t, "row", 100 if IN_VM else 1000, 200)


@timeout(120)
def test_100_crashes_at_once(t):
    storm(t, "once", 100, 60)


@timeout(120)
def test_storm_does_not_hold_up_the_end(t):
    """Past --duration what is under way gets its last event, what comes then is skipped, and the watch ends."""
    executable = target_path("die")
    rows = [t.spawn(["/bin/sh", "-c", f"while :; do {executable} segv; done"], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
            for _ in range(4)]
    watch = t.watch("--exe", executable, "-n", 0, "--kind", "mini", "--duration", "2s")
    began = time.monotonic()
    assert watch.wait_exit(20) in (0, 1), watch.events[-3:]  # 1: some were throttled
    t.log(f"ended after {time.monotonic() - began:.1f} s, {len(watch.of('capture'))} captured")
    for row in rows:
        row.kill()
        row.wait()
    last = {e["id"]: e for e in watch.events if e["event"] in ("capture", "skip")}
    assert all(e["id"] in last for e in watch.of("trip")) and watch.of("capture"), watch.events[-3:]
    assert "duration-passed" in {e["reason"] for e in watch.of("skip")}, watch.of("skip")[-3:]


@timeout(120)
def test_storm_that_nobody_asked_for_is_passed_on(t):
    """300 crashes of others while a watch is armed: none is captured, the watch and its target live."""
    process = t.target("die", "segv", wait=True)
    watch = t.watch("--pid", process.pid)
    done = subprocess.run([target_path("storm"), "row", "300"], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "died 300"
    assert not watch.of("trip") and not t.captures()
    t.go(process)
    watch.wait("capture", 10, pid=process.pid)
    assert watch.wait_exit() == 0


def test_reader_that_does_not_read(t):
    """Nobody takes the events: the dying are not held for it, captures are made, and the watch ends when told."""
    reader, writer = os.pipe()
    t.cleanup_with(os.close, reader)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    executable = target_path("die")
    argv = [CORETRAP, "watch", "--exe", executable, "-n", 0, "--kind", "mini", "--json", "-o", t.store]
    watch = t.spawn(argv, stdout=writer)
    os.close(writer)
    until(lambda: "coretrap" in open("/proc/sys/kernel/core_pattern").read(), 10, "an armed watch")
    time.sleep(0.5 * PATIENCE)
    start = time.monotonic()
    for _ in range(6):
        t.run_target("die", "segv")
    took = time.monotonic() - start
    assert took < 4 * PATIENCE, f"six crashes took {took:.1f} s"
    until(lambda: len(t.captures()) == 6, 10, "six captures")
    watch.terminate()
    watch.wait(10 * PATIENCE)
