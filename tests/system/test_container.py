# SPDX-License-Identifier: MIT
"""A process in PID, mount and user namespaces of its own."""

import subprocess

from harness import dig, need, skip, target_path


def in_container(t, script):
    need("unshare")
    argv = ["unshare", "--user", "--map-root-user", "--pid", "--mount", "--fork", "--mount-proc", "/bin/sh", "-c", script]
    probe = subprocess.run([*argv[:-1], "true"], capture_output=True, text=True)
    if probe.returncode:
        skip(f"unshare: {probe.stderr.strip()}")
    return t.spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_container_is_captured_and_named_by_both_pids(t):
    executable = target_path("die")
    watch = t.watch("--exe", executable)
    shell = in_container(t, f"{executable} segv; true")
    out, _ = shell.communicate(timeout=20)
    inner = int(out.split()[1])
    capture = watch.wait("capture", 15)
    assert watch.wait_exit() == 0
    assert dig(capture, "process.pid") != inner, "the host's pid is the one inside"
    assert dig(capture, "process.namespace_pid") == inner, f"inside it is {inner}: {capture['process']}"
    seen = t.gdb(executable, t.core(capture), "bt")
    assert "reads_null" in seen and "main" in seen, seen[-300:]
    assert capture["capture"]["complete"] is True, capture["capture"]


def test_container_with_files_of_its_own(t):
    """The executable exists in the container's mount namespace alone: symbols come from there."""
    private = t.tmp / "private"
    private.mkdir()
    script = f"mount -t tmpfs none {private} && cp {target_path('die')} {private}/inner && {private}/inner segv; true"
    watch = t.watch("--name", "inner")
    shell = in_container(t, script)
    shell.communicate(timeout=20)
    capture = watch.wait("capture", 15)
    assert watch.wait_exit() == 0
    assert not (private / "inner").exists()
    assert capture["stack"][0]["symbol"].split("+")[0] == "reads_null", capture["stack"]
    assert dig(capture, "process.executable") == f"{private}/inner", capture["process"]
