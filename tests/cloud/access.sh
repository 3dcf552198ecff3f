# How people and programs reach the cloud: printed credentials, Horizon.
set -a

# What `oaas credentials` prints, used as it is, in a directory where nothing else is.
printed_credentials() {
    local home=$out/home pod=deploy/client
    rm -rf "$home" && mkdir -p "$home"
    HOME=$(realpath "$home") XDG_CONFIG_HOME='' oaas credentials >"$home/clouds.yaml"
    local authority
    authority=$(sed -n 's/^ *cacert: //p' "$home/clouds.yaml" | head -n 1)
    tar -C / -c "${authority#/}" -C "$(realpath "$home")" clouds.yaml |
        kubectl exec -i -n "$namespace" "$pod" -- sh -c 'rm -rf /tmp/printed && mkdir /tmp/printed && tar -x -C /tmp/printed'
    kubectl exec -n "$namespace" "$pod" -- sh -c "sed -i 's#cacert: /#cacert: /tmp/printed/#' /tmp/printed/clouds.yaml
        OS_CLIENT_CONFIG_FILE=/tmp/printed/clouds.yaml openstack --os-cloud demo server list -f value -c Name" | grep -qx demo-vm
    kubectl exec -n "$namespace" "$pod" -- sh -c "OS_CLIENT_CONFIG_FILE=/tmp/printed/clouds.yaml openstack --os-cloud admin endpoint list -f value -c URL" |
        grep -q identity
}

horizon_shows() {
    local url
    url=$(sed -n 's/^Horizon *//p' "$out/up.log")
    kubectl get secret -n "$namespace" "$1-password-g1" -o 'jsonpath={.data.password}' | base64 -d |
        python3 tests/cloud/horizon.py "$url" "$1" "$out/horizon-$1.png"
}
set +a
