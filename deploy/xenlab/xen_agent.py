"""The agent of one host and what there is around it, seen from outside: its process, failpoints,
children, and the host's domains and images."""
import re
import shlex

from . import agents

# name, number, memory, processors, state, seconds, UUID
DOMAIN = re.compile(r"^(\S+)\s+(\d+)\s+\d+\s+\d+\s+([rbpscd-]{6})\s+[\d.]+\s+([0-9a-f-]{36})", re.M)
IMAGES = "/srv/local"


class XenAgent:
    def __init__(self, host):
        self.host = host
        self.name = host.name
        self.pool = agents.pool_of(host)
        self.sr_name = f"local-{host.name}"

    # ---- its process
    def is_running(self):
        return agents.is_running(self.host)

    def kill(self):
        """SIGKILL, at any moment."""
        agents.stop(self.host)

    def start(self):
        agents.start(self.host)

    def restart(self):
        self.kill()
        self.start()

    def tail(self, lines=20):
        return self.host.run(f"tail -n {lines} {agents.LOG}", check=False)

    def has_said(self, text):
        return self.host.run(f"grep -cF {shlex.quote(text)} {agents.LOG}", check=False).strip() != "0"

    def children(self):
        """"PID PROGRAM ARGUMENTS" of its children, but QEMU of a domain that it restored."""
        said = self.host.run("ps --ppid $(pidof crosspool-agent) -o pid=,args=", check=False)
        return [line.strip() for line in said.splitlines() if "qemu-system" not in line]

    def end_children(self, program):
        """SIGKILL for those of this program; how many there were."""
        mine = [line.split()[0] for line in self.children() if program in line]
        if mine:
            self.host.run(f"kill -9 {' '.join(mine)}", check=False)
        return len(mine)

    # ---- failpoints (base/failpoint.h), of a debug build
    def set_failpoint(self, name, action):
        path = f"{agents.FAILPOINTS}/{name}"
        self.host.run(f"rm -f {path}.hit; printf %s {shlex.quote(action)} >{path}")

    def wait_failpoint(self, name, timeout=120):
        path = f"{agents.FAILPOINTS}/{name}.hit"
        said = self.host.run(f"end=$((SECONDS + {timeout})); until [ -e {path} ]; do "
                             "[ $SECONDS -lt $end ] || exit 0; sleep 0.1; done; echo hit",
                             timeout=timeout + 60)
        assert "hit" in said, f"waited {timeout} s in vain for failpoint {name} of {self.name}"

    def clear_failpoint(self, name):
        self.host.run(f"rm -f {agents.FAILPOINTS}/{name}")

    def clear_failpoints(self):
        self.host.run(f"rm -f {agents.FAILPOINTS}/*")

    # ---- the host
    def domains(self):
        """{uuid: state as in `xl list`} of the guests' domains."""
        return {found[4]: found[3] for found in DOMAIN.finditer(self.host.run("xl list -v"))
                if found[2] != "0"}

    def numbers(self):
        """{uuid: number} of the guests' domains."""
        return {found[4]: int(found[2]) for found in DOMAIN.finditer(self.host.run("xl list -v"))
                if found[2] != "0"}

    def images(self):
        """Names of the image files of its SR."""
        said = self.host.run(f"ls -A {IMAGES}")
        return sorted(name for name in said.split() if not name.startswith(".crosspool-sr"))

    def digest(self, vdi, image_format):
        """Of an image's content, while nobody writes to it."""
        work = f"{IMAGES}/.digest"
        return self.host.run(f"qemu-img convert -U -f {image_format} -O raw "
                             f"{IMAGES}/{vdi}.{image_format} {work} && sha256sum <{work}; "
                             f"status=$?; rm -f {work}; exit $status").split()[0]

    def check_image(self, vdi, image_format):
        """What qemu-img finds wrong, while nobody writes to it: "" when nothing."""
        if image_format == "raw":
            return ""
        said = self.host.run(f"qemu-img check -U -f {image_format} "
                             f"{IMAGES}/{vdi}.{image_format} 2>&1", check=False)
        return "" if "No errors were found" in said else said

    def qemu_of(self, name):
        """Pid of the QEMU that serves the domain's disks."""
        return int(self.host.run(f"xenstore-read /local/domain/$(xl domid {name})/image/"
                                 "device-model-pid"))
