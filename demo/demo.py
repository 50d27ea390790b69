# SPDX-License-Identifier: GPL-2.0-only
"""demo.py - the main job of ladon, for real, in network namespaces

Run it through `make demo`. What is printed as "client$ curl ..." is run in the
client's namespace, beside the certificates; "gateway$ ladon ..." is also told
where the control socket is. The exit status is 1 if anything is not as it says.
"""
import os
import signal
import sys
import textwrap

ROOT = os.path.join(os.path.dirname(__file__), "..")
sys.path[1:1] = [os.path.join(ROOT, "tests/net"), os.path.join(ROOT, "bench")]

import cases  # noqa: E402
import results  # noqa: E402
from bench import progress  # noqa: E402
from lib.net import CLIENT, GATEWAY  # noqa: E402
from stage import BLUE, FILE_BYTES, GREEN, RED, ROUTES  # noqa: E402
from stage import Download, Stage, Wrong, curl, demand, whole  # noqa: E402
from subjects import SUBJECTS, Unavailable  # noqa: E402

COMPARED = ("forward", "dnat", "ladon", "relay")
FIGURES = ("bulk_gso", "bulk_mtu", "rtt_p50/1")
ROUNDS = 3
SECONDS = 0.8  # of each measurement
MB = 1e6
COLUMNS = 98  # of text, below the indent
BOLD, DIM, GREEN_INK = 1, 2, 32  # ECMA-48, SGR

DRAWING = f"""\
client ---------------- gateway ---------------- backends
{CLIENT}          ladond listens on              {RED}:443  red.example    TLS
                     {GATEWAY}:443                {BLUE}:443  blue.example   TLS
                                                 {GREEN}:80   green.example  HTTP

gateway$ cat ladon.yaml"""


def main():
    if os.geteuid():
        sys.exit("demo: network namespaces need root")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with whole(Stage()) as stage:
            show_stage()
            show_routes(stage)
            show_handoff(stage)
            show_kill(stage)
        show_speed()
    except (Wrong, Unavailable, RuntimeError, AssertionError) as what:
        sys.exit(f"demo: {what}")
    except KeyboardInterrupt:
        sys.exit("demo: interrupted")
    print("\nGo on: README.md, \"Your own configuration\"; man ./man/ladond.8; make test; make bench")


# ---- the acts ----

def show_stage():
    title(1, "One port, three services")
    say(DRAWING)
    say(ROUTES, DIM)


def show_routes(stage):
    title(2, "Who answers? The first bytes decide; certificates and keys stay with the backends")
    with stage.ladond() as ladond:
        for argv, backend in ((curl("red", "who"), RED), (curl("blue", "who"), BLUE),
                              (curl("green", "", "-I", scheme="http"), GREEN)):
            command("client", argv)
            answer = stage.at_client(argv).replace("\r", "").rstrip("\n")
            say(answer, DIM)
            demand(f"at {backend}\n" in answer + "\n", "the wrong backend answered")
        demand_handed_off(ladond, 3)
        say("all three connections were handed off", GREEN_INK)


def show_handoff(stage):
    title(3, f"{FILE_BYTES / MB:.0f} MB by TLS: relayed by ladond, then handed off to the kernel")
    command("client", curl("red", "big"))
    with stage.ladond(handoff=False) as ladond:
        carried = report("handoff: no ", ladond, Download(stage))
        demand(carried >= FILE_BYTES, "with the handoff off, it was not relayed")
    with stage.ladond() as ladond:
        download = Download(stage)
        download.wait_begun()
        show_flow(ladond)
        carried = report("handoff: yes", ladond, download)
        demand_handed_off(ladond, 1)
        demand(carried == 0, f"{carried} bytes were relayed")
    say(f"({os.cpu_count()} CPUs encrypt, forward, decrypt and hash: the ends set the speed)", DIM)


def show_flow(ladond):
    """The connection that ladond has left, as ladon(8) sees it; its table is folded in two."""
    number = ladond.flows()[0]["id"]
    words = ("flow", "show", "id", str(number))
    command("gateway", ["ladon", *words], "in mid-transfer; one line, folded")
    lines = ladond.command(*words).stdout.splitlines()
    demand(len(lines) == 2, f"flow {number} is not there")
    fold = lines[0].index("pool ")
    say("\n".join([line[:fold].rstrip() for line in lines] + [line[fold:] for line in lines]), DIM)


def report(what, ladond, download):
    """Wait for the end of the download and say what it cost. Return: bytes that ladond carried."""
    seconds = download.wait_right()
    cpu = ladond.cpu_seconds() - ladond.cpu_at_start
    carried = ladond.relayed_bytes()
    say(f"{what}  {FILE_BYTES * 8 / seconds / 1e9:.2f} Gbit/s, sha256 right; "
        f"ladond carried {carried / MB:.0f} MB and used {cpu:.2f} s of CPU", GREEN_INK)
    return carried


def show_kill(stage):
    title(4, "The same download, and kill -9 in the middle of it")
    with stage.ladond() as ladond:
        download = Download(stage)
        download.wait_begun()
        demand_handed_off(ladond, 1)
        show_sockets(stage, "in mid-transfer: it listens, no connection", {"LISTEN"})
        demand(ladond.relayed_bytes() == 0, "the download was relayed")
        command("gateway", ["kill", "-9", str(ladond.pid)],
                f"ladond, after {download.received / MB:.0f} MB")
        download.demand_under_way()
        ladond.kill9()
        command("gateway", ["ladon"])
        answer = ladond.command()
        say(answer.stdout + answer.stderr, DIM)
        demand(answer.returncode == 1, "somebody answered for ladond")
        show_sockets(stage, "nothing", set())
        download.wait_right()
        say(f"the download ended well: {download.received / MB:.0f} MB, sha256 right", GREEN_INK)


def show_sockets(stage, remark, states):
    """The gateway's TCP sockets; their states must be these.

    The download that ladond relayed may have left a TIME-WAIT; it is not shown.
    """
    argv = ["ss", "-Htan", "exclude", "time-wait"]
    command("gateway", argv, remark)
    done = stage.net.gateway.run(*argv)
    demand(done.returncode == 0, done.stderr)
    say(done.stdout, DIM)
    seen = {line.split()[0] for line in done.stdout.splitlines()}
    demand(seen == states, "the gateway has a socket of a connection")


def show_speed():
    title(5, f"The price: medians of {ROUNDS} rounds, ratios to plain forwarding, and ranges")
    measured = results.Results()
    for i in range(ROUNDS):
        for name in COMPARED:
            progress(f"  round {i + 1} of {ROUNDS}: {name}")
            measured.add(name, measure(SUBJECTS[name]))
    progress("")
    print(results.table(measured) + "\n")
    say("forward: the gateway only routes; dnat: nftables DNAT and masquerade; relay: ladond, "
        "handoff off;\nbulk_gso, bulk_mtu: download in large packets, and in packets of the MTU; "
        "all of it: make bench")


def measure(subject):
    """The figures of one gateway, in a fresh network."""
    with whole(cases.Turn(subject, seconds=SECONDS, tls=False)) as turn:
        values = cases.round_trip(turn) | cases.bulk_gso(turn) | cases.bulk_mtu(turn)
        trouble = turn.subject.trouble()
    demand(not trouble, trouble)
    return {figure: values[figure] for figure in FIGURES}


def demand_handed_off(ladond, count):
    """All of `count` connections, and none relayed."""
    seen = ladond.connections()
    demand(seen["handed_off"] == count and not seen["relayed"],
           f"not handed off: {', '.join(ladond.reasons())}\n{ladond.log()}")


# ---- printing ----

def say(text, ink=None):
    """Lines, indented below their title; those that are too long are folded."""
    for line in text.splitlines():
        short = len(line) <= COLUMNS
        for part in [line] if short else textwrap.wrap(line, COLUMNS, break_on_hyphens=False):
            print(f"  {paint(part.rstrip(), ink)}".rstrip(), flush=True)


def title(number, text):
    print(f"\n{paint(f'{number}. {text}', BOLD)}\n", flush=True)


def command(where, argv, remark=""):
    remark = remark and f"    # {remark}"
    print(f"  {where}$ {paint(' '.join(argv), BOLD)}{paint(remark, DIM)}", flush=True)


def paint(text, ink):
    if not ink or not text or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\033[{ink}m{text}\033[0m"


if __name__ == "__main__":
    main()
