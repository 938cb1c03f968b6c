"""KVM where Xen boots in it with what PVH and HVM guests need, TCG otherwise. /dev/kvm may be there
and still be of no use, so this boots Xen and a dom0 kernel to see."""
import os
import pathlib
import subprocess
import types

from .cache import cached
from .place import RUN, say

LIMIT_S = 40
GOOD = ("LAB PROBE GOOD", "Hardware Assisted Paging (HAP) detected")
# without the nested paging of qemu64 there is no PVH and no HVM guest; `max` crashes dom0
TCG = types.SimpleNamespace(name="tcg", accel="tcg,thread=multi,tb-size=256", cpu="qemu64,+npt")
KVM = types.SimpleNamespace(name="kvm", accel="kvm", cpu="host")
CHOICES = {choice.name: choice for choice in (TCG, KVM)}


def hypervisor_options(images, xen_words, linux_words):
    """QEMU's options that boot Xen and a dom0 kernel."""
    return ["-kernel", images.xen, "-append",
            "console=com1 com1=115200,8n1 noreboot sched=credit spec-ctrl=no xpti=no "
            f"dom0_max_vcpus=1 {xen_words}",
            "-initrd", f"{images.vmlinux} console=hvc0 quiet rdinit=/init mitigations=off nokaslr "
            f"random.trust_cpu=on tsc=reliable {linux_words},{images.initrd}"]


def _boots(choice, images, log):
    command = ["qemu-system-x86_64", "-machine", "q35", "-accel", choice.accel, "-cpu", choice.cpu,
               "-m", "512", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
               "-serial", f"file:{log}",
               *hypervisor_options(images, "loglvl=all dom0_mem=256M,max:256M", "lab.probe")]
    try:
        subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S,
                       check=False)
    except subprocess.TimeoutExpired:
        pass
    said = log.read_text(errors="replace") if log.exists() else ""
    return all(line in said for line in GOOD)


def _probe(images, path):
    choice = TCG
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        say("== trying whether Xen boots in KVM")
        log = RUN / "probe.log"
        log.unlink(missing_ok=True)
        choice = KVM if _boots(KVM, images, log) else TCG
    path.write_text(choice.name)


def choose(images):
    """TCG or KVM; CROSSPOOL_LAB_ACCEL=tcg or kvm decides without trying. What the trial said holds
    until the machine boots again."""
    forced = os.environ.get("CROSSPOOL_LAB_ACCEL")
    if forced:
        return CHOICES[forced]
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    found = cached("accelerator", [boot, images.xen.name, images.vmlinux.parent.name],
                   lambda path: _probe(images, path))
    return CHOICES[found.read_text()]
