#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""assume.py - what ladon takes for granted of Linux and no manual page promises

    assume.py [NAME...]

One small program per assumption, in assumptions/: what is assumed and who
relies on it is the first thing each of them says. When a new kernel breaks
ladon, these say where. Each makes network namespaces of its own: as root.
"""
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../net")]


def names():
    return sorted(file[:-3] for file in os.listdir(os.path.join(HERE, "assumptions"))
                  if file.endswith(".py"))


def main():
    failed = 0
    for name in sys.argv[1:] or names():
        try:
            importlib.import_module(f"assumptions.{name}").check()
            print(f"ok {name}", flush=True)
        except Exception as error:  # whatever it is, the next one is to be tried
            print(f"not ok {name}: {error or type(error).__name__}", flush=True)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
