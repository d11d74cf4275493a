// SPDX-License-Identifier: MIT

// A Go program that panics with goroutines waiting; run with GOTRACEBACK=crash it dies of SIGABRT.
package main

import (
	"os"
	"time"
)

//go:noinline
func waitForever(c chan int) {
	<-c
}

//go:noinline
func panicHere(p *int) int {
	return *p
}

func main() {
	c := make(chan int)
	for i := 0; i < 4; i++ {
		go waitForever(c)
	}
	time.Sleep(50 * time.Millisecond)
	os.Stdout.WriteString("ready\n")
	os.Exit(panicHere(nil))
}
