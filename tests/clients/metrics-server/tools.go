//go:build tools

// Package tools names the program that this module exists to build: upstream's metrics-server.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
