"""What a host boots: hypervisor, kernels, initrd and the root image of its dom0. Each piece is made
once for the versions of its packages and the scripts that shape it."""
import concurrent.futures
import pathlib
import shutil
import types

from . import network, packages
from .cache import cached
from .kernels import hypervisor, kernel
from .place import ROOT, SCRIPTS, only, run, say

DOM0_FILES = SCRIPTS / "dom0"
ROOT_MIB = 6144  # sparse
# what dom0 loads, or what its programs load by themselves
MODULES = ["xenfs", "xen-privcmd", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-blkback",
           "xen-netback", "virtio_net", "virtio_rng", "bridge", "tun", "loop", "dm-mod",
           "dm-snapshot", "nbd", "nfsd", "nfsv4", "iscsi_tcp", "sd_mod"]
INITRD_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]


def _module_files(kernel_folder, names):
    """The modules and what they need, in the order in which they are loaded."""
    release = packages.release_of(packages.DOM0_KERNEL)
    files = []
    for name in names:
        shown = run("modprobe", "-S", release, "-d", kernel_folder, "--show-depends", name)
        files += [pathlib.Path(line.split()[1]) for line in shown.decode().splitlines()
                  if line.startswith("insmod ")]
    return list(dict.fromkeys(files))


def _cpio(folder, path):
    """Uncompressed: nothing to inflate in the emulator."""
    names = "\0".join(str(p.relative_to(folder)) for p in sorted(folder.rglob("*")))
    path.write_bytes(run("cpio", "-0", "-o", "-H", "newc", "--quiet", cwd=folder,
                         input=names.encode()))


def _make_initrd(kernel_folder, path):
    folder = path.with_name(path.name + ".root")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bin", "dev", "modules", "proc", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "bin" / "busybox")
    shutil.copy(DOM0_FILES / "initrd", folder / "init")
    order = _module_files(kernel_folder, INITRD_MODULES)
    for module in order:
        shutil.copy(module, folder / "modules")
    (folder / "modules" / "order").write_text("".join(f"{m.name}\n" for m in order))
    _cpio(folder, path)
    shutil.rmtree(folder)


def initrd(kernel_folder):
    return cached("initrd", [kernel_folder.name, SCRIPTS / "images.py", DOM0_FILES / "initrd",
                             pathlib.Path("/bin/busybox")],
                  lambda path: _make_initrd(kernel_folder, path))


def _make_packages_tree(path):
    say(f"== making dom0 of {len(packages.DOM0)} packages (a minute)")
    unread = [f"/usr/share/{name}" for name in ("doc", "man", "locale", "info", "lintian", "bug")]
    # as options for dpkg they would send every archive through a filter in Python
    excluded = "".join(f"path-exclude={folder}/*\\n" for folder in unread)
    hooks = [f"--essential-hook=printf '{excluded}' >\"$1/etc/dpkg/dpkg.cfg.d/lab\"",
             "--customize-hook=rm -rf " + " ".join(f'"$1{folder}"' for folder in unread)]
    run("mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", *hooks,
        "--aptopt=APT::Install-Recommends \"false\"", f"--include={','.join(packages.DOM0)}",
        "bookworm", path, "-", input="\n".join(packages.sources()).encode() + b"\n")


def _packages_tree():
    """A tar of dom0's packages as installed."""
    return cached("dom0", [*packages.versions(*packages.DOM0), *packages.sources()],
                  _make_packages_tree)


def _make_keys(path):
    path.mkdir()
    for name in ("user", "host"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "crosspool-lab", "-f", path / name)


def keys():
    """`user` gets into every host; every host proves itself by `host`."""
    return cached("keys", ["ed25519"], _make_keys)


def _copy_modules(kernel_folder, tree):
    release = packages.release_of(packages.DOM0_KERNEL)
    base = pathlib.Path("lib/modules") / release
    for module in _module_files(kernel_folder, MODULES):
        target = tree / base / module.relative_to(kernel_folder / base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, target)
    for listing in (kernel_folder / base).glob("modules.builtin*"):
        shutil.copy(listing, tree / base)
    shutil.copy(kernel_folder / base / "modules.order", tree / base)
    run("depmod", "-b", tree, release)


def _copy_keys(tree):
    secret = tree / "etc/ssh/ssh_host_ed25519_key"
    for old in secret.parent.glob("ssh_host_*"):
        old.unlink()
    shutil.copy(keys() / "host", secret)
    secret.chmod(0o600)
    home = tree / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(keys() / "user.pub", home / "authorized_keys")
    # from host to host, for `xl migrate`
    shutil.copy(keys() / "user", home / "id_ed25519")
    (home / "known_hosts").write_text(f"* {(keys() / 'host.pub').read_text()}")


def _copy_guest(tree):
    guest = tree / "lab/guest"
    guest.mkdir(exist_ok=True)
    kernel_folder = kernel(packages.GUEST_KERNEL)
    shutil.copy(kernel_folder / "vmlinux", guest)
    shutil.copy(only(kernel_folder / "boot", "vmlinuz-*"), guest / "vmlinuz")
    shutil.copy(ROOT / "build/guest/initrd", guest)


def _make_root(kernel_folder, path):
    say("== making the root image of the hosts")
    tree = path.with_name(path.name + ".root")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    run("tar", "-xf", _packages_tree(), "-C", tree)
    shutil.copytree(DOM0_FILES, tree / "lab")
    (tree / "lab/lvmlocal.conf").rename(tree / "etc/lvm/lvmlocal.conf")
    (tree / "lab/sshd.conf").rename(tree / "etc/ssh/sshd_config.d/lab.conf")
    _copy_modules(kernel_folder, tree)
    _copy_keys(tree)
    (tree / "etc/hosts").write_text(network.hosts_file())
    _copy_guest(tree)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", tree, path,
        f"{ROOT_MIB}M")
    shutil.rmtree(tree)


def _root(kernel_folder):
    files = sorted(p for p in DOM0_FILES.rglob("*") if p.is_file() and p.name != "initrd")
    ingredients = [_packages_tree().name, kernel_folder.name, keys().name, SCRIPTS / "images.py",
                   network.hosts_file(), kernel(packages.GUEST_KERNEL).name,
                   ROOT / "build/guest/initrd",
                   *(str(p.relative_to(DOM0_FILES)) for p in files), *files]
    return cached("root", ingredients, lambda path: _make_root(kernel_folder, path))


def build():
    """All of it: xen, vmlinux, initrd, root (paths); a moment when nothing has changed."""
    packages.know()
    packages.versions(packages.HYPERVISOR)  # of all: asked before there are several who would
    pieces = [_packages_tree, lambda: kernel(packages.DOM0_KERNEL),
              lambda: kernel(packages.GUEST_KERNEL), hypervisor,
              lambda: run(ROOT / "tests/guest/build", ROOT / "build/guest")]
    with concurrent.futures.ThreadPoolExecutor(len(pieces)) as pool:
        for made in [pool.submit(piece) for piece in pieces]:
            made.result()
    kernel_folder = kernel(packages.DOM0_KERNEL)
    return types.SimpleNamespace(xen=hypervisor(), vmlinux=kernel_folder / "vmlinux",
                                 initrd=initrd(kernel_folder), root=_root(kernel_folder))
