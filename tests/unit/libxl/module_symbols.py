#!/usr/bin/python3
"""Every symbol that the module's own libraries leave open is one that the agent gives it; else the
module could not be loaded.   module_symbols.py MODULE AGENT"""
import subprocess
import sys


def output(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False).stdout


def main(module, agent):
    wanted = {line.split()[2].rstrip(",") for line in output("ldd", "-r", module).splitlines()
              if line.startswith("undefined symbol:")}
    given = {line.split()[-1] for line in output("nm", "-D", "--defined-only", agent).splitlines()}
    if not wanted:
        print(f"{module} wants nothing of the agent: it has a second copy of base/")
        return 1
    missing = sorted(wanted - given)
    for name in missing:
        print(f"the agent does not give {name}: add it to agent/hypervisor/driver_module.symbols")
    exported = {line.split()[-1]
                for line in output("nm", "-D", "--defined-only", module).splitlines()}
    if "libxl_driver" not in exported:
        print(f"{module} does not export libxl_driver")
        return 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
