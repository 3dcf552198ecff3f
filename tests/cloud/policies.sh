# Who reaches whom among the pods of a cloud: what its NetworkPolicies say holds.
set -a

# connects FROM HOST PORT: does a connection from a deployment's pod come about? FROM is `deployment` or `namespace/pod`.
connects() {
    local namespace=$namespace from=deployment/$1
    [[ $1 != */* ]] || namespace=${1%%/*} from=pod/${1#*/}
    kubectl exec -n "$namespace" "$from" -- timeout 4 bash -c "exec 3<>/dev/tcp/$2.demo.svc.cluster.local/$3" 2>/dev/null
}
may() { connects "$@" || { echo "$1 does not reach $2:$3"; return 1; }; }
may_not() { ! connects "$@" || { echo "$1 reaches $2:$3"; return 1; }; }

pods_reach_whom_their_files_name_alone() {
    may keystone memcached 11211
    may keystone galera-writer 3306
    may horizon memcached 11211
    may nova-conductor rabbitmq 5671
    may neutron-server ovn-nb 6641
    # APIs are for all pods of the cloud.
    may client nova-api 8774
    # Those have nothing to do with each other.
    may_not client memcached 11211
    may_not client galera-writer 3306
    may_not horizon galera-writer 3306
    may_not placement rabbitmq 5671
    may_not keystone ovn-nb 6641
    # Members alone.
    may_not keystone galera-0.galera 4567
}

# From another namespace only what is published is reached.
other_namespaces_reach_what_is_published_alone() {
    local image
    image=$(kubectl get deployment -n "$namespace" client -o 'jsonpath={.spec.template.spec.containers[0].image}')
    trap 'kubectl delete namespace stranger --wait=false' EXIT
    kubectl create namespace stranger
    until_true 30 kubectl get serviceaccount -n stranger default
    kubectl run -n stranger stranger --image="$image" --restart=Never --command -- sleep 600
    kubectl wait -n stranger pod/stranger --for=condition=Ready --timeout=60s
    may stranger/stranger edge 8443
    may_not stranger/stranger memcached 11211
    may_not stranger/stranger galera 3306
    may_not stranger/stranger keystone 5000
}

# Without the policies all is open, so that what is closed above is closed by them; the operator puts them back.
policies_come_back() {
    trap 'kubectl scale deployment -n oaas-system oaas-operator --replicas=1' EXIT
    kubectl scale deployment -n oaas-system oaas-operator --replicas=0
    kubectl wait -n oaas-system --for=delete pod -l app.kubernetes.io/name=oaas-operator --timeout=60s
    kubectl delete networkpolicies -n "$namespace" cloud to-memcached
    until_true 10 connects client memcached 11211
    kubectl scale deployment -n oaas-system oaas-operator --replicas=1
    until_true 90 kubectl get networkpolicies -n "$namespace" cloud to-memcached
    until_true 10 may_not client memcached 11211
    may keystone memcached 11211
}
set +a
