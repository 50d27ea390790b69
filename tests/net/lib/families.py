# SPDX-License-Identifier: GPL-2.0-only
"""families.py - a test of both families: gateway, backend and one_pool are its parameters"""
import pytest

from .gateway import FAMILIES

both_families = pytest.mark.parametrize("gateway, backend, one_pool", FAMILIES, ids=("ipv4", "ipv6"))
