# What is lost with its volume and comes back by itself, while guests go on.
set -a

checks_of_loss() {
    CHECK_SECONDS=900 check "OVN's northbound database lost: guests go on, the status says it, and it comes back whole" northbound_lost
    CHECK_SECONDS=900 check "OVN's southbound database lost: it comes back, and guests hardly notice" southbound_lost
}

# The volume of a component's only member goes with its pod, as with a disk.
lose_volume() {
    kubectl delete pvc -n "$namespace" "data-$1-0" --wait=false
    kubectl delete pod -n "$namespace" "$1-0"
}
component_is_ready() {
    kubectl get oscloud -n "$namespace" demo -o json | jq -e --arg name "$1" '.status.components[] | select(.name == $name).ready == "1/1"' >/dev/null
}
cloud_is_not_ready() { ! cloud_is_ready; }
# The whole way from what is wanted to the nodes: each of them has done all that was asked for.
nodes_are_in_step() { kubectl exec -n "$namespace" ovn-nb-0 -- ovn-nbctl --timeout=20 --wait=hv sync; }
# The most seconds between two answers of a guest that is pinged five times a second.
longest_silence() {
    sed -n 's/.*icmp_seq=\([0-9]*\) ttl.*/\1/p' "$1" | awk 'NR > 1 && $1 - last > most {most = $1 - last} {last = $1} END {print most / 5}'
}
# lost_with_its_volume COMPONENT SECONDS: it goes, and comes back by itself; no guest is silent for longer.
lost_with_its_volume() {
    local silence log=$out/$1.ping
    ping -i 0.2 -W 1 "$(address)" >"$log" 2>&1 &
    pinging=$!
    trap 'kill -INT $pinging 2>/dev/null || true' EXIT
    sleep 5
    lose_volume "$1"
    until_true 60 cloud_is_not_ready || { echo "the status says nothing of it"; return 1; }
    oaas why || true
    until_true 300 component_is_ready "$1"
    until_true 120 nodes_are_in_step
    until_true 120 cloud_is_ready
    sleep 5
    kill -INT "$pinging"
    wait "$pinging" || true
    silence=$(longest_silence "$log")
    echo "the guest was silent for $silence s at the most"
    awk -v silence="$silence" -v most="$2" 'BEGIN {exit !(silence <= most)}'
}
# A server made after it is connected: it answers by the address of its router, which knows it by OVN alone.
new_server_boots() {
    client demo server delete --wait after-loss || true
    created demo after-loss --flavor m1.tiny --image oaas-guest --network demo-net
    [[ $(field demo server after-loss status) == ACTIVE ]]
    client demo server delete --wait after-loss
}
northbound_things() {
    kubectl exec -n "$namespace" ovn-nb-0 -- ovn-nbctl --timeout=20 --bare -- --columns=name list Logical_Switch -- --columns=name list Logical_Router \
        -- --columns=name list Logical_Switch_Port -- --columns=external_ip,logical_ip list NAT | grep . | sort
}
northbound_lost() {
    northbound_things >"$out/northbound.before"
    lost_with_its_volume ovn-nb 3
    diff "$out/northbound.before" <(northbound_things)
    ping -c 3 -W 2 "$(address)"
    new_server_boots
}
southbound_lost() {
    lost_with_its_volume ovn-sb 5
    until_true 120 agents_are_up
    new_server_boots
}
# Neutron sees the nodes again, which registered themselves anew.
agents_are_up() { client admin network agent list -f json | jq -e 'length > 0 and all(.[]; .Alive)' >/dev/null; }
set +a
