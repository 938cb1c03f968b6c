"""Xen and the kernels as their packages hold them, unpacked and made ready to be booted."""
import gzip
import lzma
import pathlib
import shutil
import struct

from . import packages
from .cache import cached
from .place import LabError, SCRIPTS, only, run, say

THIS = SCRIPTS / "kernels.py"


def vmlinux(bzimage):
    """The bare kernel inside a bzImage. Xen starts it without decompressing it in the emulator.
    Offsets: Documentation/arch/x86/boot.rst of Linux."""
    data = pathlib.Path(bzimage).read_bytes()
    setup_sectors = data[0x1f1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = data[start:start + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    if payload.startswith(b"\x02\x21\x4c\x18"):
        return run("lz4", "-dc", input=payload[:-4])  # the last 4 bytes are the size
    raise LabError(f"{bzimage} is compressed neither by xz nor by lz4")


def _unpack_kernel(metapackage, path):
    say(f"== fetching {packages.image_of(metapackage)}")
    packages.unpack(packages.image_of(metapackage), path)
    bzimage = only(path / "boot", "vmlinuz-*")
    (path / "vmlinux").write_bytes(vmlinux(bzimage))
    run("depmod", "-b", path, packages.release_of(metapackage))


def kernel(metapackage):
    """Folder with the unpacked package and `vmlinux`."""
    ingredients = [THIS, *packages.versions(packages.image_of(metapackage))]
    return cached(f"kernel-{metapackage}", ingredients,
                  lambda path: _unpack_kernel(metapackage, path))


def _make_xen(path):
    say(f"== fetching {packages.HYPERVISOR}")
    folder = path.with_name(path.name + ".deb")
    packages.unpack(packages.HYPERVISOR, folder)
    path.write_bytes(gzip.decompress(only(folder / "boot", "xen-*-amd64.gz").read_bytes()))
    shutil.rmtree(folder)


def hypervisor():
    return cached("xen", [THIS, *packages.versions(packages.HYPERVISOR)], _make_xen)
