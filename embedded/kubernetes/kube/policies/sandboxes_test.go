package policies

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func event(id, uid, ip string, state runtimeapi.PodSandboxState) *runtimeapi.ContainerEventResponse {
	return &runtimeapi.ContainerEventResponse{ContainerId: "any", PodSandboxStatus: &runtimeapi.PodSandboxStatus{
		Id: id, State: state, Metadata: &runtimeapi.PodSandboxMetadata{Uid: uid}, Network: &runtimeapi.PodSandboxNetworkStatus{Ip: ip},
	}}
}

func TestAddressesAreKnownBeforeTheStatusSaysThem(t *testing.T) {
	const ready, ended = runtimeapi.PodSandboxState_SANDBOX_READY, runtimeapi.PodSandboxState_SANDBOX_NOTREADY
	var known sandboxes
	address := func() string {
		starting := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "pod"}, Spec: v1.PodSpec{NodeName: "node1"}}
		elsewhere := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "pod"}, Spec: v1.PodSpec{NodeName: "node2"}}
		pods := withAddresses([]*v1.Pod{starting, elsewhere}, "node1", known.copy())
		if len(starting.Status.PodIPs) != 0 {
			t.Fatal("a pod of the cache was changed")
		}
		if len(addresses(pods[1])) != 0 {
			t.Fatal("the runtime of a node knows nothing of another's pods")
		}
		if found := addresses(pods[0]); len(found) > 0 {
			return found[0].String()
		}
		return ""
	}
	for _, step := range []struct {
		event   *runtimeapi.ContainerEventResponse
		changes bool
		then    string
	}{
		{event("one", "host", "", ready), false, ""},
		{event("one", "pod", "10.88.1.2", ready), true, "10.88.1.2"},
		{event("one", "pod", "10.88.1.2", ready), false, "10.88.1.2"},
		{event("two", "pod", "10.88.1.3", ready), true, "10.88.1.3"},
		{event("one", "pod", "10.88.1.2", ended), false, "10.88.1.3"},
		{&runtimeapi.ContainerEventResponse{ContainerId: "one"}, false, "10.88.1.3"},
		{&runtimeapi.ContainerEventResponse{ContainerId: "two"}, true, ""},
		{event("three", "pod", "10.88.1.4", ready), true, "10.88.1.4"},
		{event("three", "pod", "", ended), true, ""},
	} {
		if known.take(step.event) != step.changes || address() != step.then {
			t.Fatalf("after %v: %q", step.event, address())
		}
	}
	if !slices.Equal(withAddresses(nil, "node1", nil), nil) {
		t.Fatal("something came of nothing")
	}
}
