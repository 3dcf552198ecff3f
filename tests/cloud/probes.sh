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
# The components whose programs are watched. In the client's pod nothing runs but what people type, and the filler's has one after a loss alone.
watched() { kubectl get oscomp -n "$namespace" -o 'jsonpath={range .items[*]}{.spec.component}{"\n"}{end}' | grep -vxE 'client|neutron-ovn-filler' | sort; }
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
# Some at a time: whoever is stopped is nobody's reason to be taken for dead, so they do not disturb each other.
each_probe_sees_a_hang() { watched | xargs --max-procs=8 --max-args=1 bash -c 'set -euo pipefail; hangs "$1"' _; }
# asked COMPONENT POD: what a pod says of itself while the database stands still, as `asked/COMPONENT.live` and `.ready`, when it fails.
asked() {
    local kind
    for kind in live ready; do
        answer "$2" "$kind" >"$out/asked/$1.$kind" 2>&1 && rm "$out/asked/$1.$kind"
    done
    return 0
}
# The database's program is stopped. Whoever answers requests from it is not ready and says so; nobody but itself is taken
# for dead. All are asked at once: asked one after the other, the database would be taken for dead and killed meanwhile.
dead_database_fails_readiness_alone() {
    local component said failed=0 unready=""
    rm -rf "$out/asked"
    mkdir "$out/asked"
    for component in $(watched); do
        [[ $component == galera ]] || echo "$component $(running_pod "$component")"
    done >"$out/pods"
    stopped=$(programs galera-0)
    trap 'kill -CONT $stopped 2>/dev/null || true; until_true 150 cloud_is_ready' EXIT
    # shellcheck disable=SC2086
    kill -STOP $stopped
    # Longer than the agents keep an answer.
    sleep 12
    xargs --max-procs=0 --max-lines=1 bash -c 'asked "$@"' _ <"$out/pods"
    # shellcheck disable=SC2086
    kill -CONT $stopped || { echo "the database was killed before everybody had answered"; failed=1; }
    for said in "$out"/asked/*.live; do
        [[ ! -e $said ]] || { echo "taken for dead: $(basename "$said" .live): $(cut -c -240 "$said")"; failed=1; }
    done
    for said in "$out"/asked/*.ready; do
        [[ ! -e $said ]] || { unready+=" $(basename "$said" .ready)"; echo "$(basename "$said" .ready): $(cut -c -240 "$said")"; }
    done
    [[ $unready == " glance keystone neutron-server nova-api nova-metadata placement" ]] || { echo "not ready:$unready"; failed=1; }
    ((failed == 0))
}
set +a
