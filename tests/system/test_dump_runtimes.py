# SPDX-License-Identifier: MIT
"""Real programs that go on while they are captured, and whose cores the debuggers read."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

from elfcore import Core
from harness import backtraces, need, skip, target_path, timeout, until
from survivor import Odd, capture, children

PATTERN = False
ALONE = True

JAVA = """
import java.util.Scanner;
public class Ticks {
    static volatile long ticks;
    public static void main(String[] a) {
        for (int i = 0; i < 4; i++) {
            Thread t = new Thread(() -> { for (;;) { byte[] b = new byte[4096]; ticks += 1 + b[7];
                try { Thread.sleep(1); } catch (InterruptedException e) { System.exit(9); } } });
            t.setDaemon(true); t.start();
        }
        System.out.println("ready"); System.out.flush();
        Scanner s = new Scanner(System.in);
        while (s.hasNextLine()) { s.nextLine(); System.out.println("alive " + ticks); System.out.flush(); }
    }
}
"""
NODE = ("let n=0;setInterval(()=>n++,1);console.log('ready');"
        "require('readline').createInterface({input:process.stdin}).on('line',()=>console.log('alive '+n));")
PYTHON = ("import sys,threading,time\nn=[0]\ndef run():\n    while True:\n        n[0]+=1; time.sleep(.001)\n"
          "[threading.Thread(target=run,daemon=True).start() for _ in range(4)]\nprint('ready',flush=True)\n"
          "for line in sys.stdin: print('alive',n[0],flush=True)\n")


def goes_on(t, odd, times=3):
    """It is captured some times; it counts on; gdb sees all its threads in the core."""
    last = -1
    for _ in range(times):
        event = capture(t, odd.pid)
        assert event["capture"]["complete"] is True and event["capture"]["snapshot"] == "fork", event["capture"]
        answer = odd.ask()
        assert answer.startswith("alive"), answer
        assert int(answer.split()[1]) > last, f"{answer} after {last}"
        last = int(answer.split()[1])
        time.sleep(0.05)
    assert "Z" not in children(odd.pid).values(), children(odd.pid)
    core = t.core(event)
    text = t.gdb(os.path.realpath(f"/proc/{odd.pid}/exe"), core, "thread apply all bt 3")
    threads = backtraces(text)
    assert sorted(threads) == sorted(Core(core).threads()), f"gdb shows {sorted(threads)}: {text[-300:]}"
    return event


@timeout(120)
def test_java(t):
    need("java", "javac")
    (t.tmp / "Ticks.java").write_text(JAVA)
    subprocess.run(["javac", "Ticks.java"], cwd=t.tmp, check=True)
    goes_on(t, Odd(t, shutil.which("java"), "-Xmx128m", "-cp", t.tmp, "Ticks"))


@timeout(120)
def test_node(t):
    need("node")
    goes_on(t, Odd(t, shutil.which("node"), "-e", NODE))


def test_python(t):
    need("/usr/bin/python3")
    goes_on(t, Odd(t, "/usr/bin/python3", "-c", PYTHON))


def test_go(t):
    """Goroutine stacks lie on the heap; the signal mask, the alternate stacks and the scheduler are as they were."""
    goes_on(t, Odd(t, target_path("ticks")), times=10)


@timeout(120)
def test_postgresql(t):
    """A backend and the postmaster, with the shared memory; queries go on, and a restart works afterwards."""
    need("postgres", "initdb", "psql", "setpriv")
    home = t.tmp / "pg"
    home.mkdir()
    os.chown(home, 65534, 65534)
    bare = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"HOME={home}"]
    subprocess.run([*bare, "initdb", "-D", home / "data", "-A", "trust", "-U", "postgres", "--no-sync"], check=True,
                   capture_output=True)
    argv = [*bare, "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses=", "-F"]
    sql = lambda text: subprocess.run(["psql", "-h", home, "-U", "postgres", "-Atc", text],  # noqa: E731
                                      capture_output=True, text=True, timeout=20)
    server = t.spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: sql("select 1").stdout.strip() == "1", 20, "an answer of PostgreSQL")
    assert sql("create table n as select generate_series(1,1000) i").returncode == 0
    client = t.spawn(["psql", "-h", home, "-U", "postgres", "-Atc", "select sum(i) from n, pg_sleep(5)"],
                     stdout=subprocess.PIPE, text=True)
    backend = int(until(lambda: sql("select pid from pg_stat_activity where wait_event = 'PgSleep'").stdout.strip(), 5,
                        "the query that sleeps"))
    for pid in (backend, server.pid):
        event = capture(t, pid)
        assert event["capture"]["complete"] is True and event["capture"]["snapshot"] == "fork", event["capture"]
        assert any("shared" in note for note in event["capture"]["notes"]), event["capture"]["notes"]
        assert "Z" not in children(pid).values()
    assert client.communicate(timeout=20)[0].strip() == "500500"
    assert sql("select count(*) from n").stdout.strip() == "1000"
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    server = t.spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: sql("select count(*) from n").stdout.strip() == "1000", 20, "PostgreSQL after its restart")
    server.send_signal(signal.SIGINT)
    server.wait(20)


@timeout(120)
def test_redis_under_load(t):
    """Its clients see no error, and no answer takes longer than the pause and what the machine does anyway."""
    need("redis-server", "redis-benchmark")
    path = t.tmp / "redis.sock"
    server = t.spawn(["redis-server", "--port", 0, "--unixsocket", path, "--save", "", "--dir", t.tmp],
                     stdout=subprocess.DEVNULL)
    until(path.exists, 10, "redis")
    load = t.spawn(["redis-benchmark", "-s", path, "-c", "20", "-n", "200000", "-r", "100000", "-d", "128", "-t",
                    "set,get", "--csv"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(0.3)
    captures = 0
    while load.poll() is None and captures < 20:
        event = capture(t, server.pid)
        assert event["capture"]["complete"] is True and event["capture"]["snapshot"] == "fork", event["capture"]
        captures += 1
    out = load.communicate(timeout=60)[0].decode()
    assert load.returncode == 0 and "rror" not in out, out[-300:]
    assert captures >= 2, captures
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"PING\r\n")
        assert s.recv(16).startswith(b"+PONG")
    assert not children(server.pid), children(server.pid)


def named(threads):
    """{lwp: functions} without what a debugger adds or leaves out at the bottom of a stack."""
    return {lwp: [f for f in frames if re.match(r"[A-Za-z_]", f) and f != "??"] for lwp, frames in threads.items()}


def test_debuggers_agree_with_an_attached_one(t):
    """gdb shows the same threads and frames in the core as when it is attached to the same stopped process; lldb and
    eu-stack read the core too."""
    need("gdb", "lldb", "eu-stack")
    executable = target_path("threads")
    process = t.target("threads", wait=True)
    os.kill(process.pid, signal.SIGSTOP)
    until(lambda: open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", 5, "a stopped process")
    event = capture(t, process.pid)
    core = t.core(event)
    of_core = named(backtraces(t.gdb(executable, core, "thread apply all bt")))
    attached = subprocess.run(["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex",
                               "set auto-load off", "-ex", "set width 0", "-p", str(process.pid), "-ex",
                               "thread apply all bt"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    of_process = named(backtraces(attached.stdout + attached.stderr))
    assert len(of_process) == 4, attached.stdout[-500:]
    assert of_core == of_process, f"core: {of_core}\n  attached: {of_process}"
    done = subprocess.run(["lldb", "--no-lldbinit", "--batch", "-o", "bt all", "-c", core, executable],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    text = done.stdout + done.stderr
    assert text.count("thread #") >= 4 and "waits_in_mutex" in text and "waits_in_poll" in text, text[-800:]
    done = subprocess.run(["eu-stack", f"--executable={executable}", f"--core={core}"], capture_output=True, text=True)
    assert done.stdout.count("TID ") == 4 and "waits_in_semaphore" in done.stdout, done.stdout + done.stderr
