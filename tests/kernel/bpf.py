# SPDX-License-Identifier: GPL-2.0-only
"""bpf.py - the few calls of libbpf that the assumptions need, by ctypes

An assumption NAME has its programs in assumptions/NAME.bpf.c. What they have
seen they leave in a global array of __u32, `seen`, and nothing else is global.
"""
import ctypes
import os
import socket
import struct

from lib.gateway import BUILD

libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
libbpf.bpf_object__open_file.restype = ctypes.c_void_p
libbpf.bpf_object__find_program_by_name.restype = ctypes.c_void_p
libbpf.libbpf_set_print(None)  # it would print EEXIST

INGRESS, EGRESS = 1, 2
BPF_TC_F_REPLACE = 1


class Hook(ctypes.Structure):
    """struct bpf_tc_hook"""
    _fields_ = [("sz", ctypes.c_size_t), ("ifindex", ctypes.c_int), ("attach_point", ctypes.c_int),
                ("parent", ctypes.c_uint32)]


class Options(ctypes.Structure):
    """struct bpf_tc_opts"""
    _fields_ = [("sz", ctypes.c_size_t), ("prog_fd", ctypes.c_int), ("flags", ctypes.c_uint32),
                ("prog_id", ctypes.c_uint32), ("handle", ctypes.c_uint32), ("priority", ctypes.c_uint32)]


class Run(ctypes.Structure):
    """struct bpf_test_run_opts"""
    _fields_ = [("sz", ctypes.c_size_t), ("data_in", ctypes.c_char_p), ("data_out", ctypes.c_void_p),
                ("data_size_in", ctypes.c_uint32), ("data_size_out", ctypes.c_uint32),
                ("ctx_in", ctypes.c_void_p), ("ctx_out", ctypes.c_void_p), ("ctx_size_in", ctypes.c_uint32),
                ("ctx_size_out", ctypes.c_uint32), ("retval", ctypes.c_uint32), ("repeat", ctypes.c_int),
                ("duration", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32),
                ("batch_size", ctypes.c_uint32)]


def _sure(rc, what):
    if rc < 0:
        raise OSError(-rc, f"{what}: {os.strerror(-rc)}")
    return rc


def _handle(pointer, what):
    if not pointer:
        raise OSError(ctypes.get_errno(), what)
    return ctypes.c_void_p(pointer)


class Object:
    """The loaded programs and maps of an assumption; closed when the process ends."""

    def __init__(self, name):
        path = os.path.join(BUILD, "kernel/assumptions", f"{name}.bpf.o")
        self.object = _handle(libbpf.bpf_object__open_file(path.encode(), None), path)
        _sure(libbpf.bpf_object__load(self.object), path)

    def _program(self, name):
        program = libbpf.bpf_object__find_program_by_name(self.object, name.encode())
        return libbpf.bpf_program__fd(_handle(program, name))

    def _map(self, name):
        return _sure(libbpf.bpf_object__find_map_fd_by_name(self.object, name.encode()), name)

    # ---- programs ----

    def attach(self, program, device, point, priority=1):
        """At tc ingress or egress of a device of this thread's namespace; in place of what is there."""
        hook = Hook(ctypes.sizeof(Hook), socket.if_nametoindex(device), INGRESS | EGRESS)
        libbpf.bpf_tc_hook_create(ctypes.byref(hook))  # it may be there
        hook.attach_point = point
        options = Options(ctypes.sizeof(Options), self._program(program), BPF_TC_F_REPLACE,
                          handle=1, priority=priority)
        _sure(libbpf.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options)), f"attach {program}")

    def run(self, program, data, context=None):
        """BPF_PROG_TEST_RUN. Return: (what the program returned, the packet as it left it)"""
        out = ctypes.create_string_buffer(len(data))
        run = Run(ctypes.sizeof(Run), data, ctypes.cast(out, ctypes.c_void_p), len(data), len(data))
        if context:
            run.ctx_in, run.ctx_size_in = ctypes.cast(context, ctypes.c_void_p), len(context)
        _sure(libbpf.bpf_prog_test_run_opts(self._program(program), ctypes.byref(run)), program)
        return run.retval, out.raw

    # ---- maps ----

    def seen(self):
        """The array that the programs write to."""
        key, value = struct.pack("I", 0), ctypes.create_string_buffer(64)
        _sure(libbpf.bpf_map_lookup_elem(self._map(".bss"), key, value), "seen")
        return struct.unpack("16I", value.raw)

    def tell(self, *words):
        """Write to the beginning of that array, zero to the rest."""
        data = struct.pack("16I", *words, *[0] * (16 - len(words)))
        _sure(libbpf.bpf_map_update_elem(self._map(".bss"), struct.pack("I", 0), data, ctypes.c_uint64(0)),
              "seen")

    def store(self, name, sock, value):
        """Set a socket's storage."""
        _sure(libbpf.bpf_map_update_elem(self._map(name), struct.pack("i", sock.fileno()),
                                         struct.pack("I", value), ctypes.c_uint64(0)), name)

    def stored(self, name, sock):
        """A socket's storage; None: it has none."""
        value = ctypes.create_string_buffer(4)
        rc = libbpf.bpf_map_lookup_elem(self._map(name), struct.pack("i", sock.fileno()), value)
        return struct.unpack("I", value.raw)[0] if rc == 0 else None
