# SPDX-License-Identifier: MIT
"""Files of rules, as the person who writes one and the script that installs one meet them."""

import json
import os
import pathlib
import shutil

from harness import NOBODY, ROOT

PATTERN = False

GOOD = """\
defaults: {kind: mini}
rules:
  - rule: crashes
    all: true
    signal: [SEGV, ABRT]
"""


def write(t, text, name="coretrap.yaml"):
    """In a directory of its own: what lies in conf.d beside a file belongs to it."""
    path = pathlib.Path(t.tmp, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o644)
    return path


def check(t, path):
    done = t.coretrap("config", "check", str(path), seconds=10)
    return done.returncode, done.stdout, done.stderr


def test_the_example_is_good(t):
    """What we ship for people to begin with is accepted, here and as it is shown."""
    example = pathlib.Path(t.tmp, "coretrap.yaml")
    shutil.copyfile(ROOT / "contrib" / "coretrap.yaml", example)
    status, stdout, stderr = check(t, example)
    assert (status, stderr) == (0, ""), (status, stderr)
    assert stdout == f"{example}: 6 rules\n", stdout
    shown = t.coretrap("config", "show", "--effective", str(example))
    again = write(t, shown.stdout, "again/coretrap.yaml")
    assert check(t, again)[0] == 0, check(t, again)
    assert t.coretrap("config", "show", "--effective", str(again)).stdout == shown.stdout


def test_problems_point_at_line_and_column(t):
    """Every problem is one line; a script can take it apart, and an editor jumps to it."""
    path = write(t, "mode: watch\nrules:\n  - rule: a\n    name: x\n    sigal: SEGV\n    cpu: lots\n")
    status, stdout, stderr = check(t, path)
    assert (status, stdout) == (2, ""), (status, stdout)
    lines = stderr.splitlines()
    assert [line[len(str(path)):].split(" ")[0] for line in lines] == [":1:7:", ":5:5:", ":6:10:"], stderr
    assert "did you mean signal?" in lines[1]


def test_hostile_files_are_refused_quickly(t):
    """Too large, too deep, without end, not text: one line, status 2, and no 10 MB chewed first."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    wrong = []
    for name, text in {
        "large": GOOD + "#\n" * (5 << 20), "laughs": laughs, "cycle": "rules: &r\n- *r\n",
        "deep": "rules: " + "[" * 500000, "deep map": "rules: " + "{a: " * 100000, "nul": b"rules:\n- rule: \0\n",
        "latin": b"rules:\n- rule: \xe9\n", "utf-16": GOOD.encode("utf-16"), "empty": "",
        "anchors": "rules:\n" + "- &a 1\n" * 100000, "one key": "k" * 1000000 + ": 1\n",
        "keys": "".join(f"k{i}: 1\n" for i in range(50000)),
    }.items():
        status, _, stderr = check(t, write(t, text, f"{name}/coretrap.yaml"))
        if status != 2 or len(stderr.splitlines()) != 1 or "coretrap.yaml" not in stderr or len(stderr) > 1000:
            wrong.append(f"{name}: {status} {stderr[:300]!r}")
    assert not wrong, wrong


def test_root_refuses_what_others_can_write(t):
    path = write(t, GOOD)
    path.chmod(0o666)
    assert check(t, path)[2] == f"{path}: is refused: it can be written by everybody\n"
    path.chmod(0o644)
    os.chown(path, NOBODY, 0)
    status, _, stderr = check(t, path)
    assert status == 2 and "does not belong to root" in stderr, stderr
    os.chown(path, 0, 0)
    path.parent.chmod(0o777)
    status, _, stderr = check(t, path)
    path.parent.chmod(0o700)
    assert status == 2 and "directory" in stderr, stderr
    assert check(t, path)[0] == 0


def test_drop_ins_belong_to_the_file_beside_them(t):
    path = write(t, GOOD)
    write(t, "rules:\n- {rule: more, name: x, cpu: 80}\n", "conf.d/more.yaml")
    done = t.coretrap("config", "show", "--json", "--effective", str(path))
    assert done.returncode == 0, done.stderr
    assert [rule["rule"] for rule in json.loads(done.stdout)["rules"]] == ["crashes", "more"]
    bad = write(t, "rules:\n- {rule: crashes, name: x}\n", "conf.d/twice.yaml")
    status, _, stderr = check(t, path)
    assert status == 2 and stderr.startswith(f"{bad}:2:10: ") and f"{path.name}:3" in stderr, stderr


def test_usage(t):
    for args, word in ((["config"], "check or show"), (["config", "test"], "'test'"),
                       (["config", "check", "--json"], "--json"), (["config", "show", "a", "b"], "one FILE"),
                       (["config", "check", "/nonexistent/x.yaml"], "/nonexistent/x.yaml")):
        done = t.coretrap(*args)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and word in done.stderr, (args, done)
