# Every workload's probe sees its program hang.
set -a

# What the agent of a pod answers to a probe, asked from its node as the kubelet does: `answer POD live`. Fails as the probe does.
answer() {
    local at
    at=$(kubectl get pod -n "$namespace" "$1" -o 'jsonpath={.status.podIP}:{.spec.containers[0].readinessProbe.httpGet.port}')
    ip netns exec "$instance-node1" curl --silent --show-error --fail-with-body --max-time 15 "http://$at/$2"
}
# Programs in a pod beside its agent, as the host numbers them.
programs() {
    local uid process
    uid=$(kubectl get pod -n "$namespace" "$1" -o 'jsonpath={.metadata.uid}')
    # By the pod's control group: most pods have a network of their own.
    for process in $(grep -l -e "$uid" -e "${uid//-/_}" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do
        [[ $(readlink "/proc/$process/exe") == */oaas || $(cat "/proc/$process/comm") == pause ]] || echo "$process"
    done | sort -un
}
# The components whose programs are watched. In the client's pod nothing runs but what people type.
watched() { kubectl get oscomp -n "$namespace" -o 'jsonpath={range .items[*]}{.spec.component}{"\n"}{end}' | grep -vx client | sort; }
# A running pod of a component.
running_pod() {
    kubectl get pods -n "$namespace" -l "oaas.dev/component=$1" --field-selector=status.phase=Running -o 'jsonpath={.items[0].metadata.name}'
}
# hangs COMPONENT: its program is stopped, its liveness fails and names a check; it goes on, and liveness is back.
hangs() {
    local pod said
    pod=$(running_pod "$1")
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
    local component components failed=0
    components=$(watched)
    for component in $components; do
        bash -c 'set -euo pipefail; hangs "$1"' _ "$component" || failed=1
    done
    ((failed == 0))
}
# The database's program is stopped. Whoever answers requests from it is not ready and says so; nobody but itself is taken
# for dead.
dead_database_fails_readiness_alone() {
    local component pod said failed=0 unready=""
    for component in $(watched); do
        echo "$component $(running_pod "$component")"
    done >"$out/pods"
    stopped=$(programs galera-0)
    trap 'kill -CONT $stopped 2>/dev/null || true; until_true 150 cloud_is_ready' EXIT
    # shellcheck disable=SC2086
    kill -STOP $stopped
    # Longer than the agents keep an answer.
    sleep 12
    while read -r component pod; do
        [[ $component == galera ]] && continue
        answer "$pod" live >/dev/null || { echo "$component: taken for dead: $(answer "$pod" live)"; failed=1; }
        said=$(answer "$pod" ready 2>&1) || { unready+=" $component"; echo "$component: $said" | cut -c -240; }
    done <"$out/pods"
    # shellcheck disable=SC2086
    kill -CONT $stopped
    [[ $unready == " glance keystone neutron-server nova-api nova-metadata placement" ]] || { echo "not ready:$unready"; failed=1; }
    ((failed == 0))
}
set +a
