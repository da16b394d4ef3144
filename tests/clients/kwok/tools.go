//go:build tools

// Package tools names the program that this module exists to build: upstream's kwok.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
