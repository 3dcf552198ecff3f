# The end of a cloud and of its cluster: what must go goes, what must stay stays.
set -a

# Everything of other namespaces, by identity.
others() {
    kubectl get deployments,daemonsets,statefulsets,services,configmaps,secrets,serviceaccounts -A --no-headers \
        -o custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name,UID:.metadata.uid | awk -v own="$namespace" '$2 != own' | sort
}
# What stays by deletionPolicy Retain: volumes, and the Secrets that they are worth nothing without.
kept() {
    kubectl get pvc -n "$namespace" -l oaas.dev/cloud --no-headers -o custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid
    kubectl get secret,configmap -n "$namespace" -l oaas.dev/holds-data --no-headers -o custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid
}

resource_deleted() {
    kubectl create namespace oaas-test-bystander
    kubectl create configmap -n oaas-test-bystander bystander --from-literal=a=b
    others >"$out/others.before"
    kept >"$out/kept.before"
    grep -q PersistentVolumeClaim "$out/kept.before" || { echo "there is no volume"; return 1; }
    grep -q Secret "$out/kept.before" || { echo "no Secret is marked as data"; return 1; }
    kubectl delete oscloud -n "$namespace" demo --timeout=180s
    others >"$out/others.after"
    diff "$out/others.before" "$out/others.after"
    diff "$out/kept.before" <(kept)
    local left
    left=$(kubectl get pods,deployments,daemonsets,statefulsets,jobs,services,endpointslices,pdb,networkpolicies,oscomp,configmaps,serviceaccounts \
        -n "$namespace" -l 'oaas.dev/cloud,!oaas.dev/holds-data' -o name)
    [[ -z $left ]] || { echo "these are left: $left"; return 1; }
}
came_back() {
    oaas up >"$out/up-again.log" 2>"$out/up-again.progress" || { tail -n 5 "$out/up-again.progress"; return 1; }
    until_true 60 ping -c 1 -W 2 "$(sed -n 's/^Server .* at \([0-9.]*\) .*/\1/p' "$out/up-again.log" | head -n 1)"
    diff "$out/kept.before" <(kept)
}

# With its data: its servers end, and nothing of it is left on the nodes.
deleted_with_its_data() {
    patch '{"spec":{"deletionPolicy":"Delete"}}'
    kubectl delete oscloud -n "$namespace" demo --timeout=240s
    local left
    left=$(kubectl get all,pvc,secret,configmap -n "$namespace" -l oaas.dev/cloud -o name)
    [[ -z $left ]] || { echo "these are left: $left"; return 1; }
    left=$(ls "/var/lib/oaas/$instance/nodes/node1/var/lib/libvirt-domains" "/var/lib/oaas/$instance/nodes/node1/var/lib/nova/instances" | grep -E -- '-[0-9a-f]{8}' || true)
    [[ -z $left ]] || { echo "servers are left: $left"; return 1; }
    local process
    for process in $(pgrep -x qemu-system-x86); do
        # Other virtual machines of this machine are nobody's business here.
        ! grep -q "$instance-node1" "/proc/$process/cgroup" || { echo "a server runs: $process"; return 1; }
    done
}

# Power is lost: every process of the node ends at once, nothing is told or synced.
power_lost() {
    local init
    init=$(pgrep -f "node-init run .*/$instance/nodes/node1/")
    kill -9 "$init"
    ! until_true 5 ping -c 1 -W 1 "$(address)" || { echo "the server survived"; return 1; }
    oaas up >"$out/up-after-power-loss.log" 2>"$out/up-after-power-loss.progress" || { tail -n 5 "$out/up-after-power-loss.progress"; return 1; }
    until_true 120 ping -c 1 -W 2 "$(address)"
    until_true 60 guest true
}

# What `down` must restore, one thing a line.
machine() {
    ip -o link | awk -F': ' '{sub(/@.*/, "", $2); print "link", $2}'
    ip -o addr | awk '{print "address", $2, $4}'
    ip route show table all | sed 's/^/route /'
    ip netns list | awk '{print "netns", $1}'
    nft list ruleset 2>/dev/null | sed 's/packets [0-9]* bytes [0-9]*//; s/^/nft /'
    awk '{print "mount", $2, $3}' /proc/self/mounts
    find /sys/fs/cgroup -maxdepth 3 -type d -iname '*oaas*' -o -maxdepth 3 -type d -iname '*kube*' | sed 's/^/cgroup /'
    sysctl -a 2>/dev/null | grep -E '^(net\.(ipv4|ipv6|core|bridge)|fs\.inotify|vm|kernel\.(pid_max|threads-max|core_pattern|panic|keys))' |
        grep -vE '(tcp_fastopen_key|conntrack_count|\.neigh\.|conf\.(oaas|veth))' | sed 's/^/sysctl /'
    # Names of processes that only a cloud has.
    ps -eo comm= | grep -E '^(kube|etcd|containerd|coredns|mariadbd|beam|erl_|ovs|ovn|libvirtd|virt|qemu-system|uwsgi|memcached|haproxy|nova|neutron)' |
        sort | uniq -c | sed 's/^/process /' || true # None is what should be.
    # What other programs of a machine write all the time is left out: caches, logs, and homes but for what clients look at.
    find /etc /opt /srv /usr/local /usr/lib /var "$HOME/.config/openstack" "$HOME/.kube" "$HOME/.ssh" \( -path "$OAAS_CACHE_DIR" -o -path "$PWD" \
        -o -path /var/cache -o -path /var/log -o -path /var/tmp -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /usr/lib/python3 \) -prune \
        -o -type f -printf 'file %p %s %TY-%Tm-%Td %TT\n' 2>/dev/null || true
    find /run -maxdepth 2 -type f -printf 'run %p\n' 2>/dev/null || true
}

down() { oaas down >"$out/down.log" 2>"$out/down.progress"; }
machine_is_as_before() {
    machine | sort >"$out/machine.after"
    diff "$out/machine.before" "$out/machine.after"
}
set +a
