"""What the Linux kernel offers to hold a program: namespaces, Landlock, seccomp, limits. By ctypes only.

Runs in the jail's own process, before the program. Every function raises OSError when the kernel says no,
so a level that cannot be reached is noticed and never assumed. Numbers are those of the kernel's headers
(linux/landlock.h, linux/seccomp.h, asm/unistd.h) for x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import stat
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

MACHINE = platform.machine()
COLUMN = {"x86_64": 0, "aarch64": 1}.get(MACHINE, -1)
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(MACHINE, 0)

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_THREAD = 0x10000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE, O_PATH = 2, -100, 0x8000, 0o10000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER = 1, 4, 8, 22, 36
PR_SET_NO_NEW_PRIVS = 38
CAP_DAC_READ_SEARCH = 2
SIGKILL, EPERM, ENOSYS = 9, 1, 38

# Used here: (x86_64, aarch64).
SYSCALLS = {
    "pivot_root": (155, 41),
    "mount_setattr": (442, 442),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "capset": (126, 91),
    "close_range": (436, 436),
}
# Refused to the program; −1 where an architecture has no such call.
REFUSED = {
    # other processes: creating, watching, signalling, throttling
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    # the network, and memory or queues that no limit counts
    "socket": (41, 198), "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # files of others: mode, owner, times, attributes, links
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, -1), "fchown": (93, 55), "lchown": (94, -1), "fchownat": (260, 54),
    "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "link": (86, -1), "linkat": (265, 37), "mknod": (133, -1), "mknodat": (259, 33),
    # the kernel itself
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97),
    "setns": (308, 268), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "sethostname": (170, 161), "setdomainname": (171, 162), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "fanotify_init": (300, 262), "personality": (135, 92),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
}  # fmt: skip
# Allowed on oneself only: the argument that names a process, and whether 0 means oneself.
OWN_PROCESS = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
}
CLONE, CLONE3, FCNTL, PRCTL = (56, 220), (435, 435), (72, 25), (157, 167)
SIGNALLING_FCNTL = (8, 10, 15)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX: they make the kernel send signals to others."""

libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(name: str, *arguments: object) -> int:
    """One call of :data:`SYSCALLS` by number."""
    if COLUMN < 0:
        raise OSError(ENOSYS, f"no system call table for {MACHINE}")
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(libc.syscall(ctypes.c_long(SYSCALLS[name][COLUMN]), *converted), name)


def prctl(option: int, *arguments: int) -> None:
    """``prctl(2)``."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    _checked(libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded)), f"prctl {option}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """``mount(2)``."""
    result = libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _checked(result, f"mount {source} on {target}")


def unshare(flags: int) -> None:
    """``unshare(2)``."""
    _checked(libc.unshare(flags), "unshare")


# ---------------------------------------------------------------------------------------- namespaces


def new_pid_namespace() -> None:
    """Put the next child into a pid namespace; without privilege, into a user namespace first."""
    try:
        unshare(CLONE_NEWPID)
    except PermissionError:
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | CLONE_NEWPID)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def new_root(shown: Mapping[str, str], hidden: Sequence[str], folder: str, disk_mib: int) -> None:
    """Leave the host's files behind: a tmpfs root with ``shown``, read-only, and a private /tmp.

    ``shown`` maps the place inside to the place outside; the folders ``hidden``, inside, are empty. Also a
    network namespace without a device that is up, and own IPC and host names. There is no /proc.
    """
    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=4k,mode=755")
    private = Path(folder, "tmp")  # first: an interpreter may lie below /tmp
    private.mkdir()
    options = f"size={disk_mib}m,nr_inodes=4k,mode=1777"
    mount("tmpfs", str(private), "tmpfs", MS_NOSUID | MS_NODEV, options)
    for inside, outside in shown.items():
        _bind(outside, folder + inside)
    for inside in hidden:
        mount(
            "tmpfs",
            folder + inside,
            "tmpfs",
            MS_RDONLY | MS_NOSUID | MS_NODEV,
            "size=4k,nr_inodes=1,mode=755",
        )
    for device in ("null", "zero", "urandom", "random"):
        _bind(f"/dev/{device}", f"{folder}/dev/{device}", read_only=False)
    mount("none", folder, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(folder)
    syscall("pivot_root", b".", b".")
    _checked(libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/tmp")


def _bind(source: str, target: str, read_only: bool = True) -> None:
    """Show ``source`` at ``target``, with all that is mounted below it, read-only."""
    place = Path(target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        attributes = struct.pack("QQQQ", MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        syscall("mount_setattr", AT_FDCWD, target.encode(), AT_RECURSIVE, buffer, len(attributes))


# ------------------------------------------------------------------------------- Landlock and seccomp

READ_FILE, READ_DIR, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many access rights each version of Landlock knows; later versions as version 5."""


def ruleset(readable: Sequence[str], listable: Sequence[str], writable: Sequence[str]) -> int:
    """A descriptor of Landlock rules: read ``readable``, list ``listable``, do anything in ``writable``, no more.

    Where the kernel can, TCP, abstract sockets and signals to processes outside are refused as well.
    """
    abi = syscall("landlock_create_ruleset", None, 0, 1)
    handled = (1 << FS_RIGHTS_BY_ABI.get(abi, 16)) - 1
    words = [handled, *([0b11] if abi >= 4 else []), *([0b11] if abi >= 6 else [])]
    packed = struct.pack(f"{len(words)}Q", *words)
    attributes = ctypes.create_string_buffer(packed, len(packed))
    made = syscall("landlock_create_ruleset", attributes, len(packed), 0)
    rules = [(path, READ_FILE | READ_DIR) for path in readable]
    rules += [(path, READ_DIR) for path in listable]
    rules += [(path, handled) for path in writable]
    rules += [("/dev/null", READ_FILE | WRITE_FILE), ("/dev/urandom", READ_FILE), ("/dev/zero", READ_FILE)]
    rule = ctypes.create_string_buffer(12)
    for path, rights in rules:
        descriptor = os.open(path, O_PATH | os.O_CLOEXEC)
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= READ_FILE | WRITE_FILE
        struct.pack_into("<Qi", rule, 0, rights & handled, descriptor)
        syscall("landlock_add_rule", made, 1, rule, 0)
        os.close(descriptor)
    return made


def landlock(made: int) -> None:
    """Hold this process to a set of rules from now on, beside any that hold it already; closes its descriptor."""
    syscall("landlock_restrict_self", made, 0)
    os.close(made)


LOAD, JUMP_EQUAL, JUMP_SET, JUMP_AT_LEAST, LEAVE = 0x20, 0x15, 0x45, 0x35, 0x06
ALLOW, REFUSE, ABSENT, KILL = 0x7FFF0000, 0x00050000 | EPERM, 0x00050000 | ENOSYS, 0x80000000
"""Instructions and answers of a seccomp filter; ``REFUSE`` and ``ABSENT`` are error numbers for the caller."""


@lru_cache(maxsize=1)
def refusals() -> bytes:
    """The filter's part that is the same for every program; made once, before jails are forked."""
    program = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, AUDIT_ARCH), (LEAVE, 0, 0, KILL), (LOAD, 0, 0, 0)]
    if MACHINE == "x86_64":  # calls of the x32 ABI have other numbers
        program += [(JUMP_AT_LEAST, 0, 1, 0x40000000), (LEAVE, 0, 0, REFUSE)]
    for number in sorted(numbers[COLUMN] for numbers in REFUSED.values() if numbers[COLUMN] >= 0):
        program += [(JUMP_EQUAL, 0, 1, number), (LEAVE, 0, 0, REFUSE)]
    program += [(JUMP_EQUAL, 0, 1, CLONE3[COLUMN]), (LEAVE, 0, 0, ABSENT)]  # libc then uses clone
    program += [
        (JUMP_EQUAL, 0, 4, CLONE[COLUMN]),
        (LOAD, 0, 0, _lower_half(0)),
        (JUMP_SET, 1, 0, CLONE_THREAD),
        (LEAVE, 0, 0, REFUSE),
        (LEAVE, 0, 0, ALLOW),
    ]
    # the argument that names a command, and the commands that are refused
    outliving = (PR_SET_PDEATHSIG,)  # its jail's death is the program's, and stays so
    for numbers, argument, commands in ((FCNTL, 1, SIGNALLING_FCNTL), (PRCTL, 0, outliving)):
        program += [
            (JUMP_EQUAL, 0, 2 + 2 * len(commands), numbers[COLUMN]),
            (LOAD, 0, 0, _lower_half(argument)),
        ]
        for command in commands:
            program += [(JUMP_EQUAL, 0, 1, command), (LEAVE, 0, 0, REFUSE)]
        program += [(LEAVE, 0, 0, ALLOW)]
    return _packed(program)


def _lower_half(argument: int) -> int:
    return 16 + 8 * argument


def _packed(program: Sequence[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def seccomp() -> None:
    """Refuse the calls of :data:`REFUSED`, new processes (not threads), and signals to others."""
    if COLUMN < 0:
        raise OSError(ENOSYS, f"no system call table for {MACHINE}")
    program = []
    for name, numbers in OWN_PROCESS.items():
        itself = [os.getpid()] + [0] * (name in ("prlimit64", "sched_setaffinity"))
        program += [(JUMP_EQUAL, 0, 2 + 2 * len(itself), numbers[COLUMN]), (LOAD, 0, 0, _lower_half(0))]
        for pid in itself:
            program += [(JUMP_EQUAL, 0, 1, pid), (LEAVE, 0, 0, ALLOW)]
        program += [(LEAVE, 0, 0, REFUSE)]
    code = refusals() + _packed([*program, (LEAVE, 0, 0, ALLOW)])
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)), 16
    )
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(header))


# --------------------------------------------------------------------------------- limits, privileges


def limit(name: str, value: int) -> None:
    """Set one rlimit, soft and hard; never above what is allowed now."""
    number = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(number)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(number, (value, value))


def unprivileged_uid() -> int:
    """A user id that nobody has, different for every jail that runs at the same time.

    So a limit on processes counts this jail's alone, and a signal to "all processes" reaches no other.
    """
    first, _, count = Path("/proc/self/uid_map").read_text().split()[:3]
    pid = os.getpid()
    return 1_000_000_000 + pid if int(first) == 0 and int(count) > 2**31 else 20_000 + pid % 40_000


def become(uid: int, read_everything: bool) -> None:
    """From root to ``uid``; with ``read_everything`` it may still read what root may (for Landlock to limit)."""
    prctl(PR_SET_KEEPCAPS, int(read_everything))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_capabilities(keep: int = 0) -> None:
    """Keep the capabilities of the bit mask ``keep`` and none else, for this process and all it starts."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(struct.pack("<6I", keep, keep, 0, 0, 0, 0), 24)
    syscall("capset", header, data)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
