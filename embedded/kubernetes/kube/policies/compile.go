// Package policies makes the NetworkPolicies of a cluster hold on one of its nodes.
//
// Compile is pure: what is known of the cluster becomes the text of one nftables table. Enforcer watches the cluster and has
// nft take each new text in one transaction.
package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Table is the nftables table of the node that holds all policies.
const Table = "oaas-policies"

// Cluster is what the rules of a node are made from.
type Cluster struct {
	// Node is the node that the rules are for: they isolate its pods, nobody else's.
	Node string
	// IPv6 says whether the node's kernel knows it.
	IPv6       bool
	Pods       []*v1.Pod
	Namespaces []*v1.Namespace
	Policies   []*networking.NetworkPolicy
}

// direction is one of the two that a policy may isolate a pod in, and how a rule names its ends.
type direction struct {
	kind networking.PolicyType
	// name is the map from a pod's address to its chain, and starts the chains' names.
	name string
	// own and peer are where a packet of a connection that is opened has the address of the isolated pod and of the other one.
	own, peer string
}

var directions = []direction{
	{kind: networking.PolicyTypeEgress, name: "egress", own: "saddr", peer: "daddr"},
	{kind: networking.PolicyTypeIngress, name: "ingress", own: "daddr", peer: "saddr"},
}

// Compile writes the table. The same cluster always makes the same text, in whatever order its parts are given.
//
// A packet that opens a connection passes the chain of the pod that sends it, then the chain of the pod that gets it; a pod that no
// policy isolates has none. A chain holds the rules of all policies that select its pods: the first that matches lets the packet
// go on, the end drops it. Dropped, not refused: a pod's address is known here up to some seconds after its first process starts, and
// a connection that is tried again by the kernel meanwhile succeeds.
//
// What a node's own processes and its pods on the host's network send to its pods passes no such chain: Kubernetes says so, the kubelet's
// probes need it.
func Compile(cluster Cluster) string {
	c := compiler{Cluster: cluster, namespaces: map[string]labels.Set{}, sets: map[string]string{}}
	for _, namespace := range cluster.Namespaces {
		c.namespaces[namespace.Name] = labels.Set(namespace.Labels)
	}
	c.Pods = sorted(cluster.Pods, hasAddress)
	c.Policies = sorted(cluster.Policies, func(*networking.NetworkPolicy) bool { return true })
	var maps, jumps, chains strings.Builder
	isolated := map[netip.Addr]bool{}
	for _, direction := range directions {
		elements := c.chains(direction, &chains, isolated)
		if len(elements) > 0 {
			fmt.Fprintf(&maps, "  map %s {\n    type ipv4_addr : verdict\n    elements = { %s }\n  }\n", direction.name, strings.Join(elements, ", "))
			fmt.Fprintf(&jumps, "    ip %s vmap @%s\n", direction.own, direction.name)
		}
	}
	var itself string
	if pairs := pairs(isolated); len(pairs) > 0 {
		// No policy keeps a pod from itself, by way of a Service as well.
		itself = "    ip saddr . ip daddr { " + strings.Join(pairs, ", ") + " } accept\n"
	}
	// Deleted and made anew in the transaction that replaces it; the first line lets there be something to delete.
	text := fmt.Sprintf("table ip %[1]s {}\ndelete table ip %[1]s\ntable ip %[1]s {\n%[2]s%[3]s%[4]s"+
		"  chain forward {\n    type filter hook forward priority filter; policy accept;\n    ct state established,related accept\n%[5]s%[6]s  }\n}\n",
		Table, c.definitions.String(), chains.String(), maps.String(), itself, jumps.String())
	if cluster.IPv6 {
		// Pods have IPv4 addresses alone. What every interface gives itself must be no way around the policies on a bridge.
		text += fmt.Sprintf("table ip6 %[1]s {}\ndelete table ip6 %[1]s\ntable ip6 %[1]s {\n"+
			"  chain forward {\n    type filter hook forward priority filter; policy accept;\n    ip6 daddr fe80::/10 drop\n  }\n}\n", Table)
	}
	return text
}

type compiler struct {
	Cluster
	namespaces map[string]labels.Set
	// sets are the names of the sets that are defined already, by what they hold.
	sets        map[string]string
	definitions strings.Builder
}

// chains writes the chains of one direction: one for all pods that the same policies select. It returns the elements of the map
// that leads to them, and notes which addresses are isolated.
func (c *compiler) chains(direction direction, to *strings.Builder, isolated map[netip.Addr]bool) []string {
	rules := make([][]string, len(c.Policies))
	written := map[string]string{}
	var elements []string
	for _, pod := range c.Pods {
		if pod.Spec.NodeName != c.Node {
			continue
		}
		var selecting []int
		for index, policy := range c.Policies {
			if policy.Namespace == pod.Namespace && isolates(policy, direction.kind) && selects(&policy.Spec.PodSelector, pod.Labels) {
				selecting = append(selecting, index)
			}
		}
		if len(selecting) == 0 {
			continue
		}
		key := fmt.Sprint(selecting)
		chain, known := written[key]
		if !known {
			chain = fmt.Sprintf("%s-%d", direction.name, len(written))
			written[key] = chain
			fmt.Fprintf(to, "  chain %s {\n", chain)
			for _, index := range selecting {
				if rules[index] == nil {
					rules[index] = c.rules(c.Policies[index], direction)
				}
				for _, rule := range rules[index] {
					fmt.Fprintf(to, "    %s\n", rule)
				}
			}
			to.WriteString("    drop\n  }\n")
		}
		for _, address := range addresses(pod) {
			isolated[address] = true
			elements = append(elements, fmt.Sprintf("%s : jump %s", address, chain))
		}
	}
	return elements
}

// rules is what a policy lets pass in one direction. Never nil.
func (c *compiler) rules(policy *networking.NetworkPolicy, direction direction) []string {
	rules := []string{}
	add := func(peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) {
		for _, from := range c.peers(policy, direction, peers) {
			for _, on := range c.ports(policy, direction, peers, ports) {
				words := append(slices.Clone(from), on...)
				comment := policy.Namespace + "/" + policy.Name
				if len(comment) > 120 { // The kernel's bound is 128.
					comment = comment[:120]
				}
				rules = append(rules, strings.Join(append(words, "return", fmt.Sprintf("comment %q", comment)), " "))
			}
		}
	}
	if direction.kind == networking.PolicyTypeIngress {
		for _, rule := range policy.Spec.Ingress {
			add(rule.From, rule.Ports)
		}
	} else {
		for _, rule := range policy.Spec.Egress {
			add(rule.To, rule.Ports)
		}
	}
	return rules
}

// peers is how a packet matches one of the peers: alternatives, each the words of a rule. No peers are all.
func (c *compiler) peers(policy *networking.NetworkPolicy, direction direction, peers []networking.NetworkPolicyPeer) [][]string {
	if len(peers) == 0 {
		return [][]string{{}}
	}
	var alternatives [][]string
	var elements []string
	for _, pod := range c.podsOf(policy, peers) {
		for _, address := range addresses(pod) {
			elements = append(elements, address.String())
		}
	}
	for _, peer := range peers {
		if peer.IPBlock == nil {
			continue
		}
		block, err := netip.ParsePrefix(peer.IPBlock.CIDR)
		if err != nil || !block.Addr().Is4() {
			continue // A pod has no IPv6 address that could be reached; what is no block was refused by the API server.
		}
		var words []string
		for _, text := range peer.IPBlock.Except {
			if except, err := netip.ParsePrefix(text); err == nil {
				words = append(words, fmt.Sprintf("ip %s != %s", direction.peer, except.Masked()))
			}
		}
		if block.Bits() == 0 {
			alternatives = append(alternatives, words)
		} else if len(words) > 0 {
			alternatives = append(alternatives, append([]string{fmt.Sprintf("ip %s %s", direction.peer, block.Masked())}, words...))
		} else {
			elements = append(elements, block.Masked().String())
		}
	}
	if len(elements) > 0 {
		set := c.set("peers", "ipv4_addr; flags interval; auto-merge", elements)
		alternatives = append([][]string{{fmt.Sprintf("ip %s @%s", direction.peer, set)}}, alternatives...)
	}
	return alternatives
}

// ports is how a packet matches one of the ports: alternatives, each the words of a rule. No ports are all.
func (c *compiler) ports(policy *networking.NetworkPolicy, direction direction, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) [][]string {
	if len(ports) == 0 {
		return [][]string{{}}
	}
	var alternatives [][]string
	numbers := map[string][]string{}
	var named []string
	for _, port := range ports {
		protocol := "tcp"
		if port.Protocol != nil {
			protocol = strings.ToLower(string(*port.Protocol))
		}
		switch {
		case port.Port == nil:
			alternatives = append(alternatives, []string{"meta l4proto " + protocol})
		case port.Port.StrVal != "":
			named = append(named, c.named(policy, direction, peers, protocol, port.Port.StrVal)...)
		case port.EndPort != nil:
			numbers[protocol] = append(numbers[protocol], fmt.Sprintf("%d-%d", port.Port.IntVal, *port.EndPort))
		default:
			numbers[protocol] = append(numbers[protocol], fmt.Sprint(port.Port.IntVal))
		}
	}
	for _, protocol := range []string{"tcp", "udp", "sctp"} {
		if found := numbers[protocol]; len(found) > 0 {
			set := c.set("ports", "inet_service; flags interval; auto-merge", found)
			alternatives = append(alternatives, []string{fmt.Sprintf("%s dport @%s", protocol, set)})
		}
	}
	if len(named) > 0 {
		set := c.set("named", "ipv4_addr . inet_proto . inet_service", named)
		alternatives = append(alternatives, []string{"ip daddr . meta l4proto . th dport @" + set})
	}
	return alternatives
}

// named is where a port with a name is: another number in each pod that gets the connection, which is the isolated one or its peer.
func (c *compiler) named(policy *networking.NetworkPolicy, direction direction, peers []networking.NetworkPolicyPeer, protocol, name string) []string {
	var pods []*v1.Pod
	switch {
	case direction.kind == networking.PolicyTypeIngress:
		for _, pod := range c.Pods {
			if pod.Namespace == policy.Namespace && selects(&policy.Spec.PodSelector, pod.Labels) {
				pods = append(pods, pod)
			}
		}
	case len(peers) == 0:
		pods = c.Pods
	default:
		pods = c.podsOf(policy, peers)
	}
	var elements []string
	for _, pod := range pods {
		// Init containers too: some of them run beside the others.
		for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			for _, port := range container.Ports {
				of := strings.ToLower(string(port.Protocol))
				if of == "" {
					of = "tcp"
				}
				if port.Name != name || of != protocol {
					continue
				}
				for _, address := range addresses(pod) {
					elements = append(elements, fmt.Sprintf("%s . %s . %d", address, protocol, port.ContainerPort))
				}
			}
		}
	}
	return elements
}

// podsOf are the pods that peers select.
func (c *compiler) podsOf(policy *networking.NetworkPolicy, peers []networking.NetworkPolicyPeer) []*v1.Pod {
	var found []*v1.Pod
	for _, pod := range c.Pods {
		is := func(peer networking.NetworkPolicyPeer) bool {
			if peer.IPBlock != nil {
				return false
			}
			in := pod.Namespace == policy.Namespace
			if peer.NamespaceSelector != nil {
				namespace, known := c.namespaces[pod.Namespace]
				in = known && selects(peer.NamespaceSelector, namespace)
			}
			return in && (peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels))
		}
		if slices.ContainsFunc(peers, is) {
			found = append(found, pod)
		}
	}
	return found
}

// set defines a set, once for all that hold the same, and returns its name.
func (c *compiler) set(prefix, kind string, elements []string) string {
	slices.Sort(elements)
	content := fmt.Sprintf("    type %s\n    elements = { %s }\n", kind, strings.Join(slices.Compact(elements), ", "))
	name, known := c.sets[content]
	if !known {
		name = fmt.Sprintf("%s-%d", prefix, len(c.sets))
		c.sets[content] = name
		fmt.Fprintf(&c.definitions, "  set %s {\n%s  }\n", name, content)
	}
	return name
}

// isolates says whether a policy isolates the pods that it selects in a direction. The API server writes the types that a policy
// does not say; this is its rule.
func isolates(policy *networking.NetworkPolicy, kind networking.PolicyType) bool {
	if len(policy.Spec.PolicyTypes) == 0 {
		return kind == networking.PolicyTypeIngress || len(policy.Spec.Egress) > 0
	}
	return slices.Contains(policy.Spec.PolicyTypes, kind)
}

// selects is false for what is no selector: the API server has refused it.
func selects(selector *metav1.LabelSelector, set labels.Set) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set)
}

// hasAddress is true of pods that have an address of their own. One on the host's network has the node's; the address of one that has
// ended may be another's.
func hasAddress(pod *v1.Pod) bool {
	ended := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	return !pod.Spec.HostNetwork && !ended && len(addresses(pod)) > 0
}

// addresses are a pod's IPv4 addresses.
func addresses(pod *v1.Pod) []netip.Addr {
	var found []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(ip.IP); err == nil && address.Is4() {
			found = append(found, address)
		}
	}
	return found
}

// pairs are elements that each match what an address sends to itself.
func pairs(of map[netip.Addr]bool) []string {
	var pairs []string
	for address := range of {
		pairs = append(pairs, fmt.Sprintf("%[1]s . %[1]s", address))
	}
	slices.Sort(pairs)
	return pairs
}

// sorted are those that are wanted, by namespace and name.
func sorted[T metav1.Object](objects []T, wanted func(T) bool) []T {
	found := slices.DeleteFunc(slices.Clone(objects), func(object T) bool { return !wanted(object) })
	slices.SortFunc(found, func(a, b T) int {
		if by := strings.Compare(a.GetNamespace(), b.GetNamespace()); by != 0 {
			return by
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	return found
}
