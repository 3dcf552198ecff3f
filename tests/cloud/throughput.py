#!/usr/bin/python3
"""Measures bulk TCP to or from the demo guest. Usage: throughput.py to|from ADDRESS [--at-least MB/s]

`to` sends 64 MiB to the guest's port 9, which drops what it gets, and waits until the guest has taken the last byte and closes; `from`
fetches /zeros, which is 64 MiB, from its web server. The best of three goes counts. MB is 10^6 bytes.
"""

import argparse
import socket
import sys
import time

SIZE = 64 * 2**20
CHUNK = bytes(2**18)


def to_guest(address):
    with socket.create_connection((address, 9), timeout=60) as connection:
        for _ in range(SIZE // len(CHUNK)):
            connection.sendall(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass
    return SIZE


def from_guest(address):
    with socket.create_connection((address, 80), timeout=60) as connection:
        connection.sendall(f"GET /zeros HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, body = bytes(received).split(b"\r\n\r\n", 1)
        if b" 200 " not in head.split(b"\r\n")[0]:
            sys.exit(f"the guest answers {head.splitlines()[0]!r}")
        size = len(body)
        while got := len(connection.recv(2**18)):
            size += got
    if size != SIZE:
        sys.exit(f"{size} bytes came, not {SIZE}")
    return size


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("direction", choices=["to", "from"])
    arguments.add_argument("address")
    arguments.add_argument("--at-least", type=float, default=0.0)
    given = arguments.parse_args()
    best = 0.0
    for _ in range(3):
        began = time.monotonic()
        size = {"to": to_guest, "from": from_guest}[given.direction](given.address)
        rate = size / 1e6 / (time.monotonic() - began)
        print(f"{rate:.1f} MB/s", flush=True)
        best = max(best, rate)
        if best >= given.at_least:
            break
    sys.exit(best < given.at_least)


if __name__ == "__main__":
    main()
