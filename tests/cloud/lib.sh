# What the checks of the tier `cloud` share. Sourced with `instance` and `out` set; everything is exported, so that a check can run in a
# shell of its own with a time limit.

set -a
namespace=demo

oaas() { bin/oaas --instance "$instance" "$@"; }
kubectl() { oaas kubectl "$@"; }
# The OpenStack client in the cloud's client pod, as a user: `client demo server list`.
client() { OS_CLOUD=$1 oaas openstack "${@:2}" </dev/null; }
# A field of an object: `field demo server demo-vm status`.
field() { client "$1" "$2" show "$3" -f value -c "$4" 2>/dev/null; }
# until SECONDS COMMAND...: again each second until it succeeds.
until_true() {
    local deadline=$((SECONDS + $1))
    until "${@:2}" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "not within $1 s: ${*:2}"; return 1; }
        sleep 1
    done
}
# The address that `up` printed.
address() { sed -n 's/^Server .* at \([0-9.]*\) .*/\1/p' "$out/up.log" | head -n 1; }
# created USER NAME OPTION...: a new server, once it is ACTIVE; else what Nova says of it.
created() {
    client "$1" server create "$2" "${@:3}" --wait -f value -c id && return
    client admin server show "$(field "$1" server "$2" id)" -f json -c OS-EXT-SRV-ATTR:host -c fault | jq -c '{host: .["OS-EXT-SRV-ATTR:host"], fault: .fault.message}'
    return 1
}
# A command in the virtual machine, as `guest_user`, else as the image's own user.
guest() {
    ssh -i "$out/demo.pem" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10 -o BatchMode=yes \
        "${guest_user:-oaas}@$(address)" "$@"
}
# Change the cloud's resource by a merge patch.
patch() { kubectl patch oscloud demo -n "$namespace" --type=merge --patch "$1"; }
cloud_is_ready() { [[ $(kubectl get oscloud -n "$namespace" demo -o 'jsonpath={.status.phase}') == Ready ]]; }
# ended_by SIGNAL SECONDS CODE: `up` gets the signal after so long, and ends with the exit code.
ended_by() {
    local code=0
    timeout --preserve-status --signal="$1" "$2" bin/oaas --instance "$instance" up || code=$?
    [[ $code == "$3" ]] || { echo "exit code $code"; return 1; }
}
# `resource` is the file that `up` was given, if any.
second_up() { oaas up ${resource:+--file "$resource"} --output json 2>/dev/null | grep -q '"changed": false'; }

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1: $2"; }
# check NAME COMMAND...: one check; the end of what the command printed tells why it failed, the whole is in the output directory.
check() {
    local name=$1 log began=$SECONDS
    shift
    log=$out/${name//[^a-zA-Z0-9]/-}.log
    if timeout --kill-after=10 "${CHECK_SECONDS:-300}" bash -c 'set -euo pipefail; "$@"' _ "$@" >"$log" 2>&1; then
        ok "$name ($((SECONDS - began)) s)"
    else
        not_ok "$name" "$(tail -n 4 "$log" | tr '\n' ' ' | cut -c -600) ($((SECONDS - began)) s, $log)"
    fi
}
set +a
