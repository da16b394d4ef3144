// Load makes fake nodes and pods with client-go, while kwok plays their kubelets, and writes a
// line a check into the file that CHECKS names.
//
// KUBECONFIG is the cluster, KWOK the program, STAGES the folder of kwok's module, whose stages
// say how fake nodes and pods live. CLIENTS_NODES and CLIENTS_PODS are how many of each.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	namespace = "kwok"
	label     = "clients.example.org/fake"
	workers   = 32
	limit     = 5 * time.Minute
)

var stages = []string{
	"node/fast/node-initialize.yaml",
	"node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
	"pod/fast/pod-ready.yaml",
	"pod/fast/pod-complete.yaml",
	"pod/fast/pod-delete.yaml",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nodes, pods := number("CLIENTS_NODES", 1000), number("CLIENTS_PODS", 5000)
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.QPS = -1
	// As upstream's controllers speak.
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "kwok-load"))
	if err != nil {
		return err
	}
	kwok, err := startKwok()
	if err != nil {
		return err
	}
	defer func() {
		_ = kwok.Process.Kill()
		_ = kwok.Wait()
	}()

	factory := informers.NewSharedInformerFactory(client, 0)
	nodeInformer := factory.Core().V1().Nodes().Informer()
	podInformer := factory.Core().V1().Pods().Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	check(fmt.Sprintf("create %d nodes", nodes), nodes, func() error {
		return each(nodes, func(i int) error {
			_, err := client.CoreV1().Nodes().Create(ctx, node(i), metav1.CreateOptions{})
			return err
		})
	})
	check("all nodes ready", nodes, func() error {
		return until(func() (int, string) { return count(nodeInformer, isReady) }, nodes)
	})
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{}); err != nil {
		return err
	}
	for {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}

	began := time.Now()
	check(fmt.Sprintf("create %d pods", pods), pods, func() error {
		return each(pods, func(i int) error {
			_, err := client.CoreV1().Pods(namespace).Create(ctx, pod(i), metav1.CreateOptions{})
			return err
		})
	})
	check("all pods scheduled, from the first create", pods, func() error {
		return until(func() (int, string) { return count(podInformer, isPlaced) }, pods)
	}, &began)
	check("all pods running, from the first create", pods, func() error {
		return until(func() (int, string) { return count(podInformer, isRunning) }, pods)
	}, &began)
	remark("pods spread over the nodes", func() (string, error) { return spread(podInformer, nodes) })
	remark("list all pods at once", func() (string, error) {
		list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d pods", len(list.Items)), expect(len(list.Items), pods)
	})
	remark("list in pages of 500 at one revision", func() (string, error) {
		found, token := 0, ""
		for {
			page, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 500, Continue: token})
			if err != nil {
				return "", err
			}
			found += len(page.Items)
			if token = page.Continue; token == "" {
				return "", expect(found, pods)
			}
		}
	})
	check("a second scheduling of a tenth, onto one node in ten", pods/10, func() error {
		err := each(pods/10, func(i int) error {
			more := pod(pods + i)
			more.Spec.NodeSelector["tenth"] = "0"
			_, err := client.CoreV1().Pods(namespace).Create(ctx, more, metav1.CreateOptions{})
			return err
		})
		if err != nil {
			return err
		}
		return until(func() (int, string) { return count(podInformer, isRunning) }, pods+pods/10)
	})
	check("delete all pods as one collection", pods, func() error {
		err := client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			return err
		}
		return until(func() (int, string) {
			left, first := count(podInformer, isOurs)
			return pods + pods/10 - left, first
		}, pods+pods/10)
	})
	check("delete all nodes", nodes, func() error {
		err := client.CoreV1().Nodes().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label})
		if err != nil {
			return err
		}
		return until(func() (int, string) {
			left, first := count(nodeInformer, isFake)
			return nodes - left, first
		}, nodes)
	})
	return nil
}

func number(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}

func startKwok() (*exec.Cmd, error) {
	words := []string{
		"--kubeconfig", os.Getenv("KUBECONFIG"),
		"--manage-nodes-with-label-selector", label + "=true",
		"--node-lease-duration-seconds", "40",
		// Addresses of fake pods only have to differ.
		"--cidr", "10.255.0.0/16",
	}
	for _, stage := range stages {
		words = append(words, "--config", filepath.Join(os.Getenv("STAGES"), "kustomize/stage", stage))
	}
	kwok := exec.Command(os.Getenv("KWOK"), words...)
	// Whatever ends this program ends it too.
	kwok.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create("kwok.log")
	if err != nil {
		return nil, err
	}
	kwok.Stdout, kwok.Stderr = log, log
	return kwok, kwok.Start()
}

func node(i int) *corev1.Node {
	room := corev1.ResourceList{
		"cpu":    resource.MustParse("32"),
		"memory": resource.MustParse("256Gi"),
		"pods":   resource.MustParse("110"),
	}
	name := fmt.Sprintf("fake-%04d", i)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			label:                         "true",
			"kubernetes.io/hostname":      name,
			"topology.kubernetes.io/zone": fmt.Sprintf("zone-%d", i%3),
			"tenth":                       strconv.Itoa(i % 10),
		}},
		Status: corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
}

func pod(i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%05d", i), Labels: map[string]string{"app": "load"}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{label: "true"},
			Containers: []corev1.Container{{
				Name:  "main",
				Image: "localhost/nothing:1",
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi"),
				}},
			}},
		},
	}
}

// each calls work for 0..n from several workers and counts what failed.
func each(n int, work func(int) error) error {
	var next, failed atomic.Int64
	var first atomic.Value
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(i); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	group.Wait()
	if failed.Load() > 0 {
		return fmt.Errorf("%d of %d failed, the first: %v", failed.Load(), n, first.Load())
	}
	return nil
}

// until waits for a count that an informer's cache shows.
func until(look func() (int, string), wanted int) error {
	deadline := time.Now().Add(limit)
	for {
		got, odd := look()
		if got >= wanted {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d after %s; %s is not among them", got, wanted, limit, odd)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// count says how many objects fit, and names one of ours that does not.
func count(informer cache.SharedIndexInformer, fits func(any) bool) (int, string) {
	n, odd := 0, "none"
	for _, object := range informer.GetStore().List() {
		if fits(object) {
			n++
		} else if isOurs(object) {
			odd = object.(metav1.Object).GetName()
		}
	}
	return n, odd
}

func isFake(object any) bool { return object.(*corev1.Node).Labels[label] == "true" }

func isReady(object any) bool {
	if !isFake(object) {
		return false
	}
	for _, condition := range object.(*corev1.Node).Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func isOurs(object any) bool {
	pod, ok := object.(*corev1.Pod)
	return ok && pod.Namespace == namespace
}

func isPlaced(object any) bool { return isOurs(object) && object.(*corev1.Pod).Spec.NodeName != "" }

func isRunning(object any) bool {
	return isOurs(object) && object.(*corev1.Pod).Status.Phase == corev1.PodRunning
}

// spread says how many pods the emptiest and the fullest node have.
func spread(informer cache.SharedIndexInformer, nodes int) (string, error) {
	counts := map[string]int{}
	for _, object := range informer.GetStore().List() {
		if isPlaced(object) {
			counts[object.(*corev1.Pod).Spec.NodeName]++
		}
	}
	var sorted []int
	for name, n := range counts {
		if !strings.HasPrefix(name, "fake-") {
			return "", fmt.Errorf("%d pods are on %s", n, name)
		}
		sorted = append(sorted, n)
	}
	for len(sorted) < nodes {
		sorted = append(sorted, 0)
	}
	sort.Ints(sorted)
	most := sorted[len(sorted)-1]
	if most > 110 {
		return "", fmt.Errorf("%d pods on a node of 110", most)
	}
	return fmt.Sprintf("%d to %d a node", sorted[0], most), nil
}

func expect(got, wanted int) error {
	if got != wanted {
		return fmt.Errorf("%d instead of %d", got, wanted)
	}
	return nil
}

// check notes how many a second there were since it began, or since an earlier moment.
func check(name string, n int, what func() error, since ...*time.Time) {
	began := time.Now()
	if len(since) > 0 {
		began = *since[0]
	}
	err := what()
	took := time.Since(began)
	write(name, fmt.Sprintf("%.0f/s", float64(n)/took.Seconds()), took, err)
}

func remark(name string, what func() (string, error)) {
	began := time.Now()
	note, err := what()
	write(name, note, time.Since(began), err)
}

func write(name, note string, took time.Duration, failure error) {
	line := map[string]any{"check": name, "seconds": took.Seconds(), "note": note}
	if failure != nil {
		line["failure"] = failure.Error()
		delete(line, "note")
	}
	text, _ := json.Marshal(line)
	file, err := os.OpenFile(os.Getenv("CHECKS"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	fmt.Fprintln(file, string(text))
	fmt.Println(string(text))
}
