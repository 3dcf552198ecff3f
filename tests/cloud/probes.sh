# Every workload's probe sees its program hang.
set -a

# What the agent of a pod answers to a probe: `answer POD live`, the HTTP status first.
answer() {
    local port
    port=$(kubectl get pod -n "$namespace" "$1" -o 'jsonpath={.spec.containers[0].readinessProbe.httpGet.port}')
    kubectl get --raw "/api/v1/namespaces/$namespace/pods/$1:$port/proxy/$2" 2>&1
}
# Programs in a pod beside its agent, as the host numbers them.
programs() {
    local uid process
    uid=$(kubectl get pod -n "$namespace" "$1" -o 'jsonpath={.metadata.uid}')
    for process in $(ip netns pids "$instance-node1" 2>/dev/null; pod_processes "$uid"); do
        grep -q "${uid}" "/proc/$process/cgroup" 2>/dev/null || grep -q "${uid//-/_}" "/proc/$process/cgroup" 2>/dev/null || continue
        [[ $(readlink "/proc/$process/exe") == */oaas || $(cat "/proc/$process/comm") == pause ]] || echo "$process"
    done | sort -un
}
# A pod has a network of its own, so its processes are found by their control group.
pod_processes() { grep -l -e "$1" -e "${1//-/_}" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3; }

# hangs COMPONENT: its program is stopped, its liveness fails and names a check; it goes on, and liveness is back.
hangs() {
    local pod said
    pod=$(kubectl get pods -n "$namespace" -l "oaas.dev/component=$1" --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}')
    stopped=$(programs "$pod")
    [[ -n $stopped ]] || { echo "$1: no program runs in $pod"; return 1; }
    trap 'kill -CONT $stopped 2>/dev/null || true' EXIT
    answer "$pod" live >/dev/null || { echo "$1: not alive before: $(answer "$pod" live)"; return 1; }
    # shellcheck disable=SC2086
    kill -STOP $stopped
    local deadline=$((SECONDS + 45))
    while answer "$pod" live >/dev/null; do
        ((SECONDS < deadline)) || { echo "$1: stopped, and its liveness still passes"; return 1; }
        sleep 1
    done
    said=$(answer "$pod" live || true)
    # shellcheck disable=SC2086
    kill -CONT $stopped
    echo "$1: $said" | cut -c -240
    until_true 60 answer "$pod" live
}
each_probe_sees_a_hang() {
    local component failed=0
    for component in $(kubectl get oscomp -n "$namespace" -o 'jsonpath={.items[*].spec.component}'); do
        bash -c 'set -euo pipefail; hangs "$1"' _ "$component" || failed=1
    done
    ((failed == 0))
}
set +a
