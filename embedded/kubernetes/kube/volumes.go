package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// selectedNode is where the scheduler writes the node it chose for a claim that waits for its first consumer.
	selectedNode = "volume.kubernetes.io/selected-node"
	// provisionerName is what a StorageClass names to get volumes from here.
	provisionerName = "oaas.dev/local-volumes"
)

// localVolumes makes a directory of one node a PersistentVolume.
//
// One runs on each node and minds only its own node's claims and volumes, because a directory can be made and
// removed only where it is. The volumes are of type local and not hostPath: the kubelet gives a local volume the
// group a pod asks for (fsGroup), a hostPath not.
type localVolumes struct {
	// root is the directory that holds one directory per volume.
	root string
	// node is the Kubernetes name of the node this runs on.
	node string
}

var (
	_ controller.Provisioner   = localVolumes{}
	_ controller.Qualifier     = localVolumes{}
	_ controller.DeletionGuard = localVolumes{}
)

// directory says where a volume lies. Neither a namespace's, a claim's nor a volume's name can hold a slash.
func (l localVolumes) directory(namespace, claim, volume string) string {
	return filepath.Join(l.root, strings.Join([]string{namespace, claim, volume}, "-"))
}

// ShouldProvision is true for claims whose pod the scheduler put on this node.
func (l localVolumes) ShouldProvision(_ context.Context, claim *v1.PersistentVolumeClaim) bool {
	return claim.Annotations[selectedNode] == l.node
}

// ShouldDelete is true for volumes on this node.
func (l localVolumes) ShouldDelete(_ context.Context, volume *v1.PersistentVolume) bool {
	return nodeOf(volume) == l.node
}

// Provision makes the directory and describes it. It may be run again for the same claim.
func (l localVolumes) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC
	if claim.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("a claim with a selector cannot be provisioned: remove spec.selector")
	}
	for _, mode := range claim.Spec.AccessModes {
		if mode == v1.ReadWriteMany || mode == v1.ReadOnlyMany {
			return nil, controller.ProvisioningFinished, fmt.Errorf("access mode %s needs storage that nodes share: a local volume has ReadWriteOnce and ReadWriteOncePod", mode)
		}
	}
	path := l.directory(claim.Namespace, claim.Name, options.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("failed to make the directory of volume %s: %w", options.PVName, err)
	}
	// Which user a pod runs as is not known here. Nobody but root reaches the directory on the host, because the
	// directory above it is root's alone; in a pod it is the pod's own.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("failed to open the directory of volume %s to its pod: %w", options.PVName, err)
	}
	reclaim := v1.PersistentVolumeReclaimDelete
	if options.StorageClass.ReclaimPolicy != nil {
		reclaim = *options.StorageClass.ReclaimPolicy
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: reclaim,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{
					Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{l.node},
				}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the directory. The library calls it only for volumes whose reclaim policy is Delete.
func (l localVolumes) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return fmt.Errorf("failed to remove volume %s: it is not a local volume", volume.Name)
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	if filepath.Dir(path) != filepath.Clean(l.root) {
		return fmt.Errorf("failed to remove volume %s: %s is not a directory in %s", volume.Name, path, l.root)
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("failed to remove the directory of volume %s: %w", volume.Name, err)
	}
	return nil
}

// nodeOf names the node that a volume made by Provision lies on, or is empty.
func nodeOf(volume *v1.PersistentVolume) string {
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return ""
	}
	for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, expression := range term.MatchExpressions {
			if expression.Key == v1.LabelHostname && len(expression.Values) == 1 {
				return expression.Values[0]
			}
		}
	}
	return ""
}

// provide makes and removes volumes until the context ends.
func provide(ctx context.Context, client kubernetes.Interface, volumes localVolumes) error {
	if err := os.MkdirAll(volumes.root, 0o700); err != nil {
		return fmt.Errorf("failed to make the directory of all volumes: %w", err)
	}
	controller.NewProvisionController(ctx, client, provisionerName, volumes,
		// Nodes do not compete: each minds its own volumes.
		controller.LeaderElection(false),
		// A PersistentVolume deleted by hand takes its directory along.
		controller.AddFinalizer(true),
		// A directory is made in no time, so what failed may be tried again soon.
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, 30*time.Second)),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
	).Run(ctx)
	return nil
}
