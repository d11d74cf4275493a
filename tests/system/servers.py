# SPDX-License-Identifier: MIT
"""Servers that the distribution has, and small ones of our own: how each is started, asked, and made to be stuck."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess

from harness import NOBODY, PATIENCE, need, skip, target_path, until
from test_request_probe import NGINX, PYTHON, SERVERS, certificate, free_port, start


def http(path, method="GET", body=b"", *fields):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *fields, "", ""]).encode() + body


def http_end(data):
    """How long the answer is that DATA begins with; 0: it has not all come."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return 0
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding") == b"chunked":
        end = body.find(b"0\r\n\r\n")
        return len(head) + 4 + end + 5 if end >= 0 else 0
    size = len(head) + 4 + int(fields.get(b"content-length", 0))
    return size if len(data) >= size else 0


def line_end(data):
    return data.find(b"\r\n") + 2 if b"\r\n" in data else 0


def postgres_end(data):
    """The answer to a query ends with ReadyForQuery."""
    at = 0
    while len(data) >= at + 5:
        kind, (size,) = data[at:at + 1], struct.unpack("!I", data[at + 1:at + 5])
        at += 1 + size
        if kind == b"Z":
            return at if len(data) >= at else 0
    return 0


class Server:
    """What a busy one is asked; None: what it cannot be asked."""
    fast = http("/x")
    large = http("/large")
    upload = http("/x", "POST", b"x" * 40, "Content-Length: 40")  # which comes in pieces
    pause_s = 2.5  # between two pieces
    events = upgrade = None
    pipelines = True
    end = staticmethod(http_end)
    context = None  # of TLS

    def __init__(self, process, port, executable):
        self.pid, self.port, self.executable = process.pid, port, executable

    def connect(self, t):
        """A connection that has had an answer."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=60 * PATIENCE)
        t.cleanup_with(s.close)
        if self.context:
            s = self.context.wrap_socket(s)
            t.cleanup_with(s.close)
        self.greet(s)
        s.sendall(self.fast)
        self.read(s)
        return s

    def greet(self, s):
        pass

    def read(self, s):
        """One answer."""
        data = b""
        while not self.end(data):
            piece = s.recv(65536)
            assert piece, f"closed after {data!r}"
            data += piece
        return data

    def release(self):
        """Lets a server go on that does not by itself."""


class Streaming(Server):
    """One of our own."""
    events = http("/events")
    upgrade = http("/upgrade", "GET", b"", "Connection: Upgrade", "Upgrade: websocket")


class Sendfile(Streaming):
    fast = http("/sendfile")


class Uring(Server):
    """Whose bytes are not seen, so that nothing tells how long a request is; no piece of it may be late."""
    large = None
    upload = http("/x")
    pause_s = 0.3


class Java(Server):
    pipelines = False  # com.sun.net.httpserver drops what comes behind a request


class Tls(Server):
    context = ssl._create_unverified_context()


class Redis(Server):
    fast = b"PING\r\n"
    large = None
    upload = b"*1\r\n$4\r\nPING\r\n"
    pause_s = 0.3
    end = staticmethod(line_end)


class Postgres(Server):
    end = staticmethod(postgres_end)

    @staticmethod
    def query(text):
        return b"Q" + struct.pack("!I", len(text) + 5) + text.encode() + b"\0"

    fast = query("select 1")
    large = query("select repeat('x', 8000000)")
    upload = query("select 'x                                      '")
    pause_s = 0.3

    def greet(self, s):
        hello = struct.pack("!I", 196608) + b"user\0postgres\0\0"
        s.sendall(struct.pack("!I", len(hello) + 4) + hello)
        self.read(s)


class Nginx(Server):
    """Its log of errors goes into a pipe, which blocks it once that is full."""
    fast = http("/small")
    upload = http("/sleep/1", "POST", b"x" * 40, "Content-Length: 40")
    events = http("/events")
    log = None

    def fill_log(self):
        fcntl.fcntl(self.log[1], fcntl.F_SETPIPE_SZ, 4096)
        own = os.open(f"/proc/self/fd/{self.log[1]}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(own, b"x" * 4096)
        os.close(own)

    def release(self):
        with contextlib.suppress(BlockingIOError):
            while os.read(self.log[0], 65536):
                pass


class Proxy(Nginx):
    fast = http("/sleep/0")


class Apache(Server):
    fast = http("/small")
    upload = http("/sleep/1", "POST", b"x" * 40, "Content-Length: 40")
    events = http("/events")


def start_python(t):
    return Streaming(*start(t, PYTHON, SERVERS / "serve.py"), PYTHON)


def start_sendfile(t):
    return Sendfile(*start(t, PYTHON, SERVERS / "serve.py"), PYTHON)


def start_tls(t):
    return Tls(*start(t, PYTHON, SERVERS / "serve.py", "tls", certificate(t)), PYTHON)


def start_node(t):
    need("node")
    return Streaming(*start(t, "node", SERVERS / "serve.js"), shutil.which("node"))


def start_go(t):
    return Streaming(*start(t, target_path("serve")), target_path("serve"))


def start_uring(t):
    process = t.spawn([target_path("uring")], stdout=subprocess.PIPE)
    port = process.stdout.readline()
    if process.poll() == 3 or not port:
        skip("the kernel refuses an io_uring")
    return Uring(process, int(port), target_path("uring"))


def start_java(t):
    need("java", "javac")
    subprocess.run(["javac", "-d", t.tmp, SERVERS / "Serve.java"], check=True, timeout=90 * PATIENCE)
    process, port = start(t, "java", "-Xshare:auto", "-Xmx64m", "-Dsun.net.httpserver.nodelay=true", "-cp", t.tmp, "Serve")
    return Java(process, port, os.path.realpath(f"/proc/{process.pid}/exe"))


def fill_directory(path):
    (path / "www").mkdir(exist_ok=True)
    (path / "www" / "small").write_bytes(b"x" * 600)
    (path / "www" / "large").write_bytes(b"x" * (8 << 20))


# Without CoreDumpDirectory its workers, who change their user, are not to be dumped.
APACHE = """ServerRoot {tmp}
ServerName test
PidFile {tmp}/{mpm}.pid
DefaultRuntimeDir {tmp}
Listen 127.0.0.1:{port}
ErrorLog {tmp}/{mpm}.log
CoreDumpDirectory {tmp}
User nobody
Group nogroup
{modules}
KeepAliveTimeout 200
MaxKeepAliveRequests 0
Timeout 200
StartServers 1
MaxRequestWorkers 24
DocumentRoot {tmp}/www
ProxyPass /sleep/ http://127.0.0.1:{upstream}/sleep/
ProxyPass /events http://127.0.0.1:{upstream}/events
ScriptAlias /run/ {tmp}/cgi/
{more}
"""

CGI = "#!/bin/sh\nsleep ${PATH_INFO#/}\nprintf 'Content-Type: text/plain\\r\\n\\r\\nok'\n"


def start_apache(t, mpm, upstream, modules, more=""):
    need("apache2")
    port = free_port()
    (t.tmp / "cgi").mkdir(exist_ok=True)
    fill_directory(t.tmp)
    (t.tmp / "cgi" / "sleep").write_text(CGI)
    (t.tmp / "cgi" / "sleep").chmod(0o755)
    load = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in
                     (f"mpm_{mpm}", "authz_core", "alias", "proxy", "proxy_http", *modules))
    conf = t.tmp / f"{mpm}.conf"
    conf.write_text(APACHE.format(tmp=t.tmp, mpm=mpm, port=port, upstream=upstream.port, modules=load, more=more))
    process = t.spawn(["apache2", "-f", conf, "-DFOREGROUND"], stderr=subprocess.DEVNULL)
    return Apache(process, wait_for(port), shutil.which("apache2"))


def start_apache_event(t):
    return start_apache(t, "event", start_python(t), (), "ServerLimit 1\nThreadsPerChild 24\nThreadLimit 24")


def start_apache_prefork(t):
    return start_apache(t, "prefork", start_python(t), ("cgi",))


def start_nginx(t, kind=Nginx):
    need("nginx")
    port, log = free_port(), os.pipe()
    directory = t.tmp / f"nginx-{port}"
    directory.mkdir()
    fill_directory(directory)
    conf = directory / "conf"
    conf.write_text(NGINX.format(tmp=directory, port=port, upstream=start_python(t).port))
    process = t.spawn(["nginx", "-p", directory, "-c", conf], stderr=log[1])
    os.set_blocking(log[0], False)
    for fd in log:
        t.cleanup_with(os.close, fd)
    server = kind(process, wait_for(port), shutil.which("nginx"))
    server.log = log
    return server


def start_proxy(t):
    return start_nginx(t, Proxy)


def start_redis(t):
    need("redis-server")
    port = free_port()
    process = t.spawn(["redis-server", "--port", port, "--save", "", "--enable-debug-command", "yes", "--dir", t.tmp],
                      stdout=subprocess.DEVNULL)
    return Redis(process, wait_for(port), shutil.which("redis-server"))


def start_postgres(t):
    """A cluster of its own, which no package's service knows of."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        skip("PostgreSQL is not installed")
    port, directory = free_port(), t.tmp / "postgres"
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": directory}
    directory.mkdir(mode=0o700)
    os.chown(directory, NOBODY, NOBODY)
    subprocess.run([found[-1] / "initdb", "-D", directory / "data", "-U", "postgres", "-A", "trust", "--no-sync",
                    "--no-locale"], check=True, capture_output=True, timeout=60 * PATIENCE, **as_nobody)
    process = t.spawn([found[-1] / "postgres", "-D", directory / "data", "-h", "127.0.0.1", "-p", port, "-k", directory,
                       "-F"], stderr=subprocess.DEVNULL, **as_nobody)
    return Postgres(process, wait_for(port), found[-1] / "postgres")


def wait_for(port):
    def answers():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    until(answers, 20, f"a server on port {port}")
    return port
