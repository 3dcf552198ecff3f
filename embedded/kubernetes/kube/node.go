package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"oaas.dev/embedded/kubernetes/kube/policies"
)

// newNodeControllersCommand does what Kubernetes leaves to others on a node: volumes and NetworkPolicies. One process for both: a
// process of this binary takes some thirty MiB before it does anything.
func newNodeControllersCommand() *cobra.Command {
	var kubeconfig, endpoint string
	var volumes localVolumes
	command := &cobra.Command{
		Use:   "node-controllers",
		Short: "Provide PersistentVolumes from directories of this node, and make NetworkPolicies hold for its pods",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if volumes.node == "" || kubeconfig == "" {
				return fmt.Errorf("--node and --kubeconfig are needed")
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("failed to read %s: %w", kubeconfig, err)
			}
			config.QPS, config.Burst = 50, 100
			// All objects that are asked for are Kubernetes' own, and all of a cluster's pods are among them.
			config.ContentType = runtime.ContentTypeProtobuf
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("failed to make a client from %s: %w", kubeconfig, err)
			}
			group, ctx := errgroup.WithContext(genericserver.SetupSignalContext())
			group.Go(func() error { return provide(ctx, client, volumes) })
			group.Go(func() error { return policies.Enforce(ctx, client, volumes.node, endpoint) })
			return group.Wait()
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file that says how to reach the API server")
	command.Flags().StringVar(&volumes.node, "node", "", "name of the node this runs on")
	command.Flags().StringVar(&volumes.root, "volumes", "/var/lib/oaas-volumes", "directory that holds the volumes")
	command.Flags().StringVar(&endpoint, "runtime", runtimeSocket, "socket of the container runtime")
	return command
}
