# SPDX-License-Identifier: MIT
"""Requests in flight at sockets that are out of the ordinary, each by a server that does just that."""

import socket
import subprocess
import time

from test_request_probe import PYTHON, Inflight

PATTERN = False

UNIX_CLIENT = """
import socket, sys, time
c = socket.socket(socket.AF_UNIX)
if sys.argv[2] == "bound":
    c.bind("\\0" + sys.argv[1] + ".client")
if sys.argv[2] == "credentials":
    c.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
print("ready", flush=True)
sys.stdin.readline()
c.connect(sys.argv[1])
for _ in range(2):
    c.sendall(b"a question\\n")
    c.recv(100)
time.sleep(60)
"""


def test_unix_client_with_an_address_is_no_server(t):
    """sd-bus binds its sockets, and the kernel does for SO_PASSCRED: what such a client is told is no request."""
    path = str(t.tmp / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    t.cleanup_with(listener.close)
    clients = [t.spawn([PYTHON, "-c", UNIX_CLIENT, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for how in ("plain", "bound", "credentials")]
    for client in clients:
        assert client.stdout.readline() == b"ready\n"
    probe = Inflight(t, *(client.pid for client in clients))
    for client in clients:
        client.stdin.write(b"\n")
        client.stdin.flush()
        s, _ = listener.accept()
        t.cleanup_with(s.close)
        for _ in range(2):
            assert s.recv(100) == b"a question\n"
            s.sendall(b"an answer\n")
    time.sleep(2.5)
    probe.assert_quiet()


UNIX_SERVER = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(8)
print("ready", flush=True)
s, _ = listener.accept()
s.recv(100)
time.sleep(60)
"""


def test_unix_server_of_a_client_with_an_address(t):
    path = str(t.tmp / "socket")
    server = t.spawn([PYTHON, "-c", UNIX_SERVER, path], stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    probe = Inflight(t, server.pid)
    client = socket.socket(socket.AF_UNIX)
    client.bind("\0" + path + ".client")
    client.connect(path)
    client.sendall(b"a question\n")
    assert probe.wait("slow")["reader"] == server.pid
    client.close()
