// SPDX-License-Identifier: MIT
// Goroutines that compute, sleep and talk to each other, and check what they compute: ticks. A line on its input is
// answered with "alive N".
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

var ticks atomic.Uint64

func sum(depth int) int {
	var local [64]int
	if depth == 0 {
		return 1
	}
	local[depth%64] = sum(depth - 1)
	return local[depth%64] + 1
}

func main() {
	numbers := make(chan int)
	for i := 0; i < 4; i++ {
		go func() {
			for {
				numbers <- sum(1000)
				time.Sleep(time.Millisecond)
			}
		}()
	}
	go func() {
		for n := range numbers {
			if n != 1001 {
				panic(n)
			}
			ticks.Add(1)
		}
	}()
	fmt.Println("ready", os.Getpid())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println("alive", ticks.Load())
	}
}
