#!/bin/sh
# Horizon's static files, collected and compressed once, so that it starts at once and needs no compiler.
set -eu
mkdir -p /tmp/horizon
cat > /tmp/horizon/build_settings.py <<'P'
"""Horizon's own settings, with what a build needs in place of local_settings."""
import sys
import types

# Settings import it by this name, from a directory of theirs on the path.
local = types.ModuleType("local.local_settings")
local.SECRET_KEY = "only for collecting static files"
local.STATIC_ROOT = "/opt/openstack/horizon-static"
local.COMPRESS_OFFLINE = True
local.DEBUG = False
# With no cache at all, the templates of Angular are not compressed, and would be missed where Horizon runs.
local.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
sys.modules[local.__name__] = local
from openstack_dashboard.settings import *  # noqa: E402,F403
P
export PYTHONPATH=/tmp/horizon DJANGO_SETTINGS_MODULE=build_settings PYTHONHASHSEED=0
/opt/openstack/bin/django-admin collectstatic --noinput --clear --verbosity 0
/opt/openstack/bin/django-admin compress --force
find /opt/openstack/horizon-static -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
