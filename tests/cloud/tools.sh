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
set +a
