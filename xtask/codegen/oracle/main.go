// Reads lines "group TAB version TAB kind TAB document" and prints what upstream makes of each:
// the canonical JSON and the strict findings, or the error.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"transom.dev/codegen/kinds"
)

func main() {
	scheme := runtime.NewScheme()
	for _, add := range kinds.Adders {
		if err := add(scheme); err != nil {
			log.Fatal(err)
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), "\t", 4)
		fmt.Fprintln(out, answer(scheme, parts[0], parts[1], parts[2], []byte(parts[3])))
	}
}

func answer(scheme *runtime.Scheme, group, version, kind string, document []byte) string {
	object, err := scheme.New(schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
	if err != nil {
		return "no such kind"
	}
	findings, err := kjson.UnmarshalStrict(document, object)
	if err != nil {
		return "error: " + err.Error()
	}
	text, err := json.Marshal(object)
	if err != nil {
		return "cannot be written: " + err.Error()
	}
	answer := string(text)
	for _, finding := range findings {
		answer += "; " + finding.Error()
	}
	return answer
}
