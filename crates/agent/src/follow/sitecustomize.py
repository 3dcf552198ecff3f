"""Takes options that change while a service runs.

Python imports a module of this name when it starts. Each process that has read its options from OAAS_LIVE, a directory that is
a mounted Secret, tells the agent at the socket OAAS_LIVE_SOCKET which files it has, and waits. Once the agent says that other
files are there, oslo.config reads all its files again, and changes those options that it calls mutable. What cannot be read
leaves the process as it was, and the agent is told why.

It is no signal, since services take SIGHUP each in their own way: some restart their workers for it, some end. And it does not
look by itself: a process that hangs is known by doing nothing.
"""

import os
import sys


def _install(directory, address):
    import _socket
    import _thread
    import signal

    # As they are before anything is made green: the waiting must not depend on a hub that another thread runs.
    start, identity, new_lock = _thread.start_new_thread, _thread.get_ident, _thread.allocate_lock
    # A signal that nothing here uses: with eventlet the change is made in the main thread, where all else runs.
    green_signal = signal.SIGRTMAX - 2
    # What is followed: [options, name of the files that they were read from].
    followed = []
    lock = new_lock()
    main = None
    connection = None

    def version():
        # The kubelet writes a new directory and points this link at it, so that all files change at once.
        try:
            return os.readlink(os.path.join(directory, "..data"))
        except OSError:
            return ""

    def say(what):
        os.write(2, f"oaas: {what}\n".encode())

    def mutate(conf):
        """Gives what went wrong, or nothing."""
        try:
            fresh = conf.mutate_config_files()
            # A thread that asked while files were read has put former values where oslo.config remembers them.
            getattr(conf, "_ConfigOpts__cache", {}).clear()
            if fresh:
                for hook in list(conf._mutate_hooks):
                    hook(conf, fresh)
            names = sorted(f"[{group or 'DEFAULT'}] {name}" for group, name in fresh or {})
            say(f"took from {directory}: {', '.join(names) or 'nothing new'}")
            return ""
        # A process must not end for a file that it cannot read; argparse raises SystemExit.
        except (Exception, SystemExit) as error:
            say(f"failed to take what changed in {directory}: {error!r}")
            return " ".join(repr(error).split())

    def look(*_):
        now = version()
        with lock:
            due = [entry for entry in followed if entry[1] != now]
            for entry in due:
                entry[1] = now
        wrong = [what for what in (mutate(conf) for conf, _ in due) if what]
        connection.sendall(f"{os.getpid()} {now} {'; '.join(wrong)}\n".encode())

    def green():
        patcher = sys.modules.get("eventlet.patcher")
        return patcher is not None and patcher.is_monkey_patched("thread")

    def on_signal(*_):
        import eventlet

        eventlet.spawn_n(look)

    def wait(mine):
        # The agent's end is that of everything in the pod.
        while mine.recv(256):
            try:
                if green():
                    signal.pthread_kill(main, green_signal)
                else:
                    look()
            # At its end the interpreter refuses nearly everything.
            except (Exception, SystemExit) as error:
                say(f"failed to look at {directory}: {error!r}")

    def begin():
        nonlocal main, connection
        main = identity()
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.settimeout(None)
        connection.connect(address)
        oldest = next((entry[1] for entry in followed), "")
        connection.sendall(f"{os.getpid()} {oldest} \n".encode())
        start(wait, (connection,))

    def after_fork():
        # Threads do not come along, nor does whoever holds the lock; the connection is the parent's.
        nonlocal lock
        lock = new_lock()
        try:
            connection.close()
            begin()
        except Exception as error:
            say(f"does not follow {directory}: {error!r}")

    def follow(conf, before):
        """Follow what was read into `conf`; `before` is which files there were when that began."""
        if directory not in map(os.path.abspath, list(conf.default_config_dirs) + list(conf.config_dirs)):
            return
        with lock:
            followed[:] = [entry for entry in followed if entry[0] is not conf] + [[conf, before]]
        if connection is None:
            if green():
                signal.signal(green_signal, on_signal)
            begin()
            os.register_at_fork(after_in_child=after_fork)
            # uWSGI forks in its own way, and says so by this hook (uwsgi, `plugins/python/python_plugin.c`).
            try:
                import uwsgi
            except ImportError:
                return
            uwsgi.post_fork_hook = after_fork

    def wrap(cfg):
        call = cfg.ConfigOpts.__call__

        def read(self, *args, **kwargs):
            before = version()
            result = call(self, *args, **kwargs)
            try:
                follow(self, before)
            except Exception as error:
                say(f"does not follow {directory}: {error!r}")
            return result

        cfg.ConfigOpts.__call__ = read

    class Finder:
        """Lets oslo.config be loaded as ever, and then has its options followed."""

        def find_spec(self, name, path=None, target=None):
            if name != "oslo_config.cfg":
                return None
            sys.meta_path.remove(self)
            import importlib.util

            spec = importlib.util.find_spec(name)
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                wrap(module)

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder())


if os.environ.get("OAAS_LIVE") and os.environ.get("OAAS_LIVE_SOCKET"):
    _install(os.path.abspath(os.environ["OAAS_LIVE"]), os.environ["OAAS_LIVE_SOCKET"])
