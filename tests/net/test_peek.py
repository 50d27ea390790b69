# SPDX-License-Identifier: GPL-2.0-only
"""First bytes may come in any pieces and any size up to a limit; what is wrong gets its alert and its reason.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import time

import pytest

from lib import ends, tls

ROUTE = """
    timeouts: {first-bytes: 500ms}
    listeners:
      - listen: "0.0.0.0:443"
        routes:
          - {tls: example.org, pool: web}
          - {http: example.org, pool: web}
    pools:
      - {name: web, backends: ["10.0.2.2:443"]}
"""
PATIENT = ROUTE.replace("500ms", "20s")
HELLO = tls.hello("example.org")
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\nX-Long: " + b"x" * 1000 + b"\r\n\r\n"


def echoed(net, pieces):
    """Say the pieces one by one; what comes back must be all of them."""
    with ends.connect(net.client, port=443) as sock:
        for piece in pieces:
            sock.sendall(piece)
        whole = b"".join(pieces)
        return ends.receive_exactly(sock, len(whole)) == whole


@pytest.mark.parametrize("first", [HELLO, REQUEST], ids=("tls", "http"))
def test_byte_by_byte(net, first):
    ladon = net.ladond(PATIENT)
    ends.Server(net.backend, ends.echo, port=443)

    assert echoed(net, [bytes([byte]) for byte in first])
    assert ladon.connections()["closed"] == 0


@pytest.mark.parametrize("pause", [0.05, 0.3])
def test_two_pieces_with_a_pause(net, pause):
    """The pause is the client's own: shorter and longer than ladon keeps quiet."""
    ladon = net.ladond(PATIENT)
    ends.Server(net.backend, ends.echo, port=443)

    with ends.connect(net.client, port=443) as sock:
        sock.sendall(HELLO[:50])
        time.sleep(pause)
        sock.sendall(HELLO[50:])
        assert ends.receive_exactly(sock, len(HELLO)) == HELLO
        ladon.wait_handed_off()


@pytest.mark.parametrize("most", [1, 7, 64, 1000])
def test_split_over_records(net, most):
    net.ladond(PATIENT)
    ends.Server(net.backend, ends.echo, port=443)

    assert echoed(net, [tls.hello("example.org", most=most)])


@pytest.mark.parametrize("size", [1800, 4000, 9000, 15000, 16000])
def test_post_quantum_and_larger_hellos(net, size):
    """More than the client's initial window of ten segments: somebody has to acknowledge them."""
    ladon = net.ladond(PATIENT)
    ends.Server(net.backend, ends.echo, port=443)

    started = time.monotonic()
    assert echoed(net, [tls.hello("example.org", size=size)])
    assert time.monotonic() - started < 10  # without: 20 s, the time limit
    assert ladon.connections()["closed"] == 0


def refused(net, first, ladon, reason):
    """What ladon says to `first` before it closes; the connection must end, not be reset."""
    with ends.connect(net.client, port=443) as sock:
        sock.sendall(first)
        answer = ends.receive_until(sock, b"no such mark")
    ladon.wait_reason(reason)
    assert ladon.reasons() == {reason: 1}
    return answer


def spoilt(at, value):
    """The hello with one byte changed."""
    return HELLO[:at] + bytes([value]) + HELLO[at + 1:]


MALFORMED = {
    "another message": (spoilt(5, 2), tls.ALERT_UNEXPECTED_MESSAGE),
    "an empty record": (b"\x16\x03\x01\0\0" + HELLO, tls.ALERT_UNEXPECTED_MESSAGE),
    "a record too long": (b"\x16\x03\x01\x40\x01" + HELLO[5:], tls.ALERT_RECORD_OVERFLOW),
    "another record in between": (HELLO[:3] + b"\0\x0a" + HELLO[5:15] + b"\x17\x03\x01\0\x01x",
                                  tls.ALERT_UNEXPECTED_MESSAGE),
    "a length that does not fit": (spoilt(8, HELLO[8] - 4), tls.ALERT_DECODE_ERROR),
    "a name that is none": (tls.hello("exa mple.org"), tls.ALERT_ILLEGAL_PARAMETER),
    "a name with a NUL": (tls.hello("example.org\0.example.net"), tls.ALERT_ILLEGAL_PARAMETER),
}


@pytest.mark.parametrize("first, description", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_hello_gets_the_right_alert(net, first, description):
    ladon = net.ladond(ROUTE)

    assert tls.alert(refused(net, first, ladon, "peek_malformed")) == description


def test_several_names_are_refused(net):
    ladon = net.ladond(ROUTE)

    answer = refused(net, tls.hello("example.org", "example.net"), ladon, "several_names")

    assert tls.alert(answer) == tls.ALERT_ILLEGAL_PARAMETER


def test_a_hello_that_claims_to_be_huge_is_refused_at_once(net):
    ladon = net.ladond(PATIENT)
    claim = b"\x16\x03\x01\x40\0\x01\x10\0\0" + bytes(100)

    assert tls.alert(refused(net, claim, ladon, "peek_length")) == tls.ALERT_DECODE_ERROR


def test_an_http_head_without_an_end_is_refused(net):
    ladon = net.ladond(PATIENT)
    head = b"GET / HTTP/1.1\r\nHost: example.org\r\n" + b"X-Filler: 0123456789\r\n" * 2000

    answer = refused(net, head, ladon, "peek_length")

    assert answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("head", [
    b"GET / HTTP/1.1\nHost: example.org\n\n",
    b"GET / HTTP/1.1\r\nHost: example.org\r\nHost: example.net\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : example.org\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: exa mple.org\r\n\r\n",
], ids=("bare line feeds", "two hosts", "space before the colon", "space in the host"))
def test_a_malformed_request_is_answered_with_400(net, head):
    ladon = net.ladond(ROUTE)

    assert refused(net, head, ladon, "peek_malformed").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("first", [b"", HELLO[:60], REQUEST[:20]], ids=("nothing", "tls", "http"))
def test_too_slow(net, first):
    ladon = net.ladond(ROUTE)

    started = time.monotonic()
    refused(net, first, ladon, "first_bytes")

    assert 0.4 < time.monotonic() - started < 3
    ladon.wait_gone()


def test_a_thousand_silent_clients_do_not_keep_a_talking_one_waiting(net):
    ladon = net.ladond(PATIENT)
    ends.Server(net.backend, ends.echo, port=443)
    silent = [ends.connect(net.client, port=443) for _ in range(1000)]

    assert echoed(net, [HELLO])

    for sock in silent:
        sock.close()
    ladon.wait_reason("client_gone", 1000)
    ladon.wait_gone()
