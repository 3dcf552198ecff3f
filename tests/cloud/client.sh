# `oaas openstack` behaves as if the client ran here: stdin, files, exit code, many at once.
set -a

# The rest of a loop's input is the loop's.
loop_keeps_its_input() {
    local wanted seen
    client demo flavor list -f value -c Name >"$out/flavors"
    wanted=$(wc -l <"$out/flavors")
    seen=$(while read -r flavor; do OS_CLOUD=demo oaas openstack flavor show "$flavor" -f value -c name; done <"$out/flavors" | wc -l)
    ((wanted > 1)) && [[ $seen == "$wanted" ]] || { echo "$seen of $wanted flavors"; return 1; }
}

# A stdin that stays open does not hold up the end, whether the client reads it or not.
ends_with_the_client() {
    local pipe=$out/open code
    rm -f "$pipe" && mkfifo "$pipe"
    exec 8<>"$pipe"
    for words in "image create --disk-format nonsense x" "image show no-such-image"; do
        code=0
        # shellcheck disable=SC2086
        OS_CLOUD=demo timeout 60 bin/oaas --instance "$instance" openstack $words <&8 || code=$?
        [[ $code != 0 && $code -lt 124 ]] || { echo "$words: exit code $code"; return 1; }
    done
    # Much that is on its way, and that nobody reads.
    code=0
    head -c 50000000 /dev/zero >"$out/zero"
    OS_CLOUD=demo timeout 60 bin/oaas --instance "$instance" openstack image create --disk-format nonsense x <"$out/zero" || code=$?
    rm -f "$out/zero"
    [[ $code != 0 && $code -lt 124 ]] || { echo "with much to read: exit code $code"; return 1; }
}

files_of_the_caller() {
    dir=$(mktemp -d) # The trap runs when locals are gone.
    trap 'rm -rf "$dir"; client demo keypair delete here made; client demo image delete here' EXIT
    ssh-keygen -q -t ed25519 -N '' -f "$dir/id"
    client demo keypair create --public-key "$dir/id.pub" here
    client demo keypair show here -f value -c fingerprint
    # What the client writes comes here, for nobody else to read.
    client demo keypair create --private-key "$dir/made.pem" made
    [[ $(stat -c %a "$dir/made.pem") == 600 ]] && ssh-keygen -y -f "$dir/made.pem" >/dev/null
    head -c 3000000 /dev/urandom >"$dir/disk.raw"
    client demo image create --disk-format raw --file "$dir/disk.raw" here
    client demo image save --file "$dir/back.raw" here
    cmp "$dir/disk.raw" "$dir/back.raw"
    # Nothing stays in the pod, and what is not there is told as what it is.
    [[ -z $(kubectl exec -n "$namespace" deploy/client -- sh -c 'ls -d /tmp/tmp.* 2>/dev/null' || true) ]]
    ! client demo keypair create --public-key "$dir/none" none 2>"$dir/said"
    grep -q "failed to read $dir/none" "$dir/said"
}

many_at_once() {
    local pids=() failed=0 i
    for i in $(seq 20); do
        client demo token issue -f value -c id >"$out/token-$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || failed=$((failed + 1)); done
    ((failed == 0)) || { echo "$failed of 20 failed"; tail -n 2 "$out"/token-*; return 1; }
    rm -f "$out"/token-*
    [[ $(kubectl get pods -n "$namespace" -l oaas.dev/component=client -o 'jsonpath={.items[*].status.containerStatuses[*].restartCount}') == 0 ]]
}

proxies_do_not_lead_here() {
    HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 kubectl get nodes
    HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 oaas status
}

status_shows_addresses() {
    oaas status | tee "$out/status" | grep -Eq '^demo-vm +ACTIVE +172\.16\.0\.[0-9]+ +192\.168\.100\.[0-9]+'
    ! grep -q 'old news' "$out/status"
}
set +a
