# SPDX-License-Identifier: MIT
"""What the system tests stand on: a watch that runs, targets that crash, debuggers that judge.

A test is a function test_*(t) in a file test_*.py; t is a Context. It fails by an assertion, and is skipped by
skip(reason). Everything it starts is ended by the context, by pid; afterwards the host must be as it was.
"""

import contextlib
import fcntl
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORETRAP = os.path.realpath(os.environ.get("CORETRAP", ROOT / "build" / "coretrap"))
TARGETS = pathlib.Path(os.environ.get("CORETRAP_TARGETS", ROOT / "build" / "tests" / "targets"))
IN_VM = os.environ.get("CORETRAP_VM") == "1"  # software emulation: everything takes many times as long
PATIENCE = 10 if IN_VM else 1
EXECUTABLES = {CORETRAP}  # and copies of it that a test made
LOCK = "/tmp/core_pattern.lock"  # core_pattern is global: whoever changes it holds this
SYSCTLS = ("kernel/core_pattern", "kernel/core_pipe_limit", "fs/suid_dumpable")
DEFAULT_TIMEOUT = 60
NOBODY = 65534


class Skip(Exception):
    pass


def skip(reason):
    raise Skip(reason)


def slow(test):
    """Runs with --slow only."""
    test.slow = True
    return test


def timeout(seconds):
    def mark(test):
        test.timeout = seconds
        return test
    return mark


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed")


def target_path(name):
    path = TARGETS / name
    if not path.exists():
        skip(f"target {name} was not built")
    return str(path)


def read_sysctls():
    return {name: pathlib.Path("/proc/sys", name).read_bytes() for name in SYSCTLS}


def write_sysctl(name, value):
    """Text gets the newline without which an empty core_pattern could not be set."""
    with open(f"/proc/sys/{name}", "wb", buffering=0) as f:
        f.write(value if isinstance(value, bytes) else value.encode() + b"\n")


def own_processes():
    """Processes of the coretrap under test, zombies left out: {pid: command line}."""
    found = {}
    for entry in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(f"{entry}/exe").removesuffix(" (deleted)") in EXECUTABLES:
                command = pathlib.Path(entry, "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry[6:])] = command.decode(errors="replace")
    return found


def until(condition, seconds, what):
    """Waits for condition() to be true and returns its value."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds * PATIENCE} s: {what}"
        time.sleep(0.02)


def dig(value, path, default=None):
    """dig(event, "trigger.signal.name")"""
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def find_key(value, key):
    """The first value of KEY anywhere in a JSON document."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found = find_key(item, key)
            if found is not None:
                return found
    return None


class Watch:
    """`coretrap watch --json`, its events with the time at which they came."""

    def __init__(self, context, args, store=None, wait_armed=True, command=None, binary=CORETRAP, **popen):
        self.store = store or context.store
        argv = [str(binary), "watch", *map(str, args), "--json"]
        kind = args[args.index("--kind") + 1] if "--kind" in args else ""
        if "--observe" not in args and kind != "none":  # which write nothing
            argv += ["-o", str(self.store)]
        if command:
            argv += ["--", *map(str, command)]
        self.stderr_path = context.tmp / f"watch-{len(context.processes)}.err"
        with open(self.stderr_path, "wb") as err:
            self.process = context.spawn(argv, stdout=subprocess.PIPE, stderr=err, **popen)
        self.events, self.received, self.other = [], [], []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait_armed:
            self.armed = self.wait("armed", 15)

    def _read(self):
        for line in self.process.stdout:
            now = time.time()
            with self.changed:
                try:
                    event = json.loads(line)
                    self.events.append(event)
                    self.received.append(now)
                except ValueError:
                    self.other.append(line)
                self.changed.notify_all()
        with self.changed:
            self.reader = None
            self.changed.notify_all()

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def of(self, kind, **match):
        """Events of a kind; match: pid=…, or signal=…"""
        with self.changed:
            return [e for e in self.events if e.get("event") == kind and _matches(e, match)]

    def wait(self, kind, seconds=10, count=1, **match):
        """The COUNTth event of a kind, or a failure that shows what came instead."""
        deadline = time.monotonic() + seconds * PATIENCE
        with self.changed:
            while True:
                found = [e for e in self.events if e.get("event") == kind and _matches(e, match)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self.reader is None:
                    break
                self.changed.wait(left)
        came = [e.get("event") for e in self.events]
        short = json.dumps(self.events[-1])[:600] if self.events else ""
        raise AssertionError(f"no {kind} event {match or ''}(number {count}); events: {came}; last: {short}; "
                             f"status {self.process.poll()}; stderr: {self.stderr()[-600:]!r}")

    def time_of(self, event):
        return self.received[self.events.index(event)]

    def wait_exit(self, seconds=15):
        try:
            status = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            came = [e.get("event") for e in self.events]
            raise AssertionError(f"watch still runs after {seconds * PATIENCE} s; events: {came}") from None
        until(lambda: self.reader is None, 5, "end of the watch's output")
        return status

    def stop(self, sig=signal.SIGTERM, seconds=15):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.wait_exit(seconds)


def _matches(event, match):
    for key, value in match.items():
        if key == "pid" and dig(event, "process.pid") != value:
            return False
        if key == "signal" and dig(event, "trigger.signal.name") != value:
            return False
    return True


class Context:
    """One test's world: a temporary directory, a store, processes."""

    def __init__(self, name, verbose, pattern=True):
        """pattern: the test may set core_pattern, and everybody who does so is kept out."""
        self.name, self.verbose, self.pattern = name, verbose, pattern
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
        self.tmp.chmod(0o755)  # programs that run as nobody live here, the store does not depend on it
        self.store = self.tmp / "store"
        self.store.mkdir(mode=0o700)
        self.processes, self.undo, self.stores = [], [], [self.store]
        self.thaws = []  # nothing frozen can be ended
        self.before = read_sysctls()

    def log(self, *words):
        if self.verbose:
            print("   ", *words, flush=True)

    def spawn(self, argv, **popen):
        popen.setdefault("stdin", subprocess.PIPE)
        process = subprocess.Popen([str(a) for a in argv], start_new_session=True, **popen)
        self.processes.append(process)
        return process

    def cgroup(self, controller, v1, v2):
        """A cgroup of the test's own with these settings ({file: value}), version 1 or 2; None without the controller.
        Settings of None: not of that version. Processes are put into it by its cgroup.procs."""
        own = dict(line.strip().split(":", 2)[1:] for line in open("/proc/self/cgroup"))
        top = pathlib.Path("/sys/fs/cgroup")
        for root, path, settings in ((top / controller, own.get(controller, "/"), v1), (top, "/", v2),
                                     (top / "unified", "/", v2)):
            parent = root / path.lstrip("/")
            if not (parent / "cgroup.procs").exists():
                parent = root
            group = parent / f"coretrap-{os.getpid()}-{len(self.undo)}"
            if settings is None or not (parent / "cgroup.procs").exists():
                continue
            with contextlib.suppress(OSError):
                group.mkdir()
                self.cleanup_with(self._remove_cgroup, group)
                for name, value in settings.items():
                    (group / name).write_text(str(value))
                return group
        return None

    def freezer(self, version):
        """A cgroup of this version, and what freezes (True) and thaws it (False)."""
        group = self.cgroup("freezer", *({}, None) if version == 1 else (None, {}))
        name, words = ("freezer.state", ("THAWED", "FROZEN")) if version == 1 else ("cgroup.freeze", "01")
        if not group or not (group / name).exists():
            skip(f"no control group of version {version} with a {name} here")
        state, frozen = (name, "FROZEN") if version == 1 else ("cgroup.events", "frozen 1")

        def freeze(on):
            (group / name).write_text(words[on])
            until(lambda: not on or frozen in (group / state).read_text(), 5, "a frozen cgroup")

        self.thaws.append(freeze)
        return group, freeze

    @staticmethod
    def _remove_cgroup(group):
        until(lambda: not (group / "cgroup.procs").read_text(), 5, f"an empty {group}")
        group.rmdir()

    def cleanup_with(self, undo, *args):
        self.undo.append((undo, args))

    def watch(self, *args, **options):
        return Watch(self, args, **options)

    def coretrap(self, *args, seconds=30, **run):
        """Runs a command to its end: CompletedProcess with text."""
        run.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([CORETRAP, *map(str, args)], capture_output=True, text=True, errors="replace",
                              timeout=seconds * PATIENCE, **run)

    def target(self, *argv, wait=False, ready=False, **popen):
        """Starts a target by name. wait: it stops before its crash until go(); ready: its first line has come."""
        argv = [str(a) for a in argv]
        if "/" not in argv[0]:
            argv[0] = target_path(argv[0])
        if wait:
            argv.insert(1, "-w")
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.DEVNULL)
        popen.setdefault("cwd", self.tmp)
        process = self.spawn(argv, **popen)
        process.lines = []
        if wait or ready:
            for line in process.stdout:
                process.lines.append(line.decode().strip())
                if line.startswith(b"ready"):
                    break
        return process

    def go(self, process):
        process.stdin.write(b"\n")
        process.stdin.flush()

    def run_target(self, *argv, seconds=20, **popen):
        """Starts a target and waits for its end: (pid, status as Popen.returncode, output)."""
        process = self.target(*argv, **popen)
        out, _ = process.communicate(timeout=seconds * PATIENCE)
        return process.pid, process.returncode, (out or b"").decode(errors="replace")

    def copy_target(self, name, as_name):
        path = self.tmp / as_name
        shutil.copy2(target_path(name), path)
        return str(path)

    def captures(self, store=None):
        """Directories of the store, oldest first."""
        store = pathlib.Path(store or self.store)
        return sorted(p for p in store.iterdir() if p.is_dir() and not p.name.startswith("."))

    def core(self, event):
        """A plain core file of a capture event (unpacked into the temporary directory if it is compressed)."""
        path = pathlib.Path(event["capture"]["path"])
        if path.is_dir():
            path = next((path / n for n in ("core", "core.zst") if (path / n).exists()), path)
        assert path.is_file(), f"capture without a core: {event['capture']}"
        if path.read_bytes()[:4] != b"\x7fELF":
            need("zstd")
            plain = self.tmp / f"{path.parent.name}.core"
            subprocess.run(["zstd", "-dqf", path, "-o", plain], check=True)
            path = plain
        return path

    def gdb(self, executable, core, *commands):
        """The debugger's answer, its greeting and warnings included."""
        need("gdb")
        argv = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load off",
                "-ex", "set width 0", "-ex", "set print frame-arguments scalars"]
        for command in commands:
            argv += ["-ex", command]
        done = subprocess.run([*argv, str(executable), str(core)], capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, timeout=60 * PATIENCE)
        return done.stdout + done.stderr

    def watch_with_tee(self, *args, **options):
        """A watch whose handler has a program before it that passes everything on and keeps what the kernel writes:
        (watch, the file in which the kernel's own core of the very same crash will be). core_pattern is as the watch
        set it: the program takes the place of the executable that it names."""
        binary, real, out = self.tmp / "bin" / "coretrap", self.tmp / "real" / "coretrap", self.tmp / "kernel.core"
        for path in (binary, real):
            path.parent.mkdir()
        shutil.copy2(CORETRAP, binary)
        EXECUTABLES.update((str(binary), str(real)))
        watch = self.watch(*args, binary=binary, **options)
        binary.rename(real)
        binary.write_text(TEE.format(python=os.path.realpath(sys.executable), program=real, out=out))
        binary.chmod(0o755)
        return watch, out

    def put_back_sysctls(self):
        """For tests that set them: before the check that all is as it was."""
        for name, value in self.before.items():
            write_sysctl(name, value)

    def close(self):
        """Ends what the test started; returns what it left behind."""
        left = []
        for freeze in self.thaws:
            freeze(False)
        for process in self.processes:  # watches first: they restore core_pattern
            if process.poll() is None and process.args[0] in EXECUTABLES:
                process.terminate()
        for process in self.processes:
            if process.args[0] in EXECUTABLES:
                try:
                    process.wait(10 * PATIENCE)
                except subprocess.TimeoutExpired:
                    left.append(f"coretrap {process.pid} did not end within 10 s of SIGTERM")
                    process.kill()
                    process.wait()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    with contextlib.suppress(OSError, ValueError):
                        stream.close()
        for undo, args in reversed(self.undo):
            undo(*args)
        left += self.leftovers()
        for process in own_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for name, value in self.before.items():
            if self.pattern and read_sysctls()[name] != value:
                write_sysctl(name, value)
        shutil.rmtree(self.tmp, ignore_errors=True)
        return left

    def leftovers(self):
        left = []
        deadline = time.monotonic() + 3 * PATIENCE
        while own_processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        left += [f"process {pid} left: {command}" for pid, command in own_processes().items()]
        for name, value in read_sysctls().items():
            if self.pattern and value != self.before[name]:
                left.append(f"{name} was {self.before[name]!r}, is {value!r}")
        for store in self.stores:
            left += [f"temporary file left: {p}" for p in pathlib.Path(store).glob(".*")]
        return left


TEE = """#!{python}
import os, select, subprocess, sys
r, w = os.pipe()
handler = subprocess.Popen(["{program}", *sys.argv[1:]], stdin=r, close_fds=False)
os.close(r)
os.set_blocking(w, False)
feeding = True
with open("{out}.part", "wb") as out:
    while data := os.read(0, 1 << 16):
        out.write(data) if data.strip(b"\\0") else out.seek(len(data), 1)
        while feeding and data:
            # The handler reads to the end of the notes and no further: a pipe that stays full has had enough.
            feeding = bool(select.select([], [w], [], 2)[1])
            try:
                data = data[os.write(w, data):] if feeding else data
            except OSError:
                feeding = False
    out.truncate()
if feeding:
    os.close(w)
os.rename("{out}.part", "{out}")
sys.exit(handler.wait())
"""


@contextlib.contextmanager
def core_pattern_lock():
    with open(LOCK, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def check_store(store):
    """Every capture in a store is whole, and nobody's but root's."""
    store = pathlib.Path(store)
    assert stat.S_IMODE(store.stat().st_mode) == 0o700, f"store has mode {stat.S_IMODE(store.stat().st_mode):o}"
    for path in store.rglob("*"):
        info = path.lstat()
        mode = stat.S_IMODE(info.st_mode)
        assert not path.is_symlink(), f"a link in the store: {path}"
        assert info.st_uid == 0, f"{path} belongs to {info.st_uid}"
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"
    for capture in store.iterdir():
        assert capture.is_dir(), f"not a capture: {capture}"
        incident = json.loads((capture / "incident.json").read_text())
        assert incident["event"] == "capture", incident
        for core in capture.glob("core*"):
            head = core.read_bytes()[:4]
            assert head in (b"\x7fELF", b"\x28\xb5\x2f\xfd"), f"{core} starts with {head}"


def backtraces(text):
    """`thread apply all bt` as {lwp: [function …]}."""
    threads, current = {}, None
    for line in text.splitlines():
        if m := re.match(r"Thread \d+ \((?:Thread \S+ \()?LWP (\d+)", line):
            current = threads.setdefault(int(m[1]), [])
        elif current is not None and (m := re.match(r"#\d+ +(?:0x[0-9a-f]+ in )?(\S+)", line)):
            current.append(m[1])
    return threads
