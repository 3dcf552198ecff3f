# Glance: what goes in comes out.
set -a
image_round_trip() {
    local file=$out/image.raw sum got id
    head -c 20000000 /dev/urandom >"$file"
    sum=$(sha256sum <"$file" | cut -d' ' -f1)
    id=$(OS_CLOUD=demo oaas openstack image create --disk-format raw round-trip -f value -c id <"$file")
    got=$(OS_CLOUD=demo oaas openstack image save "$id" </dev/null | sha256sum | cut -d' ' -f1)
    [[ $got == "$sum" ]] || { echo "sent $sum, got $got"; return 1; }
    client demo image show "$id" -f json -c properties | grep -q "\"os_hash_value\": \"$(sha512sum <"$file" | cut -d' ' -f1)\"" ||
        { echo "the API does not tell the sha512 of what was sent"; return 1; }
    client demo image delete "$id"
    rm -f "$file"
}
set +a
