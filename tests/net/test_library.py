# SPDX-License-Identifier: GPL-2.0-only
"""contrib/example-proxy.c, which knows the installed library only, hands connections off as well.

    client -- 10.0.1.0/24 -- gateway -- 10.0.2.0/24 -- backend
      .1                   .9     .9                  .2
"""
import os
import socket
import subprocess
import threading

from lib import ends
from lib.gateway import BUILD
from lib.net import GATEWAY, until


def example_proxy(net):
    """The process, and the lines it has said so far."""
    process = net.gateway.popen(os.path.join(BUILD, "example-proxy"), "0.0.0.0", "8080", "10.0.2.2",
                                "8080", net.bpffs() + "/ladon", stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
    lines = []

    def read():
        for line in process.stdout:
            lines.append(line)

    threading.Thread(target=read, daemon=True).start()
    with net.gateway.enter():
        until(lambda: any(fields[1].endswith(":1F90") for fields in listening()),
              "it listens", 60)  # an emulated machine takes its time to load programs
    return process, lines


def listening():
    """Lines of /proc/net/tcp that are LISTEN, of this thread's namespace."""
    with open("/proc/thread-self/net/tcp") as file:
        return [f for f in map(str.split, list(file)[1:]) if f[3] == "0A"]


def test_the_example_proxy_leaves(net):
    size = 50 * ends.MB
    process, lines = example_proxy(net)
    server = ends.Server(net.backend, ends.answer_and_exchange(size, say=1))

    for number in range(3):
        with ends.connect(net.client) as sock:
            ends.ask(sock)
            assert ends.exchange(sock, size, say=2) == ends.expected(size, 1)
        assert server.result() == ends.expected(size, 2)

    assert [line for line in lines if "relayed" in line] == []
    assert net.trouble() == {}
    until(lambda: not net.gateway.sockets(), "no socket is left")


def test_the_example_proxy_may_die(net):
    process, lines = example_proxy(net)
    ends.Server(net.backend, ends.echo)
    with ends.connect(net.client, GATEWAY) as sock:
        for word in (b"before", b"after"):
            sock.sendall(word)
            assert ends.receive_exactly(sock, len(word)) == word
            until(lambda: any("handed off" in line for line in lines), "handed off")
            process.kill()
            process.wait()
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert net.trouble() == {}
