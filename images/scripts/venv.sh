#!/bin/sh
# One Python environment from a lock with hashes. Arguments: its directory, the lock's name in $INPUTS.
# build-tools.txt pins the installer and, as build constraints with hashes, what source distributions are built with.
set -eu
prefix=$1
lock=$INPUTS/$2
tools=$INPUTS/build-tools.txt
site=$prefix/lib/$(python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')/site-packages

python3 -m pip install --quiet --root-user-action ignore --no-deps --require-hashes --target /tmp/tools -r "$tools"
uv() { PYTHONPATH=/tmp/tools /tmp/tools/bin/uv --no-config --no-progress "$@"; }
uv venv --quiet --allow-existing --no-python-downloads --python /usr/bin/python3 "$prefix"
uv pip install --python "$prefix/bin/python" --link-mode copy --no-deps --require-hashes --build-constraint "$tools" -r "$lock"

# Unit tests of the services and clients: distributions package them apart too. Googleapiclient's cache of all of Google's APIs
# serves programs that look up an API without network; cinder's backup driver asks the network.
for package in cinder glance heat keystone neutron nova placement os_ken openstack openstackclient novaclient neutronclient \
    keystoneclient manilaclient cinderclient glanceclient heatclient numpy/_core setuptools; do
    rm -rf "${site:?}/$package/tests"
done
rm -rf "$site/googleapiclient/discovery_cache/documents"
find "$site" -depth -type d -name __pycache__ -exec rm -rf {} +
rm -f "$prefix/.lock" "$prefix/.gitignore" "$prefix/CACHEDIR.TAG"

# Horizon reads its settings from where configuration lies, and shows what heat-dashboard adds (where there is a heat).
dashboard=$site/openstack_dashboard/local
ln -sf /etc/horizon/local_settings.py "$dashboard/local_settings.py"
if [ -d "$site/heat_dashboard" ]; then
    cp "$site"/heat_dashboard/enabled/_[0-9]*.py "$dashboard/enabled/"
    cp "$site"/heat_dashboard/local_settings.d/_[0-9]*.py "$dashboard/local_settings.d/"
fi

# What stevedore asks of all packages at each start of a program is asked once.
cp "$INPUTS/entry_points.py" "$site/oaas_entry_points.py"
"$prefix/bin/python" -c 'import oaas_entry_points; oaas_entry_points.write()'
echo "import oaas_entry_points" > "$site/oaas_entry_points.pth"

# Compiled in one process and sorted, by content and not by time, so that digests repeat and starts are fast.
# A few templates of code in packages do not compile: they are never imported.
"$prefix/bin/python" -m compileall -q -j 1 --invalidation-mode unchecked-hash "$site" > /tmp/compile.log 2>&1 || tail -n 5 /tmp/compile.log >&2
find "$prefix" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
