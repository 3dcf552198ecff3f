package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

// runtimeSocket is where the node's container runtime is asked.
const runtimeSocket = "unix:///run/containerd/containerd.sock"

// pullTimeout bounds one request to the runtime. Images come from this machine's disk; the largest takes seconds.
const pullTimeout = 10 * time.Minute

// parallelPulls is how many images are pulled at a time.
const parallelPulls = 2

// newCRICommand speaks to a container runtime as the kubelet does, so that images are where it looks for them.
func newCRICommand() *cobra.Command {
	var endpoint string
	command := &cobra.Command{Use: "cri", Short: "Ask the container runtime for images"}
	command.PersistentFlags().StringVar(&endpoint, "endpoint", runtimeSocket, "socket of the container runtime")

	images := func(ctx context.Context) (internalapi.ImageManagerService, error) {
		service, err := cri.NewRemoteImageServiceBuilder().
			WithEndpoint(endpoint).WithConnectionTimeout(pullTimeout).WithTracerProvider(nil).Build(ctx)
		if err != nil {
			return nil, fmt.Errorf("failed to reach the container runtime at %s: %w", endpoint, err)
		}
		return service, nil
	}

	command.AddCommand(&cobra.Command{
		Use:   "pull IMAGE...",
		Short: "Pull images that are not there yet; prints one JSON line for each",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, references []string) error {
			service, err := images(command.Context())
			if err != nil {
				return err
			}
			group, ctx := errgroup.WithContext(command.Context())
			// Unpacking is bound by processor and disk: more at a time only wait for each other.
			group.SetLimit(parallelPulls)
			var output sync.Mutex
			for _, reference := range references {
				group.Go(func() error {
					line, err := pull(ctx, service, reference)
					if err != nil {
						return err
					}
					output.Lock()
					defer output.Unlock()
					return print(command, line)
				})
			}
			return group.Wait()
		},
	}, &cobra.Command{
		Use:   "images",
		Short: "List images; prints one JSON line for each",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			service, err := images(command.Context())
			if err != nil {
				return err
			}
			list, err := service.ListImages(command.Context(), nil)
			if err != nil {
				return fmt.Errorf("failed to list images: %w", err)
			}
			for _, image := range list {
				line := map[string]any{"id": image.Id, "tags": image.RepoTags, "digests": image.RepoDigests, "bytes": image.Size}
				if err := print(command, line); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return command
}

// pull pulls an image unless it is there, and says whether it had to.
func pull(ctx context.Context, service internalapi.ImageManagerService, reference string) (map[string]any, error) {
	spec := &runtimeapi.ImageSpec{Image: reference}
	status, err := service.ImageStatus(ctx, spec, false)
	if err != nil {
		return nil, fmt.Errorf("failed to ask for image %s: %w", reference, err)
	}
	if id := status.GetImage().GetId(); id != "" {
		return map[string]any{"image": reference, "id": id, "pulled": false}, nil
	}
	id, err := service.PullImage(ctx, spec, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("failed to pull image %s: %w", reference, err)
	}
	return map[string]any{"image": reference, "id": id, "pulled": true}, nil
}

func print(command *cobra.Command, line map[string]any) error {
	return json.NewEncoder(command.OutOrStdout()).Encode(line)
}
