# SPDX-License-Identifier: MIT
"""coretrap run: many rules of a file, limits of the host, and what outlasts a restart."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import harness
from harness import dig, timeout, until

LEDGER = pathlib.Path("/run/coretrap/ledger.json")


class Run(harness.Watch):
    """`coretrap run`, in the form of a watch; its rules go into a file of the test's own."""

    def __init__(self, t, text, limits="limits: {rule-per-day: 0, host-per-day: 0, process-spacing: 0}\n"):
        self.path = t.tmp / "rules.yaml"
        self.write(t, text, limits)
        self.stderr_path = t.tmp / f"run-{len(t.processes)}.err"
        with open(self.stderr_path, "wb") as err:
            self.process = t.spawn([harness.CORETRAP, "run", "--config", self.path, "--json"], stdout=subprocess.PIPE,
                                   stderr=err)
        self.events, self.received, self.other = [], [], []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def write(self, t, text, limits):
        self.path.write_text(f"store: {t.store}\n{limits}rules:\n{text}")
        self.path.chmod(0o600)


def forget_ledger(t):
    """What an earlier run captured does not count for the test, nor the test's for another."""
    LEDGER.unlink(missing_ok=True)
    t.cleanup_with(lambda: LEDGER.unlink(missing_ok=True))


def burner(t, name):
    path = t.tmp / name
    return t.target(path if path.exists() else t.copy_target("burn", name), ready=True)


def tell(process, *words):
    process.stdin.write((" ".join(map(str, words)) + "\n").encode())
    process.stdin.flush()
    process.stdout.readline()


THREADS = "  - {rule: NAME, name: burn-a, threads: 20, kind: stacks, count: 1}\n"


def test_many_rules(t):
    """Each is for its own processes; a crash and a threshold are captured side by side."""
    forget_ledger(t)
    a, b = burner(t, "burn-a"), burner(t, "burn-b")
    w = Run(t, THREADS.replace("NAME", "threads") + "  - {rule: memory, name: burn-b, memory: 100M, kind: stacks, count: 1}\n"
               "  - {rule: crash, name: threads, signal: [SEGV], kind: mini, count: 0}\n")
    w.wait("armed", 15, 3)
    assert {e["rule"] for e in w.of("armed")} == {"threads", "memory", "crash"}
    tell(a, "threads", 30)
    tell(b, "anonymous", 150)
    crashed, _, _ = t.run_target("threads")
    until(lambda: len(w.of("capture")) == 3, 20, f"three captures: {w.events[-3:]}")
    by_rule = {e["rule"]: e for e in w.of("capture")}
    assert dig(by_rule["threads"], "process.pid") == a.pid and dig(by_rule["memory"], "process.pid") == b.pid
    assert dig(by_rule["crash"], "process.pid") == crashed and by_rule["crash"]["capture"]["kind"] == "mini"
    assert w.stop() == 0, w.stderr()


def test_reload(t):
    """A good file takes effect upon SIGHUP, a bad one is refused and the old rules stay."""
    forget_ledger(t)
    process = burner(t, "burn-a")
    limits = "limits: {rule-per-day: 0, host-per-day: 0, process-spacing: 0}\n"
    w = Run(t, "  - {rule: later, name: burn-a, threads: 1000, kind: none, count: 0}\n")
    w.wait("armed", 15)
    w.write(t, "  - {rule: broken, name: burn-a, thread: 20}\n", limits)
    w.process.send_signal(signal.SIGHUP)
    until(lambda: "rules.yaml:4:" in w.stderr() and "thread" in w.stderr(), 10, "a word on the bad file")
    time.sleep(0.5)
    assert w.process.poll() is None and len(w.of("armed")) == 1
    w.write(t, "  - {rule: now, name: burn-a, threads: 20, kind: none, count: 0, every: 1h}\n", limits)
    w.process.send_signal(signal.SIGHUP)
    w.wait("armed", 15, 2)
    assert w.of("armed")[1]["rule"] == "now"
    tell(process, "threads", 30)
    assert w.wait("trip", 10)["rule"] == "now"
    assert w.stop() == 0, w.stderr()


def test_reload_that_cannot_be_armed(t):
    """The file is good, its store is not: the rules of before go on."""
    forget_ledger(t)
    process = burner(t, "burn-a")
    rules = THREADS.replace("NAME", "stays")
    w = Run(t, rules)
    w.wait("armed", 15)
    w.path.write_text(f"store: /proc/nowhere\nrules:\n{rules}")
    w.process.send_signal(signal.SIGHUP)
    until(lambda: "/proc/nowhere" in w.stderr(), 10, "a word on the store")
    w.wait("armed", 15, 2)
    tell(process, "threads", 30)
    assert w.wait("capture", 15)["rule"] == "stays"
    assert w.stop() == 0, w.stderr()


@timeout(60)
def test_count_holds_across_a_restart(t):
    """Of two captures one is left after a kill -9."""
    forget_ledger(t)
    process = burner(t, "burn-a")
    rule = "  - {rule: two, name: burn-a, threads: 20, kind: stacks, count: 2, every: 1s}\n"
    w = Run(t, rule + "  - {rule: other, name: burn-a, fds: 5000, kind: none}\n")
    w.wait("armed", 15)
    tell(process, "threads", 30)
    w.wait("capture", 15)
    until(lambda: LEDGER.exists() and '"two"' in LEDGER.read_text(), 5, "the ledger")
    w.process.kill()
    w.wait_exit()
    taken = len(t.captures())
    w = Run(t, rule)
    w.wait("armed", 15)
    until(lambda: len(t.captures()) == 2 or taken == 2, 15, "the second capture")
    time.sleep(3)
    assert len(t.captures()) == 2, t.captures()
    assert {e["reason"] for e in w.of("skip")} <= {"count-reached", "too-soon"}, w.of("skip")
    assert w.stop() == 0, w.stderr()


def ledger_words(w):
    return [line for line in w.stderr().splitlines() if "ledger" in line]


def test_ledger_that_is_none(t):
    """Whatever lies there, the sentinel starts, says in one line what is wrong, and writes its own."""
    forget_ledger(t)
    kinds = ((lambda: os.mkfifo(LEDGER), "is not a regular file"),
             (lambda: LEDGER.write_bytes(bytes((8 << 20) + 1)), "is larger than 8 MiB"),
             (lambda: LEDGER.write_text("{}"), "is not a ledger"))
    for make, word in kinds:
        LEDGER.parent.mkdir(mode=0o700, exist_ok=True)
        make()
        w = Run(t, THREADS.replace("NAME", "idle"))
        w.wait("armed", 15)
        assert len(ledger_words(w)) == 1 and str(LEDGER) in w.stderr() and word in w.stderr(), w.stderr()
        assert w.stop() == 0, w.stderr()
        assert '"idle"' in LEDGER.read_text()
        LEDGER.unlink()


def test_ledger_that_could_not_be_written(t):
    """What could not be saved is saved once that can be, and the failure is said once."""
    forget_ledger(t)
    obstacle = LEDGER.with_name(".ledger.json.new")
    obstacle.mkdir(mode=0o700, parents=True)
    t.cleanup_with(lambda: obstacle.exists() and obstacle.rmdir())
    w = Run(t, THREADS.replace("NAME", "kept"))
    w.wait("armed", 15)
    until(lambda: ledger_words(w), 5, "a word on the ledger")
    time.sleep(2.5)
    assert len(ledger_words(w)) == 1 and not LEDGER.exists(), w.stderr()
    obstacle.rmdir()
    until(LEDGER.exists, 5, "the ledger")
    assert '"kept"' in LEDGER.read_text()
    assert w.stop() == 0, w.stderr()


def test_crash_that_another_rule_has_no_part_in(t):
    """The handler is there for another process: the core of this one is taken at its end."""
    forget_ledger(t)
    w = Run(t, "  - {rule: ends, name: burn-a, exit: any, kind: mini, count: 0}\n"
               "  - {rule: crashes, name: threads, signal: [SEGV], kind: mini, count: 0}\n")
    w.wait("armed", 15, 2)
    process = burner(t, "burn-a")
    until(lambda: "TracerPid:\t0" not in open(f"/proc/{process.pid}/status").read(), 10, "the tracer")
    process.send_signal(signal.SIGSEGV)
    event = w.wait("capture", 15)
    assert event["rule"] == "ends" and event["trigger"]["exit"] == {"signal": "SIGSEGV"}, event
    assert w.stop() == 0, w.stderr()


def test_limits_of_the_host(t):
    """One a day of the host: the second process is told, and skipped with the reason."""
    forget_ledger(t)
    a, b = burner(t, "burn-a"), burner(t, "burn-a")
    w = Run(t, "  - {rule: all, name: burn-a, threads: 20, kind: stacks, count: 0, every: 500ms}\n",
            "limits: {rule-per-day: 0, host-per-day: 1, process-spacing: 0}\n")
    w.wait("armed", 15)
    tell(a, "threads", 30)
    w.wait("capture", 15)
    tell(b, "threads", 30)
    until(lambda: any(dig(e, "process.pid") == b.pid for e in w.of("skip")), 10, "a skip")
    skip = next(e for e in w.of("skip") if dig(e, "process.pid") == b.pid)
    assert skip["reason"] == "host-day-limit", skip
    assert w.stop() == 0


def test_observe(t):
    """mode: observe tells what would be captured."""
    forget_ledger(t)
    process = burner(t, "burn-a")
    w = Run(t, THREADS.replace("NAME", "watch-only"), "mode: observe\n")
    w.wait("armed", 15)
    tell(process, "threads", 30)
    w.wait("trip", 10)
    assert w.wait("skip", 5)["reason"] == "observe"
    assert w.stop() == 0 and not t.captures()


@timeout(60)
def test_store_is_kept_small(t):
    """The oldest captures go when there are more bytes than allowed."""
    forget_ledger(t)
    process = burner(t, "burn-a")
    tell(process, "anonymous", 8)
    w = Run(t, "  - {rule: often, name: burn-a, threads: 20, kind: full, compress: none, count: 4, every: 1s}\n",
            "limits: {rule-per-day: 0, host-per-day: 0, process-spacing: 0, store-size: 22M}\n")
    w.wait("armed", 15)
    tell(process, "threads", 30)
    w.wait("capture", 40, 4)
    until(lambda: len(t.captures()) <= 2, 10, "the janitor")
    kept = {c.name for c in t.captures()}
    t.log([(e["event"], e.get("reason"), e.get("detail")) for e in w.events])
    assert kept and kept <= {e["capture"]["id"] for e in w.of("capture")[2:]}, kept
    assert w.stop() == 0


def test_the_same_crash_is_captured_once(t):
    """Known again by its stack; another one is another."""
    forget_ledger(t)
    w = Run(t, "  - {rule: crash, name: [threads, die], signal: [SEGV, ABRT], kind: mini, count: 0}\n",
            "limits: {rule-per-day: 0, host-per-day: 0, process-spacing: 0}\n")
    w.wait("armed", 15)
    t.run_target("threads")
    w.wait("capture", 15)
    second, _, _ = t.run_target("threads")
    skip = w.wait("skip", 15, pid=second)
    assert skip["reason"] == "crash-known", skip
    t.run_target("die", "abort")
    w.wait("capture", 15, 2)
    assert w.stop() == 0


def test_drain_before_the_capture(t):
    """The program of `before:` has ended when the capture begins."""
    forget_ledger(t)
    process = burner(t, "burn-a")
    mark = t.tmp / "drained"
    program = t.tmp / "drain"
    program.write_text(f"#!/bin/sh\nsleep 0.5\ndate +%s.%N > {mark}\n")
    program.chmod(0o755)
    w = Run(t, f"  - {{rule: drained, name: burn-a, threads: 20, kind: stacks, before: ['exec:{program}'], then: [kill]}}\n")
    w.wait("armed", 15)
    tell(process, "threads", 30)
    w.wait("capture", 15)
    until(lambda: len(w.of("action")) == 2, 10, "two actions")
    assert [e["event"] for e in w.events if e["event"] in ("trip", "action", "capture")] == \
        ["trip", "action", "capture", "action"], w.events
    assert [e["action"]["when"] for e in w.of("action")] == ["before", "after"] and mark.exists()
    assert process.wait(10) == -signal.SIGKILL
    assert w.stop() == 0


def test_refused_without_rules(t):
    done = t.coretrap("run", "--config", t.tmp / "none.yaml")
    assert done.returncode in (1, 2) and "none.yaml" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert json.dumps(os.listdir(t.store)) == "[]"
