#!/usr/bin/python3
"""What the agent says on a host that has no Xen, or not all of it: one clear line.
   without_xen.py MODULE AGENT"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
LIBRARY = b"libxenlight.so"


def write_config(folder):
    config = folder / "agent.json"
    config.write_text(json.dumps({
        "name": "a1", "state_directory": str(folder / "state"), "run_directory": str(folder / "run"),
        "coordinators": [{"api": "https://127.0.0.1:1", "agent": "https://127.0.0.1:2"}],
        "link": {"address": "127.0.0.1", "port": 7801}, "hypervisor": "libxl",
        "networks": [], "srs": []}))
    return config


def boot(agent, config):
    """What it says; it must be one line, and status 1."""
    done = subprocess.run([agent, "boot", "g1.cfg", "--config", config], capture_output=True,
                          text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 1, (done.returncode, lines)
    return lines[0]


def install(folder, agent, module):
    """A copy of the agent with this module beside it."""
    folder.mkdir()
    if module is not None:
        (folder / "crosspool-libxl.so").write_bytes(module)
    return shutil.copy(agent, folder / "crosspool-agent")


def main(module, agent):
    if pathlib.Path("/dev/xen/privcmd").exists():
        print("this is a Xen host")
        return SKIPPED
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top)
        config = write_config(folder)
        original = pathlib.Path(module).read_bytes()
        assert LIBRARY in original
        elsewhere = original.replace(LIBRARY, b"libxenlighX.so")
        for name, content, expected in (
                ("whole", original,
                 "no /dev/xen/privcmd: this is not the control domain of a Xen host"),
                ("none", None, "crosspool-libxl.so cannot be loaded: neither in "),
                ("damaged", bytes(5000), "invalid ELF header"),
                ("without-libxl", elsewhere, "libxenlighX.so.")):
            said = boot(install(folder / name, agent, content), config)
            print(said)
            assert said.startswith("crosspool-agent: hypervisor libxl: "), said
            assert expected in said, (name, said)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
