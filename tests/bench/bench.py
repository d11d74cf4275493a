# SPDX-License-Identifier: MIT
"""What make bench measures with: targets, the tools that capture them, and what a capture costs.

Everything here is measured on the machine it runs on; nothing is killed but what was started here.
"""

import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORETRAP = os.environ.get("CORETRAP", str(ROOT / "build" / "coretrap"))
TARGET = os.environ.get("BENCH_TARGET", str(ROOT / "build" / "tests" / "bench" / "target"))
OUT = pathlib.Path(os.environ.get("BENCH_DIR", ROOT / "build" / "bench"))
MIB = 1 << 20
QUIET_S = 0.5  # how long the target's clock is watched for the noise of the machine
SAMPLE_S = 0.01
WARM_MIB = 64

# How a dumper is called: {out} is a file name to be made, {pid} the process. BENCH_PEERS takes names from here, and
# command lines of others, separated by semicolons.
PEERS = {
    "gcore": "gcore -o {out} {pid}",
    "gcore -a": "gcore -a -o {out} {pid}",
    "procdump": "procdump -n 1 -s 0 {pid} {out}",
    "lldb": "lldb --batch -p {pid} -o 'process save-core --style full {out}' -o detach",
}


class Target:
    """A process to be captured, fresh, so that no capture suffers from what the one before has touched."""

    def __init__(self, arguments):
        self.process = subprocess.Popen([TARGET, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the target did not start")
        self.pid = self.process.pid

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return [int(word) / 1e6 for word in self.process.stdout.readline().split()]

    def gap(self):
        """The longest gap in ms since the last question."""
        return self.ask("gap")[0]

    def noise(self):
        self.gap()
        time.sleep(QUIET_S)
        return self.gap()

    def fork(self):
        """ms that a fork() took whose child ends at once."""
        return self.ask("fork")[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def meminfo():
    values = {}
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        key, value = line.split(":")
        values[key] = int(value.split()[0]) * 1024
    return values


def page_cache(info):
    return info["Cached"] + info["Buffers"] - info["Shmem"]


def huge(pid):
    """Bytes of anonymous huge pages that a process has."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("AnonHugePages:")[1].split()[0]) * 1024


def family(pid):
    """A process and its descendants. The clone is the target's child, not ours."""
    yield pid
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from family(int(child))
    except OSError:
        pass


def proportional(pid):
    total = 0
    for member in family(pid):
        try:
            text = pathlib.Path(f"/proc/{member}/smaps_rollup").read_text()
            total += int(text.split("\nPss:")[1].split()[0]) * 1024
        except (OSError, IndexError):
            pass
    return total


class Sampler(threading.Thread):
    """Peaks while a command runs: memory of its processes (PSS), page cache, memory taken from the host."""

    def __init__(self, pid, before):
        super().__init__(daemon=True)
        self.pid, self.before, self.done = pid, before, threading.Event()
        self.own = self.cache = self.taken = 0

    def run(self):
        while not self.done.wait(SAMPLE_S):
            info = meminfo()
            self.own = max(self.own, proportional(self.pid))
            self.cache = max(self.cache, page_cache(info) - page_cache(self.before))
            self.taken = max(self.taken, self.before["MemAvailable"] - info["MemAvailable"])

    def end(self):
        self.done.set()
        self.join()


class WarmFile:
    """A file of somebody else's, in the page cache: does it stay there?"""

    def __init__(self):
        self.path = OUT / "warm"
        if not self.path.exists():
            self.path.write_bytes(os.urandom(WARM_MIB * MIB))
            os.sync()

    def warm(self):
        self.path.read_bytes()

    def resident(self):
        """Percent of it in the page cache; None where fincore is missing."""
        if not shutil.which("fincore"):
            return None
        text = subprocess.check_output(["fincore", "-n", "-b", "-o", "RES", self.path], text=True)
        return 100 * int(text) / (WARM_MIB * MIB)


def tools():
    """Name -> command line. Peers that are not there are left out, and it is said."""
    found = {
        "coretrap": f"{CORETRAP} dump --json --compress none -o {{out}} {{pid}}",
        "coretrap, zstd": f"{CORETRAP} dump --json --compress zstd -o {{out}} {{pid}}",
    }
    asked = os.environ.get("BENCH_PEERS")
    names = [name.strip() for name in asked.split(";")] if asked is not None else ["gcore", "procdump"]
    for name in filter(None, names):
        line = PEERS.get(name, name)
        program = shutil.which(shlex.split(line)[0])
        # A link of that name may lead to coretrap itself.
        if program and os.path.realpath(program) != os.path.realpath(CORETRAP):
            found[name if name in PEERS else os.path.basename(program)] = line
        elif asked:
            raise SystemExit(f"bench: {name}: not found")
    return found


def remove_output():
    for path in OUT.glob("core*"):
        path.unlink()
    os.sync()  # the freed blocks are discarded now, not in what is timed next


def capture(target, line, warm):
    """One capture of TARGET by a command line. Times in ms, sizes in bytes."""
    remove_output()
    warm.warm()
    row = {"noise": target.noise(), "fork_before": target.fork(), "huge_before": huge(target.pid)}
    before = meminfo()
    command = shlex.split(line.format(out=OUT / "core", pid=target.pid))
    target.gap()
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    sampler = Sampler(process.pid, before)
    sampler.start()
    stdout, stderr = process.communicate()
    row["total"] = (time.monotonic() - began) * 1000
    row["gap"] = target.gap()
    sampler.end()
    row["pause"] = max(row["gap"] - row["noise"], 0.0)
    row["fork"] = (row["fork_before"] + target.fork()) / 2
    row.update(own=sampler.own, cache=sampler.cache, taken=sampler.taken)
    row.update(huge_after=huge(target.pid), warm=warm.resident())
    cores = list(OUT.glob("core*"))
    row["bytes"] = sum(path.stat().st_blocks * 512 for path in cores)
    if process.returncode or not cores:
        raise RuntimeError(f"{line}: exit status {process.returncode}: {stderr.decode(errors='replace')[-500:]}")
    if stdout.startswith(b"{"):
        event = json.loads(stdout.splitlines()[-1])["capture"]
        row["own_pause"] = event["pause_us"] / 1000
        row["event"] = event
    return row


def time_zstd():
    """ms that zstd takes for the finished core that lies there, read from the page cache."""
    [core] = OUT.glob("core*")
    core.read_bytes()
    began = time.monotonic()
    subprocess.run(["zstd", "-q", "-1", "-T2", "-f", core, "-o", OUT / "core.by-zstd"], check=True)
    return (time.monotonic() - began) * 1000


def median(values):
    return statistics.median(values) if values else None
