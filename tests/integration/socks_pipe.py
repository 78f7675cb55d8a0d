"""A program for ssh's ProxyCommand: standard input and output, through a SOCKS5 proxy, to HOST PORT.

``python socks_pipe.py PROXYPORT HOST PORT``. It uses nothing of torpydo: it is a stranger that knows only SOCKS. The
end of standard input is passed on, and what still comes back is written out.
"""

import socket
import struct
import sys
import threading


def receive_exactly(proxy: socket.socket, count: int) -> bytes:
    """*count* bytes."""
    data = b""
    while len(data) < count:
        part = proxy.recv(count - len(data))
        if not part:
            sys.exit("the proxy hung up")
        data += part
    return data


def connect(proxy_port: int, host: bytes, port: int) -> socket.socket:
    """A connection through the proxy."""
    proxy = socket.create_connection(("127.0.0.1", proxy_port))
    proxy.sendall(b"\x05\x01\x00")
    if receive_exactly(proxy, 2) != b"\x05\x00":
        sys.exit("the proxy wants something else")
    proxy.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + struct.pack(">H", port))
    _, reply, _, kind = receive_exactly(proxy, 4)
    receive_exactly(proxy, {1: 4, 3: 0, 4: 16}[kind] + 2)
    if reply:
        sys.exit(f"the proxy refuses: {reply}")
    return proxy


def send(proxy: socket.socket) -> None:
    """Standard input, as it comes, and its end."""
    while data := sys.stdin.buffer.raw.read(65536):
        proxy.sendall(data)
    proxy.shutdown(socket.SHUT_WR)


def main() -> None:
    """Both directions until both have ended."""
    proxy = connect(int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]))
    threading.Thread(target=send, args=(proxy,), daemon=True).start()
    while data := proxy.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


main()
