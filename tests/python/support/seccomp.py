"""System calls that the kernel refuses to a process, as a container's filter does."""

import ctypes
import errno
import os
import struct

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LD_W_ABS, JMP_JEQ_K, RET_K = 0x20, 0x15, 0x06

# The same numbers on every processor: calls of 2019 and later.
IO_URING_SETUP, IO_URING_ENTER = 425, 426


def forbid(*calls):
    """A function for `preexec_fn`: from there on the process gets EPERM for these calls."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    # The number of the call is the first word of what a filter sees (seccomp(2)).
    filters = [struct.pack("=HBBI", LD_W_ABS, 0, 0, 0)]
    for call in calls:
        filters.append(struct.pack("=HBBI", JMP_JEQ_K, 0, 1, call))
        filters.append(struct.pack("=HBBI", RET_K, 0, 0, RET_ERRNO | errno.EPERM))
    filters.append(struct.pack("=HBBI", RET_K, 0, 0, RET_ALLOW))
    code = ctypes.create_string_buffer(b"".join(filters))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(filters), ctypes.addressof(code)))

    def apply():
        for call in (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0):
            if libc.prctl(*call):
                raise OSError(ctypes.get_errno(), "prctl")

    # What the program points to lives as long as the function.
    apply.code = code
    return apply


def has_io_uring():
    """Whether the kernel gives this process a ring as the hub wants it (IORING_SETUP_SUBMIT_ALL, _SINGLE_ISSUER, _DEFER_TASKRUN)."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = (ctypes.c_uint32 * 30)(0, 0, 1 << 7 | 1 << 12 | 1 << 13)
    ring = libc.syscall(IO_URING_SETUP, 8, parameters)
    if ring >= 0:
        os.close(ring)
    return ring >= 0
