"""Plain tables, the machine they were measured on, and medians."""

import os
import platform
import statistics
from pathlib import Path


def show(title, columns, rows):
    print(f"\n{title}")
    texts = [[str(c) for c in columns], *[[str(c) for c in row] for row in rows]]
    widths = [max(len(row[n]) for row in texts) for n in range(len(columns))]
    for row in texts:
        print(
            "  ".join(
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )


def machine():
    memory = int(
        next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line).split()[1]
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {memory >> 20} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f}"
    )


def peak_memory():
    """MiB that this process had at most. Not ru_maxrss: that begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{min(values):.0f}-{max(values):.0f}"


def cpu_of_children():
    """The seconds of CPU that all processes below this one have used which live."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(path.parent.name)
        parents[pid], used[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours, size = {os.getpid()}, 0
    while len(ours) > size:
        size = len(ours)
        ours |= {pid for pid, parent in parents.items() if parent in ours}
    return sum(used[pid] for pid in ours - {os.getpid()}) / os.sysconf("SC_CLK_TCK")
