# SPDX-License-Identifier: MIT
"""A process that is to notice nothing of a capture: what it has before and afterwards, and, for tests/targets/calls,
what each of its system calls returned, and when."""

import array
import fcntl
import json
import mmap
import os
import pathlib
import re
import select
import struct
import subprocess
import termios

from harness import CORETRAP, target_path, until

LOG_MAX = 65536
HEAD = struct.Struct("6Q")  # n, stop, began_ns, damage, strangers, stack_damage
ENTRY = struct.Struct("QQq")


def status(pid, key):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{key}:\s*(.*)$", text, re.M)
    return found[1] if found else None


def children(pid):
    """{pid: state} of those that the process would wait for."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                found[int(child)] = pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                pass
    return found


def possessions(pid):
    """What a capture must leave as it was. The kernel may split or merge neighbours among the mappings: what counts
    is which address may do what."""
    spans = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, offset, device, inode, *name = line.split(None, 5)
        start, end = (int(x, 16) for x in span.split("-"))
        what = (rights, device, inode, name[0].strip() if name else "")
        if spans and spans[-1][1] == start and spans[-1][2] == what:
            spans[-1] = (spans[-1][0], end, what)
        else:
            spans.append((start, end, what))
    files = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    kept = ("Threads", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "TracerPid", "Seccomp", "Uid", "Gid")
    return {"maps": spans, "files": files, "children": set(children(pid)), "status": {k: status(pid, k) for k in kept}}


def same(before, after):
    """'' or what has changed."""
    return "; ".join(f"{k} was {before[k]}, is {after[k]}" for k in before if before[k] != after[k])


class Calls:
    """tests/targets/calls, which makes one KIND of call, each of which takes MS."""

    def __init__(self, t, kind, ms, **popen):
        self.kind, self.ms = kind, ms
        path = t.tmp / f"calls-{kind}"
        with open(path, "wb") as f:
            f.truncate(HEAD.size + LOG_MAX * ENTRY.size)
        self.process = t.target("calls", kind, ms, path, ready=True, **popen)
        self.expected = int(self.process.stdout.readline().split()[1])
        self.pid = self.process.pid
        with open(path, "r+b") as f:
            self.shared = mmap.mmap(f.fileno(), 0)
        t.cleanup_with(self.shared.close)
        until(lambda: self.count() >= 1, 10, f"the first {kind}")
        self.before = possessions(self.pid)

    def count(self):
        return HEAD.unpack_from(self.shared)[0]

    def damage(self):
        return HEAD.unpack_from(self.shared)[3]

    def strangers(self):
        return HEAD.unpack_from(self.shared)[4]

    def stack_damage(self):
        return HEAD.unpack_from(self.shared)[5]

    def log(self, first=0):
        """(began, ended, result) of the calls that are over."""
        return [ENTRY.unpack_from(self.shared, HEAD.size + i % LOG_MAX * ENTRY.size)
                for i in range(first, self.count())]

    def goes_on(self, calls=2, seconds=10):
        now = self.count()
        until(lambda: self.count() >= now + calls or self.process.poll() is not None, seconds,
              f"{calls} more {self.kind}; state {status(self.pid, 'State')}")
        assert self.process.poll() is None, f"{self.kind}: it ended with status {self.process.returncode}"

    def unharmed(self, killed=False):
        """'' or what is wrong with it now. A capture that was killed may leave bytes below the stack changed, which
        nobody uses."""
        wrong = []
        if self.process.poll() is not None:
            return f"{self.kind}: it ended with status {self.process.returncode}"
        if self.damage():
            wrong.append(f"{self.damage()} times a register or memory was changed")
        if self.stack_damage() and not killed:
            wrong.append(f"{self.stack_damage()} times the bytes below the stack were changed")
        if self.strangers():
            wrong.append("a clone ran its code")
        after = possessions(self.pid)
        if changed := same(self.before, after):
            wrong.append(changed)
        return f"{self.kind}: " + "; ".join(wrong) if wrong else ""

    def finish(self):
        """Asks it to end, and returns its status."""
        struct.pack_into("Q", self.shared, 8, 1)
        return self.process.wait(10)


def dump(pid, *args, env=None, seconds=30):
    """coretrap dump with the core to nowhere."""
    with open(os.devnull, "wb") as null:
        return subprocess.run([CORETRAP, "dump", str(pid), "-o", "-", "--compress", "none", *args], stdout=null,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, errors="replace",
                              timeout=seconds, env=env)


class Odd:
    """tests/targets/odd, or another program that answers each line with a line that begins with "alive"."""

    def __init__(self, t, *argv, wait=True, **popen):
        self.t = t
        self.process = t.target(*argv, ready=wait, **popen)
        self.pid = self.process.pid

    def said(self, word):
        """What followed the word on one of the lines before "ready"."""
        return next(line.split()[1] for line in self.process.lines if line.startswith(word))

    def ask(self, seconds=10):
        """The answer to a line, within some time."""
        self.t.go(self.process)
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"no answer within {seconds} s; state {status(self.pid, 'State')}"
        return self.process.stdout.readline().decode().strip()

    def alive(self):
        answer = self.ask()
        assert answer.startswith("alive"), f"it answers {answer!r}, status {self.process.poll()}"


def capture(t, pid, *args, seconds=60, status=0):
    """coretrap dump --json into the store: the capture event."""
    done = t.coretrap("dump", pid, "-o", t.store, "--json", *args, seconds=seconds)
    assert done.returncode == status, f"status {done.returncode}: {done.stderr[-400:]}"
    event = json.loads(done.stdout.splitlines()[-1]) if done.stdout else None
    assert status or event["event"] == "capture", event
    return event


def refused(t, pid, *words, args=()):
    """It is refused in one line that has these words; nothing is published."""
    before = len(t.captures())
    done = t.coretrap("dump", pid, "-o", t.store, "--json", *args)
    assert done.returncode == 1, f"status {done.returncode}: {done.stderr}"
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), f"{done.stderr!r} lacks one of {words}"
    assert not done.stdout and len(t.captures()) == before, "something was published"


class HeldDump:
    """A capture whose writer is held up: its standard output, a pipe, is not read. The clone lives until release()."""

    def __init__(self, t, pid, *args):
        self.process = t.spawn([CORETRAP, "dump", str(pid), "-o", "-", "--compress", "none", *args],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # The core's notes and first pages fill the pipe.
        until(lambda: unread(self.process.stdout) >= 4096 or self.process.poll() is not None, 20, "bytes of the core")
        assert self.process.poll() is None, f"it did not wait: {self.process.communicate()[1][-300:]}"

    def release(self, seconds=60):
        """Reads it to its end: (status, core, stderr)."""
        core, text = self.process.communicate(timeout=seconds)
        return self.process.returncode, core, text.decode(errors="replace")


def unread(stream):
    count = array.array("i", [0])
    fcntl.ioctl(stream, termios.FIONREAD, count)
    return count[0]
