"""Write the option catalog of one service: what each oslo.config option may be.

Usage: describe.py RELEASE SERVICE NAMESPACE... (prints JSON, one option a line, sorted). A namespace with a dash before it
is one that the release must not have. Runs under the release's own Python, so nothing newer than 3.8 is used.

Reads the same lists that oslo-config-generator reads. In addition every group that takes a keystoneauth plugin
(it has `auth_type`) gets the options of the `password` plugins, which the generator leaves out.
"""

import json
import sys
from importlib import metadata

from keystoneauth1 import loading
from oslo_config import cfg, generator, types

GROUP = "oslo.config.opts"
PLUGINS = ("password", "v3password")
NAMES = {
    types.Boolean: "boolean",
    types.Integer: "integer",
    types.Port: "port",
    types.Float: "float",
    types.List: "list",
    types.Dict: "dict",
    types.IPAddress: "ip",
    types.Hostname: "hostname",
    types.HostDomain: "hostname",
    types.HostAddress: "host",
    types.URI: "uri",
    types.Range: "range",
}


def describe_type(kind):
    """The type as data: name, bounds, choices."""
    out = {}
    for cls in type(kind).__mro__:
        if cls in NAMES:
            out["type"] = NAMES[cls]
            break
    else:
        out["type"] = "string"
    for bound in ("min", "max"):
        value = getattr(kind, bound, None)
        if value is not None and not callable(value):
            out[bound] = value
    if getattr(kind, "choices", None):
        out["choices"] = [choice for choice in kind.choices]
        out["choices"] = [c for c in out["choices"] if c is None or isinstance(c, (str, int, float))]
    if getattr(kind, "regex", None):
        out["regex"] = kind.regex.pattern
    if getattr(kind, "schemes", None):
        out["schemes"] = list(kind.schemes)
    if getattr(kind, "max_length", None):
        out["maxLength"] = kind.max_length
    if out["type"] == "list":
        out["items"] = describe_type(kind.item_type)
    return out


def plain(value):
    """The value if JSON can hold it, else its text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def short(text):
    """The first sentence or paragraph of a help text, on one line."""
    if not text:
        return None
    line = " ".join(text.strip().split("\n\n")[0].split())
    end = line.find(". ")
    line = line[: end + 1] if end > 0 else line
    return line if len(line) <= 200 else line[:199].rstrip() + "…"


def describe(opt):
    """One option as data."""
    out = describe_type(opt.type)
    if isinstance(opt, cfg.DictOpt):
        out["type"] = "dict"
    if opt.multi:
        out["multi"] = True
    sample = getattr(opt, "sample_default", None)
    if sample is not None:
        out["sample"] = plain(sample)
    elif opt.default is not None:
        out["default"] = plain(opt.default)
    if opt.required:
        out["required"] = True
    if opt.secret:
        out["secret"] = True
    if opt.mutable:
        out["mutable"] = True
    if opt.advanced:
        out["advanced"] = True
    if opt.deprecated_for_removal:
        out["deprecated"] = True
        if opt.deprecated_reason:
            out["reason"] = short(opt.deprecated_reason)
    olds = []
    for old in opt.deprecated_opts:
        if old.name is None and old.group is None:
            continue
        olds.append({k: v for k, v in (("group", old.group), ("name", old.name)) if v})
    if olds:
        out["was"] = olds
    if short(opt.help):
        out["help"] = short(opt.help)
    return out


def check(wanted, absent):
    """Fail for a namespace that nothing announces, which the generator passes over, and for one that was left out in vain."""
    # Looked up without loading: that of one service would change what the others announce.
    points = metadata.entry_points()
    points = points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ())
    known = {point.name for point in points}
    lacking, vain = sorted(set(wanted) - known), sorted(set(absent) & known)
    if lacking:
        raise SystemExit("nothing has the option namespaces " + ", ".join(lacking) + ": say `absent` in the release's file")
    if vain:
        raise SystemExit("the release has the option namespaces " + ", ".join(vain) + ", which its file calls absent")


def main(release, service, names):
    namespaces = [name for name in names if not name.startswith("-")]
    check(namespaces, [name[1:] for name in names if name.startswith("-")])
    groups = {}
    drivers = {}
    for namespace, listed in generator._list_opts(namespaces):
        for group, options in listed:
            if isinstance(group, cfg.OptGroup):
                name = group.name
                if getattr(group, "dynamic_group_owner", ""):
                    drivers[name] = group.dynamic_group_owner
            else:
                name = group or "DEFAULT"
            section = groups.setdefault(name, {})
            for opt in options:
                # Names in files use the underscore form.
                section[opt.dest] = describe(opt)
    for section in groups.values():
        if "auth_type" in section:
            for plugin in PLUGINS:
                for opt in loading.get_auth_plugin_conf_options(plugin):
                    section.setdefault(opt.dest, describe(opt))

    def text(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    print("{")
    print(f'"release":{text(release)},"service":{text(service)},"namespaces":{text(sorted(namespaces))},"dynamic":{text(dict(sorted(drivers.items())))},')
    print('"groups":{')
    last = len(groups) - 1
    for i, (name, section) in enumerate(sorted(groups.items())):
        print(f"{text(name)}:{{")
        print(",\n".join(f"{text(k)}:{text(v)}" for k, v in sorted(section.items())))
        print("}" + ("," if i != last else ""))
    print("}}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
