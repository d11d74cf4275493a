# SPDX-License-Identifier: MIT
"""Flags of watch that make no sense: one line, exit status 2, within a second, nothing attached.

tests/unit/test_spec*.c go through all of it in-process; here is what a user types, a sample of it."""

import subprocess
import time

from harness import CORETRAP, PATIENCE, own_processes, read_sysctls

# The flags, and the one that the line must name. Each pair that contradicts itself.
SENSELESS = [
    ("--all --name x", "--all"),
    ("--all --exe x", "--all"),
    ("--all --cmdline x", "--all"),
    ("--all --user 0", "--all"),
    ("--all --cgroup x", "--all"),
    ("--all --unit x", "--all"),
    ("--all --container x", "--all"),
    ("--all --pid 1", "--all"),
    ("--all --tree", "--tree"),
    ("--all -- true", "COMMAND"),
    ("--every 5s", "WHO"),
    ("--all --every 5s", "--every"),
    ("--all --every 5s -n 1", "--every"),
    ("--all --every 5s -n 2 --duration 5s", "--every"),
    ("--all --kind full --kind mini", "--kind"),
    ("--all -n 2 -n 3", "--count"),
    ("--all --observe --kind mini", "--kind"),
    ("--all --observe --compress none", "--compress"),
    ("--all --observe --compress-threads 2", "--compress-threads"),
    ("--all --observe -o x/", "--output"),
    ("--all --observe --ignore-core-limit", "--ignore-core-limit"),
    ("--all --snapshot fork", "--snapshot"),
    ("--all --max-pause 1s", "--max-pause"),
    ("--all --kind stacks --compress zstd", "--compress"),
    ("--all --kind none --compress zstd", "--compress"),
    ("--all --kind stacks --compress-threads 2", "--compress-threads"),
    ("--all --kind none --ignore-core-limit", "--ignore-core-limit"),
    ("--all --kind none -o x/", "--output"),
    ("--all --kind stacks -o x", "--output"),
    ("--all --kind stacks -o -", "--output"),
    ("--all --compress none --compress-threads 2", "--compress-threads"),
    ("--all -o x -n 2", "--output"),
    ("--all -o - -n 0", "--output"),
    ("--all -o - --json", "--output"),
    ("--all --force", "--force"),
    ("--all --force -o x/", "--force"),
    ("--all --json -q", "--quiet"),
    ("--all --for 10s", "--for"),
    ("--all --signal SEGV --interval 1s", "--interval"),
    ("--all --cpu-base machine", "--cpu-base"),
    ("--all --memory 1G --cpu-base core", "--cpu-base"),
    ("--all --cpu 80 --memory-base rss", "--memory-base"),
    ("--all --cpu 80 --for 500ms", "--for"),
    ("--all --memory-growth 1M/500ms", "--memory-growth"),
    ("--all --cpu 101 --cpu-base machine", "--cpu"),
    ("--all --cpu 20 --cpu-below 80", "--cpu-below"),
    ("--all --cpu 80 --cpu-below 20 --all-of", "--cpu-below"),
    ("--all --memory 1G --memory-below 2G", "--memory-below"),
    ("--all --all-of --cpu 80", "--all-of"),
    ("--all --all-of --cpu 80 --memory 1G --signal SEGV", "--all-of"),
    ("--all --exit any", "--exit"),
    ("--all --rate 5/1h -n 5", "--rate"),
    ("--all --cpu 80 --for 10s --duration 10s", "--for"),
    ("--all --observe --cpu 1 --snapshot fork", "--snapshot"),
    ("--all --observe --cpu 1 --max-pause 1s", "--max-pause"),
    ("--all --cpu 80 --kind stacks --snapshot stop", "--snapshot"),
    ("--all --cpu 80 --kind none --max-pause 1s", "--max-pause"),
]

# What each flag refuses: nothing, too little, too much, and what is no number at all.
NONSENSE = ["", "-1", "18446744073709551616", "1e9", "80%%", "1 ", "\n\x1b[2J", "x" * 5000]
VALUES = {
    "--pid": ["0", "2147483648"],
    "--user": [],
    "--signal": ["0", "65", "STOP", "SEGV,", "SEGV,,ABRT"],
    "--first-chance": ["0", "65", "KILL", "fatal"],
    "--count": ["4294967296", "1.5"],
    "--every": ["0", "0ms", "367d", "5 parsecs"],
    "--duration": ["0", "367d", "-1s"],
    "--kind": ["huge", "Full"],
    "--snapshot": ["clone"],
    "--max-pause": ["0", "367d"],
    "--compress": ["rar"],
    "--compress-threads": ["0", "65"],
    "--exit": ["256", "all"],
    "--cpu": ["0", "0%", "819201"],
    "--cpu-below": ["0"],
    "--cpu-base": ["cores"],
    "--memory": ["0", "80", "101%", "72057594037927937"],
    "--memory-below": ["0", "80%"],
    "--memory-growth": ["40M", "40M/0", "40M/400d"],
    "--memory-base": ["anon"],
    "--threads": ["0", "4194305"],
    "--fds": ["0", "1073741817"],
    "--for": ["0", "367d", "30s/30s"],
    "--interval": ["49ms", "3601s"],
    "--rate": ["3", "0/1h", "3/400d"],
    "--min-age": ["0", "367d"],
}

COMPANY = {"--pid": [], "--user": []}  # what stands before a flag, where it is not --all


def refused(args, word):
    """What is wrong with the refusal of ARGS, or None."""
    began = time.monotonic()
    try:
        done = subprocess.run([CORETRAP, "watch", *args], capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, timeout=5 * PATIENCE)
    except subprocess.TimeoutExpired:
        return "accepted"
    took = time.monotonic() - began
    lines = done.stderr.splitlines()
    if done.returncode != 2:
        return f"status {done.returncode}: {done.stderr[:200]!r}"
    if len(lines) != 1 or word not in lines[0] or len(lines[0]) > 300 or "\x1b" in lines[0]:
        return f"not one line with {word}: {done.stderr[:400]!r}"
    if done.stdout:
        return f"prints on stdout: {done.stdout[:100]!r}"
    if took > 1 * PATIENCE:
        return f"took {took:.1f} s"
    return None


def check(cases):
    before, running = read_sysctls(), own_processes()
    wrong = [f"{' '.join(args)[:80]!r}: {what}" for args, word in cases if (what := refused(args, word))]
    assert not wrong, "\n  ".join(["", *wrong])
    assert read_sysctls() == before, "something was registered"
    assert own_processes().keys() <= running.keys(), "one is still there"


def test_combinations(t):
    """Each is refused before anything is attached."""
    check([(flags.split(), word) for flags, word in SENSELESS])


def test_values_past_their_limits(t):
    check([([*COMPANY.get(flag, ["--all"]), flag, value], flag)
           for flag, values in VALUES.items() for value in [*values, *NONSENSE]])


def test_a_flag_without_its_value(t):
    check([([*COMPANY.get(flag, ["--all"]), flag], flag) for flag in VALUES])
