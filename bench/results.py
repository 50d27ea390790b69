# SPDX-License-Identifier: GPL-2.0-only
"""results.py - from what was measured to figures: medians, ratios, a table, JSON lines, a chart"""
import collections
import json
import statistics
import subprocess

Figure = collections.namedtuple("Figure", "case raw unit format net_of_direct cpus better")
Value = collections.namedtuple("Value", "median min max rounds")

# Of ladond, in ns, and what they must be
PARTS = {
    "peek_tls13": 2000, "peek_tls_pq": 2000, "peek_http_get": 2000, "peek_socks5": 2000, "peek_connect": 2000,
    "peek_prefix_ip4": 2000,
    "route_name": 1000, "route_wildcard": 1000, "route_none": 1000,
    "choice_round_robin": 200, "choice_least_flows": 200, "choice_first": 200, "choice_hash": 200,
}

# Of a learned flow: what must cost much the same as without rules, and as with a thousand flows
FLAT = ("rules_100", "rules_10000", "routes_10000")
MANY = ("flows_100000", "flows_1000000")
SHORT = ("short_1000", "short_100000", "short_1000000")

# case, as printed; raw, as cases.py calls it; net_of_direct: less what the two ends alone cost
FIGURES = [
    Figure("bulk_gso", "bulk_gso", "Gbit/s", "{:.2f}", False, None, "more"),
    Figure("bulk_mtu", "bulk_mtu", "Gbit/s", "{:.2f}", False, None, "more"),
    Figure("rtt_p50", "rtt_p50/2", "us", "{:.1f}", False, 2, "less"),
    Figure("rtt_p99", "rtt_p99/2", "us", "{:.1f}", False, 2, "less"),
    Figure("rtt_p50", "rtt_p50/1", "us", "{:.1f}", False, 1, "less"),
    Figure("rtt_p99", "rtt_p99/1", "us", "{:.1f}", False, 1, "less"),
    Figure("connections", "connections", "1/s", "{:.0f}", False, None, "more"),
    Figure("cpu_per_connection", "busy_per_connection", "us", "{:.1f}", True, None, "less"),
    Figure("cpu_per_gb", "busy_per_gb", "s", "{:.2f}", True, None, "less"),
    Figure("memory_per_connection", "memory", "bytes", "{:.0f}", True, None, "less"),
    Figure("handoff_p50", "handoff_p50", "us", "{:.1f}", False, None, "less"),
    Figure("forwarded_udp", "forwarded_udp", "ns", "{:.0f}", False, None, "less"),
    Figure("forwarded_tcp", "forwarded_tcp", "ns", "{:.0f}", False, None, "less"),
    Figure("setup_udp", "setup_udp", "ns", "{:.0f}", False, None, "less"),
    *(Figure(raw, raw, "ns", "{:.0f}", False, None, "less") for raw in ("rules_0", *FLAT, "flows_1000", *MANY)),
    *(Figure(raw, raw, "%", "{:.1f}", False, None, "more") for raw in SHORT),
    Figure("memory_per_flow", "flow_memory", "bytes", "{:.0f}", False, None, "less"),
    Figure("translate", "translate", "ns", "{:.0f}", False, None, "less"),
    *(Figure(part, part, "ns", "{:.0f}", False, None, "less") for part in PARTS),
    Figure("reload", "reload", "ms", "{:.0f}", False, None, "less"),
]

# A figure of ladon's (of @mine), and what it must be: times another subject's, times its own @than, or as it stands
Target = collections.namedtuple("Target", "raw relation bound subject mine than", defaults=["ladon", None])
TARGETS = [
    Target("bulk_gso", ">=", 0.95, "forward"),
    Target("bulk_mtu", ">=", 0.90, "forward"),
    Target("bulk_mtu", ">=", 1.00, "dnat"),
    Target("rtt_p50/1", "<=", 1.05, "forward"),
    Target("connections", ">=", 1.20, "haproxy"),
    Target("busy_per_connection", "<=", 0.80, "haproxy"),
    Target("handoff_p50", "<=", 15, None),
    Target("translate", "<=", 60, None),
    Target("memory", "<=", 400, None),
    *(Target(*bound, "ladon-tls", mine) for mine in ("ladon-socks", "ladon-connect")
      for bound in (("bulk_mtu", ">=", 0.95), ("rtt_p50/1", "<=", 1.05))),
    Target("connections", ">=", 0.97, "before"),
    *(Target(part, "<=", bound, None) for part, bound in PARTS.items()),
    *(Target(case, "<=", bound, subject, "learned") for case in ("forwarded_udp", "forwarded_tcp")
      for subject, bound in (("firewall", round(1 / 7, 3)), ("forward", 1.2))),
    *(Target(case, "<=", 1, "flowtable", "learned") for case in ("forwarded_udp", "forwarded_tcp")),
    *(Target(raw, "<=", 1.2, None, "learned", "rules_0") for raw in FLAT),
    *(Target(raw, "<=", 2.5, None, "learned", "flows_1000") for raw in MANY),
    *(Target(raw, "<=", 0.333, "firewall", "learned") for raw in MANY),
    Target("flow_memory", "<=", 400, None, "learned"),
    Target("setup_udp", "<=", 1.1, "firewall", "learned"),
    Target("connections", ">=", 0.90, "firewall", "learned"),
    Target("reload", "<=", 1000, None),
]


class Results:
    """All that was measured: rounds[subject] is a list of {raw figure: value}, one per round."""

    def __init__(self):
        self.rounds = collections.defaultdict(list)

    def add(self, subject, values):
        self.rounds[subject].append(values)

    def subjects(self):
        return [subject for subject in self.rounds if subject != "direct"]

    def value(self, figure, subject):
        """The median of the rounds and their spread, or None if there are none."""
        rounds = self.rounds.get(subject, [])
        ends = [{figure.raw: 0}] * len(rounds)
        if figure.net_of_direct:
            ends = self.rounds.get("direct", [])
        values = [measured[figure.raw] - alone[figure.raw] for measured, alone in zip(rounds, ends)
                  if figure.raw in measured and figure.raw in alone]
        if not values:
            return None
        return Value(statistics.median(values), min(values), max(values), len(values))

    def ratio(self, figure, subject, other="forward", than=None):
        """Of two medians, of one figure or of two; None if one is missing, or is not above zero."""
        mine, others = self.value(figure, subject), self.value(than or figure, other)
        if not mine or not others or others.median <= 0:
            return None
        return mine.median / others.median

    def measured(self):
        """(figure, subject, value), in the order of FIGURES."""
        for figure in FIGURES:
            for subject in self.subjects():
                value = self.value(figure, subject)
                if value:
                    yield figure, subject, value

    def histogram(self):
        """Handoffs by duration, all rounds of ladon together: {less than so many ns: how many}."""
        rounds = [values["histogram"] for values in self.rounds["ladon"] if "histogram" in values]
        counts = collections.Counter()
        for pairs in rounds:
            counts.update(dict(pairs))
        return dict(sorted(counts.items()))


# ---- as JSON ----

def json_line(results, figure, subject, value, spread=True):
    """One figure. The first five keys are a promise; those of the spread may grow."""
    ratio = results.ratio(figure, subject)
    line = {"case": figure.case, "subject": subject, "value": round(value.median, 4),
            "unit": figure.unit, "ratio_to_forward": None if ratio is None else round(ratio, 4)}
    if spread:
        line |= {"min": round(value.min, 4), "max": round(value.max, 4), "rounds": value.rounds}
        if figure.cpus:
            line["cpus"] = figure.cpus
    return json.dumps(line)


# ---- as a table ----

def table(results):
    """Two lines per figure: medians with their ratio to forward, and the spread."""
    subjects = results.subjects()
    lines = [f"{'':31}" + "".join(f"{subject:>17}" for subject in subjects)]
    for figure in FIGURES:
        values = [results.value(figure, subject) for subject in subjects]
        if not any(values):
            continue
        name = figure.case + (f" ({figure.cpus} CPU)" if figure.cpus else "")
        upper, lower = f"{name:24}{figure.unit:7}", f"{'':31}"
        for subject, value in zip(subjects, values):
            ratio = results.ratio(figure, subject) if value else None
            text = figure.format.format(value.median) if value else "-"
            upper += f"{text:>10}" + (f"{ratio:6.2f}x" if ratio is not None else " " * 7)
            lower += f"{_spread(figure, value):>17}"
        lines += [upper.rstrip(), lower.rstrip()]
    return "\n".join(lines)


def _spread(figure, value):
    if not value or value.rounds < 2:
        return ""
    return f"{figure.format.format(value.min)}-{figure.format.format(value.max)}"


def targets(results):
    """What ladon promises, and what was seen: a line each, for those that were measured."""
    lines = []
    figures = {figure.raw: figure for figure in FIGURES}
    for target in TARGETS:
        figure = figures[target.raw]
        if target.subject or target.than:
            seen = results.ratio(figure, target.mine, target.subject or target.mine, figures.get(target.than))
        else:
            value = results.value(figure, target.mine)
            seen = value and value.median
        if seen is None:
            continue
        met = seen >= target.bound if target.relation == ">=" else seen <= target.bound
        of = target.subject or target.than
        unit = f"x {of}" if of else figure.unit
        lines.append(f"{'ok' if met else 'MISSED':8}{target.mine:14}{figure.case:24}{seen:8.2f}  "
                     f"{target.relation} {target.bound:g} {unit}")
    return "\n".join(lines)


def histogram(results):
    """How long handoffs took: a bar per step."""
    counts = results.histogram()
    total = sum(counts.values())
    return "\n".join(f"  < {below / 1e3:10.1f} us {n:9} {'#' * round(100 * n / total)}"
                     for below, n in counts.items())


# ---- as a chart ----

COLOURS = {"forward": "999999", "dnat": "b3895d", "ladon": "1b7837", "relay": "7fbf7b",
           "haproxy": "4575b4", "nginx": "91bfdb", "ladon66": "762a83", "ladon64": "c2a5cf",
           "ladon46": "af8dc3", "firewall": "b3895d", "flowtable": "4575b4", "learned": "1b7837"}


def chart(results, path):
    """An SVG by gnuplot(1): a panel per figure, a bar per subject, whiskers for the spread."""
    figures = [figure for figure in FIGURES
               if sum(results.value(figure, s) is not None for s in results.subjects()) > 1]
    if not figures:
        return
    columns = 3
    rows = -(-len(figures) // columns)
    size = f"{360 * columns},{230 * rows}"
    script = [f"set terminal svg size {size} font 'sans,11' background 'white'",
              f"set output {_quote(path)}", f"set multiplot layout {rows},{columns}",
              "set style fill solid; set boxwidth 0.7; set yrange [0:*]; unset key",
              "set grid ytics lc rgb '#dddddd'; set border 3; set tics nomirror",
              "set xtics rotate by -30"]
    for figure in figures:
        script += _panel(results, figure)
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True, timeout=60)


def _panel(results, figure):
    rows = []
    for x, subject in enumerate(results.subjects()):
        value = results.value(figure, subject)
        if value:
            rows.append(f"{x} {subject} {value.median} {value.min} {value.max - value.min} "
                        f"0x{COLOURS.get(subject, '666666')}")
    cpus = f", {figure.cpus} CPU" if figure.cpus else ""
    return ["$rows << END", *rows, "END",
            f"set title {_quote(f'{figure.case}{cpus} ({figure.unit}; {figure.better} is better)')}"
            " noenhanced",
            "plot $rows using 1:3:6:xtic(2) with boxes lc rgb variable, "
            "$rows using 1:4:(0):5 with vectors nohead lc rgb '#000000' lw 2"]


def _quote(text):
    return "'" + text.replace("'", "''") + "'"
