"""Plugins of the packages of this environment, as stevedore asks for them, from a file.

The first question for a plugin has stevedore read the entry points of all packages, a quarter of what a service needs to start. It
keeps the answer below the user's home (stevedore, `_cache.py`), where a new container has nothing. The packages of an image stay as
they are: so this is asked once, as the image is made (`images/scripts/venv.sh`).
"""

import sys

FILE = __file__.removesuffix(".py") + ".json"


def _known():
    import json

    with open(FILE) as file:
        return json.load(file)


class _Finder:
    """Lets stevedore be loaded as ever; what it would gather it then reads."""

    def find_spec(self, name, path=None, target=None):
        if name != "stevedore._cache":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            gather = module._build_cacheable_data

            def read():
                try:
                    return _known()
                except (OSError, ValueError):
                    return gather()

            module._build_cacheable_data = read

        spec.loader.exec_module = exec_module
        return spec


def write():
    """Ask, and keep the answer: sorted, so that it is the same each time."""
    import json

    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    from stevedore import _cache

    known = _cache._build_cacheable_data()
    known["groups"] = {group: sorted(known["groups"][group]) for group in sorted(known["groups"])}
    with open(FILE, "w") as file:
        json.dump(known, file)


sys.meta_path.insert(0, _Finder())
