# Changes of a running cloud's options, under traffic: told before, in force soon, nothing failed, nothing else restarted.
set -a

# component, its file, the line that the change writes.
changed_options() {
    cat <<'LIST'
keystone /etc/keystone/keystone.conf max_param_size = 65
glance /etc/glance/glance-api.conf limit_param_default = 26
placement /etc/placement/placement.conf allocation_conflict_retry_count = 11
nova-api /etc/nova/nova.conf max_limit = 1001
neutron-server /etc/neutron/neutron.conf max_dns_nameservers = 6
LIST
}
# One edit that changes an option of every service, and the one that takes it back.
every_option='{"keystone":{"config":{"DEFAULT":{"max_param_size":65}}},"glance":{"config":{"DEFAULT":{"limit_param_default":26}}},
  "placement":{"config":{"placement":{"allocation_conflict_retry_count":11}}},"nova":{"config":{"api":{"max_limit":1001}}},
  "neutron":{"config":{"DEFAULT":{"max_dns_nameservers":6}}}}'
no_option='{"keystone":{"config":null},"glance":{"config":null},"placement":{"config":null},"nova":{"config":null},"neutron":{"config":null}}'
# Nothing of a change stays for what is tried next: its pods would still be rolling.
take_back() {
    edit "$no_option"
    until_true 120 none_in_force
}
edit() { patch "{\"spec\":{\"services\":$1}}"; }

# The cloud's steady users: `traffic NAME OPTIONS… -- COMMAND…`; what they noticed is kept in the output directory.
traffic() {
    local name=$1 home=$out/traffic
    shift
    mkdir -p "$home"
    HOME=$(realpath "$home") XDG_CONFIG_HOME='' oaas credentials >"$home/clouds.yaml"
    # A debugger's build takes more of the processors from the cloud that it asks.
    cargo run --release --locked --quiet --package oaas-traffic -- --clouds "$home/clouds.yaml" --cloud demo --json "$out/traffic-$name.json" "$@"
}
# Every pod of these components, but those on their way out, has the line in the file: `has_line COMPONENT FILE LINE…`.
has_line() {
    local component=$1 file=$2 pod pods
    shift 2
    pods=$(kubectl get pods -n "$namespace" -l "oaas.dev/component=$component" -o json |
        jq -r '.items[] | select(.metadata.deletionTimestamp == null and .status.phase == "Running").metadata.name')
    [[ -n $pods ]] || return 1
    for pod in $pods; do
        kubectl exec -n "$namespace" "$pod" -- grep -qxF "$*" "$file" || return 1
    done
}
# The status is of this edit, and the cloud is as it says.
settled() {
    kubectl get oscloud -n "$namespace" demo -o json |
        jq -e '.status.observedGeneration == .metadata.generation and .status.phase == "Ready"' >/dev/null
}
all_in_force() {
    local component file line
    # Each question takes of the processors that the rolling pods need.
    settled || { sleep 2; return 1; }
    while read -r component file line; do
        has_line "$component" "$file" "$line" </dev/null || return 1
    done < <(changed_options)
}
none_in_force() {
    local component file line
    settled || return 1
    while read -r component file line; do
        ! has_line "$component" "$file" "$line" </dev/null || return 1
    done < <(changed_options)
}
# Pods of what the edit does not touch.
bystanders() {
    kubectl get pods -n "$namespace" -l 'oaas.dev/component in (galera,rabbitmq,memcached,ovn-nb,ovn-sb,ovn-northd,ovn-controller,openvswitch,libvirt,nova-compute,nova-conductor,horizon,client)' \
        -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
}
edit_everything() {
    edit "$every_option"
    time until_true 60 all_in_force
}
every_option_changes_at_once() {
    trap take_back EXIT
    bystanders >"$out/bystanders.before"
    grep -q galera "$out/bystanders.before"
    traffic every-option -- bash -c 'set -euo pipefail; edit_everything'
    diff "$out/bystanders.before" <(bystanders)
}
edit_one_service() {
    edit '{"keystone":{"config":{"DEFAULT":{"max_param_size":66}}}}'
    time until_true 15 has_line keystone /etc/keystone/keystone.conf max_param_size = 66
}
one_service_changes_quickly() { traffic one-service -- bash -c 'set -euo pipefail; edit_one_service'; }

# The type is right, and Keystone refuses to start with it: the old pod serves on, and the service's own line is told, by `why` and in
# the status.
wrong_value_and_back() {
    edit '{"keystone":{"config":{"token":{"provider":"nothing"}}}}'
    names_within 120 keystone "log:.*'nothing'"
    until_true 30 status_quotes "'nothing'"
    edit "$no_option"
    time until_true 60 none_in_force
}
wrong_value_harms_nobody() {
    traffic wrong-value -- bash -c 'set -euo pipefail; wrong_value_and_back'
}

# Options that services take while they run, of every service.
live_options='{"keystone":{"config":{"DEFAULT":{"debug":true}}},"glance":{"config":{"DEFAULT":{"debug":true}}},"placement":{"config":{"DEFAULT":{"debug":true}}},
  "nova":{"config":{"DEFAULT":{"debug":true},"libvirt":{"live_migration_completion_timeout":801}}},"neutron":{"config":{"DEFAULT":{"debug":true}}}}'
# Whoever has such options: pod and the directory that it follows. The filler starts a program when a database is lost, and reads them then.
following() {
    kubectl get pods -n "$namespace" -o json | jq -r '.items[] | select(.metadata.deletionTimestamp | not) |
        select(.metadata.labels["oaas.dev/component"] != "neutron-ovn-filler") | .metadata.name as $pod |
        .spec.containers[0].volumeMounts[] | select(.name == "live" and (.mountPath | endswith(".conf.d"))) | "\($pod) \(.mountPath)"'
}
# Each pod of the cloud but those of jobs, by what a restart would change.
all_pods() {
    kubectl get pods -n "$namespace" -o json | jq -r '.items[] | select(.metadata.ownerReferences[0].kind != "Job" and .metadata.deletionTimestamp == null) |
        "\(.metadata.name) \(.metadata.uid) \(.status.containerStatuses[0].restartCount)"' | sort
}
# Processes of each pod that follows its options say that they took this one: `all_took OPTION`.
all_took() {
    local pod directory lines
    while read -r pod directory; do
        lines=$(kubectl logs -n "$namespace" "$pod" --since-time="$edited" </dev/null | grep -F "took from $directory: ") || { echo "$pod took nothing"; return 1; }
        grep -qF "$1" <<<"$lines" || { echo "$pod: $lines"; return 1; }
    done < <(following)
}
# The kubelet is told at once, and looks of itself once in a minute.
edit_live_options() {
    edited=$(date --utc +%FT%TZ)
    edit "$1"
    time until_true 60 all_took "$2" || { all_took "$2"; return 1; }
}
take_and_give_back() {
    edit_live_options "$live_options" '[DEFAULT] debug'
    kubectl get oscloud -n "$namespace" demo -o json | jq -r '.status.plan.changes[]' >"$out/live-plan"
    grep -q 'debug: false -> true (taken without a restart)' "$out/live-plan"
    if grep 'its pods roll' "$out/live-plan"; then return 1; fi
    until_true 30 logs_debug keystone
    edit_live_options "$no_option" '[DEFAULT] debug'
}
logs_debug() {
    kubectl logs -n "$namespace" "deployment/$1" --since-time="$edited" >"$out/live.log"
    grep -q ' DEBUG ' "$out/live.log"
}
live_options_are_taken() {
    trap take_back EXIT
    all_pods >"$out/pods.before"
    [[ $(following | wc -l) -ge 12 ]] || { following; return 1; }
    traffic live-options -- bash -c 'set -euo pipefail; take_and_give_back'
    diff "$out/pods.before" <(all_pods)
}
set +a
