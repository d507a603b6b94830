"""Put first on PYTHONPATH, this refuses every connection that leaves the machine.

`make test` runs the notebooks under it, so a notebook that needs the network fails
there and not in a class room. Loopback stays open: Jupyter talks to its kernels by it.
"""

import ipaddress
import socket

_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex
_sendto, _getaddrinfo = socket.socket.sendto, socket.getaddrinfo


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(host: object) -> None:
    raise OSError(f"the network is off in this run, and something asked for {host!r}")


def _check(sock: socket.socket, address: object) -> None:
    internet = sock.family in (socket.AF_INET, socket.AF_INET6)
    if internet and not _is_local(address[0]):
        _refuse(address[0])


def connect(self: socket.socket, address: object) -> None:
    """Connect to this machine only."""
    _check(self, address)
    return _connect(self, address)


def connect_ex(self: socket.socket, address: object) -> int:
    """Connect to this machine only."""
    _check(self, address)
    return _connect_ex(self, address)


def sendto(self: socket.socket, data: bytes, *rest: object) -> int:
    """Send to this machine only."""
    _check(self, rest[-1])
    return _sendto(self, data, *rest)


def getaddrinfo(host: object, *rest: object, **options: object) -> list:
    """Look up this machine's own names only."""
    if not _is_local(host):
        _refuse(host)
    return _getaddrinfo(host, *rest, **options)


socket.socket.connect, socket.socket.connect_ex = connect, connect_ex
socket.socket.sendto, socket.getaddrinfo = sendto, getaddrinfo
