# SPDX-License-Identifier: GPL-2.0-only
"""With TCP_DEFER_ACCEPT of a second a client is accepted when it speaks, and its bytes are there; one that
says nothing is the kernel's alone until it has repeated its SYN-ACK.

gateway/listen.c, listener_prepare(): one wake-up per client, and no descriptor for who is silent.
"""
import socket
import time

import place

SYN_RECV = "03"


def check():
    for address in place.LOOPBACKS:
        with place.namespace() as space, place.listen(space, address) as listener, \
                space.socket(address) as speaker, space.socket(address) as silent:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
            waits_for_the_first_bytes(space, listener, speaker)
            waits_a_second(listener, silent)


def waits_for_the_first_bytes(space, listener, speaker):
    speaker.connect(listener.getsockname()[:2])
    states = [fields[3] for fields in space.sockets()]
    assert SYN_RECV in states, f"states of the two ends: {states}"
    listener.setblocking(False)
    try:
        listener.accept()
        raise AssertionError("accepted in silence")
    except BlockingIOError:
        pass
    listener.settimeout(30)
    speaker.send(b"first")
    with listener.accept()[0] as front:
        front.setblocking(False)
        heard = front.recv(8)
        assert heard == b"first", f"{heard!r} was there"


def waits_a_second(listener, silent):
    begin = time.monotonic()
    silent.connect(listener.getsockname()[:2])
    listener.accept()[0].close()
    waited = time.monotonic() - begin
    assert waited > 0.5, f"a silent client was accepted after {waited:.3f} s"
