// Command sh is the shell of the busybox image. Specs want the messages of busybox's shell, and
// they want variables passed on whose names are no identifiers, which Debian's build of it drops:
// then bash runs instead.
package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
)

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func main() {
	program := "/bin/busybox"
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !identifier.MatchString(name) {
			program = "/bin/bash"
		}
	}
	arguments := append([]string{"/bin/sh"}, os.Args[1:]...)
	err := syscall.Exec(program, arguments, os.Environ())
	fmt.Fprintf(os.Stderr, "sh: run %s: %v\n", program, err)
	os.Exit(126)
}
