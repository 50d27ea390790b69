# SPDX-License-Identifier: GPL-2.0-only
"""bench.py - the speed of ladon and of its peers, measured side by side

Every round measures all subjects one after the other, each started afresh in a
network of its own, so that a machine that grows slower grows slower for all.
Run it through `make bench`; bench/README.md says what the figures mean.
"""
import argparse
import os
import resource
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/net"))

import cases  # noqa: E402
import results as reports  # noqa: E402
from lib.gateway import BUILD  # noqa: E402
from subjects import SUBJECTS, Direct, Unavailable, ladon_of  # noqa: E402

# Those of a line share a turn. bulk_mtu changes the links and comes last.
FULL = (("memory",),
        ("bulk_gso", "round_trip", "forwarded", "setup", "connections", "handoff", "bulk_mtu"))
QUICK = (("round_trip", "forwarded", "connections", "bulk_mtu"),)
FORWARDED = (("forwarded", "setup", "connections", "rules"), ("flows",))
FULL_SUBJECTS = ("forward", "dnat", "ladon", "relay", "haproxy", "nginx", "firewall", "learned")
QUICK_SUBJECTS = ("forward", "ladon", "haproxy", "firewall", "learned")
WAYS_SUBJECTS = ("forward", "ladon-tls", "ladon-socks", "ladon-connect", "haproxy-tls", "nginx-tls", "sslh", "sniproxy",
                 "microsocks", "dante")
FORWARDED_SUBJECTS = ("forward", "firewall", "learned")
QUICK_SECONDS = 45  # no round begins that would not end by then
SECONDS_MAX = 20  # all loads of a turn fit into cases.TURN_SECONDS
BUSY_MAX = 0.1  # of the machine, before the start, without a warning


def main():
    arguments = parse()
    if os.geteuid():
        sys.exit("bench: network namespaces need root")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    notes = []
    busy = busy_share(0.5)
    if busy > BUSY_MAX:
        print(f"bench: the machine is {busy:.0%} busy: the figures will be off", file=sys.stderr)
    try:
        measured = measure(arguments, notes)
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
    report(arguments, measured, notes)
    sys.exit(1 if notes else 0)


def parse():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the main figures, as JSON lines")
    parser.add_argument("--rounds", type=int, default=3, metavar="N",
                        choices=range(1, 101))
    parser.add_argument("--seconds", type=float, metavar="S", help="of each load (2; quick: 0.8)")
    parser.add_argument("--subjects", type=words_of(SUBJECTS), metavar="A,B")
    parser.add_argument("--cases", type=words_of([case for turn in FULL + FORWARDED for case in turn]), metavar="A,B")
    parser.add_argument("--tls", action="store_true", help="route by the name in a ClientHello")
    parser.add_argument("--ways", action="store_true", help="by name, SOCKS and CONNECT, beside who does the same")
    parser.add_argument("--forwarded", action="store_true", help="what the gateway only forwards: learned, and not")
    parser.add_argument("--before", metavar="DIR", help="a build directory; its ladond is the subject 'before'")
    arguments = parser.parse_args()
    arguments.subjects = arguments.subjects or default_subjects(arguments)
    if arguments.before:
        SUBJECTS["before"] = ladon_of(arguments.before)
        arguments.subjects = [*arguments.subjects, "before"]
    arguments.turns = turns_of(arguments)
    arguments.seconds = arguments.seconds or (0.8 if arguments.quick else 2)
    if not 0.1 <= arguments.seconds <= SECONDS_MAX:
        parser.error(f"--seconds: 0.1 to {SECONDS_MAX}")
    return arguments


def turns_of(arguments):
    if arguments.cases:
        return (arguments.cases,)
    if arguments.forwarded:
        return FORWARDED
    return QUICK if arguments.quick or arguments.ways else FULL


def default_subjects(arguments):
    if arguments.forwarded:
        return FORWARDED_SUBJECTS
    if arguments.ways:
        return WAYS_SUBJECTS
    if arguments.before:
        return ("ladon",)
    return QUICK_SUBJECTS if arguments.quick else FULL_SUBJECTS


def words_of(known):
    def words(text):
        chosen = text.split(",")
        for word in chosen:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(known)}")
        return [word for word in known if word in chosen]
    return words


# ---- measuring ----

def measure(arguments, notes):
    """All rounds. What cannot be measured is left out, and said once in notes."""
    measured = reports.Results()
    subjects = {name: SUBJECTS[name] for name in arguments.subjects}
    if not arguments.quick:
        subjects["direct"] = Direct
    began = time.monotonic()
    for i in range(arguments.rounds):
        if arguments.quick and (time.monotonic() - began) * (i + 1) > QUICK_SECONDS * max(i, 1):
            break
        for name in list(subjects):
            progress(f"round {i + 1} of {arguments.rounds}: {name}")
            try:
                values = {}
                for turn in arguments.turns:
                    wanted = [case for case in turn if case not in subjects[name].without]
                    if wanted:
                        values |= one_turn(subjects[name], name, wanted, arguments, notes)
                measured.add(name, values)
            except Unavailable as reason:
                notes.append(f"{name} was not measured: {reason}")
                del subjects[name]
    if not arguments.quick and not arguments.cases and "ladon" in subjects:
        add_translate(measured, notes)
        add_parts(measured, notes)
    progress("")
    return measured


def one_turn(subject, name, wanted, arguments, notes):
    """What the cases say of a subject; the notes are about those that failed or lie."""
    values = {}
    with cases.Turn(subject, seconds=arguments.seconds, tls=arguments.tls) as turn:
        for case in wanted:
            try:
                values |= getattr(cases, case)(turn)
            except RuntimeError as error:
                notes.append(f"{name}: {case}: {error}")
        trouble = turn.subject.trouble()
    if values.get("errors"):
        notes.append(f"{name}: {values['errors']}")
    if trouble:
        notes.append(f"{name}: {trouble}")
    return values


def add_translate(measured, notes):
    value = cases.translate()
    if value is None:
        notes.append(f"translate was not measured: {cases.TEST_RUN} did not say")
    else:
        measured.rounds["ladon"][0]["translate"] = value


def add_parts(measured, notes):
    values = cases.parts()
    if values is None:
        notes.append(f"parts were not measured: {cases.CHOICES} or {cases.PEEKS} did not say")
    else:
        measured.rounds["ladon"][0].update(values)
    value = cases.reload_ms()
    if value is None:
        notes.append("reload was not measured: it failed")
    else:
        measured.rounds["ladon"][0]["reload"] = value


def busy_share(seconds):
    """How much of the machine is in use, 0 to 1."""
    def idle():
        with open("/proc/stat") as file:
            words = file.readline().split()
        return sum(map(int, (words[4], words[5], words[8]))) / os.sysconf("SC_CLK_TCK")

    before = idle()
    time.sleep(seconds)
    return max(0, 1 - (idle() - before) / seconds / os.cpu_count())


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# ---- reporting ----

def report(arguments, measured, notes):
    if arguments.quick:
        for figure, subject, value in measured.measured():
            if figure.cpus != 2:
                print(reports.json_line(measured, figure, subject, value, spread=False))
    else:
        write_files(measured)
        print_all(arguments, measured)
    for note in dict.fromkeys(notes):
        print(f"bench: {note}", file=sys.stderr)


def print_all(arguments, measured):
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, {arguments.rounds} rounds of "
          f"{arguments.seconds:g} s: median, ratio to forward, and smallest to largest\n")
    print(reports.table(measured))
    if measured.histogram():
        print(f"\nhandoffs of ladon, by duration\n{reports.histogram(measured)}")
    print(f"\nwhat ladon must reach\n{reports.targets(measured)}")


def write_files(measured):
    path = os.path.join(BUILD, "bench", time.strftime("%Y%m%d-%H%M%S"))
    with open(f"{path}.jsonl", "w") as file:
        for figure, subject, value in measured.measured():
            file.write(reports.json_line(measured, figure, subject, value) + "\n")
    try:
        reports.chart(measured, f"{path}.svg")
    except OSError as error:
        print(f"bench: no chart: {error}", file=sys.stderr)
    print(f"wrote {path}.jsonl and .svg\n")


if __name__ == "__main__":
    main()
