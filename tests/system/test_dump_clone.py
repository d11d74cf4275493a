# SPDX-License-Identifier: MIT
"""What the target does while its clone lives is as if there were none."""

import fcntl
import os
import shutil
import socket
import subprocess

from harness import need
from survivor import HeldDump, Odd, children

PATTERN = False
ALONE = True

# Holds what the test names, lets go of it line by line, and says so.
PROGRAM = r"""
import ctypes, fcntl, os, socket, struct, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
pipe = os.open(sys.argv[2], os.O_WRONLY)
locked = os.open(sys.argv[3], os.O_RDWR)
fcntl.flock(locked, fcntl.LOCK_EX)
record = os.open(sys.argv[4], os.O_RDWR)
fcntl.fcntl(record, 37, struct.pack("hhqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
ballast = os.urandom(1 << 20)
libc = ctypes.CDLL(None, use_errno=True)
print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "":
        answer = "1"
    elif word == "socket":
        answer = peer.close()
    elif word in ("pipe", "flock", "record"):
        answer = os.close({"pipe": pipe, "flock": locked, "record": record}[word])
    elif word == "setns":  # refused to whoever shares its root and working directory with another
        mnt = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        answer = libc.setns(mnt, 0x20000) and ctypes.get_errno()
        os.close(mnt)
    elif word == "exec":
        os.execv(sys.argv[5], [sys.argv[5], "-u"])
    print("alive", answer, flush=True)
"""


def tell(odd, word):
    odd.process.stdin.write(word.encode())
    answer = odd.ask(5)
    assert answer.startswith("alive"), answer
    return answer.split()[1]


def test_what_is_closed_is_closed(t):
    """While the clone lives: FIN, EOF, released locks, setns, and an exec that gains its owner's rights."""
    need("python3")
    server = socket.create_server(("127.0.0.1", 0))
    fifo, flocked, recorded, suid = (t.tmp / n for n in ("fifo", "flock", "record", "suid-id"))
    os.mkfifo(fifo)
    flocked.touch()
    recorded.touch()
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    t.cleanup_with(os.close, reader)
    shutil.copy(shutil.which("id"), suid)
    suid.chmod(0o4755)
    odd = Odd(t, "/usr/bin/python3", "-c", PROGRAM, server.getsockname()[1], fifo, flocked, recorded, suid)
    peer, _ = server.accept()
    peer.settimeout(5)
    os.set_blocking(reader, True)
    held = HeldDump(t, odd.pid, "--snapshot", "fork")
    assert children(odd.pid), "there is no clone"
    tell(odd, "socket")
    assert peer.recv(1) == b"", "no FIN"
    tell(odd, "pipe")
    assert os.read(reader, 1) == b"", "no end of the pipe"
    tell(odd, "flock")
    with open(flocked) as f:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    tell(odd, "record")
    with open(recorded, "r+") as f:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert tell(odd, "setns") == "0", "setns was refused"
    assert children(odd.pid), "the clone did not live through the test"
    code, core, text = held.release()
    assert code == 0 and core[:4] == b"\x7fELF", text
    server.close()
    peer.close()


def test_exec_gains_rights(t):
    """A process of nobody's, whose clone lives, becomes root's by a set-user-ID program."""
    need("python3", "setpriv")
    suid = t.tmp / "suid-id"
    shutil.copy(shutil.which("id"), suid)
    suid.chmod(0o4755)
    program = ("import os,sys\nballast=os.urandom(1<<20)\nprint('ready',flush=True)\nsys.stdin.readline()\n"
               f"os.execv('{suid}',['{suid}','-u'])")
    odd = Odd(t, "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
              program)
    # Without a clone first: what this host's mounts allow.
    plain = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", suid, "-u"],
                           capture_output=True, text=True)
    held = HeldDump(t, odd.pid, "--snapshot", "fork")
    assert odd.ask(5) == plain.stdout.strip() == "0"
    code, _, text = held.release()
    assert code in (0, 1), text
