# What a guest reaches of the machine that it runs on: what is published, and nothing else.
set -a

# Ports that anything listens on, at the machine and in its first node.
listening() {
    { ss -ltnH; ip netns exec "$instance-node1" ss -ltnH; } | awk '{print $4}' | sed 's/.*://' | sort -un
}
published() { kubectl get services -A -o 'jsonpath={range .items[*].spec.ports[*]}{.nodePort}{"\n"}{end}' | grep . | sort -un; }
# From the guest: which of the pairs `ADDRESS PORT` on standard input take a connection, so many at a time.
guest_connects() {
    {
        echo "at_once=$1"
        cat <<'END'
try() { timeout 5 nc -w 2 "$1" "$2" </dev/null >/dev/null 2>&1; [ $? = 1 ] || echo "$1 $2"; }
n=0
while read -r address port; do
    try "$address" "$port" &
    n=$((n + 1)); [ $((n % at_once)) = 0 ] && wait
done <<LIST
END
        cat
        echo LIST
        echo wait
    } | guest sh -s
}
guest_reaches_what_is_published_alone() {
    local node=10.87.0.11 targets="10.87.0.11 10.87.0.1 192.168.100.1" target open
    [[ $instance == oaas ]] || { echo "the addresses are the instance oaas's"; return 1; }
    # A published port is a rule of packets, nothing listens on it.
    for target in $targets; do { listening; published; } | sort -un | sed "s/^/$target /"; done >"$out/probed"
    # A thousand others, the same ones each time.
    seq 1024 65535 | shuf -n 1000 --random-source=<(yes) | sed "s/^/$node /" >>"$out/probed"
    # A slow guest may take a silence for a connection while it does many things; what it says is asked again, one by one.
    guest_connects 50 <"$out/probed" | sort -u >"$out/suspected"
    guest_connects 1 <"$out/suspected" | sort -u >"$out/reached"
    echo "probed $(wc -l <"$out/probed"), reached: $(tr '\n' ',' <"$out/reached")"
    # The public endpoint is there, so that a guest that reaches nothing at all is no proof.
    grep -q "^$node 30443$" "$out/reached" || { echo "the guest does not reach the public endpoint"; return 1; }
    open=$(awk '{print $2}' "$out/reached" | sort -u | comm -23 - <(published | sort -u))
    [[ -z $open ]] || { echo "the guest reaches what is not published: $open"; return 1; }
}
set +a
