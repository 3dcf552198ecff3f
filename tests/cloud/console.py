#!/usr/bin/env python3
"""Usage: console.py URL            reach a guest's screen through a console's URL, and see that a wrong token does not.
       console.py --bare HOST PORT  see that a guest's console offers nothing but TLS, and closes on who has no certificate.
"""

import os
import socket
import ssl
import sys
import urllib.parse

NONE, VENCRYPT = 1, 19


def through(url):
    """The screen's size, as the server tells it (RFC 6143)."""
    from websockify.websocket import WebSocket

    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(urllib.parse.parse_qs(parts.query)["path"][0])
    # The cloud's own certificate authority is the one that is known.
    os.environ["SSL_CERT_FILE"] = "/etc/oaas/tls/ca.crt"
    web = WebSocket()
    web.connect(f"wss://{parts.netloc}/{path.lstrip('/')}", protocols=["binary"])
    got = b""

    def read(count):
        nonlocal got
        while len(got) < count:
            more = web.recv()
            if more is None:
                continue
            if not more:
                raise ConnectionError("closed")
            got += more
        part, got = got[:count], got[count:]
        return part

    version = read(12)
    web.send(version)
    types = read(read(1)[0])
    assert NONE in types, f"security types {list(types)}"
    web.send(bytes([NONE]))
    assert read(4) == b"\0\0\0\0"
    web.send(b"\1")
    screen = read(24)
    return int.from_bytes(screen[:2], "big"), int.from_bytes(screen[2:4], "big")


def bare(host, port):
    with socket.create_connection((host, port), 10) as console:
        console.settimeout(10)
        version = console.recv(12)
        assert version.startswith(b"RFB 003."), version
        console.sendall(version)
        count = console.recv(1)[0]
        types = list(console.recv(count))
        assert types == [VENCRYPT], f"it offers the security types {types}"
        console.sendall(bytes([VENCRYPT]))
        console.recv(2)
        console.sendall(b"\0\2")
        console.recv(1)
        kinds = console.recv(1)[0]
        offered = console.recv(4 * kinds)
        console.sendall(offered[:4])
        console.recv(1)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        try:
            wrapped = tls.wrap_socket(console)
            wrapped.settimeout(10)
            said = wrapped.recv(4)
        except (ssl.SSLError, ConnectionError, TimeoutError):
            return
        assert not said, f"without a certificate it says {said}"


if __name__ == "__main__":
    if sys.argv[1] == "--bare":
        bare(sys.argv[2], int(sys.argv[3]))
    else:
        width, height = through(sys.argv[1])
        assert width and height, (width, height)
        print(f"{width}x{height}")
        try:
            through(sys.argv[1].replace("token%3D", "token%3D0"))
        except Exception as error:  # whatever it is, there is no screen
            print(f"another token: {error}")
        else:
            sys.exit("another token opens it too")
