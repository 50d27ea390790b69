# SPDX-License-Identifier: GPL-2.0-only
"""ends.py - clients and backends: real sockets that say a known pattern and hash what they hear

A stream's bytes are a function of its seed, so that only the receiver hashes;
what the digest must be is computed once per (size, seed). Bytes move in C
(sendfile, recv_into, OpenSSL), each direction on a thread of its own.
"""
import collections
import concurrent.futures
import fcntl
import functools
import hashlib
import os
import queue
import random
import socket
import struct
import subprocess
import termios
import threading

from .net import BACKENDS, GATEWAY, is_ipv6

MB = 1 << 20
WORD = b"greeting"
TCP_REPAIR = 19
BLOCK = 16 * MB - 7919  # a prime-like period: no window, page or segment size divides it

Received = collections.namedtuple("Received", "bytes sha256")
Fetched = collections.namedtuple("Fetched", "status code headers bytes sha256 error")


# ---- bytes ----

@functools.lru_cache(None)
def block():
    """The pattern, BLOCK bytes, as a file for sendfile(2) and as memory."""
    data = random.Random(2018).randbytes(BLOCK)
    fd = os.memfd_create("pattern")
    os.write(fd, data)
    return os.fdopen(fd, "rb"), memoryview(data)


def _pieces(size, seed):
    """(offset, length) of each piece of the block that make up a stream."""
    offset = seed * 104729 % BLOCK
    while size:
        length = min(size, BLOCK - offset)
        yield offset, length
        size -= length
        offset = 0


def pattern(size, seed=0):
    """The first bytes of stream `seed`."""
    data = block()[1]
    return b"".join(data[o:o + n] for o, n in _pieces(size, seed))


@functools.lru_cache(None)
def expected(size, seed=0):
    """What receive() must have seen of a stream."""
    sha = hashlib.sha256()
    data = block()[1]
    for offset, length in _pieces(size, seed):
        sha.update(data[offset:offset + length])
    return Received(size, sha.hexdigest())


def send(sock, size, seed=0):
    """Say the whole stream; its end is the caller's."""
    file, data = block()
    plain = type(sock) is socket.socket
    for offset, length in _pieces(size, seed):
        if plain and length > 64 * 1024:
            sock.sendfile(file, offset, length)
            continue
        for at in range(offset, offset + length, MB):
            sock.sendall(data[at:min(at + MB, offset + length)])


def receive(sock, size=None):
    """Hear `size` bytes, or all until the end; Return: how many, and their hash."""
    sha = hashlib.sha256()
    buffer = memoryview(bytearray(MB))
    total = 0
    while size is None or total < size:
        room = MB if size is None else min(MB, size - total)
        n = sock.recv_into(buffer[:room])
        if not n:
            break
        sha.update(buffer[:n])
        total += n
    return Received(total, sha.hexdigest())


def receive_exactly(sock, size):
    """`size` bytes; fewer only at the end of the stream."""
    out = bytearray()
    while len(out) < size:
        more = sock.recv(size - len(out))
        if not more:
            break
        out += more
    return bytes(out)


def receive_until(sock, mark, limit=64 * 1024):
    """Bytes up to and with `mark`; fewer only at the end of the stream."""
    out = bytearray()
    while mark not in out and len(out) < limit:
        more = sock.recv(4096)
        if not more:
            break
        out += more
    return bytes(out)


def receive_through(sock, mark):
    """... and no byte more: what follows is for somebody else."""
    out = bytearray()
    while not out.endswith(mark):
        byte = sock.recv(1)
        assert byte, bytes(out)
        out += byte
    return bytes(out)


def exchange(sock, size, say=0):
    """Say stream `say` and hear the other one, both at once, each to its end. Return: what was heard."""
    def speak():
        send(sock, size, say)
        sock.shutdown(socket.SHUT_WR)

    speaker = spawn(speak)
    heard = receive(sock)
    speaker.result(60)
    return heard


def swap(sock, size, say=0):
    """As exchange(), but neither ends: so much is said, and so much heard."""
    speaker = spawn(send, sock, size, say)
    heard = receive(sock, size)
    speaker.result(60)
    return heard


def ask(sock):
    """The client's half of a greeting: a word there, and back. Then nothing is ladon's to say any more."""
    sock.sendall(WORD)
    assert receive_exactly(sock, len(WORD)) == WORD


def answer(sock):
    """The backend's half."""
    sock.sendall(receive_exactly(sock, len(WORD)))


def answer_and_exchange(size, say):
    """A talk: a greeting, then exchange()."""
    def talk(sock):
        answer(sock)
        return exchange(sock, size, say)

    return talk


def reset(sock):
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def bare_segment(source, sport, dest, dport, data=b""):
    """An IPv4 TCP segment of nobody's connection, ACK set, with a right checksum."""
    header = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 5 << 4, 16, 1000, 0, 0)
    words = socket.inet_aton(source) + socket.inet_aton(dest) + \
        struct.pack("!HH", socket.IPPROTO_TCP, len(header) + len(data)) + header + data
    words += bytes(len(words) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~total & 0xFFFF) + header[18:] + data


def inject(space, segment, dest):
    """Send a segment made by hand; needs CAP_NET_RAW."""
    with space.enter(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(segment, (dest, 0))


def unacknowledged(sock):
    """Bytes that were sent and not acknowledged yet."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def tcp_info(sock):
    """(state, options) of struct tcp_info: options has 1 timestamps, 2 SACK, 4 window scale, 8 ECN."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return info[0], info[5]


# ---- threads ----

def spawn(function, *args):
    """Run it on a thread of its own. Return: a Future."""
    future = concurrent.futures.Future()

    def body():
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return future


class Server:
    """A listening socket; each connection is one call of talk(sock) on a thread, and then closed.

    result() gives what the calls returned, in the order in which they ended.
    """

    def __init__(self, space, talk, *, port=8080, address=BACKENDS[0], tls=None, backlog=4096):
        self.talk = talk
        self.tls = tls
        self.accepted = 0
        self.results = queue.Queue()
        self.listener = space.socket(address)
        self.listener.settimeout(None)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6(address):
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.listener.bind((address, port))
        self.listener.listen(backlog)
        space.closers.append(self.close)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return  # closed
            self.accepted += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        sock.settimeout(30)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with sock:
                result = self.talk(sock), None
        except Exception as error:
            result = None, error
        self.results.put(result)

    def result(self, seconds=30):
        """What the next call that ends returns, or raises."""
        value, error = self.results.get(timeout=seconds)
        if error:
            raise error
        return value

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


def connect(space, address=GATEWAY, port=8080, *, prepare=None):
    """A connected socket; prepare(sock) is called before connect(2)."""
    sock = space.socket(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if prepare:
        prepare(sock)
    sock.connect((address, port))
    return sock


def meet(net, ladon, address=GATEWAY, backend=BACKENDS[0], port=8080):
    """A handed-off connection, both of whose ends are ours. Return: client's and backend's socket."""
    before = ladon.connections()["handed_off"]
    listener = net.backend.socket(backend)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listener:
        listener.bind((backend, 8080))
        listener.listen()
        front = connect(net.client, address, port)
        back, _ = listener.accept()
    back.settimeout(10)
    front.settimeout(10)
    front.sendall(b"ping")
    assert receive_exactly(back, 4) == b"ping"
    ladon.wait_handed_off(before + 1)
    return front, back


def vanish(sock):
    """Close without a FIN or RST, as a host that lost its power."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.close()


# ---- things to say ----

def echo(sock):
    """Say back what is heard, until the end. Return: how many bytes."""
    total = 0
    while True:
        data = sock.recv(256 * 1024)
        if not data:
            return total
        sock.sendall(data)
        total += len(data)


def http(name, size=0, seed=0):
    """A talk that answers each HTTP/1 request: header X-Backend says `name`, the body is a pattern."""
    def talk(sock):
        requests = []
        while True:
            head = receive_until(sock, b"\r\n\r\n")
            if not head:
                return requests
            requests.append(head)
            sock.sendall(f"HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: {size}\r\n\r\n"
                         .encode())
            send(sock, size, seed)
            if b"\r\nConnection: close\r\n" in head + b"\r\n":
                return requests

    return talk


def curl(space, url, *args, resolve=GATEWAY, ca=None, seconds=60):
    """Real curl; every name resolves to the gateway. The body is hashed, not kept."""
    host, _, port = url.split("/")[2].partition(":")
    port = port or {"https": 443, "http": 80}[url.split(":")[0]]
    argv = ["curl", "-sS", "-i", "--max-time", str(seconds), "--noproxy", "*",
            "--resolve", f"{host}:{port}:{resolve}", *args, url]
    if ca:
        argv[1:1] = ["--cacert", ca]
    process = space.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    head = b""
    while b"\r\n\r\n" not in head:
        line = process.stdout.readline()
        if not line:
            break
        head += line
    lines = head.decode().split("\r\n")
    headers = dict(h.split(": ", 1) for h in lines[1:] if ": " in h)
    sha = hashlib.sha256()
    total = 0
    while data := process.stdout.read1(MB):
        sha.update(data)
        total += len(data)
    error = process.stderr.read().decode()
    code = process.wait()
    status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0
    return Fetched(status, code, headers, total, sha.hexdigest(), error)
