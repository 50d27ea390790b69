# SPDX-License-Identifier: GPL-2.0-only
"""What the network tests, the demo and the benchmark build their networks from."""
