# What a resource declares has its effect on a cloud that runs: each kind of field once, changed, and taken back.
set -a

checks_of_declared() {
    export CHECK_SECONDS=420
    check "an option's value comes from a Secret, follows it, and outlives it" value_from_a_secret
    check "a rule of a service's policy is in force" rule_in_force
    check "further files lie below the service's configuration" further_files
    check "options of a group of nodes are those of its computes" options_of_nodes
    check "limits, memory and CPU, are the containers'" limits_are_the_containers
    check "a plan waits for its hash, and for no other" plan_waits_for_its_hash
    check "what is kept by hand at \`scale\` is not what a plan tells" scaled_by_hand
    check "a tunnel's size is the networks'" tunnel_size
    check "a second external network is there, and a router takes it" second_external_network
    check "users and keypairs come from Secrets" people_from_secrets
    check "a certificate of one's own is what everything published shows" own_certificate
    check "a server with UEFI, config drive, ephemeral disk and swap starts" uefi_server_starts
    check "a larger profile is refused while its voters would be more" larger_profile
}

# The file in a component's pods has the line, within a minute and a half.
in_force() { until_true 90 has_line "$@" || { kubectl exec -n "$namespace" "$(running_pod "$1")" -- grep -F "${3}" "$2"; return 1; }; }
condition() { kubectl get oscloud -n "$namespace" demo -o json | jq -r --arg type "$1" '.status.conditions[] | select(.type == $type) | .status + " " + .message'; }
says() { condition "$1" | grep -Eq -- "$2"; }
secret() { kubectl create secret generic -n "$namespace" "$@" --dry-run=client -o yaml | kubectl apply -f -; }

placement_config=/etc/placement/placement.conf
value_from_a_secret() {
    # shellcheck disable=SC2154
    trap 'edit "{\"placement\":null}"; kubectl delete secret -n "$namespace" our-limits --ignore-not-found; until_true 120 settled' EXIT
    secret our-limits --from-literal=retries=12
    edit '{"placement":{"config":{"placement":{"allocation_conflict_retry_count":{"secretKeyRef":{"name":"our-limits","key":"retries"}}}}}}'
    in_force placement "$placement_config" allocation_conflict_retry_count = 12
    # It follows.
    secret our-limits --from-literal=retries=13
    in_force placement "$placement_config" allocation_conflict_retry_count = 13
    # Nobody reads the value outside the cloud's own Secrets.
    ! oaas plan -f <(kubectl get oscloud -n "$namespace" demo -o yaml) 2>&1 | grep -w 13
    # It goes away: told by name; what is in force stays.
    kubectl delete secret -n "$namespace" our-limits
    until_true 60 says Accepted '^False.*our-limits'
    client demo token issue -f value -c id >/dev/null
    has_line placement "$placement_config" allocation_conflict_retry_count = 13
    secret our-limits --from-literal=retries=14
    in_force placement "$placement_config" allocation_conflict_retry_count = 14
    until_true 60 says Accepted '^True'
}
rule_in_force() {
    trap 'edit "{\"keystone\":null}"; until_true 120 settled' EXIT
    ! client demo user list
    edit '{"keystone":{"policy":{"identity:list_users":"role:member"}}}'
    until_true 90 client demo user list
    edit '{"keystone":null}'
    refused_again() { ! client demo user list; }
    until_true 90 refused_again
}
further_files() {
    trap 'edit "{\"placement\":null}"; until_true 120 settled' EXIT
    edit '{"placement":{"configFiles":{"ours/note.txt":"read me\n"}}}'
    in_force placement /etc/placement/ours/note.txt read me
    edit '{"placement":null}'
    gone() { ! kubectl exec -n "$namespace" "$(running_pod placement)" -- test -e /etc/placement/ours/note.txt; }
    until_true 90 gone
}
options_of_nodes() {
    local conductor
    trap 'patch "{\"spec\":{\"nodes\":null}}"; until_true 120 settled' EXIT
    conductor=$(running_pod nova-conductor)
    patch '{"spec":{"nodes":[{"name":"all","selector":{},"config":{"nova":{"compute":{"max_concurrent_disk_ops":3}}}}]}}'
    in_force nova-compute /etc/nova/nova.conf max_concurrent_disk_ops = 3
    [[ $(running_pod nova-conductor) == "$conductor" ]]
    [[ $(field demo server demo-vm status) == ACTIVE ]]
}
limits_are_the_containers() {
    trap 'edit "{\"placement\":null}"; until_true 120 settled' EXIT
    edit '{"placement":{"resources":{"limits":{"cpu":"900m","memory":"700Mi"},"requests":{"cpu":"15m"}}}}'
    limited() {
        kubectl get pod -n "$namespace" "$(running_pod placement)" -o json |
            jq -e '.spec.containers[0].resources | .limits.cpu == "900m" and .limits.memory == "700Mi" and .requests.cpu == "15m"'
    }
    until_true 90 limited
    until_true 60 settled
    # What the kernel holds it to: 90 of 100 ms.
    held_to "$(programs "$(running_pod placement)" | head -n 1)" | grep -x 90000
}
# Microseconds of each tenth of a second that a process of the host may run, by its container's control group of either version.
held_to() {
    local group
    group=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
    if [[ -e /sys/fs/cgroup$group/cpu.max ]]; then
        cut -d' ' -f1 "/sys/fs/cgroup$group/cpu.max"
    else
        group=$(sed -n 's/^[0-9]*:[^:]*\bcpu\b[^:]*://p' "/proc/$1/cgroup")
        cat "/sys/fs/cgroup/cpu$group/cpu.cfs_quota_us"
    fi
}
plan_waits_for_its_hash() {
    local hash
    trap 'patch "{\"spec\":{\"changePolicy\":null,\"services\":{\"placement\":null}}}"; until_true 120 settled' EXIT
    patch '{"spec":{"changePolicy":"approve-all","services":{"placement":{"config":{"placement":{"allocation_conflict_retry_count":21}}}}}}'
    waits() { kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.waitingFor}' | grep -Eo 'oaas approve [0-9a-f]+'; }
    until_true 60 waits
    kubectl get oscloud -n "$namespace" demo -o json | jq -e '.status.plan | tostring | test("allocation_conflict_retry_count")' >/dev/null
    hash=$(waits | awk '{print $3}')
    oaas approve "0${hash:1}0" && return 1
    sleep 5
    ! has_line placement "$placement_config" allocation_conflict_retry_count = 21
    # Another plan, another hash: what was read is what is approved.
    patch '{"spec":{"services":{"placement":{"config":{"placement":{"allocation_conflict_retry_count":22}}}}}}'
    another() { local now; now=$(waits | awk '{print $3}') && [[ -n $now && $now != "$hash" ]]; }
    until_true 60 another
    oaas approve "$hash" && return 1
    oaas approve "$(waits | awk '{print $3}')"
    in_force placement "$placement_config" allocation_conflict_retry_count = 22
}
scaled_by_hand() {
    trap 'kubectl scale -n "$namespace" oscomp/placement --replicas=1; until_true 120 settled' EXIT
    kubectl scale -n "$namespace" oscomp/placement --replicas=2
    two() { [[ $(kubectl get deployment -n "$namespace" placement -o 'jsonpath={.status.readyReplicas}') == 2 ]]; }
    until_true 120 two
    until_true 60 settled
    kubectl get oscloud -n "$namespace" demo -o json | jq '{apiVersion, kind, metadata: {name: .metadata.name, namespace: .metadata.namespace}, spec}' >"$out/same.yaml"
    oaas plan -f "$out/same.yaml" | tee "$out/same.plan"
    grep -qi 'nothing' "$out/same.plan"
    two
}
tunnel_size() {
    trap 'patch "{\"spec\":{\"network\":null}}"; until_true 180 settled' EXIT
    [[ $(field demo network demo-net mtu) == 1442 ]]
    patch '{"spec":{"network":{"tunnel":{"mtu":1400}}}}'
    until_true 180 settled
    client demo network create sized -f value -c mtu | grep -x 1342
    client demo network delete sized
}
second_external_network() {
    trap 'client admin router delete second-router || true; patch "{\"spec\":{\"network\":null}}"; until_true 180 settled' EXIT
    patch '{"spec":{"network":{"external":[
        {"name":"ext-net","cidr":"192.168.100.0/24","pool":"192.168.100.101-192.168.100.200"},
        {"name":"other-net","cidr":"203.0.113.0/24","physicalNetwork":"other","pool":"203.0.113.10-203.0.113.20"}]}}}'
    until_true 180 client admin network show other-net
    client admin router create --external-gateway other-net second-router -f json | jq -e '.external_gateway_info.external_fixed_ips[0].ip_address | startswith("203.0.113.")'
    client admin router delete second-router
    ping -c 1 -W 2 "$(address)"
}
people_from_secrets() {
    local home=$out/people
    trap 'kubectl patch oscloud demo -n "$namespace" --type=json --patch "[{\"op\":\"remove\",\"path\":\"/spec/content\"}]"; kubectl delete secret -n "$namespace" alice-login --ignore-not-found' EXIT
    mkdir -p "$home"
    rm -f "$home/key" "$home/key.pub"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$home/key"
    # As people make them: with a line's end.
    printf 'a pass word\n' >"$home/password"
    secret alice-login --from-file=password="$home/password" --from-file=key="$home/key.pub"
    patch '{"spec":{"content":{"preset":"demo",
        "users":[{"name":"alice","defaultProject":"demo","passwordSecretRef":{"name":"alice-login","key":"password"}},{"name":"bob","defaultProject":"demo"}],
        "roleAssignments":[{"user":"alice","project":"demo","role":"member"},{"user":"bob","project":"demo","role":"member"}],
        "keypairs":[{"name":"from-secret","user":"alice","publicKeySecretRef":{"name":"alice-login","key":"key"}}]}}}'
    as_alice() {
        curl --silent --fail --cacert "$(ca)" -H 'Content-Type: application/json' "$(kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.endpoints.identity}')/auth/tokens" -o /dev/null -D - \
            -d "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{\"name\":\"alice\",\"domain\":{\"name\":\"Default\"},\"password\":\"$1\"}}},\"scope\":{\"project\":{\"name\":\"demo\",\"domain\":{\"name\":\"Default\"}}}}}" |
            tr -d '\r' | sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p' | grep .
    }
    until_true 120 as_alice 'a pass word'
    as_alice 'a pass word' >"$home/token"
    compute=$(client admin endpoint list --interface public --service nova -f value -c URL)
    has_key() { curl --silent --fail --cacert "$(ca)" -H "X-Auth-Token: $(cat "$home/token")" "$compute/os-keypairs" | grep -q from-secret; }
    until_true 60 has_key
    # Who has no Secret of his own gets a password, and may be told it.
    HOME=$(realpath "$out") XDG_CONFIG_HOME='' oaas credentials --user bob | grep . >/dev/null
}
# The CA that clients are told.
ca() {
    (HOME=$(realpath "$out") XDG_CONFIG_HOME='' oaas credentials >"$out/clouds.yaml")
    sed -n 's/^ *cacert: *//p' "$out/clouds.yaml" | tr -d "'\"" | head -n 1
}
# What the port shows is signed by whom we say: `shows PORT FILE`.
shows() { openssl s_client -connect "$public:$1" -CAfile "$2" -verify_return_error </dev/null 2>/dev/null | grep -q 'Verify return code: 0'; }
own_certificate() {
    local home=$out/own port
    trap 'patch "{\"spec\":{\"publish\":{\"tls\":null}}}"; until_true 240 settled; kubectl delete secret -n "$namespace" our-certificate --ignore-not-found' EXIT
    mkdir -p "$home"
    public=$(kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.endpoints.identity}' | sed 's#https://\([^:/]*\).*#\1#')
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj '/CN=Our authority' -keyout "$home/ca.key" -out "$home/ca.crt" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=cloud' -keyout "$home/tls.key" -out "$home/tls.csr" 2>/dev/null
    openssl x509 -req -in "$home/tls.csr" -CA "$home/ca.crt" -CAkey "$home/ca.key" -CAcreateserial -days 2 -out "$home/tls.crt" \
        -extfile <(echo "subjectAltName=IP:$public") 2>/dev/null
    cat "$home/ca.crt" >>"$home/tls.crt"
    kubectl create secret tls -n "$namespace" our-certificate --cert="$home/tls.crt" --key="$home/tls.key"
    patch '{"spec":{"publish":{"tls":{"secretName":"our-certificate"}}}}'
    for port in 30443 30080 30068; do
        until_true 180 shows "$port" "$home/ca.crt"
    done
    until_true 120 settled
    # The client at home, the services and the printed files trust it.
    client demo server list -f value -c Name | grep -x demo-vm
    curl --silent --fail --cacert "$(ca)" "https://$public:30443/identity/v3" >/dev/null
}
larger_profile() {
    local before
    trap 'patch "{\"spec\":{\"profile\":null}}"; until_true 120 settled' EXIT
    until_true 120 settled
    before=$(kubectl get pods -n "$namespace" -o name | sort)
    patch '{"spec":{"profile":"full"}}' && until_true 60 says Accepted '^False.*(vote|members)'
    [[ $(kubectl get pods -n "$namespace" -o name | sort) == "$before" ]]
}
set +a
