#!/usr/bin/env python3
"""Checks that includes follow the directions of ARCHITECTURE.md's code map, and that each outside
library is included from one folder of a program only. Prints what to do instead."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# folder -> folders it may include from (besides itself)
BELOW = {
    "base": [],
    "protocol": ["base"],
    "coordinator/domain": ["base", "protocol"],
    "coordinator/db": ["base"],
    "coordinator/security": ["base", "coordinator/db"],
    "coordinator/store": ["base", "protocol", "plan", "coordinator/db", "coordinator/domain"],
    "coordinator/scheduler": ["base", "protocol", "plan", "coordinator/db", "coordinator/domain",
                              "coordinator/store"],
    "coordinator/http": ["base", "protocol", "coordinator/db", "coordinator/security",
                         "coordinator/store"],
    "coordinator/event": ["base", "coordinator/db", "coordinator/domain", "coordinator/store",
                          "coordinator/http"],
    "coordinator/webhook": ["base", "coordinator/db", "coordinator/domain", "coordinator/store"],
    "coordinator/api": ["base", "protocol", "plan", "coordinator/db", "coordinator/domain",
                        "coordinator/security", "coordinator/store", "coordinator/scheduler",
                        "coordinator/http", "coordinator/event", "coordinator/webhook"],
    "coordinator": None,
    "agent/process": ["base"],
    "agent/qmp": ["base"],
    "agent/journal": ["base", "protocol"],
    "agent/link": ["base", "protocol"],
    "agent/storage": ["base", "protocol", "agent/process"],
    "agent/hypervisor/qemu": ["base", "protocol", "agent/process", "agent/qmp",
                              "agent/hypervisor"],
    "agent/hypervisor/libxl": ["base", "protocol", "agent/process", "agent/qmp",
                               "agent/hypervisor"],
    "agent/hypervisor": ["base", "protocol"],
    "agent/receiver/plugin": ["base"],
    "agent/receiver": ["base", "protocol", "agent/process", "agent/journal", "agent/link",
                       "agent/storage"],
    "agent/mirror": ["base", "protocol", "agent/process", "agent/qmp", "agent/journal",
                     "agent/link", "agent/hypervisor"],
    "agent/handoff": ["base", "protocol", "agent/journal", "agent/link", "agent/storage",
                      "agent/hypervisor", "agent/mirror", "agent/receiver"],
    "agent/inventory": ["base", "protocol", "agent/journal", "agent/storage", "agent/hypervisor"],
    "agent/coordinator_client": ["base", "protocol", "agent/journal", "agent/inventory"],
    "agent/steps": None,
    "agent": None,
    "plan": ["base", "protocol"],
    "cli": ["base", "protocol", "plan"],
}
PROGRAMS = {"coordinator", "agent", "cli", "plan", "base", "protocol"}
SHARED = {"base", "protocol", "plan"}

# header pattern -> folders that may include it
LIBRARIES = {
    r"libpq-fe\.h|postgresql/.*": ["coordinator/db"],
    r"microhttpd\.h|gnutls/.*": ["coordinator/http"],
    r"sqlite3\.h": ["agent/journal"],
    r"openssl/.*": ["base", "agent/link"],
    r"libnbd\.h": ["agent/mirror", "agent/receiver", "agent/receiver/plugin"],
    r"nbdkit-plugin\.h": ["agent/receiver/plugin"],
    r"curl/.*": ["agent/coordinator_client", "coordinator/webhook", "cli"],
    r"xxhash\.h": ["agent/hypervisor/qemu", "agent/mirror"],
    r"libxl.*\.h|xen.*\.h": ["agent/hypervisor/libxl"],
}


def folder_of(path):
    """The longest known folder that holds the path."""
    parts = path.parts[:-1]
    for n in range(len(parts), 0, -1):
        name = "/".join(parts[:n])
        if name in BELOW:
            return name
    return None


def check_ours(path, folder, header):
    target = folder_of(pathlib.PurePosixPath(header))
    if not (ROOT / header).exists():
        return f"{path}: \"{header}\" is not a file from the repository's root"
    if target is None or target == folder:
        return None
    program, other = folder.split("/")[0], target.split("/")[0]
    if other != program and other not in SHARED:
        return f"{path}: {program} must not include from {other}: share it through protocol/ or base/"
    allowed = BELOW[folder]
    if allowed is not None and target not in allowed:
        return (f"{path}: {folder}/ must not include {target}/ (allowed: {', '.join(allowed)}): "
                "move the shared piece down, or pass it in as a function or a plain struct")
    return None


def check_library(path, folder, header):
    for pattern, owners in LIBRARIES.items():
        if re.fullmatch(pattern, header) and folder not in owners:
            return (f"{path}: <{header}> belongs to {', '.join(owners)}: "
                    "use that folder's functions instead")
    return None


def main():
    problems = []
    for path in sorted(ROOT.glob("*/**/*.[ch]")):
        relative = path.relative_to(ROOT)
        if relative.parts[0] not in PROGRAMS:
            continue
        folder = folder_of(relative)
        if folder is None:
            problems.append(f"{relative}: its folder is not in the code map of this check")
            continue
        text = path.read_text()
        for kind, header in re.findall(r'^#\s*include\s+(["<])([^">]+)[">]', text, re.M):
            check = check_ours if kind == '"' else check_library
            problems.append(check(relative, folder, header))
        if path.suffix == ".h" and "#pragma once" not in text:
            problems.append(f"{relative}: a header starts with #pragma once")
    problems = [p for p in problems if p]
    print("\n".join(problems) or "layering: every include follows the code map")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
