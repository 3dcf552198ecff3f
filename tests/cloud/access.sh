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

dashboard() { sed -n 's/^Horizon *//p' "$out/up.log" | sed 's#/*$##'; }
# Log in to Horizon as one types it: dashboard_login JAR USER DOMAIN, the password on standard input. The session stays in JAR.
dashboard_login() {
    local jar=$1 page token
    rm -f "$jar"
    page=$(curl -ksS -c "$jar" "$(dashboard)/auth/login/")
    token=$(sed -n 's/.*name="csrfmiddlewaretoken" value="\([^"]*\)".*/\1/p' <<<"$page" | head -n 1)
    curl -ksS -b "$jar" -c "$jar" -e "$(dashboard)/auth/login/" -o "$jar.answer" -w '%{http_code}' "$(dashboard)/auth/login/" \
        --data-urlencode "csrfmiddlewaretoken=$token" --data-urlencode "username=$2" --data-urlencode "domain=$3" \
        --data-urlencode 'region=default' --data-urlencode 'password@-' | grep -qx 302 || { grep -i -A3 'alert\|error' "$jar.answer"; return 1; }
    # A browser keeps no larger cookie than this, name and value together.
    awk 'length($6) + length($7) > 4093 {print $6, length($7); exit 1}' "$jar"
}
# The session in JAR is known: its page is shown, and no log-in asked for.
dashboard_knows() { [[ $(curl -ksS -b "$1" -o /dev/null -w '%{http_code}' --max-time 30 "$(dashboard)/project/instances/") == 200 ]]; }

# Where the content declares a domain, the page offers it, and who is of it gets in.
another_domain_logs_in() {
    trap 'kubectl patch oscloud demo -n "$namespace" --type=json --patch "[{\"op\": \"remove\", \"path\": \"/spec/content\"}]"' EXIT
    patch '{"spec":{"content":{"preset":"demo","domains":[{"name":"corp"}],"projects":[{"name":"corp/sales"}],"users":[{"name":"corp/alice"}],
        "roleAssignments":[{"user":"corp/alice","role":"member","project":"corp/sales"}]}}}'
    offers_a_domain() { curl -ksS "$(dashboard)/auth/login/" | grep -q '<option value="corp"'; }
    until_true 120 offers_a_domain
    # The CA that is written beside what is printed goes into a directory of the tests, and none of this machine's.
    alice_logs_in() { HOME=$(realpath "$out") XDG_CONFIG_HOME='' oaas credentials --user corp/alice | sed -n 's/^ *password: *//p' | tr -d '"\n' | dashboard_login "$out/alice.jar" alice corp; }
    until_true 60 alice_logs_in || alice_logs_in
    dashboard_knows "$out/alice.jar"
    kubectl get secret -n "$namespace" demo-password-g1 -o 'jsonpath={.data.password}' | base64 -d | dashboard_login "$out/demo.jar" demo Default
    dashboard_knows "$out/demo.jar"
}
set +a
