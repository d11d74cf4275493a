// SPDX-License-Identifier: MIT

// An HTTP server of a goroutine a connection; the first line it prints is its port. /sleep/MS answers after MS milliseconds,
// /block/MS does so in a system call. /events streams events, /upgrade becomes a WebSocket, /large answers with 8 MiB.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func stack() []byte {
	buffer := make([]byte, 64)
	return buffer[:runtime.Stack(buffer, false)]
}

func block(ms int) {
	time := syscall.NsecToTimespec(int64(ms) * 1000000)
	syscall.Nanosleep(&time, nil)
}

func upgrade(w http.ResponseWriter) {
	connection, stream, _ := w.(http.Hijacker).Hijack()
	fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	io.Copy(io.Discard, stream)
	connection.Close()
}

func sendEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		if _, err := fmt.Fprint(w, "data: 1\n\n"); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(500 * time.Millisecond)
	}
}

func handle(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sleep/") {
		ms, _ := strconv.Atoi(r.URL.Path[7:])
		time.Sleep(time.Duration(ms) * time.Millisecond)
	}
	if strings.HasPrefix(r.URL.Path, "/block/") {
		ms, _ := strconv.Atoi(r.URL.Path[7:])
		block(ms)
	}
	switch r.URL.Path {
	case "/upgrade":
		upgrade(w)
		return
	case "/events":
		sendEvents(w)
		return
	case "/large":
		w.Write(make([]byte, 8<<20))
		return
	}
	w.Header().Set("Goroutine", strings.Fields(string(stack()))[1])
	fmt.Fprint(w, "ok")
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	http.Serve(listener, http.HandlerFunc(handle))
}
