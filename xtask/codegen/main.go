// Prints the facts about the served API types as the text table of crates/schema/table.
//
// JSON names, Go types, pointers, omitempty, protobuf numbers and patch tags come from reflection
// over the Go types; list types, map keys, required, defaults and enums from the OpenAPI files of
// the k8s.io/kubernetes module (its directory is the only argument).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var adders = []func(*runtime.Scheme) error{
	corev1.AddToScheme, admissionv1.AddToScheme, admissionregistrationv1.AddToScheme,
	apidiscoveryv2.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme,
	appsv1.AddToScheme, auditv1.AddToScheme, authenticationv1.AddToScheme,
	authorizationv1.AddToScheme, autoscalingv1.AddToScheme, autoscalingv2.AddToScheme,
	batchv1.AddToScheme, certificatesv1.AddToScheme, coordinationv1.AddToScheme,
	discoveryv1.AddToScheme, eventsv1.AddToScheme, flowcontrolv1.AddToScheme,
	networkingv1.AddToScheme, nodev1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
	resourcev1.AddToScheme, schedulingv1.AddToScheme, storagev1.AddToScheme,
}

const metaPackage = "k8s.io/apimachinery/pkg/apis/meta/v1"

// Kinds of the meta package; each group-version registers most of them, one row each is enough.
var metaKinds = []any{
	metav1.Status{}, metav1.APIVersions{}, metav1.APIGroup{}, metav1.APIGroupList{},
	metav1.APIResourceList{}, metav1.DeleteOptions{}, metav1.CreateOptions{},
	metav1.UpdateOptions{}, metav1.PatchOptions{}, metav1.GetOptions{}, metav1.ListOptions{},
	metav1.WatchEvent{}, metav1.Table{}, metav1.TableOptions{}, metav1.PartialObjectMetadata{},
	metav1.PartialObjectMetadataList{},
}

var leaves = map[reflect.Type]string{
	reflect.TypeFor[metav1.Time]():                                  "t",
	reflect.TypeFor[metav1.MicroTime]():                             "T",
	reflect.TypeFor[metav1.Duration]():                              "D",
	reflect.TypeFor[resource.Quantity]():                            "q",
	reflect.TypeFor[intstr.IntOrString]():                           "I",
	reflect.TypeFor[runtime.RawExtension]():                         "R",
	reflect.TypeFor[runtime.Unknown]():                              "R",
	reflect.TypeFor[metav1.FieldsV1]():                              "F",
	reflect.TypeFor[apiextensionsv1.JSON]():                         "j",
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrBool]():        "p",
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrArray]():       "P",
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrStringArray](): "S",
}

var scalars = map[reflect.Kind]string{
	reflect.String: "s", reflect.Bool: "b", reflect.Int32: "i", reflect.Int64: "l",
	reflect.Int: "l", reflect.Uint8: "u", reflect.Uint32: "u", reflect.Uint64: "U",
	reflect.Float64: "d", reflect.Float32: "f", reflect.Interface: "a",
}

type openapiSchema struct {
	Required   []string                   `json:"required"`
	Properties map[string]json.RawMessage `json:"properties"`
	MapType    string                     `json:"x-kubernetes-map-type"`
}

type openapiProperty struct {
	Default  json.RawMessage `json:"default"`
	ListType string          `json:"x-kubernetes-list-type"`
	MapKeys  []string        `json:"x-kubernetes-list-map-keys"`
	MapType  string          `json:"x-kubernetes-map-type"`
	Ref      string          `json:"$ref"`
	AllOf    []struct {
		Ref string `json:"$ref"`
	} `json:"allOf"`
}

var (
	schemas = map[string]openapiSchema{}
	enums   = map[string][]string{} // "<function suffix>/<property>"
	seen    = map[reflect.Type]bool{}
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: codegen DIRECTORY-OF-THE-KUBERNETES-MODULE")
	}
	readOpenAPI(filepath.Join(os.Args[1], "api/openapi-spec/v3"))
	readEnums(filepath.Join(os.Args[1], "pkg/generated/openapi/zz_generated.openapi.go"))

	scheme := runtime.NewScheme()
	for _, add := range adders {
		if err := add(scheme); err != nil {
			log.Fatal(err)
		}
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintln(out, "# Facts about the types of the Kubernetes v1.36 API. Generated by `cargo xtask codegen`; do not edit.")
	fmt.Fprintln(out, "# The grammar is explained in crates/schema/src/table/text.rs.")

	type row struct {
		group, version, kind string
		t                    reflect.Type
	}
	var rows []row
	for gvk, t := range scheme.AllKnownTypes() {
		if gvk.Version != runtime.APIVersionInternal && t.PkgPath() != metaPackage {
			rows = append(rows, row{gvk.Group, gvk.Version, gvk.Kind, t})
		}
	}
	for _, v := range metaKinds {
		t := reflect.TypeOf(v)
		group := ""
		if strings.HasPrefix(t.Name(), "Table") || strings.HasPrefix(t.Name(), "Partial") {
			group = "meta.k8s.io"
		}
		rows = append(rows, row{group, "v1", t.Name(), t})
	}
	sort.Slice(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		return a.group+"/"+a.version+"/"+a.kind < b.group+"/"+b.version+"/"+b.kind
	})
	for _, r := range rows {
		collect(r.t)
	}
	collect(reflect.TypeFor[apiextensionsv1.JSONSchemaProps]())
	collect(reflect.TypeFor[metav1.TypeMeta]())

	var types []reflect.Type
	for t := range seen {
		types = append(types, t)
	}
	sort.Slice(types, func(i, j int) bool { return typeName(types[i]) < typeName(types[j]) })
	pkg := ""
	for _, t := range types {
		if t.PkgPath() != pkg {
			pkg = t.PkgPath()
			fmt.Fprintf(out, "@%s %s\n", alias(t), pkg)
		}
		printType(out, t)
	}
	group := "-"
	for _, r := range rows {
		gv := r.group + "/" + r.version
		if gv != group {
			group = gv
			fmt.Fprintf(out, "$%s\n", gv)
		}
		fmt.Fprintf(out, " %s %s\n", r.kind, typeName(r.t))
	}
}

// The last two steps of the package path: core.v1, meta.v1.
func alias(t reflect.Type) string {
	steps := strings.Split(t.PkgPath(), "/")
	if len(steps) < 2 {
		log.Fatalf("no package: %v", t)
	}
	return strings.Join(steps[len(steps)-2:], ".")
}

func typeName(t reflect.Type) string { return alias(t) + "." + t.Name() }

func collect(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if _, leaf := leaves[t]; !leaf {
			collect(t.Elem())
		}
	case reflect.Struct:
		if _, leaf := leaves[t]; leaf || seen[t] {
			return
		}
		if t.Implements(reflect.TypeFor[json.Marshaler]()) {
			log.Fatalf("%v has its own JSON form: make it a leaf", t)
		}
		seen[t] = true
		for _, f := range fieldsOf(t, nil, nil) {
			collect(f.t)
		}
	}
}

type field struct {
	name     string
	t        reflect.Type
	flags    string
	path     []string
	embedded []string
	strategy string
	mergeKey string
	repeated bool
}

func fieldsOf(t reflect.Type, path, embedded []string) []field {
	var out []field
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || (!f.IsExported() && !f.Anonymous) {
			continue
		}
		parts := strings.Split(tag, ",")
		here := append([]string{}, path...)
		var label []string
		if pb := f.Tag.Get("protobuf"); pb != "" {
			label = strings.Split(pb, ",")
			here = append(here, label[1])
		} else {
			here = nil
		}
		if f.Anonymous && parts[0] == "" {
			if f.Type.Kind() != reflect.Struct {
				log.Fatalf("%v: embedded pointer %s", t, f.Name)
			}
			if here == nil && len(path) > 0 {
				log.Fatalf("%v.%s: embedded without a number", t, f.Name)
			}
			out = append(out, fieldsOf(f.Type, here, append(append([]string{}, embedded...), f.Name))...)
			continue
		}
		if parts[0] == "" {
			log.Fatalf("%v.%s has no JSON name", t, f.Name)
		}
		n := field{name: parts[0], t: f.Type, path: here, embedded: embedded}
		n.repeated = len(label) > 2 && label[2] == "rep"
		if f.Type.Kind() == reflect.Pointer {
			n.t = f.Type.Elem()
			n.flags += "*"
		}
		for _, option := range parts[1:] {
			switch option {
			case "omitempty":
				n.flags += "?"
			case "omitzero":
				n.flags += "~"
			case "inline", "":
			default:
				log.Fatalf("%v.%s: json option %q", t, f.Name, option)
			}
		}
		n.strategy, n.mergeKey = f.Tag.Get("patchStrategy"), f.Tag.Get("patchMergeKey")
		out = append(out, n)
	}
	return out
}

func shape(t reflect.Type, in string) string {
	if leaf, ok := leaves[t]; ok {
		return leaf
	}
	switch t.Kind() {
	case reflect.Struct:
		if alias(t) == in {
			return "&" + t.Name()
		}
		return "&" + typeName(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "y"
		}
		wrap := ""
		if t.Name() != "" {
			wrap = "W"
		}
		return wrap + "[" + shape(t.Elem(), in)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			log.Fatalf("map key %v", t)
		}
		return "{" + shape(t.Elem(), in)
	case reflect.Pointer:
		return "*" + shape(t.Elem(), in)
	}
	s, ok := scalars[t.Kind()]
	if !ok {
		log.Fatalf("no shape for %v", t)
	}
	return s
}

// The Go type's text where it does not follow from the shape: named strings, lists and maps.
func spelled(t reflect.Type) string {
	for u := t; ; u = u.Elem() {
		if _, leaf := leaves[u]; leaf || u.Kind() == reflect.Struct {
			return ""
		}
		if u.PkgPath() != "" || (u.Kind() == reflect.Map && u.Key().PkgPath() != "") {
			return t.String()
		}
		if k := u.Kind(); k != reflect.Slice && k != reflect.Map && k != reflect.Pointer {
			return ""
		}
	}
}

func modelName(t reflect.Type) string {
	type namer interface{ OpenAPIModelName() string }
	if n, ok := reflect.New(t).Interface().(namer); ok {
		return n.OpenAPIModelName()
	}
	return ""
}

func printType(out *bufio.Writer, t reflect.Type) {
	schema := schemas[modelName(t)]
	fmt.Fprint(out, t.Name())
	if schema.MapType != "" {
		fmt.Fprintf(out, " M%c", schema.MapType[0])
	}
	fmt.Fprintln(out)
	required := map[string]bool{}
	for _, r := range schema.Required {
		required[r] = true
	}
	for _, f := range fieldsOf(t, nil, nil) {
		// A named list is a message of its own in protobuf, unless the field says "repeated".
		s := shape(f.t, alias(t))
		if f.repeated {
			s = strings.TrimPrefix(s, "W")
		}
		fmt.Fprintf(out, " %s %s%s", f.name, f.flags, s)
		if len(f.path) > 0 {
			fmt.Fprintf(out, " @%s", strings.Join(f.path, "."))
		}
		if required[f.name] {
			fmt.Fprint(out, " !")
		}
		var p openapiProperty
		if raw, ok := schema.Properties[f.name]; ok {
			if err := json.Unmarshal(raw, &p); err != nil {
				log.Fatal(err)
			}
		}
		if p.ListType != "" {
			fmt.Fprintf(out, " L%c", p.ListType[0])
			if len(p.MapKeys) > 0 {
				fmt.Fprintf(out, ":%s", strings.Join(p.MapKeys, ","))
			}
		}
		if p.MapType != "" {
			fmt.Fprintf(out, " M%c", p.MapType[0])
		}
		if f.strategy != "" {
			fmt.Fprintf(out, " S:%s", f.strategy)
		}
		if f.mergeKey != "" {
			fmt.Fprintf(out, " K:%s", f.mergeKey)
		}
		if s := spelled(f.t); s != "" {
			fmt.Fprintf(out, " G:%s", strings.ReplaceAll(s, " ", ""))
		}
		if len(f.embedded) > 0 {
			fmt.Fprintf(out, " ^%s", strings.Join(f.embedded, "."))
		}
		if e := enumOf(t, f.name); len(e) > 0 {
			fmt.Fprintf(out, " E:%s", strings.Join(e, "|"))
		}
		zero := strings.Contains(`"" 0 false`, string(p.Default))
		unsaid := strings.ContainsAny(f.flags, "*?") // a zero default that the shape does not imply
		if d := string(p.Default); d != "" && d != `{}` && d != "null" && (!zero || unsaid) {
			fmt.Fprintf(out, " =%s", d)
		}
		fmt.Fprintln(out)
	}
}

func readOpenAPI(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		log.Fatalf("no OpenAPI files in %s", dir)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		var doc struct {
			Components struct{ Schemas map[string]openapiSchema }
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			log.Fatal(file, ": ", err)
		}
		for name, schema := range doc.Components.Schemas {
			schemas[name] = schema
		}
	}
}

var (
	functionLine = regexp.MustCompile(`^func schema_(\w+)\(`)
	propertyLine = regexp.MustCompile(`^\t\t\t\t\t"([^"]+)": \{`)
	enumLine     = regexp.MustCompile(`^\t+Enum: +\[\]interface\{\}\{(.*)\},`)
	quoted       = regexp.MustCompile(`"([^"]*)"`)
)

func readEnums(file string) {
	f, err := os.Open(file)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	function, property := "", ""
	for lines.Scan() {
		line := lines.Text()
		if m := functionLine.FindStringSubmatch(line); m != nil {
			function = m[1]
		} else if m := propertyLine.FindStringSubmatch(line); m != nil {
			property = m[1]
		} else if m := enumLine.FindStringSubmatch(line); m != nil {
			for _, v := range quoted.FindAllStringSubmatch(m[1], -1) {
				enums[function+"/"+property] = append(enums[function+"/"+property], v[1])
			}
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func enumOf(t reflect.Type, property string) []string {
	steps := strings.Split(strings.ReplaceAll(t.PkgPath(), ".", ""), "/")
	for len(steps) > 1 {
		key := strings.ReplaceAll(strings.Join(steps, "_"), "-", "_") + "_" + t.Name() + "/" + property
		if e, ok := enums[key]; ok {
			return e
		}
		steps = steps[1:]
	}
	return nil
}
