# SPDX-License-Identifier: MIT
"""What debuggers make of a capture, held against the kernel's own core of the very same crash."""

import os
import re
import socket
import subprocess
import time

from elfcore import NT_AUXV, NT_FILE, NT_PRSTATUS, NT_SIGINFO, NT_X86_XSTATE, Core, differences
from harness import backtraces, dig, need, target_path, timeout, until

SEEN = ["thread apply all bt", "p $_siginfo", "info registers", "p $ymm0", "info auxv", "info proc mappings"]


def complaints_of_gdb(text):
    return [line for line in text.splitlines() if re.search(r"(?i)warning|error|cannot|unable|truncated", line)]


def normal(text):
    """gdb's text without what names the core file, and without the order of its greeting."""
    return [line for line in text.splitlines() if line and not line.startswith(("[New LWP", "Reading symbols"))]


def same_for_gdb(t, executable, ours, kernels):
    seen, expected = (t.gdb(executable, core, *SEEN) for core in (ours, kernels))
    threads, kernel_threads = backtraces(seen), backtraces(expected)
    assert kernel_threads, f"gdb shows no threads of the kernel's core: {expected[-400:]}"
    assert threads == kernel_threads, f"frames differ: {threads} instead of {kernel_threads}"
    assert not set(complaints_of_gdb(seen)) - set(complaints_of_gdb(expected)), complaints_of_gdb(seen)
    for line, other in zip(normal(seen), normal(expected)):
        assert line == other, f"gdb says {line!r} instead of {other!r}"
    assert len(normal(seen)) == len(normal(expected))
    return seen


def same_bytes(ours, kernels):
    core, reference = Core(ours), Core(kernels)
    assert core.threads() == reference.threads(), f"threads {core.threads()} instead of {reference.threads()}"
    for kind in (NT_PRSTATUS, NT_SIGINFO, NT_AUXV, NT_FILE):
        assert core.note("CORE", kind) == reference.note("CORE", kind), f"note {kind:#x} differs"
    assert core.note("LINUX") == reference.note("LINUX"), "register notes differ"
    wrong = differences(reference, core)
    assert not wrong, f"pages differ from the kernel's core: {wrong}"
    assert core.note("coretrap"), "no note owned by coretrap"


def no_complaints(executable, core, kernels):
    need("eu-readelf", "lldb")
    done = subprocess.run(["eu-readelf", "-h", "-l", "-n", core], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, f"eu-readelf: {done.stderr[:300]}"

    def lldb(path):
        done = subprocess.run(["lldb", "--no-lldbinit", "--batch", "-o", "bt all", "-c", path, executable],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        text = done.stdout + done.stderr
        assert done.returncode == 0, f"lldb: {text[-300:]}"
        return {line for line in text.splitlines() if re.search(r"(?i)^(warning|error)", line)}, text.count("frame #")

    (complaints, frames), (known, expected) = lldb(core), lldb(kernels)
    assert not complaints - known, f"lldb complains: {complaints - known}"
    assert frames == expected > 0, f"lldb shows {frames} frames instead of {expected}"


def judged(t, watch, executable, kernels, name, pid=None):
    """Compares the watch's capture with the kernel's core: (capture event, gdb's text)."""
    trip = watch.wait("trip", 10)
    assert dig(trip, "trigger.signal.name") == name, trip["trigger"]
    assert pid is None or dig(trip, "process.pid") == pid, trip["process"]
    capture = watch.wait("capture", 30)
    assert watch.wait_exit() == 0
    until(kernels.exists, 20, "the kernel's core")
    assert capture["capture"]["complete"] is True, capture["capture"]
    core = t.core(capture)
    seen = same_for_gdb(t, executable, core, kernels)
    same_bytes(core, kernels)
    no_complaints(executable, core, kernels)
    return capture, seen


def test_null_pointer_in_one_of_four_threads(t):
    executable = target_path("threads")
    watch, kernels = t.watch_with_tee("--exe", executable)
    pid, status, _ = t.run_target("threads")
    assert status == -11
    capture, seen = judged(t, watch, executable, kernels, "SIGSEGV", pid)
    assert capture["capture"]["threads"] == 4, capture["capture"]
    functions = backtraces(seen)
    assert functions[pid][0] == "writes_through_null", functions
    flat = [f for frames in functions.values() for f in frames]
    for name in ("waits_in_poll", "waits_in_semaphore", "waits_in_mutex"):
        assert name in flat, f"{name} is in no thread: {functions}"
    core = t.core(capture)
    text = t.gdb(executable, core, "p $_siginfo.si_signo", "p $_siginfo._sifields._sigfault.si_addr")
    assert "$1 = 11" in text and "$2 = (void *) 0x0" in text, text[-300:]
    if "avx" in open("/proc/cpuinfo").read():
        # An older gdb than the kernel finds the note too small, here as in the kernel's own core: then it shows what
        # both hold in the same way (which same_for_gdb has seen), and the bytes are looked at themselves.
        text = t.gdb(executable, core, "p/x $ymm0.v32_int8")
        if "too small" not in text:
            expected = ", ".join(f"0x{n:x}" for n in range(0x10, 0x30))
            assert expected in text, f"$ymm0: {text[-400:]}"
        xstate = Core(core).note("LINUX", NT_X86_XSTATE)[0]
        assert xstate[160:176] == bytes(range(0x10, 0x20)), "xmm0"
        assert xstate[576:592] == bytes(range(0x20, 0x30)), "the upper half of ymm0"


def test_python_reads_null(t):
    python = os.path.realpath("/usr/bin/python3")
    need(python)
    watch, kernels = t.watch_with_tee("--exe", python, "--cmdline", "*string_at(0)*")
    done = t.spawn([python, "-c", "import ctypes; ctypes.string_at(0)"])
    assert done.wait(20) == -11
    judged(t, watch, python, kernels, "SIGSEGV", done.pid)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_abort_of_a_running_nginx_worker(t):
    need("nginx")
    prefix, port = t.tmp / "nginx", free_port()
    prefix.mkdir()
    (prefix / "nginx.conf").write_text(f"""
        worker_processes 1; daemon off; pid {prefix}/pid; error_log {prefix}/error.log; user nobody nogroup;
        events {{ worker_connections 16; }}
        http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ return 200 "fine"; }} }}
                client_body_temp_path {prefix}/b; proxy_temp_path {prefix}/p; fastcgi_temp_path {prefix}/f;
                uwsgi_temp_path {prefix}/u; scgi_temp_path {prefix}/s; }}""")
    nginx = os.path.realpath("/usr/sbin/nginx")
    master = t.spawn([nginx, "-p", prefix, "-c", prefix / "nginx.conf", "-e", prefix / "error.log"])

    def worker():
        path = f"/proc/{master.pid}/task/{master.pid}/children"
        children = open(path).read().split()
        return int(children[0]) if children else None

    def serves():
        with socket.socket() as s:
            s.settimeout(2)
            if s.connect_ex(("127.0.0.1", port)):
                return False
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"fine" in s.recv(1000) + s.recv(1000)

    until(serves, 10, "nginx serves")
    pid = until(worker, 5, "a worker")
    watch, kernels = t.watch_with_tee("--pid", pid)
    time.sleep(0.1)  # the worker is back in epoll_wait
    os.kill(pid, 6)
    capture, _ = judged(t, watch, nginx, kernels, "SIGABRT", pid)
    sender = dig(capture, "trigger.signal.sender")
    assert sender and sender["pid"] == os.getpid(), f"sender {sender}, sent by {os.getpid()}"
    assert until(lambda: worker() not in (None, pid), 5, "a new worker")


def test_go_panic(t):
    executable = target_path("panic")
    watch, kernels = t.watch_with_tee("--exe", executable)
    done = t.spawn([executable], env={"GOTRACEBACK": "crash", "PATH": os.environ["PATH"]},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.wait(20) == -6
    judged(t, watch, executable, kernels, "SIGABRT", done.pid)


@timeout(90)
def test_stack_overflow(t):
    executable = target_path("die")
    watch, kernels = t.watch_with_tee("--exe", executable)
    pid, status, _ = t.run_target("die", "overflow")
    assert status == -11
    trip = watch.wait("trip", 10)
    assert dig(trip, "trigger.signal.name") == "SIGSEGV" and dig(trip, "process.pid") == pid
    capture = watch.wait("capture", 30)
    assert watch.wait_exit() == 0
    until(kernels.exists, 20, "the kernel's core")
    core = t.core(capture)
    seen, expected = (t.gdb(executable, c, "bt 20", "bt -5", "p $_siginfo", "info registers") for c in (core, kernels))
    assert normal(seen) == normal(expected), f"{seen[-600:]} instead of {expected[-600:]}"
    assert "overflows_stack" in seen and "main" in seen, seen[-400:]
    same_bytes(core, kernels)
    no_complaints_readelf = subprocess.run(["eu-readelf", "-h", "-l", "-n", core], capture_output=True, text=True)
    assert no_complaints_readelf.returncode == 0 and not no_complaints_readelf.stderr


def test_kinds_open_in_gdb(t):
    """heap and mini are smaller, and show the same frames as full does."""
    executable, sizes, frames = target_path("threads"), {}, {}
    for kind in ("full", "heap", "mini"):
        watch = t.watch("--exe", executable, "--kind", kind, "--compress", "none")
        t.run_target("threads")
        capture = watch.wait("capture", 20)
        assert watch.wait_exit() == 0
        assert capture["capture"]["kind"] == kind
        core = t.core(capture)
        seen = t.gdb(executable, core, "thread apply all bt", "p $_siginfo.si_signo")
        assert "$1 = 11" in seen, f"{kind}: {seen[-300:]}"
        frames[kind] = sorted(backtraces(seen).values())
        sizes[kind] = capture["capture"]["memory_bytes"]
    assert frames["heap"] == frames["full"], frames
    assert frames["mini"] == frames["full"], frames
    # Three processes: one may have touched a page more than another.
    assert sizes["mini"] < sizes["heap"] <= sizes["full"] + 65536, sizes


def test_stacks_kind_has_threads_and_no_memory(t):
    watch = t.watch("--exe", target_path("threads"), "--kind", "stacks")
    t.run_target("threads")
    capture = watch.wait("capture", 20)
    assert watch.wait_exit() == 0
    [directory] = t.captures()
    assert not list(directory.glob("core*")), list(directory.iterdir())
    text = "".join(p.read_text() for p in directory.iterdir())
    for name in ("writes_through_null", "waits_in_poll", "waits_in_semaphore", "waits_in_mutex"):
        assert name in text, f"{name} is in none of the captured stacks"
    assert capture["capture"]["threads"] == 4, capture["capture"]
