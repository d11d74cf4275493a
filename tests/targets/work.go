// SPDX-License-Identifier: MIT

// Goroutines that call what is not to take long. The first argument is what the slow one does: sleep (parked), read (in a
// system call), spin; the second is for how many milliseconds. It wanders between threads, and its stack grows in the call.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

//go:noinline
func deep(n int, f func()) int {
	var room [512]byte
	if n == 0 {
		f()
		return len(room)
	}
	room[n%512] = byte(n)
	return deep(n-1, f) + int(room[n%512]) - n%256
}

//go:noinline
func handle(slow bool, mode string, d time.Duration) {
	if !slow {
		time.Sleep(5 * time.Millisecond)
		return
	}
	for i := 0; i < 20; i++ { // through other threads
		time.Sleep(time.Millisecond)
		runtime.Gosched()
	}
	deep(100, func() {
		switch mode {
		case "sleep":
			time.Sleep(d)
		case "read":
			ts := syscall.NsecToTimespec(int64(d))
			syscall.Nanosleep(&ts, nil)
		default:
			for end := time.Now().Add(d); time.Now().Before(end); {
			}
		}
	})
}

//go:noinline
func fail(d time.Duration) {
	time.Sleep(time.Millisecond)
	if d > 0 {
		panic("left without a return")
	}
}

func caught(d time.Duration) {
	defer func() { recover() }()
	fail(d)
}

func main() {
	ms, _ := strconv.Atoi(os.Args[2])
	d := time.Duration(ms) * time.Millisecond
	for i := 0; i < 8; i++ {
		go func() {
			for {
				handle(false, "", 0)
			}
		}()
	}
	fmt.Println("ready", os.Getpid())
	for i := 0; ; i++ {
		if os.Args[1] == "panic" {
			caught(d)
			time.Sleep(d)
			continue
		}
		done := make(chan bool)
		go func() {
			handle(true, os.Args[1], d)
			done <- true
		}()
		<-done
	}
}
