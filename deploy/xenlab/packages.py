"""The Debian packages a lab is made of: which, in what versions, and how those that are only
unpacked come here."""
import functools
import pathlib
import tempfile

from .place import LabError, only, run

# what a dom0 consists of; the agent's libraries come with it
DOM0 = ["xen-utils-4.17", "xenstore-utils", "libxenmisc4.17", "qemu-system-xen", "qemu-utils",
        "qemu-system-common", "nbdkit", "libnbd0", "libcurl4", "libjansson4", "libsqlite3-0",
        "libssl3", "libxxhash0", "iproute2", "bridge-utils", "iputils-ping", "kmod", "procps",
        "psmisc", "udev", "openssh-server", "e2fsprogs", "lvm2", "nfs-kernel-server",
        "nfs-common", "open-iscsi", "tgt", "busybox-static",
        "socat",  # for the stream of xl migrate, which Crosspool is measured against
        # for guests of another toolstack
        "libvirt-daemon", "libvirt-daemon-driver-xen", "libvirt-clients"]
HYPERVISOR = "xen-hypervisor-4.17-amd64"
DOM0_KERNEL = "linux-image-amd64"  # the cloud kernel cannot be a dom0
GUEST_KERNEL = "linux-image-cloud-amd64"


def _apt(*words):
    return run(*words).decode()


@functools.cache
def _images():
    """{metapackage: the kernel package that it stands for}."""
    found, name = {}, None
    for line in _apt("apt-cache", "depends", DOM0_KERNEL, GUEST_KERNEL).splitlines():
        if not line.startswith(" "):
            name = line.strip()
        elif "Depends: linux-image-" in line:
            found[name] = line.split()[-1]
    return found


def image_of(metapackage):
    if metapackage not in _images():
        raise LabError(f"apt knows no kernel {metapackage}")
    return _images()[metapackage]


def release_of(metapackage):
    """As in `uname -r`."""
    return image_of(metapackage).removeprefix("linux-image-")


@functools.cache
def _versions():
    """{package: the version that would be installed}; asked once, apt takes its time."""
    found, name = {}, None
    packages = [*DOM0, HYPERVISOR, image_of(DOM0_KERNEL), image_of(GUEST_KERNEL)]
    for line in _apt("apt-cache", "show", "--no-all-versions", *packages).splitlines():
        if line.startswith("Package: "):
            name = line.split()[1]
        elif line.startswith("Version: "):
            found[name] = line.split()[1]
    missing = [package for package in packages if package not in found]
    if missing:
        raise LabError(f"apt does not know {', '.join(missing)}")
    return found


def versions(*packages):
    """"name=version" for each package."""
    return [f"{package}={_versions()[package]}" for package in packages]


def know():
    """Makes sure that apt has its lists, which a fresh machine has not."""
    try:
        image_of(GUEST_KERNEL)
    except LabError:
        _images.cache_clear()
        _apt("apt-get", "-q", "update")


def unpack(package, into):
    """Fetches the package and unpacks it below the folder, without installing it."""
    with tempfile.TemporaryDirectory(prefix="cplab-deb-") as folder:
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=folder)
        run("dpkg-deb", "-x", only(pathlib.Path(folder), "*.deb"), into)


@functools.cache
def sources():
    """Lines for a sources.list: where this machine gets its Debian from."""
    listed = _apt("apt-get", "indextargets", "--format",
                  "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages",
                  "Origin: Debian")
    lines = sorted(set(listed.splitlines()))
    if not lines:
        raise LabError("apt has no Debian archive (apt-get update?)")
    return lines
