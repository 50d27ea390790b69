# SPDX-License-Identifier: GPL-2.0-only
"""An accepted socket inherits the listener's storage with BPF_F_CLONE, as a copy, and no other storage.

datapath/guard.h: the acknowledgement rule holds from the client's first segment on.
"""
import bpf
import place


def check():
    maps = bpf.Object("storage_clone")
    for address in place.LOOPBACKS:
        with place.namespace() as space, place.listen(space, address) as listener, \
                space.socket(address) as front:
            maps.store("clone", listener, 7)
            maps.store("own", listener, 7)
            with place.connect(listener, front) as back:
                maps.store("clone", listener, 8)
                found = maps.stored("clone", back), maps.stored("own", back), maps.stored("clone", front)
                assert found == (7, None, None), f"{found}"
