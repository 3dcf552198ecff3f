# The declared content of a cloud.
set -a

# What somebody removes comes back.
removed_comes_back() {
    client admin flavor delete m1.jumbo
    client demo security group rule list default -f value -c ID -c "Port Range" | awk '$2 == "22:22" {print $1}' >"$out/rule-22"
    [[ -s $out/rule-22 ]] || { echo "there is no rule for port 22"; return 1; }
    client demo security group rule delete "$(cat "$out/rule-22")"
    until_true 120 client admin flavor show m1.jumbo
    until_true 120 port_is 22
}

# An image that the resource names by its address, one line more than before, is in Glance; it goes on being there.
image_by_address() {
    local host=10.87.0.1 port=18099 sum directory=$out/served
    mkdir -p "$directory"
    head -c 3000000 /dev/urandom >"$directory/extra.raw"
    sum=$(sha256sum <"$directory/extra.raw" | cut -d' ' -f1)
    python3 -m http.server --bind "$host" --directory "$directory" "$port" &
    server=$!
    trap 'kill $server || true; kubectl patch oscloud demo -n "$namespace" --type=json --patch "[{\"op\": \"remove\", \"path\": \"/spec/content\"}]"' EXIT
    kubectl patch oscloud demo -n "$namespace" --type=merge --patch \
        "{\"spec\":{\"content\":{\"preset\":\"demo\",\"images\":[{\"name\":\"extra\",\"diskFormat\":\"raw\",\"url\":\"http://$host:$port/extra.raw\",\"checksum\":\"sha256:$sum\"}]}}}"
    until_true 90 image_is_active extra
    [[ $(OS_CLOUD=demo oaas openstack image save extra </dev/null | sha256sum | cut -d' ' -f1) == "$sum" ]]
    field demo server demo-vm status | grep -qx ACTIVE
}
image_is_active() { [[ $(field demo image "$1" status) == active ]]; }
set +a
