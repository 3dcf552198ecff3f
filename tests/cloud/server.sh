# The virtual machine: console, metadata, ssh, bulk TCP, security group, addresses.
set -a

metadata_is_the_apis() {
    local console wanted id
    id=$(field demo server demo-vm id)
    console=$(client demo console log show demo-vm)
    told() { sed -n "s/^$1=//p" <<<"$console" | tr -d '\r' | tail -n 1; }
    equal() { [[ -n $2 && $2 == "$3" ]] || { echo "$1: the console says \`$2\`, the API \`$3\`"; return 1; }; }
    wanted=$(client demo server show demo-vm -f json -c addresses | python3 -c 'import json, sys; print(json.load(sys.stdin)["addresses"]["demo-net"][0])')
    equal local-ipv4 "$(told local-ipv4)" "$wanted"
    equal hostname "$(told hostname | cut -d. -f1)" "$(field admin server "$id" OS-EXT-SRV-ATTR:hostname)"
    equal public-key-md5 "$(told public-key-md5)" "$(client demo keypair list -f value -c Fingerprint | head -n 1)"
    # Nova derives both names from the same number.
    equal instance-id "$(told instance-id)" "$(field admin server "$id" OS-EXT-SRV-ATTR:instance_name | sed 's/^instance-/i-/')"
}

# The port that takes bytes and drops them is open in the guest; what closes it is the security group.
port_is() { timeout 5 bash -c "</dev/tcp/$(address)/$1" 2>/dev/null; }
closed_port_is_closed() {
    ! port_is 9 || { echo "port 9 answers without a rule"; return 1; }
    client demo security group rule create --protocol tcp --dst-port 9 --remote-ip 0.0.0.0/0 default -f value -c id >"$out/rule-9"
    until_true 20 port_is 9
}
open_web() {
    client demo security group rule create --protocol tcp --dst-port 80 --remote-ip 0.0.0.0/0 default -f value -c id >"$out/rule-80"
    until_true 20 port_is 80
}
port_closes_again() {
    local rule
    for rule in 9 80; do client demo security group rule delete "$(cat "$out/rule-$rule")"; done
    sleep 3
    ! port_is 9 || { echo "port 9 answers after its rule was deleted"; return 1; }
}

# Bulk TCP through the floating IP, 64 MiB each way, the best of three goes: other work on the machine is no fault of the network.
throughput() {
    python3 tests/cloud/throughput.py "$1" "$(address)" --at-least 10
}

# A guest without a floating IP of its own opens a connection to the outside: the peer there sees the router's address.
router_address_is_seen() {
    local router seen
    peer=oaas-test-peer server=snat-vm # The trap runs when locals are gone.
    router=$(client admin router show demo-router -f json -c external_gateway_info |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["external_gateway_info"]["external_fixed_ips"][0]["ip_address"])')
    remove_peer() {
        client demo server delete --wait "$server" || true
        ip netns pids "$peer" | xargs --no-run-if-empty kill || true
        ip netns delete "$peer" || true
    }
    trap remove_peer EXIT
    ip netns add "$peer"
    ip link add oaas-test-peer type veth peer name eth0 netns "$peer"
    ip link set oaas-test-peer master "$instance-ext" up
    ip -n "$peer" link set lo up
    ip -n "$peer" addr add 192.168.100.250/24 dev eth0
    ip -n "$peer" link set eth0 up
    ip netns exec "$peer" ethtool -K eth0 tx off >/dev/null
    ip netns exec "$peer" timeout 200 python3 -c '
import socket
listener = socket.create_server(("192.168.100.250", 7000))
while True:
    connection, (address, _) = listener.accept()
    print(address, connection.recv(64).decode().strip(), flush=True)
    connection.close()' >"$out/peer" &
    printf '#!/bin/sh\necho hello-from-user-data | nc 192.168.100.250 7000\n' >"$out/user-data"
    client demo server create "$server" --image oaas-guest --flavor m1.tiny --network demo-net --user-data "$out/user-data" -f value -c id
    until_true 150 grep -q hello-from-user-data "$out/peer"
    seen=$(awk '/hello-from-user-data/ {print $1; exit}' "$out/peer")
    [[ $seen == "$router" ]] || { echo "the peer sees $seen, the router has $router"; return 1; }
}
set +a
