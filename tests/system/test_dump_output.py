# SPDX-License-Identifier: MIT
"""coretrap dump as a person and a script meet it: outputs, events, statuses, errors, the progress bar."""

import json
import os
import pty
import select
import signal
import subprocess
import time

from elfcore import Core
from harness import CORETRAP, PATIENCE, check_store, until
from survivor import HeldDump, Odd, children

PATTERN = False

# What makes no sense, and the word that the one line on stderr must name.
USAGE_ERRORS = [
    ([], "PID"),
    (["no-number"], "no-number"),
    (["0"], "0"),
    (["-5"], "-"),
    (["99999999999999999999"], "99999999999999999999"),
    (["1", "2"], "one process"),
    (["1", "--kind", "none"], "--kind"),
    (["1", "--kind", "huge"], "--kind"),
    (["1", "--snapshot", "maybe"], "--snapshot"),
    (["1", "--max-pause", "soon"], "--max-pause"),
    (["1", "--max-pause", "0s"], "--max-pause"),
    (["1", "--compress", "rar"], "--compress"),
    (["1", "--kind", "stacks", "--compress", "zstd"], "--compress"),
    (["1", "--kind", "stacks", "--snapshot", "fork"], "--snapshot"),
    (["1", "-o", ""], "--output"),
    (["1", "-o", "-", "--json"], "--output"),
    (["1", "--json", "-q"], "--quiet"),
    (["1", "--no-such-flag"], "--no-such-flag"),
]


def test_usage_errors(t):
    """Each is refused in one line that names it, with status 2."""
    wrong = []
    for args, word in USAGE_ERRORS:
        done = t.coretrap("dump", *args, seconds=5)
        lines = done.stderr.splitlines()
        if done.returncode != 2 or len(lines) != 1 or word.lower() not in lines[0].lower() or done.stdout:
            wrong.append(f"{args}: status {done.returncode}, {done.stderr!r}, {done.stdout[:80]!r}")
    assert not wrong, "\n  ".join(["", *wrong])


def test_no_such_process(t):
    done = t.coretrap("dump", 2 ** 22 - 3, "-o", t.store)
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1, done
    assert not t.captures()


def test_outputs(t):
    """A store, a new file, a pipe: the same core of a process that waits; nothing is written over."""
    odd = Odd(t, "odd", "plain")
    path = t.tmp / "a.core"
    done = t.coretrap("dump", odd.pid, "-o", path, "--compress", "none")
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    again = t.coretrap("dump", odd.pid, "-o", path)
    assert again.returncode == 1 and "exists" in again.stderr.lower() and len(again.stderr.splitlines()) == 1, again
    piped = subprocess.run([CORETRAP, "dump", str(odd.pid), "-o", "-", "--compress", "none"], capture_output=True)
    assert piped.returncode == 0, piped.stderr
    (t.tmp / "b.core").write_bytes(piped.stdout)
    stored = t.coretrap("dump", odd.pid, "-o", t.store, "--json", "--comment", "why \x1b[31m")
    event = json.loads(stored.stdout)
    assert event["event"] == "capture" and event["comment"].startswith("why") and "\x1b" not in stored.stdout, event
    assert event["trigger"]["kind"] == "manual" and event["process"]["pid"] == odd.pid, event
    assert 0 <= event["capture"]["pause_ms"] < 1000 and event["capture"]["threads"] == 1, event["capture"]
    check_store(t.store)
    cores = [Core(p) for p in (path, t.tmp / "b.core", t.core(event))]
    for core in cores:
        assert core.threads() == [odd.pid]
        assert [l[:2] for l in core.loads] == [l[:2] for l in cores[0].loads]
    note = json.loads(cores[0].note("coretrap")[0].rstrip(b"\0"))
    assert note["process"]["pid"] == odd.pid, note
    odd.alive()


def test_count_and_spacing(t):
    """So many, so far apart, from the beginning of one to that of the next."""
    odd = Odd(t, "odd", "plain")
    began = time.monotonic()
    done = t.coretrap("dump", odd.pid, "-o", t.store, "--json", "--kind", "mini", "-n", 3, "--every", "700ms")
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert 1.4 <= took < 3 * PATIENCE + 60, took  # others on this host may have the slot for a while
    assert len(t.captures()) == 3
    odd.alive()


def test_count_is_not_reached(t):
    odd = Odd(t, "odd", "plain")
    dump = t.spawn([CORETRAP, "dump", odd.pid, "-o", t.store, "--kind", "mini", "-n", 3, "--every", "1h"],
                   stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until(lambda: len(t.captures()) == 1, 10, "first capture")
    os.kill(odd.pid, signal.SIGKILL)
    assert dump.wait(5 * PATIENCE) == 1
    last = dump.stderr.read().decode().splitlines()[-1]
    assert "after 1 of 3" in last, last


def test_force_replaces_a_file(t):
    odd = Odd(t, "odd", "plain")
    path = t.tmp / "a.core"
    path.write_text("old")
    flags = ("-o", path, "--kind", "mini", "--compress", "none")
    assert t.coretrap("dump", odd.pid, *flags).returncode == 1 and path.read_text() == "old"
    assert t.coretrap("dump", odd.pid, "--force", *flags).returncode == 0
    assert Core(path).threads() == [odd.pid]


def dump_each_kind(t, pid):
    """{kind: event}"""
    events = {}
    for kind in ("full", "heap", "mini", "stacks"):
        events[kind] = json.loads(t.coretrap("dump", pid, "-o", t.store, "--json", "--kind", kind).stdout)
        assert events[kind]["capture"]["kind"] == kind and events[kind]["capture"]["complete"] is True, events[kind]
    return events


def test_kinds_and_quiet(t):
    sizes = {kind: event["capture"]["memory_bytes"]
             for kind, event in dump_each_kind(t, Odd(t, "odd", "plain").pid).items()}
    assert sizes["full"] >= sizes["heap"] >= sizes["mini"] > sizes["stacks"] == 0, sizes
    odd = Odd(t, "odd", "churn")
    event = dump_each_kind(t, odd.pid)["stacks"]
    assert len(event["threads"]) >= 2 and all(thread["stack"] for thread in event["threads"]), event["threads"]
    done = t.coretrap("dump", odd.pid, "-o", t.store, "-q")
    assert done.returncode == 0 and "captured full" in done.stdout and not done.stderr, done
    odd.alive()


def test_full_disk(t):
    """No room: status 1 and a reason, what is left opens and is marked, the process goes on."""
    mount = t.tmp / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", mount], check=True)
    t.cleanup_with(lambda: subprocess.run(["umount", mount], check=True))
    process = t.target("live", "memory", 64, "idle", ready=True)
    for args in (["-o", mount / "x.core", "--compress", "none"], ["-o", f"{mount}/store/"]):
        done = t.coretrap("dump", process.pid, *args)
        assert done.returncode == 1 and (done.stderr + done.stdout).strip(), done
    for path in (p for p in mount.rglob("core") if p.is_file()):
        assert Core(path).threads() == [process.pid]
    for path in mount.rglob("incident.json"):
        assert json.loads(path.read_text())["capture"]["complete"] is False
    assert not [p for p in mount.rglob(".tmp*")], list(mount.rglob("*"))
    assert not children(process.pid)
    t.go(process)
    assert process.stdout.readline().startswith(b"gap")


def on_terminal(argv, stdout=None):
    """What it writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        if stdout:
            os.dup2(os.open(stdout, os.O_WRONLY), 1)
        os.execv(argv[0], argv)
    text = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        text += data
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def test_progress_on_a_terminal_only(t):
    process = t.target("live", "memory", 256, "idle", ready=True)
    argv = [CORETRAP, "dump", str(process.pid), "-o", str(t.store)]
    status, text = on_terminal(argv)
    assert status == 0 and b"/s" in text and b"[#" in text and b"left" in text, text[-300:]
    for extra in (["--json"], ["-q"]):
        status, text = on_terminal([*argv, *extra])
        assert status == 0 and b"[#" not in text and b"\r\x1b[K" not in text, text[-300:]
    done = subprocess.run(argv, capture_output=True)
    assert done.returncode == 0 and b"[#" not in done.stdout + done.stderr, done
    status, text = on_terminal([CORETRAP, "dump", str(process.pid), "-o", "-"])
    assert status == 1 and b"terminal" in text and b"\x7fELF" not in text, text[-300:]


def test_stopped_reader(t):
    """Nobody reads standard output: SIGTERM and SIGINT end it all the same, and the process that stood still goes on."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        for snapshot in ("stop", "fork"):
            odd = Odd(t, "odd", "plain")
            held = HeldDump(t, odd.pid, "--snapshot", snapshot)
            time.sleep(0.1)
            held.process.send_signal(signum)
            assert held.process.wait(5) == 1
            odd.alive()
            until(lambda: not children(odd.pid), 3, f"no child: {children(odd.pid)}")


def test_broken_pipe(t):
    odd = Odd(t, "odd", "plain")
    held = HeldDump(t, odd.pid, "--snapshot", "stop")
    held.process.stdout.close()
    ready, _, _ = select.select([held.process.stderr], [], [], 5)
    assert held.process.wait(5) == 1 and ready and held.process.stderr.read(), "nothing was said"
    odd.alive()
