# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: a network of one's own per test, removed whatever happens; certificates; a time limit."""
import collections
import faulthandler
import itertools
import os
import resource
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from lib import gateway, net as networks, tls  # noqa: E402

MATRIX_TIMES = 1  # how often each value of each parameter is tried, at least
# To load its programs ladond reads the kernel's types: megabytes, each of them touched once. Where a page
# fault is dear, as in many a virtual machine, that is a fifth of its start. malloc(3) asks for large pages.
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
TEST_SECONDS = 60  # no test may take longer unless it says so; a hang is a failure with a stack trace


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(most): it may take longer than others")
    config.addinivalue_line("markers", "matrix: of all combinations of parameters a sample; all with LADON_MATRIX=all")
    if os.geteuid():
        pytest.exit("the network tests make network namespaces: run them as root", 2)
    if not os.path.exists(os.path.join(gateway.BUILD, "ladond")):
        pytest.exit(f"no ladond in {gateway.BUILD}: run make first, or set LADON_BUILD", 2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sample(items):
    """Combinations, no more than it takes to have each value MATRIX_TIMES times; always the same ones."""
    def values(item):
        return [(name, repr(value)) for name, value in item.callspec.params.items()]

    tried = collections.Counter()
    left, chosen = list(items), []
    for times in range(MATRIX_TIMES):
        def gain(item):
            return sum(tried[value] <= times for value in values(item))

        while left and gain(best := max(left, key=gain)):
            left.remove(best)
            chosen.append(best)
            tried.update(values(best))
    return chosen


def pytest_collection_modifyitems(config, items):
    """A large matrix is for who changes what it is about, or asks for it by name: it takes longer than all the rest."""
    if os.environ.get("LADON_MATRIX") == "all" or config.option.keyword:
        return
    marked = (item for item in items if item.get_closest_marker("matrix"))
    matrices = [list(group) for _, group in itertools.groupby(marked, lambda item: item.function)]
    left_out = {item for matrix in matrices for item in matrix} - {item for matrix in matrices for item in sample(matrix)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    own = item.get_closest_marker("seconds")
    most = own.args[0] if own else TEST_SECONDS

    def expired(*_):
        faulthandler.dump_traceback(all_threads=True)
        raise TimeoutError(f"the test took longer than {most} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(most)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what ladond said last, where its threads are, which sockets there are and what was counted."""
    outcome = yield
    report = outcome.get_result()
    net = getattr(item, "funcargs", {}).get("net")
    if report.failed and net and net.spaces:
        try:
            for daemon in net.daemons[-1:]:
                report.sections.append(("ladond", daemon.log()[-20000:]))
                report.sections.append(("ladond's threads", daemon.threads()))
            report.sections.append(("sockets", net.sockets()[-20000:]))
            report.sections.append(("counters", str(net.trouble())))
        except OSError:  # it is closed already
            pass


class Net(networks.Net):
    """The tests' network: with ladond on its gateway."""

    def ladond(self, config, *args, **kwargs):
        return gateway.Ladond(self, config, *args, **{**LARGE_PAGES, **kwargs})


@pytest.fixture
def net():
    network = Net()
    try:
        yield network
    finally:
        network.close()


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    return tls.Certificates(str(tmp_path_factory.mktemp("certs")))
