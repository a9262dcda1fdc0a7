"""Linux namespaces: a network without a way out, processes of its own, and a root with nothing but Python.

Root takes them as they are; anybody else through a user namespace, where the kernel allows one.
"""

from __future__ import annotations

import ctypes
import os

from . import kernel

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE, DETACH = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18, 2
DEVICES = ("/dev/null", "/dev/urandom")
SCRATCH_BYTES, SCRATCH_FILES = 64 << 20, 4096
FLAGS = {"pids": kernel.NEWPID | kernel.NEWIPC, "network": kernel.NEWNET, "mounts": 0}


def unshare(layers: set[str]) -> dict[str, str]:
    """Leave the namespaces that the layers "pids", "network" and "mounts" speak of; {layer: why not}.

    The first process that is forked afterwards is the new namespace's first. Mounts follow in `new_root`.
    """
    wanted = [layer for layer in FLAGS if layer in layers]
    if not wanted:
        return {}
    flags = 0
    for layer in wanted:
        flags |= FLAGS[layer]
    uid, gid = os.geteuid(), os.getegid()
    try:
        if uid:
            kernel.call("unshare", kernel.NEWUSER | flags)
            maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
            for name, text in maps.items():
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        else:
            kernel.call("unshare", flags)
    except OSError as error:
        return dict.fromkeys(wanted, str(error))
    return {}


def new_root(at: str, readable: list[str], hidden: list[str], scratch: str, owner: int) -> None:
    """Make a root of its own for this process: `readable` read-only, an empty `scratch`, and nothing else.

    Args:
        at: an empty folder.
        readable: files and folders, at the same paths as before.
        hidden: folders beneath them, which will be empty.
        scratch: a folder in memory, of at most SCRATCH_BYTES.
        owner: user of the scratch folder.

    Raises:
        OSError: something of this is not allowed here.
    """
    kernel.call("unshare", kernel.NEWNS)
    _mount("none", "/", None, REC | PRIVATE)
    _mount("tmpfs", at, "tmpfs", NOSUID, "mode=755,size=1m")
    real = sorted({os.path.realpath(path) for path in (*readable, *DEVICES) if os.path.exists(path)})
    bound: list[str] = []
    masked: list[str] = []
    for path in sorted({*real, *hidden}):
        if path in hidden:
            if not os.path.isdir(at + path):
                continue
            _mount("tmpfs", at + path, "tmpfs", NOSUID | NODEV | NOEXEC, "mode=755,size=1m")
            masked.append(path)
        elif not _stands(path, bound, masked):
            _bind(path, at)
            bound.append(path)
    for path in readable:
        _links(path, at)
    for path in masked:
        _mount("none", at + path, None, REMOUNT | BIND | RDONLY | NOSUID | NODEV | NOEXEC)
    os.makedirs(at + scratch, exist_ok=True)
    _mount("tmpfs", at + scratch, "tmpfs", NOSUID | NODEV | NOEXEC,
           f"mode=700,size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES}")
    if owner != os.geteuid():
        os.chown(at + scratch, owner, owner)
    os.chdir(at)
    kernel.syscall("pivot_root", ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))
    kernel.call("umount2", b".", DETACH)
    _mount("none", "/", None, REMOUNT | BIND | RDONLY | NOSUID)
    os.chdir(scratch)


def _stands(path: str, bound: list[str], masked: list[str]) -> bool:
    """Whether a path is there already, through a folder above it that is not masked in between."""
    def above(folders: list[str]) -> int:
        return max((len(f) for f in folders if path.startswith(f"{f}/")), default=-1)

    return above(bound) > above(masked)


def _bind(path: str, at: str) -> None:
    target = at + path
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(path, target, None, BIND | REC)
    device = 0 if path in DEVICES else NODEV
    attributes = (ctypes.c_uint64 * 4)(RDONLY | NOSUID | device, 0, 0, 0)
    try:  # with all mounts beneath it, since Linux 5.12
        kernel.syscall("mount_setattr", -100, ctypes.c_char_p(target.encode()), 0x8000, attributes, 32)
    except OSError:
        _mount("none", target, None, REMOUNT | BIND | RDONLY | NOSUID | device | _kept(target))


def _kept(path: str) -> int:
    """Flags of a mount that a user namespace may not take away."""
    flags = os.statvfs(path).f_flag
    return flags & (NOSUID | NODEV | NOEXEC | 1024 | 2048 | 4096)


def _links(path: str, at: str) -> None:
    """Make the symbolic links that a path goes through."""
    parts = path.strip("/").split("/")
    for n in range(1, len(parts) + 1):
        part = "/" + "/".join(parts[:n])
        if os.path.islink(part):
            if not os.path.lexists(at + part):
                os.makedirs(os.path.dirname(at + part), exist_ok=True)
                os.symlink(os.path.realpath(part), at + part)
            return


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    try:
        kernel.call("mount", source.encode(), target.encode(), None if kind is None else kind.encode(),
                    ctypes.c_ulong(flags), None if data is None else data.encode())
    except OSError as error:
        raise OSError(error.errno, f"mount {target}: {os.strerror(error.errno or 0)}") from None
