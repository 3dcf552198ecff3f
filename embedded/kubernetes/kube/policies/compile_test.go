package policies

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// A cloud beside somebody else's pods: `db` lets in `api` on a port, and a machine on any; `web` is open on a port by its name.
const example = `
- metadata: {namespace: cloud, name: db}
  spec:
    podSelector: {matchLabels: {part: db}}
    policyTypes: [Ingress]
    ingress:
    - from: [{podSelector: {matchLabels: {part: api}}}]
      ports: [{port: 3306}, {port: 4567, endPort: 4568}]
    - from: [{ipBlock: {cidr: 10.87.0.11/32}}]
- metadata: {namespace: cloud, name: web}
  spec:
    podSelector: {matchExpressions: [{key: part, operator: In, values: [api, db]}]}
    policyTypes: [Ingress]
    ingress: [{ports: [{port: web}, {port: 53, protocol: UDP}]}]
`

const expected = `table ip oaas-policies {}
delete table ip oaas-policies
table ip oaas-policies {
  set ports-0 {
    type inet_service; flags interval; auto-merge
    elements = { 53 }
  }
  set named-1 {
    type ipv4_addr . inet_proto . inet_service
    elements = { 10.88.1.3 . tcp . 8080, 10.88.2.3 . tcp . 8080 }
  }
  set peers-2 {
    type ipv4_addr; flags interval; auto-merge
    elements = { 10.88.1.3, 10.88.2.3 }
  }
  set ports-3 {
    type inet_service; flags interval; auto-merge
    elements = { 3306, 4567-4568 }
  }
  set peers-4 {
    type ipv4_addr; flags interval; auto-merge
    elements = { 10.87.0.11/32 }
  }
  chain ingress-0 {
    udp dport @ports-0 return comment "cloud/web"
    ip daddr . meta l4proto . th dport @named-1 return comment "cloud/web"
    drop
  }
  chain ingress-1 {
    ip saddr @peers-2 tcp dport @ports-3 return comment "cloud/db"
    ip saddr @peers-4 return comment "cloud/db"
    udp dport @ports-0 return comment "cloud/web"
    ip daddr . meta l4proto . th dport @named-1 return comment "cloud/web"
    drop
  }
  map ingress {
    type ipv4_addr : verdict
    elements = { 10.88.1.3 : jump ingress-0, 10.88.1.2 : jump ingress-1 }
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ip saddr . ip daddr { 10.88.1.2 . 10.88.1.2, 10.88.1.3 . 10.88.1.3 } accept
    ip daddr vmap @ingress
  }
}
`

func pod(namespace, name, node, address string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"part": strings.Split(name, "-")[0]}},
		Spec: v1.PodSpec{NodeName: node, Containers: []v1.Container{{
			Ports: []v1.ContainerPort{{Name: strings.Split(name, "-")[0] + "-web", ContainerPort: 1}},
		}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, PodIPs: []v1.PodIP{{IP: address}, {IP: "fd00::1"}}},
	}
}

func cluster(t *testing.T, policies string) Cluster {
	t.Helper()
	var all []*networking.NetworkPolicy
	if err := yaml.UnmarshalStrict([]byte(policies), &all); err != nil {
		t.Fatal(err)
	}
	one, two := pod("cloud", "api-1", "node1", "10.88.1.3"), pod("cloud", "api-2", "node2", "10.88.2.3")
	for _, pod := range []*v1.Pod{one, two} {
		pod.Spec.Containers[0].Ports[0] = v1.ContainerPort{Name: "web", ContainerPort: 8080}
	}
	ended, host := pod("cloud", "api-ended", "node1", "10.88.1.9"), pod("cloud", "api-host", "node1", "10.87.0.11")
	ended.Status.Phase, host.Spec.HostNetwork = v1.PodSucceeded, true
	waiting := pod("cloud", "api-waiting", "node1", "")
	return Cluster{
		Node: "node1",
		Pods: []*v1.Pod{
			one, two, ended, host, waiting, pod("cloud", "db", "node1", "10.88.1.2"), pod("cloud", "other", "node1", "10.88.1.4"),
			pod("tenant", "api", "node1", "10.88.1.5"), pod("operator", "operator", "node1", "10.88.1.6"),
		},
		Namespaces: []*v1.Namespace{
			{ObjectMeta: metav1.ObjectMeta{Name: "cloud"}}, {ObjectMeta: metav1.ObjectMeta{Name: "tenant"}},
			{ObjectMeta: metav1.ObjectMeta{Name: "operator", Labels: map[string]string{"trusted": "yes"}}},
		},
		Policies: all,
	}
}

// accepted has nft check a text, where there is an nft that may.
func accepted(t *testing.T, text string) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Log("not checked by nft: it is not there, or not for this user")
		return
	}
	command := exec.Command("nft", "-c", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("nft does not take it: %s\n%s", said, text)
	}
}

func TestTheTableOfANode(t *testing.T) {
	given := cluster(t, example)
	text := Compile(given)
	if text != expected {
		t.Fatalf("another table:\n%s", text)
	}
	accepted(t, text)
	slices.Reverse(given.Pods)
	slices.Reverse(given.Policies)
	if Compile(given) != text {
		t.Fatal("the order in which things are known changes the table")
	}
	given.Policies, given.IPv6 = nil, true
	text = Compile(given)
	if !strings.Contains(text, "table ip6") || strings.Contains(text, "vmap") {
		t.Fatalf("without policies nobody is isolated:\n%s", text)
	}
	accepted(t, text)
}

func TestWhatARuleSaysIsWhatPasses(t *testing.T) {
	of := func(spec string) string { return "- {metadata: {namespace: cloud, name: p}, spec: " + spec + "}" }
	db := "podSelector: {matchLabels: {part: db}}"
	for name, rule := range map[string]struct {
		policy   string
		has, not []string
	}{
		"nothing is said, nothing passes": {
			of("{" + db + "}"), []string{"chain ingress-0 {\n    drop\n", "10.88.1.2 : jump ingress-0"}, []string{"egress", "10.88.1.3"},
		},
		"an empty rule is for everybody": {of("{" + db + ", ingress: [{}]}"), []string{"chain ingress-0 {\n    return "}, nil},
		"all pods of a namespace": {
			of("{" + db + ", ingress: [{from: [{podSelector: {}}]}]}"),
			[]string{"elements = { 10.88.1.2, 10.88.1.3, 10.88.1.4, 10.88.2.3 }"}, []string{"10.88.1.5", "10.88.1.9"},
		},
		"all pods of labelled namespaces": {
			of("{" + db + ", ingress: [{from: [{namespaceSelector: {matchLabels: {trusted: 'yes'}}}]}]}"),
			[]string{"elements = { 10.88.1.6 }"}, nil,
		},
		"some pods of all namespaces": {
			of("{" + db + ", ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {part: api}}}]}]}"),
			[]string{"elements = { 10.88.1.3, 10.88.1.5, 10.88.2.3 }"}, nil,
		},
		"pods that are not there let nobody in": {
			of("{" + db + ", ingress: [{from: [{podSelector: {matchLabels: {part: none}}}]}]}"),
			[]string{"chain ingress-0 {\n    drop\n"}, nil,
		},
		"a block without some of it": {
			of("{" + db + ", ingress: [{from: [{ipBlock: {cidr: 10.0.0.7/8, except: [10.1.0.0/16, 10.1.2.0/24]}}], ports: [{protocol: SCTP}]}]}"),
			[]string{"ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 ip saddr != 10.1.2.0/24 meta l4proto sctp return"}, nil,
		},
		"all addresses but some": {
			of("{" + db + ", ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}, {ipBlock: {cidr: '::/0'}}]}]}"),
			[]string{"{\n    ip saddr != 10.0.0.0/8 return comment \"cloud/p\"\n    drop\n"}, nil,
		},
		"where a pod may go": {
			of("{" + db + ", policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {part: api}}}], ports: [{port: web}, {port: 53, protocol: UDP}]}]}"),
			[]string{
				"10.88.1.2 : jump egress-0", "ip daddr @peers-0 ip daddr . meta l4proto . th dport @named-2 return",
				"elements = { 10.88.1.3 . tcp . 8080, 10.88.2.3 . tcp . 8080 }", "ip saddr vmap @egress\n  }",
			}, []string{"ingress"},
		},
		"egress is isolated where a rule speaks of it": {
			of("{" + db + ", egress: [{}]}"), []string{"ip saddr vmap @egress\n    ip daddr vmap @ingress\n"}, nil,
		},
		"pods of other nodes are isolated there": {
			of("{podSelector: {matchLabels: {part: api}}}"), []string{"elements = { 10.88.1.3 : jump ingress-0 }"}, []string{"10.88.2.3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := Compile(cluster(t, rule.policy))
			accepted(t, text)
			for _, has := range rule.has {
				if !strings.Contains(text, has) {
					t.Errorf("it lacks %q:\n%s", has, text)
				}
			}
			for _, not := range rule.not {
				if strings.Contains(text, not) {
					t.Errorf("it holds %q:\n%s", not, text)
				}
			}
		})
	}
}

func TestWhatIsKeptOfAPodMakesTheSameTable(t *testing.T) {
	given := cluster(t, example)
	text := Compile(given)
	for index, pod := range given.Pods {
		slimmed, err := slim(pod)
		if err != nil {
			t.Fatal(err)
		}
		given.Pods[index] = slimmed.(*v1.Pod)
	}
	if Compile(given) != text {
		t.Fatal("something that matters is not kept")
	}
}
