# SPDX-License-Identifier: MIT
"""coretrap lab: processes to practise on do what they say, and are captured, though they are coretrap's own."""

import json
import re
import subprocess
import time
import urllib.request

from harness import CORETRAP, until


def lab(t, *args):
    """The process, once it has said who it is; and the lines that it said."""
    process = t.spawn([CORETRAP, "lab", *args], stdout=subprocess.PIPE)
    lines = [process.stdout.readline().decode().strip() for _ in range(3 if args[0] == "slow" else 2)]
    assert lines[0] == f"pid {process.pid}", lines
    assert re.fullmatch(rf"try: coretrap (dump|watch -p) {process.pid}( --\S+( \w+)?)*", lines[1]), lines
    return process, lines


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", open(f"/proc/{pid}/status").read())[1]) >> 10


def test_crash_is_captured(t):
    watch = t.watch(command=[CORETRAP, "lab", "crash", "--after", "100ms"])
    event = watch.wait("capture", 20)
    assert event["process"]["comm"] == "coretrap-lab", event["process"]
    assert event["stack"][0]["symbol"].split("+")[0] == "write_to", event["stack"]
    assert event["trigger"]["signal"]["name"] == "SIGSEGV", event["trigger"]
    assert watch.wait_exit() == 0


def test_hang_shows_its_locks(t):
    process, _ = lab(t, "hang", "--after", "0")
    until(lambda: len(open(f"/proc/{process.pid}/status").read().split("Threads:\t2\n")) == 2, 10, "two threads")
    time.sleep(0.2)
    done = t.coretrap("dump", process.pid, "--json", "--kind", "stacks", "-o", f"{t.store}/")
    assert done.returncode == 0, done.stderr
    names = [[f.get("symbol", "") for f in thread["stack"]] for thread in json.loads(done.stdout)["threads"]]
    assert len(names) == 2 and all(any("mutex_lock" in n for n in frames) for frames in names), names


def test_exit_memory_slow(t):
    process, _ = lab(t, "exit", "--after", "50ms", "--code", "7")
    assert process.wait(20) == 7
    process, _ = lab(t, "memory", "--after", "0", "--rate", "200M", "--size", "100M")
    until(lambda: resident(process.pid) >= 100, 20, "100 MiB")
    time.sleep(0.3)
    assert resident(process.pid) < 120
    process, lines = lab(t, "slow", "--time", "700ms")
    url = re.search(r"http://127\.0\.0\.1:\d+/", lines[2])[0]
    assert urllib.request.urlopen(url, timeout=30).read() == b"fast\n"
    start = time.monotonic()
    assert urllib.request.urlopen(url + "slow", timeout=30).read() == b"slow\n"
    assert time.monotonic() - start >= 0.7


def test_options_that_make_no_sense(t):
    for args, says in ((("crash", "--code", "3"), "--code means nothing to crash"), (("boom",), "'boom' is none of"),
                       (("exit", "--code", "256"), "0 to 255"), ((), "is needed"), (("cpu", "hang"), "too many"),
                       (("cpu", "--threads", "0"), "from 1 to"), (("memory", "--rate", "0"), "not a size")):
        done = t.coretrap("lab", *args)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, (args, done.stderr)
