# SPDX-License-Identifier: GPL-2.0-only
"""strace.py - which system calls the workers of a ladond make, and what becomes of one of them"""
import collections
import os
import re
import subprocess

# Waits, and what only the C library wants: before them nothing is other than after the call before
NO_STEPS = ("epoll_wait", "futex", "restart_syscall", "mmap", "munmap", "mprotect", "madvise", "brk")

# "socket(...) = 7", or what is left of it where another thread came in between
ENDED = re.compile(r"^(?:\d+ +)?(?:<\.\.\. )?(\w+)(?:\(| resumed>)(?!.*<unfinished \.\.\.>$)"
                   r"(?:.* = (-1 (E\w+)|\d+))?", re.M)


class Strace:
    """On the workers of a daemon. inject: what becomes of which system call, as strace(1) has it.

    Its numbers count from here on, for each worker alone. What is refused without an end may fail
    with ENOSYS when strace lets go.
    """

    def __init__(self, ladon, inject=None):
        self.path = os.path.join(ladon.net.dir, "strace")
        inject = ["-e", f"inject={inject}"] if inject else []
        tasks = [task for task in os.listdir(f"/proc/{ladon.pid}/task") if task != str(ladon.pid) and
                 self._name(ladon.pid, task) == "ladond"]
        self.process = subprocess.Popen(
            ["strace", "-o", self.path, *inject, *(word for task in tasks for word in ("-p", task))],
            stderr=subprocess.PIPE, text=True)
        for _ in tasks:
            line = self.process.stderr.readline()
            assert "attached" in line, line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _name(pid, task):
        with open(f"/proc/{pid}/task/{task}/comm") as file:
            return file.read().strip()

    def close(self):
        """Return: the steps that were made, each with what strace said of it: [(name, n, line)]."""
        self.process.terminate()
        self.process.wait(10)
        self.process.stderr.close()
        counts, steps = collections.Counter(), []
        with open(self.path) as file:
            for line in file:
                call = re.match(r"(?:\d+ +)?(\w+)\(", line)
                if call and call[1] not in NO_STEPS:
                    counts[call[1]] += 1
                    steps.append((call[1], counts[call[1]], line))
        return steps

    def results(self):
        """... or [(name, result)] of all calls as they ended; a result is a number, or the name of an error."""
        self.close()
        with open(self.path) as file:
            return [(name, error or result) for name, result, error in ENDED.findall(file.read())]
