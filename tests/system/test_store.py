# SPDX-License-Identifier: MIT
"""The store under every kind of trouble: a clear event, and no file that is not valid."""

import json
import os
import pathlib
import stat
import subprocess
import time

from elfcore import Core
from harness import CORETRAP, check_store, dig, skip, target_path, timeout, until


def small_store(t, size):
    """A store on a tmpfs of SIZE bytes."""
    store = t.tmp / f"small-{size}"
    store.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", store],
                          capture_output=True, text=True)
    if done.returncode:
        skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    t.cleanup_with(lambda: subprocess.run(["umount", "-l", store]))
    t.stores.append(store)
    return store


def ended(watch, pid, seconds=20):
    """The capture or skip that a death ended in."""
    return until(lambda: watch.of("capture", pid=pid) + watch.of("skip", pid=pid), seconds,
                 f"a capture or skip of {pid}")[0]


def valid_or_nothing(t, store, event):
    """What is in the store opens, and the event says what is there."""
    found = t.captures(store)
    check_store(store)
    if event["event"] == "skip":
        assert event["reason"], event
        assert not found or not list(found[0].glob("core*")), "a skip, and yet a core"
        return
    for capture in found:
        for core in capture.glob("core*"):
            assert not event["capture"]["complete"], "disk full, and called complete"
            assert event["capture"]["notes"], "partial, and no note says why"
            plain = t.core(event)
            assert Core(plain).threads(), "a partial core without threads"
            seen = t.gdb(target_path("memory"), plain, "info threads")
            assert "crashes_with_memory" in seen or "LWP" in seen, seen[-300:]


def disk_full(t, size, *args):
    store = small_store(t, size)
    watch = t.watch("--exe", target_path("memory"), "--compress", "none", *args, store=store)
    pid, status, _ = t.run_target("memory", "resident", 16)
    assert status == -11
    event = ended(watch, pid)
    status = watch.stop()
    assert event["event"] == "skip" or not event["capture"]["complete"], event
    assert status != 0 or event["event"] == "capture", f"exit status {status} for {event['event']}"
    text = json.dumps(event).lower()
    assert "space" in text, f"the event does not say that space ran out: {event}"
    valid_or_nothing(t, store, event)
    return event


def test_disk_full_at_the_start(t):
    store = small_store(t, "64k")
    (store / "filler").write_bytes(b"")
    with open(store / "filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    watch = t.watch("--exe", target_path("memory"), "--compress", "none", store=store, wait_armed=False)
    until(lambda: watch.of("armed") or watch.process.poll() is not None, 10, "armed, or refused")
    if watch.process.poll() is not None:  # refused before anything was attached
        assert watch.process.returncode in (1, 2) and "space" in watch.stderr().lower(), watch.stderr()
        return
    pid, _, _ = t.run_target("memory")
    event = ended(watch, pid)
    watch.stop()
    assert event["event"] == "skip" and "space" in json.dumps(event).lower(), event
    assert sorted(p.name for p in store.iterdir()) == ["filler"]


def test_disk_too_small(t):
    disk_full(t, "4m")


def test_core_that_is_cut_has_the_frames(t):
    """The stack lies behind all other memory, but is written before it."""
    store = small_store(t, "40m")
    watch = t.watch("--exe", target_path("memory"), "--compress", "none", store=store)
    pid, _, _ = t.run_target("memory", "resident", 64)
    event = ended(watch, pid)
    watch.stop()
    assert event["event"] == "capture" and not event["capture"]["complete"], event
    frames = t.gdb(target_path("memory"), t.core(event), "bt")
    assert "crashes_with_memory" in frames and "main" in frames, frames[-400:]


def test_disk_fills_in_the_middle(t):
    """The space is there when the capture starts, and is taken by another while it runs."""
    store = small_store(t, "200m")
    watch = t.watch("--exe", target_path("memory"), "--compress", "none", store=store)
    process = t.target("memory", "resident", 128, wait=True)
    t.go(process)
    # As soon as the temporary file shows up, the rest of the disk is filled.
    until(lambda: any(n.startswith(".") for n in os.listdir(store)) or t.captures(store), 10, "a temporary file")
    with open(store / "filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(1 << 20))
        except OSError:
            pass
    event = ended(watch, process.pid, 30)
    watch.stop()
    (store / "filler").unlink()
    valid_or_nothing(t, store, event) if event["event"] == "skip" or not event["capture"]["complete"] else None
    check_store(store)
    for capture in t.captures(store):
        if event["capture"]["complete"]:
            assert t.gdb(target_path("memory"), t.core(event), "bt").count("crashes_with_memory")


@timeout(120)
def test_disk_full_at_the_last_bytes(t):
    """A store that lacks a few pages for exactly this core, whatever its size is."""
    watch = t.watch("--exe", target_path("memory"), "--compress", "none")
    t.run_target("memory", "resident", 16)
    capture = watch.wait("capture", 20)
    assert watch.wait_exit() == 0
    used = sum(os.stat(p).st_blocks * 512 for p in t.captures()[0].iterdir())
    for missing in (2, 8):
        store = small_store(t, used - missing * 4096)
        watch = t.watch("--exe", target_path("memory"), "--compress", "none", store=store)
        pid, _, _ = t.run_target("memory", "resident", 16)
        event = ended(watch, pid)
        watch.stop()
        valid_or_nothing(t, store, event) if event["event"] == "skip" or not event["capture"]["complete"] else None
        check_store(store)
        assert event["event"] == "skip" or not event["capture"]["complete"] or \
            Core(t.core(event)).size == Core(t.core(capture)).size


def refused(t, store, *words):
    """watch refuses STORE before it arms: status 1 or 2, one line that says why."""
    done = t.coretrap("watch", "--exe", target_path("die"), "-o", store, "--duration", "2s", "--json")
    assert done.returncode in (1, 2), f"status {done.returncode}: {done.stdout[:300]} {done.stderr[:300]}"
    lines = [l for l in done.stderr.splitlines() if l]
    assert len(lines) == 1 and any(w in done.stderr.lower() for w in words), f"stderr: {done.stderr!r}"


def test_store_is_a_symlink(t):
    link, elsewhere = t.tmp / "link", t.tmp / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    link.symlink_to(elsewhere)
    refused(t, link, "link", "loop", "not a directory")
    assert not list(elsewhere.iterdir())


def test_output_file_is_a_dangling_symlink(t):
    """Followed as root, it would create a file wherever somebody wants one."""
    link, victim = t.tmp / "core.file", t.tmp / "victim"
    link.symlink_to(victim)
    watch = t.watch("--exe", target_path("die"), store=link, wait_armed=False)
    until(lambda: watch.of("armed") or watch.process.poll() is not None, 10, "armed, or refused")
    if watch.process.poll() is None:
        t.run_target("die", "segv")
        time.sleep(1)
        watch.stop()
    assert not victim.exists(), "a dangling link was followed"


def test_store_is_read_only(t):
    store = small_store(t, "10m")
    subprocess.run(["mount", "-o", "remount,ro", store], check=True)
    refused(t, store, "read-only", "writable")


def test_store_is_a_strangers(t):
    """A directory that others can write to is no place for the memory of processes."""
    store = t.tmp / "open"
    store.mkdir()
    store.chmod(0o777)
    os.chown(store, 65534, 65534)
    watch = t.watch("--exe", target_path("die"), store=store, wait_armed=False)
    until(lambda: watch.of("armed") or watch.process.poll() is not None, 10, "armed, or refused")
    if watch.process.poll() is not None:
        assert watch.process.returncode in (1, 2) and watch.stderr().count("\n") == 1, watch.stderr()
        return
    t.run_target("die", "segv")
    watch.wait("capture", 10)
    watch.wait_exit()
    check_store(store)


def test_store_vanishes(t):
    """Removed between arming and the crash: said, nothing else breaks, core_pattern is put back."""
    store = t.tmp / "gone"
    store.mkdir(mode=0o700)
    watch = t.watch("--exe", target_path("die"), store=store)
    store.rmdir()
    pid, status, _ = t.run_target("die", "segv")
    assert status == -11
    event = ended(watch, pid)
    watch.stop()
    assert event["event"] == "skip" and event["reason"], event


@timeout(90)
def test_hostile_names(t):
    hostile = ["new\nline", "\x1b[31mred\x1b[0m", "../../up", "quote\"'", "%s%n", "-rf"]
    watch = t.watch("--exe", str(t.tmp) + "/*", "-n", len(hostile), "--kind", "mini")
    for i, name in enumerate(hostile):
        path = t.copy_target("die", f"prog{i}" if "/" in name else name)
        pid, status, _ = t.run_target(path, f"name={name}", "segv")
        assert status == -11, status
        capture = watch.wait("capture", 10, pid=pid)
        assert name.encode()[:15].decode(errors="ignore") == dig(capture, "process.comm"), capture["process"]
    assert watch.wait_exit() == 0
    assert not watch.other, f"lines that are no JSON: {watch.other}"
    check_store(t.store)
    assert len(t.captures()) == len(hostile)
    for capture in t.captures():
        assert capture.name.isascii() and capture.name.isprintable() and capture.name[0] != ".", repr(capture.name)
        assert not set(capture.name) & set("\x1b\n\"'%"), repr(capture.name)
    listing = t.coretrap("list", "-o", t.store)
    assert listing.returncode == 0, listing.stderr
    assert "\x1b" not in listing.stdout, "list lets escape codes through"
    assert len([l for l in listing.stdout.splitlines() if "SEGV" in l]) == len(hostile), listing.stdout
    assert not (t.tmp.parent / "up").exists()


def test_setuid_program_is_roots_only(t):
    path = t.copy_target("die", "setuid-die")
    os.chmod(path, 0o4755)
    watch = t.watch("--exe", path)
    pid, status, _ = t.run_target(path, "segv", user=65534, group=65534)
    event = ended(watch, pid)
    watch.stop()
    if event["event"] == "skip":
        assert event["reason"], event
    check_store(t.store)  # root's, 0600


def test_daemon_that_dropped_root_is_captured(t):
    watch = t.watch("--exe", target_path("die"))
    pid, status, _ = t.run_target("die", "drop-root")
    assert status == -11
    capture = watch.wait("capture", 10, pid=pid)
    assert watch.wait_exit() == 0
    check_store(t.store)
    assert "reads_null" in t.gdb(target_path("die"), t.core(capture), "bt")


def test_capture_has_what_section_6_says(t):
    watch = t.watch("--exe", target_path("die"), "--comment", "a comment\x1b of mine")
    pid, _, _ = t.run_target("die", "segv")
    event = watch.wait("capture", 10)
    assert watch.wait_exit() == 0
    [capture] = t.captures()
    assert sorted(p.name for p in capture.iterdir()) == ["core.zst", "incident.json"], list(capture.iterdir())
    assert "-die-" in capture.name and f"-{pid}-" in capture.name, capture.name
    incident = json.loads((capture / "incident.json").read_text())
    assert incident["capture"]["id"] == capture.name == event["capture"]["id"], incident["capture"]
    assert incident.get("comment") == "a comment\x1b of mine" or "a comment" in json.dumps(incident)
    check_store(t.store)


def test_path_of_a_capture_is_from_the_root_on(t):
    """However the store was named: the reader of the event has another working directory."""
    (t.tmp / "odd").mkdir()
    watch = t.watch("--exe", target_path("die"), store=".//odd//", cwd=t.tmp)
    pid, _, _ = t.run_target("die", "segv")
    event = watch.wait("capture", 10, pid=pid)
    watch.stop()
    path = event["capture"]["path"]
    assert path == f"{t.tmp}/odd/{event['capture']['id']}", path
    assert json.loads(pathlib.Path(path, "incident.json").read_text())["capture"]["path"] == path


def test_output_to_a_file(t):
    path = t.tmp / "one.core"
    watch = t.watch("--exe", target_path("die"), "--compress", "none", store=path)
    pid, _, _ = t.run_target("die", "segv")
    watch.wait("capture", 10, pid=pid)
    assert watch.wait_exit() == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "reads_null" in t.gdb(target_path("die"), path, "bt")


def test_output_to_stdout(t):
    path = t.tmp / "piped.core"
    with open(path, "wb") as out, open(t.tmp / "err", "wb") as err:
        watch = t.spawn([CORETRAP, "watch", "--exe", target_path("die"), "--compress", "none", "-o", "-"],
                        stdout=out, stderr=err)
        pattern = pathlib.Path("/proc/sys/kernel/core_pattern")
        until(lambda: pattern.read_text().startswith("|"), 10, "armed")
        time.sleep(0.5)
        t.run_target("die", "segv")
        assert watch.wait(20) == 0, (t.tmp / "err").read_text()
    assert "reads_null" in t.gdb(target_path("die"), path, "bt"), path.read_bytes()[:100]
