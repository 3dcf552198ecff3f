# `oaas why` names five injected causes. Each is injected, asked for until it is named, taken back, and the cloud must be ready again by itself.
set -a

# named COMPONENT WORDS...: `oaas why COMPONENT` says all the words (extended regular expressions).
named() {
    local said word
    said=$(oaas why "$1" 2>&1) || true
    echo "$said"
    for word in "${@:2}"; do grep -Eqi -- "$word" <<<"$said" || return 1; done
}
# names_within SECONDS COMPONENT WORDS...: what was said last is printed.
names_within() {
    local deadline=$((SECONDS + $1))
    until named "${@:2}" >"$out/why-said"; do
        ((SECONDS < deadline)) || { cat "$out/why-said"; echo "does not name: ${*:3}"; return 1; }
        sleep 2
    done
    cat "$out/why-said"
}
# In a node's network, or in its mounts: those of its kubelet.
kubelet() { for pid in $(ip netns pids "$instance-node1"); do grep -qz '^kubelet$' "/proc/$pid/cmdline" 2>/dev/null && echo "$pid" && return; done; }
in_node() { nsenter --target "$(kubelet)" --mount --net --pid "$@"; }
ready_again() { until_true 150 cloud_is_ready; }

why_wrong_image() {
    trap 'patch "{\"spec\":{\"services\":{\"placement\":null}}}"; ready_again' EXIT
    patch '{"spec":{"services":{"placement":{"image":"oaas.local/openstack-2026.1@sha256:0000000000000000000000000000000000000000000000000000000000000000"}}}}'
    names_within 60 placement 'cannot be pulled' 'sha256:0000000000000000' 'spec.services.placement.image'
}

why_memory_limit() {
    trap 'patch "{\"spec\":{\"services\":{\"placement\":null}}}"; ready_again' EXIT
    patch '{"spec":{"services":{"placement":{"memory":"48Mi"}}}}'
    names_within 90 placement 'more memory than its limit' '48 ?Mi' 'spec.services.placement.memory'
}

why_port_taken() {
    # The agent has the port still: the taker gets it at the moment when the pod is gone.
    in_node python3 -c '
import socket, time
while True:
    try:
        taken = socket.create_server(("0.0.0.0", 9105))
        break
    except OSError:
        time.sleep(0.01)
time.sleep(200)' &
    # By what it does: it outlives the shell and the nsenter that started it.
    trap 'pkill -f "taken = socket.create_server" || true; ready_again' EXIT
    kubectl delete pod -n "$namespace" -l oaas.dev/component=nova-compute --wait=true --timeout=60s
    names_within 90 nova-compute 'port' '(taken|in use)' '9105'
}

why_database_down() {
    trap 'kubectl uncordon node1; ready_again' EXIT
    kubectl cordon node1
    kubectl delete pod -n "$namespace" galera-0 --wait=true --timeout=90s
    names_within 60 keystone 'galera-0' 'unschedulable' 'uncordon'
    # An API without its database is not ready, and not restarted for it.
    local keystone
    keystone=$(kubectl get pods -n "$namespace" -l oaas.dev/component=keystone -o 'jsonpath={.items[0].metadata.name}')
    answer "$keystone" live
    ! answer "$keystone" ready
}

why_full_volume() {
    local claim
    claim=$(kubectl get pvc -n "$namespace" data-rabbitmq-0 -o 'jsonpath={.spec.volumeName}')
    directory=$(kubectl get pv "$claim" -o 'jsonpath={.spec.local.path}{.spec.hostPath.path}')
    # While its pod runs, a mount over the volume's directory would go with the pod's own.
    without_rabbitmq() {
        kubectl cordon node1
        kubectl delete pod -n "$namespace" rabbitmq-0 --wait=true --timeout=60s
        in_node "$@"
        kubectl uncordon node1
    }
    give_back() {
        without_rabbitmq umount "$directory"
        ready_again
    }
    trap give_back EXIT
    # A file system of its own over the volume's directory, without a free byte.
    without_rabbitmq sh -c "mount -t tmpfs -o size=64k,mode=0777 tmpfs '$directory'; head -c 1000000 /dev/zero >'$directory/filler'; true"
    names_within 90 rabbitmq 'volume is full' 'No space left on device|enospc' 'spec.services.rabbitmq.volume'
}

# A value that the service refuses at its start: the old pod serves on, and the service's own line is told, by `why` and in the status.
why_wrong_value() {
    trap 'patch "{\"spec\":{\"services\":{\"keystone\":null}}}"; ready_again' EXIT
    patch '{"spec":{"services":{"keystone":{"config":{"token":{"provider":"nothing"}}}}}}'
    names_within 120 keystone "log:.*'nothing'"
    client demo token issue -f value -c id >/dev/null
    until_true 30 status_quotes "'nothing'"
}
status_quotes() { kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.components[?(@.name=="keystone")].waitingFor}' | grep -q -- "$1"; }

# Nobody keeps the status true while the operator is away.
silent_operator() {
    trap 'kubectl scale -n oaas-system deployment/oaas-operator --replicas=1' EXIT
    kubectl scale -n oaas-system deployment/oaas-operator --replicas=0
    until_true 60 old_news
    oaas why 2>&1 | grep -q 'no sign of life'
    kubectl scale -n oaas-system deployment/oaas-operator --replicas=1
    until_true 90 fresh_news
}
old_news() { oaas status | grep -q '^old news: the operator has given no sign of life'; }
fresh_news() { ! old_news; }
set +a
