"""What the child in quarantine gives up before it opens a file, as far as the system can take it away.

Everywhere: processor time, core dumps, open files, the size of files it writes. On Linux also address space,
the network (a namespace of its own), files but those it needs (Landlock), other programs, sockets and other
processes (seccomp). What a kernel does not offer is left out.
"""

import contextlib
import ctypes
import importlib.util
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

IS_LINUX = sys.platform == "linux"
PAGE = resource.getpagesize()
FILES = 256
SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat")
SYSTEM += ("/sys/devices/system", "/dev/urandom")

LIBRARIES = "h5py", "keras", "numpy", "PIL", "tensorflow"

# The kernel's numbers (prctl.h, sched.h, landlock.h, seccomp.h, audit.h).
PDEATHSIG, NO_NEW_PRIVS, SET_SECCOMP = 1, 38, 22
NEW_NET, NEW_USER = 0x40000000, 0x10000000
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
ALL_OF_FILES, TRUNCATE = (
    (1 << 13) - 1,
    1 << 14,
)  # all that the first version of Landlock knows; from the third
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # with EPERM
ARCHITECTURES = {  # its number, and those of the calls that no reader of a file needs
    "x86_64": (
        0xC000003E,
        # socket, connect, bind, execve, kill, ptrace, process_vm_readv and _writev, execveat, io_uring, bpf
        (41, 42, 49, 59, 62, 101, 310, 311, 322, 425, 321),
    ),
    "aarch64": (0xC00000B7, (198, 203, 200, 221, 129, 117, 270, 271, 281, 425, 280)),
}
X32 = 0x40000000  # calls by another numbering, on x86_64


def confine(readable, scratch):
    """Give up the network, other programs, and files but Python's, these and those in `scratch`.

    Done before there are threads, which would keep what they have.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    if IS_LINUX:
        _prctl(PDEATHSIG, signal.SIGKILL)
        # Root may leave the network as it is; others need a namespace of users, which some systems refuse.
        if _libc().unshare(NEW_NET):
            _libc().unshare(NEW_NET | NEW_USER)
        _prctl(NO_NEW_PRIVS, 1)
        _without_files(readable, scratch)
        _without_calls()


def hold(memory, seconds):
    """Have so many bytes of memory, beside what is taken, and seconds of a processor from now on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))
    if IS_LINUX:  # others do not keep to it; there the parent watches
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, resource.RLIM_INFINITY))
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def let_go():
    """Lift the limits of `hold` for what is our own to do."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_CPU, unlimited)
    if IS_LINUX:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option, value):
    _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _without_files(readable, scratch):
    """Leave the process only the files it is to read, Python's and the system's, and its scratch."""
    version = _libc().syscall(LANDLOCK_CREATE, None, 0, 1)
    every = ALL_OF_FILES | (TRUNCATE if version >= 3 else 0)
    handled = struct.pack("Q", every)
    rules = _libc().syscall(LANDLOCK_CREATE, handled, len(handled), 0)
    if rules < 0:  # a kernel without
        return
    ours = sys.prefix, sys.base_prefix, Path(__file__).parents[2], *_libraries()
    for path in (*ours, *SYSTEM, *readable):
        _allow(rules, str(path), READ_FILE | READ_FOLDER)
    for path in (scratch, os.devnull):
        _allow(rules, str(path), every & ~EXECUTE)
    _libc().syscall(LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)


def _libraries():
    """Return the folders of libraries, which `pip install --user` and .pth files have beside Python's own."""
    found = [importlib.util.find_spec(name) for name in LIBRARIES]
    return sorted({Path(spec.origin).parents[1] for spec in found if spec and spec.origin})


def _allow(rules, path, access):
    with contextlib.suppress(OSError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not Path(path).is_dir():
            access &= READ_FILE | WRITE_FILE | TRUNCATE
        rule = struct.pack("=Qi", access, place)
        _libc().syscall(LANDLOCK_ADD, rules, 1, rule, 0)
        os.close(place)


def _without_calls():
    """Refuse the calls of ARCHITECTURES to the kernel."""
    if platform.machine() not in ARCHITECTURES:
        return
    architecture, refused = ARCHITECTURES[platform.machine()]
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (end, 0, 0, REFUSE), (load, 0, 0, 0)]
    program += [(at_least, len(refused) + 1, 0, X32)] if architecture == 0xC000003E else []
    for place, call in enumerate(refused):
        program.append((equal, len(refused) - place, 0, call))
    program += [(end, 0, 0, ALLOW), (end, 0, 0, REFUSE)]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    filtered = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    _libc().prctl(SET_SECCOMP, 2, ctypes.c_char_p(filtered), 0, 0)
