# SPDX-License-Identifier: MIT
"""coretrap procdump: the command lines of ProcDump do on Linux what they do on Windows."""

import json
import os
import re
import signal
import subprocess
import time

from elfcore import Core
from harness import CORETRAP, PATIENCE
from survivor import Odd

PATTERN = False


def procdump(t, *args, seconds=60, **run):
    return t.coretrap("procdump", *args, seconds=seconds, **run)


def incidents(t):
    return [json.loads((c / "incident.json").read_text()) for c in t.captures()]


def named(t, name):
    """A program of that name, which answers."""
    path = t.tmp / name
    return Odd(t, path if path.exists() else t.copy_target("odd", name), "plain")


def test_line_of_an_unresponsive_process(t):
    """procdump -accepteula -r -dc "Message" -ma <PID> <PATH>, as App Service runs it."""
    odd = Odd(t, "odd", "plain")
    done = procdump(t, "-accepteula", "-r", "-dc", "A Message", "-ma", odd.pid, t.store)
    assert done.returncode == 0, done.stderr
    [event] = incidents(t)
    assert event["comment"] == "A Message" and event["process"]["pid"] == odd.pid, event
    assert event["capture"]["kind"] == "full" and event["capture"]["snapshot"] == "fork", event["capture"]
    assert event["capture"]["complete"] is True
    assert Core(t.core(event)).threads() == [odd.pid]
    odd.alive()


def test_line_of_three_dumps(t):
    """procdump -accepteula -ma -n 3 -s # <PID>: so many, so far apart."""
    odd = Odd(t, "odd", "plain")
    began = time.monotonic()
    done = procdump(t, "-accepteula", "-ma", "-n", 3, "-s", 1, odd.pid, t.store)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert len(t.captures()) == 3 and 2 <= took < 8 * PATIENCE, took
    odd.alive()


def test_line_that_is_refused_by_name(t):
    odd = Odd(t, "odd", "plain")
    for line, word in ((["-e", "1", "-f", "NotFound"], "-f"), (["-e", "1"], "-e: 1"), (["-h"], "-h"),
                       (["-p", "\\Process(x)\\Handles", "9"], "-p"), (["-i"], "-i"), (["-u"], "-u")):
        done = procdump(t, "-accepteula", "-ma", *line, odd.pid)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and word in done.stderr, (line, done)
    odd.alive()


def test_called_by_its_name(t):
    odd = Odd(t, "odd", "plain")
    for name in ("procdump", "coretrap-procdump"):
        link = t.tmp / name
        link.symlink_to(CORETRAP)
        done = subprocess.run([link, "-mm", str(odd.pid), t.store], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert [e["capture"]["kind"] for e in incidents(t)] == ["mini", "mini"]


def test_process_by_name(t):
    first = named(t, "shop[1]*worker")
    for name in ("shop[1]*worker", "shop[1]*worker.exe"):
        done = procdump(t, name, t.store)
        assert done.returncode == 0, done.stderr
    assert [e["process"]["pid"] for e in incidents(t)] == [first.pid] * 2
    second = named(t, "shop[1]*worker")
    done = procdump(t, "shop[1]*worker", t.store)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done
    assert str(first.pid) in done.stderr and str(second.pid) in done.stderr, done.stderr
    assert len(t.captures()) == 2
    done = procdump(t, "no-such-name", t.store)
    assert done.returncode == 3 and "no-such-name" in done.stderr, done


def test_waits_for_a_name(t):
    waiting = t.spawn([CORETRAP, "procdump", "-ma", "-w", "latecomer", t.store], stderr=subprocess.PIPE,
                      stdout=subprocess.DEVNULL)
    assert b"latecomer" in waiting.stderr.readline()
    time.sleep(0.3)
    assert waiting.poll() is None
    late = named(t, "latecomer")
    assert waiting.wait(10 * PATIENCE) == 0
    assert [e["process"]["pid"] for e in incidents(t)] == [late.pid]


def test_dump_file_opens_and_is_overwritten_when_asked(t):
    odd = Odd(t, "odd", "plain")
    path = t.tmp / "x.dmp"
    assert procdump(t, "-ma", odd.pid, path).returncode == 0
    assert Core(path).threads() == [odd.pid]
    assert procdump(t, "-ma", odd.pid, path).returncode == 1
    assert procdump(t, "-ma", "-o", odd.pid, path).returncode == 0
    odd.alive()


def test_kill_after_the_dump(t):
    odd = Odd(t, "odd", "plain")
    assert procdump(t, "-mm", "-k", odd.pid, t.store).returncode == 0
    assert odd.process.wait(5) == -signal.SIGKILL
    assert len(t.captures()) == 1


def test_group(t):
    odd = Odd(t, "odd", "plain")  # leads a session, and so a group, of its own
    assert os.getpgid(odd.pid) == odd.pid
    assert procdump(t, "-pgid", odd.pid, t.store).returncode == 0
    assert [e["process"]["pid"] for e in incidents(t)] == [odd.pid]
    done = procdump(t, "-pgid", 4194301, t.store)
    assert done.returncode == 3 and "group" in done.stderr, done


def test_help_lists_each_option(t):
    done = procdump(t, "-?")
    options = re.findall(r"^  (-\S+)", done.stdout, re.M)
    assert done.returncode == 0 and len(options) == len(set(options)) > 50, options
    assert {"-ma", "-e", "-restrack", "-64"} <= set(options)


def test_missing_process(t):
    for args in ([], ["-ma"], ["-c", "80"]):
        done = procdump(t, *args)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "process" in done.stderr, done
