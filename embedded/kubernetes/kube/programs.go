package main

import (
	"context"
	"os"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	// JSON logs and client metrics register themselves; upstream's main packages import them too.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// CoreDNS's plugins register themselves; their order in a server is dnsserver.Directives, not this one.
	_ "github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

// program is one of the programs in this binary: a cobra command, or a function that returns the exit code.
type program struct {
	command func() *cobra.Command
	run     func() int
}

var programs = map[string]program{
	"kube-apiserver":          {command: apiserver.NewAPIServerCommand},
	"kube-controller-manager": {command: controllermanager.NewControllerManagerCommand},
	"kube-scheduler":          {command: func() *cobra.Command { return scheduler.NewSchedulerCommand() }},
	// The kubelet closes its own stop channel, so a context that signals cancel as well would close it twice.
	"kubelet":          {command: func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }},
	"kube-proxy":       {command: proxy.NewProxyCommand},
	"kubectl":          {command: func() *cobra.Command { return kubectl.NewDefaultKubectlCommand() }},
	"etcd":             {run: func() int { etcdmain.Main(os.Args); return 0 }},
	"coredns":          {run: func() int { coremain.Run(); return 0 }},
	"node-controllers": {command: newNodeControllersCommand},
	"cri":              {command: newCRICommand},
}
