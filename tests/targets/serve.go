// SPDX-License-Identifier: MIT

// An HTTP server of a goroutine a connection; the first line it prints is its port. /sleep/MS answers after MS milliseconds.
package main

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func stack() []byte {
	buffer := make([]byte, 64)
	return buffer[:runtime.Stack(buffer, false)]
}

func handle(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sleep/") {
		ms, _ := strconv.Atoi(r.URL.Path[7:])
		time.Sleep(time.Duration(ms) * time.Millisecond)
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
