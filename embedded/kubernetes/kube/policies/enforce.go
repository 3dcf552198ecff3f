package policies

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// pause is the least time between two texts: what changes meanwhile is one text.
	pause = 100 * time.Millisecond
	// retry is when a text that nft did not take is given to it again.
	retry = 2 * time.Second
	// again is when an unchanged text is given to nft again: somebody may have flushed the tables.
	again = time.Minute
	// bridged says, with 1, that frames between the pods of a node, which a bridge forwards, pass the rules of IPv4.
	bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables"
)

// Enforce keeps a node's table true until the context ends, and leaves it then: without this process the policies hold as they were.
// `runtime` is the socket of the node's container runtime.
func Enforce(ctx context.Context, client kubernetes.Interface, node, runtime string) error {
	if value, err := os.ReadFile(bridged); err != nil || strings.TrimSpace(string(value)) != "1" {
		klog.ErrorS(err, "NetworkPolicies do not hold between the pods of this node: its kernel needs the module br_netfilter, and 1 in "+bridged)
	}
	_, err := os.Stat("/proc/net/if_inet6")
	cluster := Cluster{Node: node, IPv6: err == nil}

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	pods, namespaces, policies := factory.Core().V1().Pods(), factory.Core().V1().Namespaces(), factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default: // It is known already that something has changed.
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { note() },
		UpdateFunc: func(_, _ any) { note() },
		DeleteFunc: func(any) { note() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("failed to watch what policies are made from: %w", err)
		}
	}
	var local sandboxes
	go local.watch(ctx, runtime, note)
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for kind, known := range factory.WaitForCacheSync(ctx.Done()) {
		if !known {
			return fmt.Errorf("failed to list %s before the end", kind)
		}
	}

	var applied string
	var last time.Time
	for ctx.Err() == nil {
		wait := again
		everything := labels.Everything()
		// The caches hold lists: none of these can fail.
		listed, _ := pods.Lister().List(everything)
		cluster.Pods = withAddresses(listed, node, local.copy())
		cluster.Namespaces, _ = namespaces.Lister().List(everything)
		cluster.Policies, _ = policies.Lister().List(everything)
		if text := Compile(cluster); text != applied {
			if err := apply(ctx, text); err != nil {
				klog.ErrorS(err, "NetworkPolicies do not hold as they stand: the rules are those from before")
				applied, wait = "", retry
			} else {
				applied = text
			}
			last = time.Now()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
			time.Sleep(time.Until(last.Add(pause)))
		case <-timer.C:
			applied = ""
		}
		timer.Stop()
	}
	return nil
}

// apply has nft take a text, all of it or nothing.
func apply(ctx context.Context, text string) error {
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// slim keeps of an object what Compile reads. A cluster's pods are the larger part of what this process holds in memory.
func slim(object any) (any, error) {
	if accessor, ok := object.(metav1.Object); ok {
		accessor.SetManagedFields(nil)
		accessor.SetAnnotations(nil)
	}
	pod, ok := object.(*v1.Pod)
	if !ok {
		return object, nil
	}
	slimmed := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
		},
		Spec:   v1.PodSpec{NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork},
		Status: v1.PodStatus{Phase: pod.Status.Phase, PodIPs: pod.Status.PodIPs},
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if len(container.Ports) > 0 {
			slimmed.Spec.Containers = append(slimmed.Spec.Containers, v1.Container{Ports: container.Ports})
		}
	}
	return slimmed, nil
}
