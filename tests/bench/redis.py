# SPDX-License-Identifier: MIT
"""redis under load while it is captured: what its clients see."""

import os
import re
import shlex
import subprocess
import time

import bench
from bench import MIB, OUT

PORT = os.environ.get("BENCH_REDIS_PORT", "26379")
KEYS, VALUE = 100000, 8192  # about 1 GiB with what redis adds
REQUESTS = 200000
HUGE_AFTER_S = 60


def load(*arguments):
    return ["redis-benchmark", "-p", PORT, "-d", str(VALUE), "-r", str(KEYS), "-t", "set", *arguments]


def cli(*arguments):
    return subprocess.check_output(["redis-cli", "-p", PORT, *arguments], text=True)


def percentile(text, wanted):
    """The latency in ms below which WANTED percent of the requests lie, of redis-benchmark's distribution."""
    for share, latency in re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds", text, re.M):
        if float(share) >= wanted:
            return float(latency)
    raise RuntimeError("redis-benchmark showed no distribution")


def measure(pid, line):
    """Latencies of a fixed number of requests, LINE started when they are under way."""
    bench.remove_output()
    client = subprocess.Popen(load("-n", str(REQUESTS), "-c", "8"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
    if line:
        time.sleep(1)
        subprocess.run(shlex.split(line.format(out=OUT / "core", pid=pid)), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
    text = client.communicate()[0]
    bench.remove_output()
    cumulative = text[text.index("Cumulative distribution"):] if "Cumulative distribution" in text else text
    longest = max(float(x) for x in re.findall(r"<= ([\d.]+) milliseconds", cumulative))
    failed = client.returncode != 0 or "rror" in text
    return percentile(text, 99.9), longest, failed


def table(tools):
    server = subprocess.Popen(["redis-server", "--port", PORT, "--save", "", "--appendonly", "no", "--bind", "127.0.0.1",
                               "--enable-debug-command", "no"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = [f"redis, {KEYS:,} keys of {VALUE} bytes, eight clients that set them; {REQUESTS:,} requests a row, one capture "
             "on the way.", "",
             "| tool | p99.9, ms | longest, ms | errors at the clients | AnonHugePages before → a minute after, MiB |",
             "|---|---|---|---|---|"]
    try:
        time.sleep(1)
        subprocess.run(load("-n", str(4 * KEYS), "-q"), stdout=subprocess.DEVNULL, check=True)
        size = int(re.search(r"used_memory_rss:(\d+)", cli("info", "memory")).group(1))
        lines[0] += f" Resident: {size // MIB} MiB."
        for tool, line in {"none": None, **tools}.items():
            before = bench.huge(server.pid)
            p999, longest, failed = measure(server.pid, line)
            if tool == "coretrap, zstd":  # its clone lives longest
                time.sleep(HUGE_AFTER_S)
            after = f"{before // MIB} → {bench.huge(server.pid) // MIB}" if tool == "coretrap, zstd" else "–"
            lines.append(f"| {tool} | {p999:.2f} | {longest:.2f} | {'yes' if failed else 'none'} | {after} |")
    finally:
        server.terminate()
        server.wait()
    return lines
