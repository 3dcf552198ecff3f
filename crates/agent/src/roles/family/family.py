"""Forks programs in Python from one process, which has imported what they share: it is imported once, and in memory once.

Its argument is JSON: {"imports": [MODULE...], "programs": [[WORD...]...], "socket": PATH or null}. The programs run from the
start, and the first of them that ends has all end. Whoever writes further words to the socket, as JSON in one line, has that
program run as well, and is told its exit code. SIGTERM, SIGINT and SIGHUP are handed on to the programs.

Without a socket nothing is forked later: then the process starts itself anew over what it has imported, to wait for the programs
that it has, which are {"running": [PID...]} beside the above.

A fork takes along no thread but the one that forks, and whatever the others held: so there are no others here.
"""

import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys

HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WATCHED = (*HANDED_ON, signal.SIGCHLD)


def say(what):
    os.write(2, f"oaas: {what}\n".encode())


def load(names):
    # What lives as long as the process need not be looked through, which would write to the memory that is shared.
    gc.disable()
    for name in names:
        try:
            importlib.import_module(name)
        # Who needs it says so in its own words.
        except Exception as error:
            say(f"{name} is not shared: {error!r}")
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"oaas: {' or '.join(names)} starts threads when it is imported: nothing can be forked beside {threads} of them")
    gc.collect()
    gc.freeze()
    gc.enable()


class Family:
    def __init__(self, address, running):
        # Members are the programs that run from the start, helpers those that were asked for: process → who is told.
        self.members, self.helpers = dict(running), {}
        # Of the first member, once all must end.
        self.code = None
        self.asked = False
        self.listener = self.listen(address) if address else None
        # Signals are bytes that can be waited for beside the socket.
        self.signals, self.wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wake)
        for number in WATCHED:
            signal.signal(number, lambda *_: None)

    @staticmethod
    def listen(address):
        try:
            os.unlink(address)
        except FileNotFoundError:
            pass
        before = os.umask(0o177)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        os.umask(before)
        listener.listen()
        return listener

    def fork(self, words):
        """Gives the process, or nothing in that process itself."""
        pid = os.fork()
        if pid:
            return pid
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        signal.set_wakeup_fd(-1)
        for number in WATCHED:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for connection in (self.listener, *self.helpers.values()):
            if connection:
                connection.close()
        os.close(self.signals)
        os.close(self.wake)
        return None

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            # As shells have it.
            code = 128 - code if code < 0 else code
            if pid in self.helpers:
                with self.helpers.pop(pid) as connection:
                    try:
                        connection.sendall(f"{code}\n".encode())
                    except OSError:
                        pass
            elif pid in self.members:
                number, words = self.members.pop(pid)
                if not self.asked:
                    say(f"{words[0]} ended with code {code}")
                    # The agent ends whoever is left.
                    os._exit(code or 1)
                if number == 0:
                    self.code = code

    def signalled(self):
        for number in os.read(self.signals, 64):
            if number in HANDED_ON:
                self.asked = self.asked or number != signal.SIGHUP
                for pid in self.members:
                    os.kill(pid, number)
        self.reap()
        if self.asked and not self.members:
            os._exit(self.code or 0)

    def asked_for(self):
        """Gives the words in the process that runs them."""
        connection, _ = self.listener.accept()
        try:
            connection.settimeout(5)
            with connection.makefile() as lines:
                words = json.loads(lines.readline())
        except (OSError, ValueError) as error:
            say(f"somebody asked for nothing: {error!r}")
            connection.close()
            return None
        pid = self.fork(words)
        if pid is None:
            connection.close()
            return words
        self.helpers[pid] = connection
        return None

    def start(self, programs):
        """Forks the programs; gives the words of the one that this process then is, and nothing in their parent."""
        for number, words in enumerate(programs):
            pid = self.fork(words)
            if pid is None:
                return words
            self.members[pid] = (number, words)
        return None

    def serve(self):
        """Gives the words of the program that this process then is; does not return in the parent."""
        waited_for = [self.signals, *filter(None, [self.listener])]
        self.reap()
        while True:
            ready, _, _ = select.select(waited_for, [], [])
            if self.signals in ready:
                self.signalled()
            if self.listener in ready and (words := self.asked_for()):
                return words


def main(told):
    """Gives the words of the program that this process then is."""
    running = told.get("running")
    if running is None:
        load(told["imports"])
    # None is lost while this process is not yet there, or begins anew.
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    family = Family(told["socket"], zip(running or [], enumerate(told["programs"])))
    if running is None:
        if words := family.start(told["programs"]):
            return words
        if not told["socket"]:
            told["running"] = list(family.members)
            os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, json.dumps(told)])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    return family.serve()


def become(words):
    """Gives the script of the program that this process is from now on."""
    script = shutil.which(words[0])
    if script is None:
        sys.exit(f"oaas: {words[0]} is not to be found in {os.environ.get('PATH')}")
    with open("/proc/self/comm", "w") as comm:
        comm.write(words[0].rsplit("/", 1)[-1][:15])
    # As the interpreter has them for a script.
    sys.argv, sys.path[0] = [script, *words[1:]], os.path.dirname(script)
    return script


# All of the stack below this line is left by then, as it is where a program begins.
runpy.run_path(become(main(json.loads(sys.argv[1]))), run_name="__main__")
