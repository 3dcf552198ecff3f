#!/bin/sh
# The option catalog of every service. Argument: the release. One process each: loading one service changes the
# defaults that shared libraries announce.
set -eu
cd /tmp
/opt/openstack/bin/python - "$INPUTS/options.toml" > services <<'P'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    recipe = tomllib.load(file)
for name, service in recipe["services"].items():
    print(name, *sorted({*recipe["shared"]["namespaces"], *service["namespaces"]}))
P
while read -r service namespaces; do
    # shellcheck disable=SC2086
    /opt/openstack/bin/python "$INPUTS/options.py" "$1" "$service" $namespaces > "/usr/share/oaas/options/$service.json" 2> log || { cat log >&2; exit 1; }
done < services
