package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

// pullTimeout bounds one request to the runtime. Images come from this machine's disk; the largest takes seconds.
const pullTimeout = 10 * time.Minute

// newCRICommand speaks to a container runtime as the kubelet does, so that images are where it looks for them.
func newCRICommand() *cobra.Command {
	var endpoint string
	command := &cobra.Command{Use: "cri", Short: "Ask the container runtime for images"}
	command.PersistentFlags().StringVar(&endpoint, "endpoint", "unix:///run/containerd/containerd.sock", "socket of the container runtime")

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
			for _, reference := range references {
				spec := &runtimeapi.ImageSpec{Image: reference}
				status, err := service.ImageStatus(command.Context(), spec, false)
				if err != nil {
					return fmt.Errorf("failed to ask for image %s: %w", reference, err)
				}
				pulled := status.GetImage() == nil
				id := status.GetImage().GetId()
				if pulled {
					if id, err = service.PullImage(command.Context(), spec, nil, nil); err != nil {
						return fmt.Errorf("failed to pull image %s: %w", reference, err)
					}
				}
				if err := print(command, map[string]any{"image": reference, "id": id, "pulled": pulled}); err != nil {
					return err
				}
			}
			return nil
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

func print(command *cobra.Command, line map[string]any) error {
	return json.NewEncoder(command.OutOrStdout()).Encode(line)
}
