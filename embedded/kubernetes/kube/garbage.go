package main

import (
	"os"
	"runtime/debug"
	"time"
)

const (
	// A cloud is up by then: until then every core is wanted, afterwards the memory is.
	busy = 90 * time.Second
	// How much the heap grows between two collections after that, percent; Go's own default is 100.
	thrifty = 50
)

// collectOftenWhenUp makes the program keep less garbage once the busy start is over, unless GOGC says otherwise. GOMEMLIMIT
// bounds it from the beginning.
func collectOftenWhenUp() {
	if os.Getenv("GOGC") != "" {
		return
	}
	time.AfterFunc(busy, func() {
		debug.SetGCPercent(thrifty)
		debug.FreeOSMemory()
	})
}
