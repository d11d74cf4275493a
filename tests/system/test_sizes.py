# SPDX-License-Identifier: MIT
"""Large and odd address spaces: complete, or saying what is not."""

import json
import os
import time

from elfcore import Core
from harness import IN_VM, dig, target_path, timeout

ALONE = True


def captured(t, *argv, args=(), seconds=40):
    """(capture event, core, {area: address} that the target printed, seconds that the target took to die)"""
    watch = t.watch("--exe", target_path(argv[0]), "--compress", "none", *args)
    start = time.monotonic()
    pid, status, out = t.run_target(*argv, seconds=seconds)
    took = time.monotonic() - start
    assert status == -11, status
    capture = watch.wait("capture", seconds, pid=pid)
    assert watch.wait_exit() == 0
    areas = {}
    for line in out.splitlines():
        name, value = line.split()
        if value.startswith("0x"):
            areas[name] = int(value, 16)
    return capture, t.core(capture), areas, took


@timeout(120)
def test_2000_threads(t):
    capture, core, _, _ = captured(t, "many", "threads", 2000)
    assert capture["capture"]["threads"] == 2001, capture["capture"]
    assert capture["capture"]["complete"] is True, capture["capture"]
    threads = Core(core).threads()
    assert len(threads) == len(set(threads)) == 2001
    assert threads[0] == dig(capture, "process.tid"), "the thread that crashed does not come first"
    seen = t.gdb(target_path("many"), core, "bt", "thread 2001", "bt")
    assert "crashes_with_many" in seen and "waits" in seen, seen[-500:]


@timeout(120)
def test_20000_mappings(t):
    capture, path, areas, _ = captured(t, "many", "maps", 20000)
    assert capture["capture"]["complete"] is True, capture["capture"]
    core = Core(path)
    assert len(core.loads) >= 20000, f"{len(core.loads)} segments"
    for i in (0, 1, 9999, 19999):
        page = core.read(areas["base"] + i * 4096, 4)
        assert page and int.from_bytes(page, "little") == i + 1, f"page {i} is {page}"
    seen = t.gdb(target_path("many"), path, "bt", f"x/wd {areas['base'] + 12345 * 4096:#x}")
    assert "crashes_with_many" in seen and "12346" in seen, seen[-500:]


def test_guard_pages_cost_only_themselves(t):
    capture, path, areas, _ = captured(t, "memory")
    core, base = Core(path), areas["guarded"]
    word = b"%-15.15s\0" % b"AROUND-GUARD" * 256
    wrong = [i for i in range(256) if i not in (100, 200) and core.read(base + i * 4096, 4096) != word]
    assert not wrong, f"pages lost around the guards: {wrong}"
    # Page 100 was written before it became unreadable: the kernel's core has it. Without it, a note says so.
    if core.read(base + 100 * 4096, 4096) != word:
        assert capture["capture"]["notes"], "a page is missing, and nothing says so"


def test_4_gib_untouched(t):
    capture, core, areas, took = captured(t, "memory", "noreserve", 4)
    info = os.stat(core)
    assert info.st_blocks * 512 < 20 << 20, f"{info.st_blocks * 512} bytes on disk"
    assert took < 5 * (10 if IN_VM else 1), f"the target stood for {took:.1f} s"
    assert capture["capture"]["complete"] is True, capture["capture"]
    seen = t.gdb(target_path("memory"), core, "bt", f"x/gx {areas['noreserve'] + (1 << 30):#x}")
    assert "crashes_with_memory" in seen, seen[-400:]
    assert "0x0000000000000000" in seen, f"untouched memory does not read as zeros: {seen[-300:]}"


def test_4_gib_untouched_compressed(t):
    watch = t.watch("--exe", target_path("memory"))
    t.run_target("memory", "noreserve", 4)
    capture = watch.wait("capture", 20)
    assert watch.wait_exit() == 0
    size = sum(p.stat().st_size for p in t.captures()[0].iterdir())
    assert size < 10 << 20, f"{size} bytes for untouched memory"
    assert capture["capture"]["duration_ms"] < 10000 * (10 if IN_VM else 1), capture["capture"]


def test_resident_memory_is_all_there(t):
    capture, core, areas, _ = captured(t, "memory", "resident", 128)
    data = Core(core)
    x, mask = 88172645463325252, (1 << 64) - 1
    for _ in range(512):
        x ^= x << 13 & mask
        x ^= x >> 7
        x ^= x << 17 & mask
    assert int.from_bytes(data.read(areas["resident"] + 511 * 8, 8), "little") == x
    assert data.contains(areas["resident"], 128 << 20)
    assert capture["capture"]["bytes"] >= 128 << 20, capture["capture"]


def test_dontdump_is_left_out_and_noted(t):
    capture, path, areas, _ = captured(t, "memory")
    data = path.read_bytes()
    assert b"AROUND-GUARD" in data
    assert b"SEL-DO-NOT-DUMP" not in data, "MADV_DONTDUMP memory is in the core"
    assert not Core(path).contains(areas["secret"])
    notes = " ".join(map(str, capture["capture"]["notes"]))
    assert "dump" in notes.lower(), f"no note about the memory left out: {notes!r}"


def test_coredump_filter_is_obeyed(t):
    """Bit 1 (anonymous shared) off, then on."""
    for value, expected in (("31", False), ("33", True)):
        process = t.target("memory", wait=True)
        areas = {l.split()[0]: int(l.split()[1], 16) for l in process.lines if " 0x" in l}
        with open(f"/proc/{process.pid}/coredump_filter", "w") as f:
            f.write("0x" + value)
        watch = t.watch("--pid", process.pid, "--compress", "none")
        t.go(process)
        capture = watch.wait("capture", 20)
        assert watch.wait_exit() == 0
        core = Core(t.core(capture))
        has = core.read(areas["shared"], 13) == b"SHARED-MEMORY"
        assert has is expected, f"coredump_filter {value}: shared memory in the core: {has}"
        assert core.contains(areas["guarded"]), "private memory is missing"
        if not expected:
            assert capture["capture"]["notes"], "nothing says that memory was left out"


def test_coretrap_note_holds_the_incident(t):
    capture, path, _, _ = captured(t, "memory")
    [note] = Core(path).note("coretrap")
    incident = json.loads(note.rstrip(b"\0"))
    assert dig(incident, "trigger.signal.name") == "SIGSEGV", incident
    assert dig(incident, "process.pid") == dig(capture, "process.pid")
