"""Disk images in an ext SR, made and compared from outside."""
import json
import os
import pathlib
import tempfile
import uuid

from . import shell

MIB = 1 << 20
QEMU_FORMAT = {"raw": "raw", "qcow2": "qcow2", "vhd": "vpc"}


def create(sr_directory, image_format, size_bytes, vdi=None):
    """Makes an empty VDI; returns (id, path)."""
    vdi = vdi or str(uuid.uuid4())
    path = pathlib.Path(sr_directory) / f"{vdi}.{image_format}"
    options = ["-o", "force_size=on"] if image_format == "vhd" else []
    shell.run("qemu-img", "create", "-q", "-f", QEMU_FORMAT[image_format], *options, path,
              str(size_bytes))
    return vdi, path


def _options(path):
    image_format = QEMU_FORMAT[pathlib.Path(path).suffix[1:]]
    return "json:" + json.dumps({"driver": image_format, "file": {
        "driver": "file", "filename": str(path), "locking": "off"}})


def identical(left, right):
    """True when both hold the same bytes; they must be at rest."""
    text = shell.run("qemu-img", "compare", "-U", _options(left), _options(right), check=False)
    return "Images are identical" in text


def copy_at_rest(path, to):
    shell.run("cp", "--sparse=always", "--reflink=auto", path, to)


def fill(path, size_bytes):
    """Random bytes from end to end, so that a copy of it takes its time at any cap; at rest."""
    path = pathlib.Path(path)
    with tempfile.NamedTemporaryFile(prefix="cpt-fill-") as data:
        for _ in range(0, size_bytes, MIB):
            data.write(os.urandom(MIB))
        data.flush()
        shell.run("qemu-img", "convert", "-n", "-f", "raw", "-O", QEMU_FORMAT[path.suffix[1:]],
                  data.name, path)


def vdis(sr_directory):
    """Names of the image files of an SR."""
    return sorted(p.name for p in pathlib.Path(sr_directory).iterdir()
                  if p.suffix in (".raw", ".qcow2", ".vhd"))
