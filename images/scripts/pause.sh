#!/bin/sh
# The sandbox program of pods, static and stripped. $INPUTS holds pause.c.
set -eu
gcc -Os -static -s -Wl,--build-id=none -o /out/pause "$INPUTS/pause.c"
chmod 0755 /out/pause
