# Counts change under traffic; what cannot change is refused by name.
set -a

checks_of_scale() {
    CHECK_SECONDS=900 check "every component that may have several goes from one to three and back, under traffic" three_and_back
    check "one service's option is in force soon, under traffic" one_service_changes_quickly
    check "one edit changes an option of every service, under traffic" every_option_changes_at_once
    check "options that services take while they run are taken by all pods, under traffic" live_options_are_taken
    check "a wrong value harms nobody, and is named" wrong_value_harms_nobody
    check "who votes keeps its count, and says why" voters_are_refused
    check "a memcached lost, by its process and by its address, fails no request" memcached_lost_fails_nothing
}

# Components whose count belongs to whoever scales, and that do not vote.
scalable() {
    kubectl get oscomp -n "$namespace" -o json |
        jq -r '.items[] | select((.spec.scaling // "Replicas") == "Replicas" and (.spec.quorum // false | not)) | .metadata.name'
}
counts_are() {
    local component ready
    for component in $(scalable); do
        ready=$(kubectl get oscloud -n "$namespace" demo -o json | jq -r --arg name "$component" '.status.components[] | select(.name == $name).ready')
        [[ $ready == "$1/$1" ]] || { echo "$component: $ready"; return 1; }
    done
}
# What is there of a cloud, but what has names of its own each time.
things() {
    kubectl get deployments,statefulsets,daemonsets,services,secrets,configmaps,serviceaccounts,pvc,oscomp -n "$namespace" -o name | sort
}
scale_all_to() {
    local component
    for component in $(scalable); do kubectl scale -n "$namespace" "oscomp/$component" --replicas="$1"; done
    until_true 300 counts_are "$1" || { counts_are "$1"; return 1; }
    until_true 120 cloud_is_ready
}
up_and_down() {
    scale_all_to 3
    scale_all_to 1
}
three_and_back() {
    scalable
    things >"$out/things.before"
    traffic scale -- bash -c 'set -euo pipefail; up_and_down'
    same_things() { diff "$out/things.before" <(things); }
    until_true 60 same_things || same_things
}
voters_are_refused() {
    local component said
    for component in galera rabbitmq ovn-nb ovn-sb; do
        if said=$(kubectl scale -n "$namespace" "oscomp/$component" --replicas=3 2>&1); then echo "$component may be scaled"; return 1; fi
        echo "$said"
        grep -q 'vote' <<<"$said" || return 1
        if said=$(kubectl scale -n "$namespace" "statefulset/$component" --replicas=3 2>&1); then echo "statefulset $component may be scaled"; return 1; fi
        echo "$said"
    done
    if said=$(patch '{"spec":{"services":{"galera":{"replicas":3}}}}' 2>&1); then
        until_true 30 refused_by_the_operator
        patch '{"spec":{"services":{"galera":null}}}'
    fi
    until_true 60 cloud_is_ready
    [[ $(kubectl get statefulset -n "$namespace" galera -o 'jsonpath={.spec.replicas}') == 1 ]]
}
refused_by_the_operator() {
    kubectl get oscloud -n "$namespace" demo -o json |
        jq -e '.status.conditions[] | select(.type == "Accepted") | .status == "False" and (.message | test("galera"))' >/dev/null
}
memcached_goes() {
    # shellcheck disable=SC2046
    kill -KILL $(programs memcached-0)
    sleep 10
    until_true 60 running_pod memcached
    pid=$(programs memcached-0 | head -n 1)
    trap 'nsenter --target "$pid" --net nft delete table ip gone || true' EXIT
    # A node that is gone answers nothing, not even with a refusal.
    nsenter --target "$pid" --net nft 'add table ip gone; add chain ip gone input { type filter hook input priority 0; policy drop; }'
    sleep 30
}
memcached_lost_fails_nothing() {
    # shellcheck source=/dev/null
    . tests/cloud/access.sh
    kubectl get secret -n "$namespace" demo-password-g1 -o 'jsonpath={.data.password}' | base64 -d | dashboard_login "$out/memcached.jar" demo Default
    traffic calm --seconds 20
    traffic memcached -- bash -c 'set -euo pipefail; memcached_goes'
    # A second more than in calm, at the most.
    jq -n --slurpfile calm "$out/traffic-calm.json" --slurpfile lost "$out/traffic-memcached.json" \
        '[$lost[0].kinds | to_entries[] | {kind: .key, slowest: .value.slowest, calm: $calm[0].kinds[.key].slowest} | select(.slowest > .calm + 1)]' |
        tee "$out/slower" | jq -e 'length == 0' >/dev/null || { cat "$out/slower"; return 1; }
    dashboard_knows "$out/memcached.jar" || { echo "Horizon's session is lost"; return 1; }
    until_true 120 cloud_is_ready
}
set +a
