# What people type in pods works there as typed; a transfer that pauses goes on.
set -a

in_pod() { kubectl exec -n "$namespace" "$1" -c "${2:-${1%-*}}" -- "${@:3}"; }
command_lines_work_as_typed() {
    in_pod rabbitmq-0 rabbitmq rabbitmqctl cluster_status | grep 'rabbit@rabbitmq-0' >/dev/null
    [[ $(in_pod galera-0 galera mariadb --batch --skip-column-names --execute 'SELECT 1') == 1 ]]
    in_pod ovn-nb-0 ovn-nb ovn-nbctl show | grep '^router' >/dev/null
    in_pod ovn-sb-0 ovn-sb ovn-sbctl show | grep '^Chassis' >/dev/null
    in_pod "$(running_pod ovn-northd)" ovn-northd ovn-nbctl ls-list >/dev/null
}
# Keystone's keys are its own, and it says nothing of them.
keystones_keys_are_its_own() {
    local pod modes
    pod=$(running_pod keystone)
    modes=$(in_pod "$pod" keystone find /run/keystone/keys -mindepth 1 -printf '%m\n' | sort -u | tr '\n' ' ')
    [[ $modes == "600 700 " ]] || { echo "modes: $modes"; return 1; }
    if kubectl logs -n "$namespace" "$pod" | grep -i 'world readable'; then return 1; fi
}
# An upload that pauses for longer than uWSGI's own patience arrives whole.
paused_upload_arrives() {
    local id sum
    head -c 20000000 /dev/urandom >"$out/paused.raw"
    sum=$(sha512sum <"$out/paused.raw" | cut -d' ' -f1)
    id=$({ head -c 10000000 "$out/paused.raw"; sleep 8; tail -c +10000001 "$out/paused.raw"; } |
        OS_CLOUD=demo oaas openstack image create --disk-format raw --container-format bare paused -f value -c id)
    [[ $(field demo image "$id" status) == active ]]
    client demo image show "$id" -f json -c properties | grep -q "$sum" || { echo "it is not what was sent"; return 1; }
    client demo image delete "$id"
    rm -f "$out/paused.raw"
}
# Each scheduled job ends well when it is done now.
scheduled_jobs_end_well() {
    local name
    for name in $(kubectl get cronjobs -n "$namespace" -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'); do
        kubectl create job -n "$namespace" --from="cronjob/$name" "now-$name"
    done
    for name in $(kubectl get cronjobs -n "$namespace" -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'); do
        kubectl wait -n "$namespace" --for=condition=Complete --timeout=120s "job/now-$name" ||
            { kubectl logs -n "$namespace" "job/now-$name" | tail -n 5; return 1; }
        kubectl delete job -n "$namespace" "now-$name"
    done
}
# A storm of connections: the database refuses them, and nobody restarts it for that.
storm_restarts_no_database() {
    local before after
    before=$(kubectl get pod -n "$namespace" galera-0 -o 'jsonpath={.status.containerStatuses[0].restartCount}')
    # In one session: while the storm lasts, nobody gets another.
    in_pod galera-0 galera mariadb --execute 'SET GLOBAL max_connections = 10; DO SLEEP(75); SET GLOBAL max_connections = 800'
    after=$(kubectl get pod -n "$namespace" galera-0 -o 'jsonpath={.status.containerStatuses[0].restartCount}')
    [[ $before == "$after" ]] || { echo "restarts: $before, then $after"; return 1; }
    until_true 60 cloud_is_ready
}
# Names of characters of four bytes are taken wherever people name something.
four_byte_names_are_taken() {
    local id
    for kind in network "security group" router; do
        # shellcheck disable=SC2086
        id=$(client demo $kind create "🚀 $kind" -f value -c id)
        # shellcheck disable=SC2086
        [[ $(field demo "$kind" "$id" name) == "🚀 $kind" ]] || { echo "$kind: $(field demo "$kind" "$id" name)"; return 1; }
        # shellcheck disable=SC2086
        client demo $kind delete "$id"
    done
    # Glance itself takes none (glance/common/utils.py), and says so.
    ! client demo image create --disk-format raw --container-format bare "🎉" >"$out/said" 2>&1
    grep '400' "$out/said" >/dev/null
    client admin project create "🎉" -f value -c id
    client admin project show "🎉" -f value -c name | grep -qx "🎉"
    # Another such character is another name.
    client admin project create "🚀" -f value -c id
    client admin project delete "🎉" "🚀"
}
# What the field's other deployers switch on: port forwarding, trunks, quality of service, names of ports.
extensions_of_the_network_work() {
    local port parent policy internal
    parent=$(client demo port create --network demo-net --dns-name a parent -f value -c id)
    # The trap runs when locals are gone.
    address=$(client demo floating ip create ext-net -f value -c floating_ip_address)
    forwarding=
    trap 'set +e; client demo floating ip port forwarding delete "$address" $forwarding; client demo floating ip delete "$address"
        client demo network trunk delete t; client demo port delete parent child; client admin network qos policy delete q' EXIT
    [[ $(field demo port "$parent" dns_name) == a ]]
    internal=$(client demo port show parent -f json -c fixed_ips | jq -r '.fixed_ips[0].ip_address')
    forwarding=$(client demo floating ip port forwarding create --internal-ip-address "$internal" --port "$parent" --internal-protocol-port 22 \
        --external-protocol-port 2222 --protocol tcp "$address" -f value -c id)
    port=$(client demo port create --network demo-net child -f value -c id)
    client demo network trunk create --parent-port parent --subport "port=$port,segmentation-type=vlan,segmentation-id=7" t -f value -c id
    policy=$(client admin network qos policy create q -f value -c id)
    client admin network qos rule create --type bandwidth-limit --max-kbps 10000 q -f value -c id
    client admin port set --qos-policy "$policy" "$parent"
    client admin port unset --qos-policy "$parent"
}
# A console is reached through the published endpoint by its token alone, and on the node by TLS with a certificate alone.
console_is_reached_by_token_alone() {
    local url port
    url=$(client demo console url show --novnc demo-vm -f value -c url)
    in_pod "$(running_pod client)" client python3 - "$url" <"tests/cloud/console.py"
    port=$(ip netns exec "$instance-node1" ss -Hltnp | grep -o '10\.[0-9.]*:59[0-9]*' | head -n 1)
    [[ -n $port ]] || { echo "no console listens"; return 1; }
    ip netns exec "$instance-node1" python3 tests/cloud/console.py --bare "${port%:*}" "${port#*:}"
}
# What a guest writes to its console without end does not fill the disk.
console_logs_stay_short() {
    local log blocks
    guest_user=root guest 'i=0; while [ $i -lt 120 ]; do head -c 65536 /dev/zero | tr "\\0" x; echo; i=$((i+1)); done >/dev/ttyS0'
    log=$(find "/var/lib/oaas/$instance" -path '*/instances/*/console.log' -size +4M 2>/dev/null | head -n 1)
    [[ -n $log ]] || { echo "no log has grown"; return 1; }
    stays_short() { [[ $(stat -c %b "$log") -lt 8192 ]]; }
    until_true 40 stays_short
    client demo console log show demo-vm --lines 20 | grep xxx >/dev/null
}
# Guests are given what the cloud itself does not take.
the_rest_of_a_node_is_reserved() {
    local provider
    provider=$(client admin resource provider list -f value -c uuid | head -n 1)
    client admin resource provider inventory list "$provider" -f json | tee "$out/inventory"
    jq -e '[.[] | select(.resource_class == "MEMORY_MB" or .resource_class == "DISK_GB") | .reserved > 0 and .reserved < .total] | all and length == 2' \
        "$out/inventory" >/dev/null
}
set +a
