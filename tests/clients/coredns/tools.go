//go:build tools

// Package tools names the program that this module exists to build: upstream's CoreDNS.
package tools

import _ "github.com/coredns/coredns"
