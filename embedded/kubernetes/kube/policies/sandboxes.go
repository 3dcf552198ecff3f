package policies

import (
	"context"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
	"k8s.io/klog/v2"
)

const (
	// connect is how long one attempt to reach the runtime may take, and rest what lies between two.
	connect = 10 * time.Second
	rest    = time.Second
)

// sandboxes are the addresses of this node's pods, as the container runtime says them before a pod's first process starts. The
// kubelet writes them into the pod's status up to a second later; until then the pod would be open, and kept from whom it may call.
type sandboxes struct {
	lock  sync.Mutex
	known map[types.UID]sandbox
}

type sandbox struct {
	id  string
	ips []v1.PodIP
}

// watch follows the runtime's events until the context ends. Without it the addresses of pods' status are all that is known.
func (s *sandboxes) watch(ctx context.Context, endpoint string, note func()) {
	for ctx.Err() == nil {
		if err := s.follow(ctx, endpoint, note); err != nil && ctx.Err() == nil {
			klog.V(2).InfoS("The container runtime tells no events", "reason", err)
		}
		// What was missed meanwhile may have made it wrong.
		s.lock.Lock()
		s.known = nil
		s.lock.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

func (s *sandboxes) follow(ctx context.Context, endpoint string, note func()) error {
	service, err := cri.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).WithConnectionTimeout(connect).WithTracerProvider(nil).Build(ctx)
	if err != nil {
		return err
	}
	events := make(chan *runtimeapi.ContainerEventResponse)
	done := make(chan error, 1)
	go func() {
		done <- service.GetContainerEvents(ctx, events, nil)
		close(events)
	}()
	for event := range events {
		if s.take(event) {
			note()
		}
	}
	err = <-done
	_ = service.Close(context.WithoutCancel(ctx))
	return err
}

// take notes what an event says; true if an address is another than before.
func (s *sandboxes) take(event *runtimeapi.ContainerEventResponse) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	status := event.GetPodSandboxStatus()
	uid := types.UID(status.GetMetadata().GetUid())
	before, known := s.known[uid]
	if ip := status.GetNetwork().GetIp(); status.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY && ip != "" {
		if known && before.id == status.GetId() {
			return false
		}
		if s.known == nil {
			s.known = map[types.UID]sandbox{}
		}
		s.known[uid] = sandbox{id: status.GetId(), ips: []v1.PodIP{{IP: ip}}}
		return true
	}
	// The end of one that was replaced already says nothing of the new one.
	gone := status.GetId()
	if gone == "" {
		gone = event.GetContainerId()
	}
	for uid, sandbox := range s.known {
		if sandbox.id == gone {
			delete(s.known, uid)
			return true
		}
	}
	return false
}

func (s *sandboxes) copy() map[types.UID]sandbox {
	s.lock.Lock()
	defer s.lock.Unlock()
	return maps.Clone(s.known)
}

// withAddresses are the pods with the addresses that the runtime of a node knows. The given ones belong to a cache and stay as they are.
func withAddresses(pods []*v1.Pod, node string, known map[types.UID]sandbox) []*v1.Pod {
	for index, pod := range pods {
		if found, is := known[pod.UID]; is && pod.Spec.NodeName == node && !pod.Spec.HostNetwork {
			copied := *pod
			copied.Status.PodIPs = found.ips
			pods[index] = &copied
		}
	}
	return pods
}
