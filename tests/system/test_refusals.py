# SPDX-License-Identifier: MIT
"""Deaths that give no core: each is a skip that says why."""

import contextlib
import time

from harness import target_path, timeout, until, write_sysctl


def why(event):
    return f"{event['reason']} {event.get('detail', '')}".lower()


def skipped(t, words, *argv):
    watch = t.watch("--exe", target_path("die"), "-n", 5)
    pid, status, _ = t.run_target("die", *argv)
    assert status == -11, status
    event = watch.wait("skip", 10, pid=pid)
    time.sleep(0.3)
    watch.stop()
    assert any(w in why(event) for w in words), event
    assert len(watch.of("trip", pid=pid)) == 1 and not watch.of("capture"), "trip, skip and nothing else"
    assert not [c for c in t.captures() if list(c.glob("core*"))]
    return event


def test_not_dumpable(t):
    skipped(t, ("dumpable",), "not-dumpable", "segv")


def test_core_limit_of_one(t):
    skipped(t, ("rlimit_core", "core-limit"), "core-1", "segv")


@timeout(60)
def test_past_core_pipe_limit(t):
    """One handler at a time: of several crashes at once some find no room."""
    executable = target_path("storm")
    t.cleanup_with(t.put_back_sysctls)
    watch = t.watch("--exe", executable, "--signal", "SEGV", "-n", 40, "--kind", "mini")
    write_sysctl("kernel/core_pipe_limit", "1")
    _, _, out = t.run_target("storm", "once", 40)
    assert "died 40" in out
    write_sysctl("kernel/core_pipe_limit", "4096")
    time.sleep(1)
    with contextlib.suppress(AssertionError):
        until(lambda: len(watch.of("capture") + watch.of("skip")) >= 40, 15, "")
    watch.stop()
    tripped, captured, skipped = (len(watch.of(kind)) for kind in ("trip", "capture", "skip"))
    assert captured + skipped == 40, f"{tripped} trips, {captured} captured, {skipped} skipped of 40"
    refused = watch.of("skip")
    assert refused, "no crash found the limit reached: 40 captures with a limit of 1"
    assert all("pipe_limit" in why(e) or "pipe-limit" in why(e) for e in refused), {why(e) for e in refused}


def test_hard_limit_of_zero_gives_stacks_only(t):
    watch = t.watch("--exe", target_path("die"))
    pid, _, _ = t.run_target("die", "core-hard-0", "segv")
    event = watch.wait("capture", 10, pid=pid)
    watch.wait_exit()
    assert event["capture"]["kind"] == "stacks", event["capture"]
    assert "limit" in " ".join(event["capture"]["notes"]).lower(), event["capture"]["notes"]
    assert not [c for c in t.captures() if list(c.glob("core*"))], "memory of a process with a hard limit of 0"
    assert event["stack"][0]["symbol"].split("+")[0] == "reads_null", event["stack"]


def test_soft_limit_of_zero_does_not_matter(t):
    watch = t.watch("--exe", target_path("die"))
    pid, _, _ = t.run_target("die", "core-soft-0", "segv")
    event = watch.wait("capture", 10, pid=pid)
    assert watch.wait_exit() == 0
    assert event["capture"]["kind"] == "full" and event["capture"]["complete"], event["capture"]
    assert "reads_null" in t.gdb(target_path("die"), t.core(event), "bt")
