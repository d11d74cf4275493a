# SPDX-License-Identifier: MIT
"""serve.py [tls CERTIFICATE]: an HTTP server of a thread a connection; the first line it prints is its port.

/sleep/MS answers after MS milliseconds, /sendfile by sendfile alone (/sendfile/MS after MS milliseconds), /upgrade becomes
a WebSocket, /events streams events, everything else is answered at once."""

import http.server
import os
import ssl
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        path = self.path.split("?")[0].split(";")[0]
        what, _, ms = path[1:].partition("/")
        if what in ("sleep", "sendfile") and ms:
            time.sleep(int(ms) / 1000)
        if what == "sendfile":
            os.sendfile(self.connection.fileno(), self.server.whole_answer, 0, 1 << 20)
            return
        if what in ("upgrade", "events"):
            self.go_on_for_ever(what)
            return
        body = b"x" * (8 << 20 if path == "/large" else 2)
        self.send_response(503 if path == "/broken" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def go_on_for_ever(self, what):
        self.send_response(101 if what == "upgrade" else 200)
        for field in (("Upgrade", "websocket"), ("Connection", "Upgrade")) if what == "upgrade" else (
                ("Content-Type", "text/event-stream"),):
            self.send_header(*field)
        self.end_headers()
        if what == "upgrade":
            while self.rfile.read1():
                pass
        while what == "events":
            self.wfile.write(b"data: 1\n\n")
            time.sleep(0.5)

    def do_POST(self):
        if self.headers.get("Transfer-Encoding"):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        elif self.path != "/sleep/unread":
            self.rfile.read(int(self.headers["Content-Length"]))
        else:
            time.sleep(3)
        self.do_GET() if self.path != "/sleep/unread" else self.send_error(500)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        """A client that goes away is not worth a word."""


server = Server(("127.0.0.1", 0), Handler)
server.whole_answer = os.memfd_create("answer")
os.write(server.whole_answer, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
if sys.argv[1:2] == ["tls"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    # The handshake is the thread's affair, not that of who accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
