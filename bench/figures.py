"""What every bench shares: pairs, tables, FIGURE lines, the section in docs/benchmarks.md."""
import argparse
import datetime
import os
import pathlib
import platform
import re
import statistics

from crosspool_test import shell

DOCUMENT = shell.ROOT / "docs" / "benchmarks.md"


def conditions():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    qemu = shell.run("qemu-system-x86_64", "--version").split()[3]
    return (f"{datetime.date.today()}, {os.cpu_count()} cores {model[1] if model else '?'}, "
            f"{memory >> 20} GiB, Linux {platform.release()}, QEMU {qemu}, release build")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def spread(values, form="{:.2f}"):
    """median (min - max)"""
    return (f"{form.format(statistics.median(values))} "
            f"({form.format(min(values))} - {form.format(max(values))})")


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part / 100 * (len(ordered) - 1)))]


class Report:
    """Collects text and figures of one bench."""

    def __init__(self, name, title):
        self.name, self.title, self.text, self.figures = name, title, [], []

    def say(self, text):
        self.text.append(text)
        print(text, flush=True)

    def figure(self, what, ratio, relation, goal):
        line = f"FIGURE ratio={ratio:.2f} goal{relation}{goal:g} {what}"
        self.figures.append(line)
        print(line, flush=True)

    def write(self):
        """Replaces this bench's section of docs/benchmarks.md."""
        begin, end = f"<!-- {self.name} -->", f"<!-- end {self.name} -->"
        figures = ["", "```", *self.figures, "```"] if self.figures else []
        section = "\n".join([begin, f"## {self.title}", "", f"`bench/run {self.name}`; "
                             + conditions() + ".", "", "\n\n".join(self.text), *figures, end])
        text = DOCUMENT.read_text() if DOCUMENT.exists() else (
            "# Benchmarks\n\nEach figure is a ratio against the named peer, measured in one run on "
            "one machine by the command in its section.\n\n")
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if pattern.search(text):
            text = pattern.sub(lambda _: section, text)
        else:
            text = text.rstrip("\n") + "\n\n" + section + "\n"
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(text)


def options(description, **defaults):
    """--write and one integer option for each default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--write", action="store_true")
    for name, value in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    return parser.parse_args()


def cpu_seconds(pids):
    """CPU seconds used so far by these processes, with their reaped children."""
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return total / os.sysconf("SC_CLK_TCK")


def children(pid):
    """Pids of its living children."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:
            continue
    return found


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def peak_memory(pid):
    """VmHWM in MiB."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024


def make_pki(folder):
    """A CA and one certificate for localhost, for peers that bring their own TLS (GnuTLS names)."""
    folder.mkdir(parents=True, exist_ok=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    shell.run("openssl", "req", "-x509", *ec, "-days", "2", "-subj", "/CN=bench CA",
              "-keyout", folder / "ca-key.pem", "-out", folder / "ca-cert.pem")
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for side in ("server", "client"):
        shell.run("openssl", "req", "-new", *ec, "-subj", "/CN=localhost", "-keyout",
                  folder / f"{side}-key.pem", "-out", folder / f"{side}.csr")
        shell.run("openssl", "x509", "-req", "-in", folder / f"{side}.csr", "-days", "2", "-CA",
                  folder / "ca-cert.pem", "-CAkey", folder / "ca-key.pem", "-CAcreateserial",
                  "-extfile", extensions, "-out", folder / f"{side}-cert.pem")
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder
