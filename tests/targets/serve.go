// SPDX-License-Identifier: MIT

// An HTTP server of a goroutine a connection; the first line it prints is its port. /sleep/MS answers after MS milliseconds,
// /block/MS does so in a system call.
package main

import (
	"fmt"
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

func handle(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sleep/") {
		ms, _ := strconv.Atoi(r.URL.Path[7:])
		time.Sleep(time.Duration(ms) * time.Millisecond)
	}
	if strings.HasPrefix(r.URL.Path, "/block/") {
		ms, _ := strconv.Atoi(r.URL.Path[7:])
		block(ms)
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
