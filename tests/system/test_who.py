# SPDX-License-Identifier: MIT
"""WHO is watched: each filter catches its own and leaves the others alone; HOW OFTEN; exit statuses."""

import os
import pathlib
import signal
import time

from harness import dig, skip, target_path, until


def only(t, args, wanted, unwanted):
    """WANTED and UNWANTED are functions that crash something and return its pid: only the first is captured."""
    watch = t.watch(*args, "--kind", "mini", "-n", 5)
    stranger = unwanted()
    pid = wanted()
    watch.wait("capture", 10, pid=pid)
    time.sleep(0.3)
    watch.stop()
    tripped = [dig(e, "process.pid") for e in watch.of("trip")]
    assert tripped == [pid], f"tripped: {tripped}, wanted {pid} and not {stranger}"
    assert len(t.captures()) == 1


def crash(t, *argv, **popen):
    return lambda: t.run_target(*argv, **popen)[0]


def test_pid(t):
    process, other = t.target("die", "segv", wait=True), t.target("die", "segv", wait=True)

    def go(p):
        t.go(p)
        p.wait(10)
        return p.pid
    only(t, ["--pid", process.pid], lambda: go(process), lambda: go(other))


def test_two_pids(t):
    processes = [t.target("die", "segv", wait=True) for _ in range(3)]
    watch = t.watch("-p", processes[0].pid, "-p", processes[1].pid, "-n", 2, "--kind", "mini")
    for process in reversed(processes):
        t.go(process)
        process.wait(10)
    assert watch.wait_exit() == 0
    assert {dig(e, "process.pid") for e in watch.of("capture")} == {p.pid for p in processes[:2]}


def test_name(t):
    wanted, other = t.copy_target("die", "wanted-one"), t.copy_target("die", "unwanted")
    only(t, ["--name", "wanted-*"], crash(t, wanted, "segv"), crash(t, other, "segv"))


def test_name_of_a_running_process(t):
    wanted = t.copy_target("die", "runs-already")
    process = t.target(wanted, "segv", wait=True)

    def go():
        t.go(process)
        process.wait(10)
        return process.pid
    only(t, ["--name", "runs-already"], go, crash(t, "die", "segv"))


def test_name_longer_than_comm(t):
    wanted = t.copy_target("die", "a-name-longer-than-fifteen-bytes")
    only(t, ["--name", "a-name-longer-than-fifteen-bytes"], crash(t, wanted, "segv"), crash(t, "die", "segv"))


def test_name_of_a_script(t):
    python, script = os.path.realpath("/usr/bin/python3"), t.tmp / "worker.py"
    script.write_text("import ctypes; ctypes.string_at(0)\n")
    other = t.tmp / "other.py"
    other.write_text("import ctypes; ctypes.string_at(0)\n")
    only(t, ["--name", "worker.py"], crash(t, python, script), crash(t, python, other))


def test_exe(t):
    wanted = t.copy_target("die", "by-path")
    only(t, ["--exe", str(t.tmp) + "/by-*"], crash(t, wanted, "segv"), crash(t, "die", "segv"))


def test_cmdline(t):
    only(t, ["--cmdline", "*name=me segv*"], crash(t, "die", "name=me", "segv"), crash(t, "die", "name=you", "segv"))


def test_user(t):
    only(t, ["--user", "nobody", "--exe", target_path("die")], crash(t, "die", "segv", user=65534, group=65534),
         crash(t, "die", "segv"))


def test_user_by_number(t):
    only(t, ["--user", 65534, "--exe", target_path("die")], crash(t, "die", "segv", user=65534, group=65534),
         crash(t, "die", "segv"))


def test_different_filters_narrow(t):
    wanted, other = t.copy_target("die", "narrow-a"), t.copy_target("die", "narrow-b")
    only(t, ["--name", "narrow-*", "--cmdline", "*name=x*"], crash(t, wanted, "name=x", "segv"),
         crash(t, other, "name=y", "segv"))


def test_same_filter_widens(t):
    a, b = t.copy_target("die", "wide-a"), t.copy_target("die", "wide-b")
    watch = t.watch("--name", "wide-a", "--name", "wide-b", "-n", 2, "--kind", "mini")
    pids = {t.run_target(p, "segv")[0] for p in (a, b)}
    assert watch.wait_exit() == 0
    assert {dig(e, "process.pid") for e in watch.of("capture")} == pids


def test_cgroup(t):
    for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.exists(root + "/cgroup.procs"):
            break
    else:
        skip("no cgroup file system")
    group = pathlib.Path(root, f"coretrap-test-{os.getpid()}")
    group.mkdir()

    def remove():
        until(lambda: not (group / "cgroup.procs").read_text(), 5, "an empty cgroup")
        group.rmdir()
    t.cleanup_with(remove)

    def inside():
        (group / "cgroup.procs").write_text(str(os.getpid()))
    only(t, ["--cgroup", f"*/{group.name}", "--exe", target_path("die")], crash(t, "die", "segv", preexec_fn=inside),
         crash(t, "die", "segv"))


def test_tree(t):
    """The watched process' children, and theirs; a stranger with the same executable is none."""
    shell = t.spawn(["/bin/sh", "-c", f"read x; {target_path('die')} segv; true"])

    watch = t.watch("--pid", shell.pid, "--tree", "--kind", "mini", "-n", 5)
    stranger, _, _ = t.run_target("die", "segv")
    t.go(shell)
    capture = watch.wait("capture", 10)
    watch.stop()
    assert dig(capture, "process.executable") == target_path("die")
    assert stranger not in [dig(e, "process.pid") for e in watch.of("trip")]


def test_without_tree_children_are_not_watched(t):
    shell = t.spawn(["/bin/sh", "-c", f"read x; {target_path('die')} segv; true"])
    watch = t.watch("--pid", shell.pid)
    t.go(shell)
    shell.wait(10)
    time.sleep(0.5)
    watch.stop()
    assert not watch.of("trip") and not t.captures()


def test_all(t):
    watch = t.watch("--all", "-n", 2, "--kind", "mini", "--signal", "FPE")
    pids = {t.run_target("die", "fpe")[0], t.run_target(t.copy_target("die", "whoever"), "fpe")[0]}
    assert watch.wait_exit() == 0
    assert {dig(e, "process.pid") for e in watch.of("capture")} == pids


def test_command(t):
    watch = t.watch(command=[target_path("die"), "segv"], wait_armed=False)
    capture = watch.wait("capture", 15)
    assert watch.wait_exit() == 0
    assert dig(capture, "process.command_line") == [target_path("die"), "segv"]
    assert dig(capture, "process.ppid") == watch.process.pid
    assert watch.events[0]["event"] == "armed", [e["event"] for e in watch.events]


def test_command_that_ends_well(t):
    watch = t.watch(command=[target_path("die"), "exit", "0"], wait_armed=False)
    assert watch.wait_exit() == 3
    assert not watch.of("trip") and not t.captures()


def test_pid_that_ends_well_is_gone(t):
    process = t.target("die", "exit", "0", wait=True)
    watch = t.watch("--pid", process.pid)
    t.go(process)
    assert watch.wait_exit() == 3
    assert not watch.of("trip")


def test_pid_that_is_not_there(t):
    pid = t.run_target("die", "exit", "0")[0]
    done = t.coretrap("watch", "--pid", pid, "-o", t.store)
    assert done.returncode == 3, done
    assert str(pid) in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_duration_without_a_trip(t):
    start = time.monotonic()
    watch = t.watch("--exe", target_path("die"), "--duration", "1500ms")
    assert watch.wait_exit() == 4
    assert 1.4 < time.monotonic() - start < 8


def test_duration_after_a_trip(t):
    watch = t.watch("--exe", target_path("die"), "--duration", "3s", "-n", 10, "--kind", "mini")
    t.run_target("die", "segv")
    assert watch.wait_exit() == 0
    assert len(watch.of("capture")) == 1


def test_count(t):
    """-n 2: the third crash finds nobody watching."""
    watch = t.watch("--exe", target_path("die"), "-n", 2, "--kind", "mini")
    pids = [t.run_target("die", "segv")[0] for _ in range(2)]
    assert watch.wait_exit() == 0
    t.run_target("die", "segv")
    assert [dig(e, "process.pid") for e in watch.of("capture")] == pids
    assert len(t.captures()) == 2


def test_every(t):
    """Not more often than --every: the second crash is a skip with its reason, one after the interval is captured."""
    watch = t.watch("--exe", target_path("die"), "-n", 5, "--every", "3s", "--kind", "mini")
    first, _, _ = t.run_target("die", "segv")
    watch.wait("capture", 10, pid=first)
    second, _, _ = t.run_target("die", "segv")
    event = watch.wait("skip", 10, pid=second)
    assert event["reason"] == "too-soon", event["reason"]
    time.sleep(3.2)
    third, _, _ = t.run_target("die", "segv")
    watch.wait("capture", 10, pid=third)
    watch.stop()
    assert len(t.captures()) == 2


def test_observe_captures_nothing(t):
    watch = t.watch("--exe", target_path("die"), "--observe", "-n", 5)
    pid, _, _ = t.run_target("die", "segv")
    trip = watch.wait("trip", 10, pid=pid)
    time.sleep(0.5)
    watch.stop()
    assert not watch.of("capture") and not t.captures()
    # Nobody held the process: what it ran is named from the executable, by build ID and offset.
    assert trip["stack"][0].get("symbol", "").startswith("reads_null"), trip["stack"]


def test_coretrap_does_not_watch_itself(t):
    watch = t.watch("--all", "--signal", "SEGV", "-n", 2, "--kind", "mini")
    other = t.watch("--exe", target_path("die"))
    other.process.send_signal(signal.SIGSEGV)
    other.process.wait(10)
    time.sleep(0.5)
    assert not t.captures() and not watch.of("capture"), "coretrap captured one of its own processes"
    watch.stop()
