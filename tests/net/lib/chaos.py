# SPDX-License-Identifier: GPL-2.0-only
"""chaos.py - connections whose two ends do what dice say, and a model of what each must see

All ends live in one thread, on non-blocking sockets. What a client does is a
function of the seed and its number, what a backend does of the seed and the
order in which it was accepted; both are drawn before the first byte moves. So
a seed brings the same mix again, though not the same nanoseconds.

An end says one stream: perhaps a hello for the peekers, then eight bytes that
say who it is, then a pattern of its own. Whoever hears that name knows what
must follow, and that it came from one sender only. At its end a connection is
judged by what both did and saw, see judge().
"""
import collections
import errno
import random
import re
import select
import socket
import struct
import time

from . import ends, tls
from .net import is_ipv6

END_SECONDS = 25.0   # a connection without an end by then is one that hangs
LOST_SECONDS = 4.0   # a RST comes once: where packets are lost, its hearer may wait in vain
READ_BYTES = 256 * 1024
NAME = struct.Struct("!cxxxI")
NAMED = re.compile(rb"c(\d+)\.example\.org")

REFUSALS = (b"\x15\x03", b"HTTP/1.1 ")  # what gateway/refuse.c says to TLS and to HTTP


class Stream:
    """What one end says, byte for byte."""

    def __init__(self, side, number, hello=b""):
        self.head = hello + NAME.pack(side, number)
        self.offset = (number * 104729 + (side == b"b") * 7919) % ends.BLOCK

    def slice(self, start, size):
        """Bytes [start, start + size): a memoryview or bytes."""
        if start < len(self.head):
            return self.head[start:start + size]
        block = ends.block()[1]
        at = (self.offset + start - len(self.head)) % ends.BLOCK
        return block[at:at + size]

    def matches(self, start, data):
        data = memoryview(data)
        while data:
            want = self.slice(start, len(data))
            if data[:len(want)] != want:
                return False
            start += len(want)
            data = data[len(want):]
        return True


# ---- what an end is to do ----

def size(dice):
    """1 byte to 256 KB, small and large ones alike."""
    return dice.choice((1, 8, dice.randint(1, 1500), dice.randint(1400, 15000), int(2 ** dice.uniform(0, 18))))


def draw(dice, is_client):
    """The deeds of one end; the last one is how it ends."""
    deeds = []
    if dice.random() < 0.04:  # without a word
        return [("pause", dice.choice((0, 0, 0.05))), (dice.choice(("close", "reset", "fin")), 0)]
    for _ in range(dice.choice((1, 1, 1, 2, 3, 5, 8))):
        what = dice.random()
        if what < 0.60:
            deeds.append(("say", size(dice)))
        elif what < 0.85:
            deeds.append(("pause", dice.choice((0.001, 0.01, 0.05, 0.15, 0.35, 0.7))))
        else:
            deeds.append(("deaf", dice.choice((0.01, 0.1, 0.3))))
    end = dice.random()
    if end < 0.08:
        deeds.append(("reset", 0))
    elif end < 0.18:
        deeds.append(("close", 0))
    elif end < 0.55 and not is_client:  # two that wait would wait for ever
        deeds.append(("hear all", 0))
        deeds.append(("fin", 0))
    else:
        deeds.append(("fin", 0))
    return deeds


class End:
    """One end of one connection: what it does next, and what it saw."""

    def __init__(self, chaos, sock, side, number, deeds, hello=b""):
        self.chaos, self.sock, self.side, self.number = chaos, sock, side, number
        self.stream = Stream(side, number, hello)
        self.deeds = collections.deque(deeds)
        self.to_say = 0          # of the deed that goes on
        self.said = self.heard = 0
        self.raw = b""           # heard, as long as nobody is known to have said it
        self.peer = None         # a Stream
        self.partner = None      # its number
        self.until = 0           # pausing
        self.deaf_until = 0
        self.fin = self.closed = self.reset = False   # what it did
        self.saw = None          # "fin", "rst" or "refused": how the other direction ended
        self.cut = False         # it was over when this end still spoke
        self.is_lost = False     # given up: the other's RST may have been lost
        self.done = False
        self.connecting = False
        self.wrong = None
        self.began = time.monotonic()
        self.moved = self.began
        self.ended = 0           # seconds after .began
        self.port = 0            # of the client, or ladon's
        self.place = None        # of a client
        self.mask = None

    def __repr__(self):
        where = f" at {self.place.address} {self.place.port}" if self.place else ""
        return (f"{self.side.decode()}{self.number} port {self.port}{where}: said {self.said}, heard {self.heard}"
                f"{f' of {self.peer.head[-8:]}' if self.peer else ''}, did "
                f"{'fin ' * self.fin}{'close ' * self.closed}{'reset ' * self.reset}, saw {self.saw}"
                f"{' cut' if self.cut else ''}{' lost' if self.is_lost else ''}"
                f"{'' if self.done else f', to do {list(self.deeds)[:3]} {self.to_say}'}"
                f", {self.ended or time.monotonic() - self.began:.2f} s")

    # ---- doing ----

    def step(self, now):
        """Do what can be done now. Return: when to be called again, or None: when the socket is ready."""
        if self.connecting:
            return None
        while not self.done:
            if self.to_say:
                if not self._say():
                    return None
                continue
            if self.until > now:
                return self.until
            if not self.deeds:
                if self.fin and self.saw:
                    self._close()
                    return None
                return self.deaf_until if self.deaf_until > now else None
            what, much = self.deeds[0]
            if what == "hear all" and not self.saw:
                return self.deaf_until if self.deaf_until > now else None
            if what == "hear" and not (self.saw or self.heard >= much):
                return None
            self.deeds.popleft()
            self._do(what, much, now)
        return None

    def _do(self, what, much, now):
        if what == "say":
            self.to_say = much if self.said else max(much, len(self.stream.head))
        elif what == "pause":
            self.until = now + much
        elif what == "deaf":
            self.deaf_until = now + much
        elif what == "fin":
            self._fin()
        elif what == "close":
            self.closed = True
            self._close()
        elif what == "reset":
            self.reset = True
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close()

    def _say(self):
        """Return: False if the socket takes no more now."""
        data = self.stream.slice(self.said, min(self.to_say, 1 << 18))
        try:
            n = self.sock.send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            self._over(error)
            return True
        self.said += n
        self.to_say -= n
        self.moved = time.monotonic()
        return True

    def _fin(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.fin = True
        except OSError as error:
            self._over(error)

    def _over(self, error):
        """A call failed: the connection was reset, or refused."""
        if error.errno == errno.ECONNREFUSED:
            self.chaos.refused_at = time.monotonic()
        refused = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ETIMEDOUT)
        if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN) + refused:
            self.wrong = str(error)
        self.cut = bool(self.to_say or self.deeds or not self.fin)
        # what the kernel still has of it is to be heard all the same
        if not self.saw and error.errno not in refused and not self.connecting:
            self.deaf_until = 0
            while self._hear():
                pass
        if self.saw in (None, "fin"):
            self.saw = "refused" if error.errno in refused and self.connecting else \
                "silence" if error.errno == errno.ETIMEDOUT else "rst"
        self.to_say = 0
        self.deeds.clear()
        self._close()

    def _close(self):
        if not self.done:
            self.done = True
            self.ended = time.monotonic() - self.began
            self.chaos.leave(self)

    # ---- hearing ----

    def wants(self, now):
        if self.done:
            return 0
        if self.connecting:
            return select.EPOLLOUT
        mask = 0
        if not self.saw and self.deaf_until <= now:
            mask |= select.EPOLLIN
        if self.to_say:
            mask |= select.EPOLLOUT
        return mask

    def ready(self, now):
        if self.connecting:
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._over(OSError(error, "connect"))
                return
            self.connecting = False
            self.moved = now
        for _ in range(4):
            if self.done or self.deaf_until > now or not self._hear():
                break

    def _hear(self):
        """Return: whether there may be more."""
        try:
            n = self.sock.recv_into(self.chaos.buffer)
        except BlockingIOError:
            return False
        except OSError as error:
            self.saw = "rst" if error.errno == errno.ECONNRESET else "silence"
            self.cut = not self.fin
            self.deeds.clear()
            self.to_say = 0
            self._close()
            return False
        self.moved = time.monotonic()
        if not n:
            self.saw = "fin"
            return False
        self._check(self.chaos.buffer[:n])
        return True

    def _check(self, data):
        if not self.peer:
            self.raw += bytes(data)
            self.heard = len(self.raw)
            self.peer = self.chaos.who_said(self)
            if not self.peer:
                return
            data, self.raw, start = self.raw, self.raw[:64], 0
        else:
            start, self.heard = self.heard, self.heard + len(data)
        if not self.peer.matches(start, data):
            self.wrong = f"other bytes than were said, somewhere in {start} .. {self.heard}"
        self.chaos.bytes += len(data)


# ---- the place where it happens ----

class Place:
    """A port of the gateway: what a client says first there, and who speaks first."""

    def __init__(self, address, port, hello=None, server_first=False):
        self.address, self.port, self.hello, self.server_first = address, port, hello, server_first


def tls_hello(number):
    return tls.hello(f"c{number}.example.org", size=200 + number * 37 % 3000)


def http_hello(number):
    return (f"GET /{'x' * (number * 53 % 2000)} HTTP/1.1\r\nHost: c{number}.example.org\r\n\r\n").encode()


class Chaos:
    """run() lets connections happen; after judge_all() `complaints` says what the model did not allow.

    backends: (address, port, whether they speak first). lossy: packets are lost.
    drawn: what the ends do, as draw() says it.
    """

    def __init__(self, net, places, backends, seed, *, lossy=False, at_once=96, drawn=draw):
        self.drawn = drawn
        self.net, self.places, self.seed, self.lossy, self.at_once = net, places, seed, lossy, at_once
        self.epoll = select.epoll()
        self.ends = {}          # fd: End
        self.timers = {}        # End: when
        self.clients = {}       # number: End; live ones, and ended ones until they are judged
        self.backends = {}
        self.listeners = {}
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.bytes = 0          # compared
        self.connections = 0
        self.refused_at = 0
        self.complaints = []
        self.kills = []         # (from, to): when no daemon was there
        self.handed_off = set() # numbers of clients that are known to have been, before a kill
        self.outlived = 0       # ends of handed-off connections that were there at a kill
        self.doubtful = 0       # clients that were refused, or met a backend that said nothing
        self.mute = 0           # backends that ended, and no client is known to have heard of
        self.outcomes = collections.Counter()
        for address, port, first in backends:
            self._listen(address, port, first)

    def _listen(self, address, port, first):
        sock = self.net.backend.socket(address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6(address):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(4096)
        sock.setblocking(False)
        self.net.backend.closers.append(sock.close)
        self.listeners[sock.fileno()] = sock, first
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def close(self):
        """Nobody listens any more."""
        for listener, _ in self.listeners.values():
            self.epoll.unregister(listener.fileno())
            listener.close()
        self.listeners = {}

    def dice(self, *what):
        return random.Random(":".join(map(str, (self.seed, *what))))

    # ---- ends come and go ----

    def _enter(self, end):
        self.ends[end.sock.fileno()] = end
        end.mask = end.wants(time.monotonic())
        self.epoll.register(end.sock.fileno(), end.mask)
        self._step(end)

    def leave(self, end):
        fd = end.sock.fileno()
        self.ends.pop(fd, None)
        self.timers.pop(end, None)
        if end.mask is not None:
            self.epoll.unregister(fd)
        end.sock.close()

    def _step(self, end):
        now = time.monotonic()
        when = end.step(now)
        if end.done:
            return
        if end.deaf_until > now:
            when = min(when or end.deaf_until, end.deaf_until)
        if when:
            self.timers[end] = when
        else:
            self.timers.pop(end, None)
        mask = end.wants(now)
        if mask != end.mask:
            self.epoll.modify(end.sock.fileno(), mask)
            end.mask = mask

    def _connect(self):
        number = self.connections
        self.connections += 1
        dice = self.dice("client", number)
        place = dice.choice(self.places)
        deeds = self.drawn(dice, True)
        hello = place.hello(number) if place.hello else b""
        if place.server_first and deeds[0][0] != "pause":
            deeds.insert(0, ("hear", NAME.size))
        sock = self.net.client.socket(place.address)
        sock.setblocking(False)
        end = End(self, sock, b"c", number, deeds, hello)
        end.place = place
        self.clients[number] = end
        try:
            sock.connect((place.address, place.port))
        except BlockingIOError:
            end.connecting = True
        except OSError as error:
            end.connecting = True
            end._over(error)
            return
        end.port = sock.getsockname()[1]
        self._enter(end)

    def _accept(self, fd):
        listener, first = self.listeners[fd]
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        sock.setblocking(False)
        number = len(self.backends)
        deeds = self.drawn(self.dice("backend", number), False)
        if first and deeds[0][0] != "say":
            deeds.insert(0, ("say", 1))
        end = End(self, sock, b"b", number, deeds)
        end.port = address[1]
        self.backends[number] = end
        self._enter(end)

    def who_said(self, end):
        """The stream that an end has begun to hear, or None as long as its name is not there."""
        if end.side == b"c":
            at = 0
        else:
            named = NAMED.search(end.raw)
            at = len(self.clients[int(named[1])].stream.head) - NAME.size \
                if named and int(named[1]) in self.clients else 0
        if len(end.raw) < at + NAME.size:
            return None
        side, number = NAME.unpack_from(end.raw, at)
        others = self.backends if end.side == b"c" else self.clients
        if side != (b"b" if end.side == b"c" else b"c") or number not in others:
            return None
        end.partner = number
        return others[number].stream

    # ---- time passes ----

    def run(self, goes_on):
        """New connections as long as goes_on(), then until the last one has ended."""
        while self.ends or goes_on():
            now = time.monotonic()
            if goes_on() and now - self.refused_at > 0.02:
                live = sum(1 for end in self.ends.values() if end.side == b"c")
                for _ in range(min(8, self.at_once - live)):
                    self._connect()
            self._poll(now)
            self._give_up(now)

    def _poll(self, now):
        wait = min([0.02] + [max(0, when - now) for when in self.timers.values()])
        for fd, _ in self.epoll.poll(wait):
            if fd in self.listeners:
                for _ in range(16):
                    self._accept(fd)
            elif fd in self.ends:
                end = self.ends[fd]
                end.ready(now)
                if not end.done:
                    self._step(end)
        now = time.monotonic()
        for end in [e for e, when in self.timers.items() if when <= now]:
            if not end.done:
                self._step(end)

    def _give_up(self, now):
        for end in [e for e in self.ends.values() if now - e.moved > LOST_SECONDS]:
            if (self.lossy and self._other_left(end)):
                end.is_lost = True
                end._close()
            elif now - end.moved > END_SECONDS:
                end.saw = end.saw or "silence"
                end._close()

    def _other(self, end):
        if end.partner is not None:
            return (self.backends if end.side == b"c" else self.clients)[end.partner]
        return self.pairs().get((end.side, end.number))

    def _other_left(self, end):
        other = self._other(end)
        return other is None or (other.done and (other.reset or other.closed or other.cut or other.is_lost))

    def pairs(self):
        """{(side, number): the other End}, from what either heard."""
        out = {}
        for c in self.clients.values():
            if c.partner is not None:
                b = self.backends[c.partner]
                out[b"c", c.number], out[b"b", b.number] = b, c
        for b in self.backends.values():
            if b.partner is not None:
                c = self.clients[b.partner]
                out[b"c", c.number], out[b"b", b.number] = b, c
        return out

    # ---- the model ----

    def complain(self, end, other, what):
        self.complaints.append(f"{what}:\n    {end!r}\n    {other!r}")

    def judge_all(self):
        """Fill .complaints, when all is over."""
        pairs = self.pairs()
        for end in [*self.clients.values(), *self.backends.values()]:
            other = pairs.get((end.side, end.number))
            if end.wrong:
                self.complain(end, other, end.wrong)
            elif other:
                if end.partner not in (None, other.number):
                    self.complain(end, other, "two ends of different connections")
                self.judge(end, other)
            elif end.side == b"c":
                self.judge_alone(end)
            elif end.closed or end.reset or (end.fin and not end.said):
                self.mute += 1
        if self.doubtful > self.mute:
            self.complaints.append(f"{self.doubtful} clients met no backend that spoke, but only {self.mute} "
                                   f"backends left early or said nothing")

    def was_killed(self, client, backend=None):
        """Might the daemon have died under it? Not if it was handed off before."""
        over = max(end.began + end.ended for end in (client, backend or client))
        if not any(client.began <= to and over >= at for at, to in self.kills):
            return False
        self.outlived += client.number in self.handed_off
        return client.number not in self.handed_off

    def judge(self, end, other):
        excused = self.was_killed(*((end, other) if end.side == b"c" else (other, end)))
        broken = other.reset or other.closed or other.cut or other.is_lost
        self.outcomes[end.saw or ("reset" if end.reset else "closed" if end.closed else "lost")] += 1
        if end.heard > other.said:
            self.complain(end, other, "more was heard than said")
        elif end.saw == "fin" and not excused and not (other.fin or other.closed) and not \
                (other.reset and not end.heard):
            self.complain(end, other, "an end that nobody made")
        elif end.saw == "fin" and not excused and end.heard != other.said and not \
                ((other.reset or other.cut) and not end.heard):
            self.complain(end, other, "an end before all was heard")
        elif end.saw == "rst" and not excused and not broken:
            self.complain(end, other, "a reset that nobody made")
        elif end.saw == "silence":
            self.complain(end, other, "neither an answer nor an end")
        elif end.saw == "refused":
            self.complain(end, other, "refused, and yet it has a partner")

    def judge_alone(self, end):
        """A client that no backend is known of."""
        heard = end.raw[:end.heard]
        if heard and not heard.startswith(REFUSALS):
            self.complain(end, None, f"nobody said {heard[:40]}")
        elif end.saw == "silence":
            self.complain(end, None, "neither an answer nor an end")
        elif end.reset or end.closed or self.was_killed(end) or end.is_lost:
            self.outcomes["left early"] += 1
        elif end.said == 0 and end.place.hello:
            self.outcomes["said nothing"] += 1
        else:
            self.outcomes["no backend"] += 1
            self.doubtful += 1
