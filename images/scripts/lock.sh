#!/bin/sh
# Lock every *.in of $INPUTS with hashes into /out. Argument: nothing uploaded later than this time is taken, so that one
# lock is one state of the index.
set -eu
python3 -m pip install --quiet --root-user-action ignore --no-deps --require-hashes --target /tmp/tools -r "$INPUTS/build-tools.txt"
cd /tmp
# Some source distributions tell their dependencies only when built.
sed -n 's/^setuptools/setuptools/p' "$INPUTS/build-tools.in" > build-constraints
for wanted in "$INPUTS"/*.in; do
    name=$(basename "$wanted" .in)
    set -- "$1"
    [ ! -e "$INPUTS/$name.constraints" ] || set -- "$1" --constraints "$INPUTS/$name.constraints"
    when=$1
    shift
    PYTHONPATH=/tmp/tools /tmp/tools/bin/uv --no-config --no-progress pip compile --quiet --python /usr/bin/python3 --no-python-downloads \
        --generate-hashes --no-emit-index-url --no-annotate --no-header --build-constraints build-constraints \
        --exclude-newer "$when" "$@" --output-file "/out/$name.txt" "$wanted" > /dev/null
    set -- "$when"
done
