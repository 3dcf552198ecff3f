// Command kube is every program of the embedded Kubernetes in one binary.
//
// Linked together the programs share one copy of the client libraries, which makes them a quarter of the size
// and one build. The first argument (or the name of the binary, for a link) says which program to be.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"k8s.io/component-base/cli"
)

func main() {
	name := filepath.Base(os.Args[0])
	if _, known := programs[name]; !known && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}

	program, known := programs[name]
	if !known {
		names := make([]string, 0, len(programs))
		for known := range programs {
			names = append(names, known)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "kube: %q is none of its programs; it has: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	collectOftenWhenUp()
	if program.command != nil {
		os.Exit(cli.Run(program.command()))
	}
	os.Exit(program.run())
}
