# SPDX-License-Identifier: MIT
"""The commands as a person and a script meet them."""

import json
import subprocess

from harness import CORETRAP, dig, need, target_path, until

# What makes no sense, and the word that the one line on stderr must name.
USAGE_ERRORS = [
    (["watch"], "--pid"),
    (["watch", "--pid", "no-number"], "--pid"),
    (["watch", "--pid", "0"], "--pid"),
    (["watch", "--pid", "-5"], "--pid"),
    (["watch", "--pid", "99999999999999999999"], "--pid"),
    (["watch", "--all", "--signal", "NONSENSE"], "--signal"),
    (["watch", "--all", "--signal", ""], "--signal"),
    (["watch", "--all", "--first-chance", "KILL"], "--first-chance"),
    (["watch", "--all", "-n", "many"], "--count"),
    (["watch", "--all", "--every", "5 parsecs"], "--every"),
    (["watch", "--all", "--every", "5s"], "--every"),
    (["watch", "--all", "--duration", "-1s"], "--duration"),
    (["watch", "--all", "--kind", "huge"], "--kind"),
    (["watch", "--all", "--compress", "rar"], "--compress"),
    (["watch", "--user", "no-such-user-here"], "--user"),
    (["watch", "--tree"], "WHO"),
    (["watch", "--all", "--tree"], "--tree"),
    (["watch", "--all", "--observe", "-o", "/tmp/x"], "--output"),
    (["watch", "--all", "ls"], "ls"),
    (["watch", "--all", "--no-such-flag"], "--no-such-flag"),
    (["watch", "--all", "--kind"], "--kind"),
    (["watch", "--all", "-o", "-", "--json"], "--output"),
    (["show"], "ID"),
    (["debug"], "ID"),
    (["export"], "ID"),
    (["rm"], "ID"),
    (["no-such-command"], "no-such-command"),
]


def test_usage_errors(t):
    """Each is refused in one line that names it, with status 2, before anything is attached."""
    wrong = []
    for args, word in USAGE_ERRORS:
        try:
            done = t.coretrap(*args, seconds=5)
        except subprocess.TimeoutExpired:
            wrong.append(f"{args}: accepted")
            continue
        lines = done.stderr.splitlines()
        if done.returncode != 2:
            wrong.append(f"{args}: status {done.returncode}, {done.stderr!r}")
        elif len(lines) != 1 or word.lower() not in lines[0].lower():
            wrong.append(f"{args}: not one line with {word}: {done.stderr!r}")
        elif done.stdout:
            wrong.append(f"{args}: prints on stdout: {done.stdout[:100]!r}")
    assert not wrong, "\n  ".join(["", *wrong])


def test_help_and_version(t):
    for args in (["--help"], ["watch", "--help"]):
        done = t.coretrap(*args)
        assert done.returncode == 0 and "watch" in done.stdout, done
    text = t.coretrap("watch", "--help").stdout
    for flag in ("--pid", "--name", "--exe", "--cmdline", "--user", "--cgroup", "--tree", "--all", "--signal",
                 "--first-chance", "--count", "--every", "--duration", "--kind", "--compress", "--output",
                 "--comment", "--observe", "--json"):
        assert flag in text, f"watch --help does not name {flag}"
    assert t.coretrap("--version").returncode == 0


def captured(t, *args):
    watch = t.watch("--exe", target_path("die"), *args)
    t.run_target("die", "segv")
    capture = watch.wait("capture", 10)
    assert watch.wait_exit() == 0
    return capture


def test_list_and_show(t):
    first, second = captured(t, "--comment", "the first"), captured(t)
    ids = [first["capture"]["id"], second["capture"]["id"]]
    done = t.coretrap("list", "--store", t.store)
    assert done.returncode == 0, done.stderr
    for capture_id in ids:
        assert capture_id in done.stdout, done.stdout
    assert "SIGSEGV" in done.stdout and "die" in done.stdout, done.stdout
    done = t.coretrap("list", "-o", t.store, "--json")
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(e["capture"]["id"] for e in listed) == sorted(ids), done.stdout
    done = t.coretrap("show", ids[0], "--store", t.store)
    assert done.returncode == 0, done.stderr
    for word in ("SIGSEGV", "reads_null", "the first", str(dig(first, "process.pid"))):
        assert word in done.stdout, f"show does not tell {word}: {done.stdout}"
    done = t.coretrap("show", ids[0], "-o", t.store, "--json")
    assert json.loads(done.stdout)["capture"]["id"] == ids[0]


def test_list_of_an_empty_store(t):
    done = t.coretrap("list", "-o", t.store, "--json")
    assert done.returncode == 0 and done.stdout == "", done
    done = t.coretrap("list", "-o", t.tmp / "missing")
    assert done.returncode in (0, 1) and done.stderr.count("\n") <= 1, done


def test_id_that_is_not_there(t):
    for command in ("show", "export", "rm", "debug"):
        for name in ("nothing", "../store", "/etc", "..", ""):
            done = t.coretrap(command, name, "--store", t.store)
            assert done.returncode in (1, 2), f"{command} {name!r}: {done}"
            assert done.stderr.count("\n") == 1, f"{command} {name!r}: {done.stderr!r}"
    assert t.store.exists()


def test_debug_opens_gdb(t):
    need("gdb")
    capture = captured(t)
    done = subprocess.run([CORETRAP, "debug", capture["capture"]["id"], "-o", str(t.store)], input="bt\nquit\n",
                          capture_output=True, text=True, errors="replace", timeout=60)
    assert "reads_null" in done.stdout and "main" in done.stdout, done
    assert sorted(p.name for p in t.captures()[0].iterdir()) == ["core.zst", "incident.json"], "unpacked into the store"


def test_export_is_a_plain_core(t):
    capture = captured(t)
    path = t.tmp / "exported.core"
    done = t.coretrap("export", capture["capture"]["id"], "--store", t.store, path)
    assert done.returncode == 0, done
    assert path.read_bytes()[:4] == b"\x7fELF"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "reads_null" in t.gdb(target_path("die"), path, "bt")
    again = t.coretrap("export", capture["capture"]["id"], "--store", t.store, path)
    assert again.returncode == 1 and again.stderr.count("\n") == 1, "an existing file was replaced"


def test_rm(t):
    first, second = captured(t), captured(t)
    done = t.coretrap("rm", first["capture"]["id"], "--store", t.store)
    assert done.returncode == 0, done
    assert [p.name for p in t.captures()] == [second["capture"]["id"]]


def test_doctor(t):
    done = t.coretrap("doctor")
    assert done.returncode in (0, 1), done
    lines = done.stdout.splitlines()
    for word in ("kernel", "btf", "signal_deliver", "sched_process_exit", "core_pattern", "store"):
        assert any(word in l.lower() for l in lines), f"doctor says nothing about {word}: {done.stdout}"
    for line in lines:
        assert any(w in line for w in ("ok", "degraded", "missing")), f"no verdict: {line!r}"
    done = t.coretrap("doctor", "--json")
    checks = json.loads(done.stdout)["checks"]
    assert checks, done
    states = {c["status"] for c in checks}
    assert states <= {"ok", "degraded", "missing"}, states


def test_doctor_names_the_owner_of_the_pattern(t):
    watch = t.watch("--exe", target_path("die"))
    done = t.coretrap("doctor")
    lines = [l for l in done.stdout.splitlines() if "core_pattern" in l]
    assert any(CORETRAP in l or "coretrap" in l for l in lines), done.stdout
    watch.stop()


def test_unprivileged_is_told(t):
    done = t.coretrap("watch", "--all", "--duration", "1s", user=65534, group=65534)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    assert any(w in done.stderr.lower() for w in ("root", "privilege", "permitted", "cap_")), done.stderr


def test_armed_says_what_is_watched(t):
    process = t.target("die", "sleep", ready=True)
    watch = t.watch("--pid", process.pid)
    assert str(process.pid) in json.dumps(watch.armed), watch.armed
    watch.stop()
    with open(t.tmp / "out", "wb") as out:
        plain = t.spawn([CORETRAP, "watch", "--pid", process.pid, "-o", t.store], stdout=out, stderr=subprocess.STDOUT)
        until(lambda: "armed" in (t.tmp / "out").read_text().lower() or str(process.pid) in (t.tmp / "out").read_text(),
              10, "words for a person")
        plain.terminate()
        plain.wait(10)
    assert "free" in (t.tmp / "out").read_text(), (t.tmp / "out").read_text()


def test_person_is_told_what_happened(t):
    """After a capture: the top frame, the path, and the command that opens it."""
    done = t.coretrap("watch", "-o", t.store, "--", target_path("die"), "segv")
    assert done.returncode == 0, done
    text = done.stdout + done.stderr
    [capture] = t.captures()
    for word in ("SIGSEGV", "reads_null", str(capture), "coretrap debug"):
        assert word in text, f"no {word} in: {text}"
    assert "\r" not in text, "a progress bar on a pipe"


def test_events_have_what_section_5_says(t):
    capture = captured(t)
    for key in ("time", "event", "id", "host.name", "trigger.kind", "process.pid", "process.tid", "process.ppid",
                "process.comm", "process.executable", "process.command_line", "process.uid", "process.start_time",
                "stack", "capture.id", "capture.path", "capture.kind", "capture.bytes", "capture.pause_ms",
                "capture.duration_ms", "capture.threads", "capture.complete", "capture.notes"):
        assert dig(capture, key) is not None, f"no {key} in {capture}"
    frame = capture["stack"][0]
    assert frame["address"].startswith("0x") and frame["offset"].startswith("0x") and frame["build_id"], frame
    assert frame["module"].endswith("/die"), frame
    [directory] = t.captures()
    assert capture["capture"]["path"].startswith(str(directory))


def test_handler_started_by_hand_is_refused(t):
    done = t.coretrap("core-handler")
    assert done.returncode in (1, 2) and done.stderr.count("\n") <= 2, done
