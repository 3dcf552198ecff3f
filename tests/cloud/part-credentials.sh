# Secrets and certificates live: each is made anew while users go on, and nobody notices.
set -a

checks_of_credentials() {
    export CHECK_SECONDS=1500
    check "Fernet keys go over under validations" tests/cloud/rotate "$instance" fernet-keys
    check "accounts of the database, the bus and the identity service go over" tests/cloud/rotate "$instance" db-nova mq-nova user-nova db-keystone
    check "a rotation goes on wherever its operator ended" tests/cloud/rotate "$instance" db-glance mq-neutron user-placement --stop-operator
    check "all that can be rotated is, twice the same" rotated_once_more
    check "the authority goes over, old and new trusted together" tests/cloud/rotate "$instance" cloud-ca
    check "another address is in every certificate and every URL" another_address
    check "an administrator's password that somebody changed is told, and set again" administrators_password
}
rotated_once_more() {
    tests/cloud/rotate "$instance" fernet-keys db-nova
    # Three keys stay: the next one, the one in use, the one before.
    [[ $(kubectl get secret -n "$namespace" -o name | grep -c '^secret/fernet-keys-g') == 1 ]]
}
another_address() {
    local other=192.168.100.1
    trap 'edit_publish null; until_true 240 cloud_is_ready' EXIT
    edit_publish "{\"address\":\"$other\"}"
    published_there() {
        cloud_is_ready && [[ $(kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.endpoints.identity}') == "https://$other:"* ]]
    }
    until_true 300 published_there
    (export HOME; HOME=$(realpath "$out") && XDG_CONFIG_HOME='' oaas credentials >"$out/clouds.yaml")
    curl --silent --show-error --fail --cacert "$(sed -n 's/^ *cacert: *//p' "$out/clouds.yaml" | tr -d "'\"" | head -n 1)" "https://$other:30443/identity/v3" >/dev/null
    client admin endpoint list --interface public -f value -c URL | tee "$out/urls"
    ! grep -v "^https://$other:" "$out/urls"
    client demo console url show --novnc demo-vm -f value -c url | grep -q "^https://$other:"
}
edit_publish() { patch "{\"spec\":{\"publish\":$1}}"; }
administrators_password() {
    client admin user set --password changed-by-hand admin
    kubectl delete pod -n oaas-system -l app.kubernetes.io/name=oaas-operator
    locked_out() { kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.waitingFor}' | grep -q 'oaas rotate'; }
    until_true 240 locked_out || { kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.waitingFor}'; return 1; }
    tests/cloud/rotate "$instance" admin-password
    until_true 120 cloud_is_ready
    client admin token issue -f value -c id >/dev/null
}
set +a
