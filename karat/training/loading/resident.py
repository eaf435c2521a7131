"""How much of a memory-mapped file is resident in this process."""

from pathlib import Path

MAPS = Path("/proc/self/smaps")


def resident_of(path: Path, maps: Path = MAPS) -> int:
    """Bytes of a file that this process maps and that are resident; 0 on systems without /proc.

    Each process that maps a file counts its pages as its own, but they are in memory once.

    Args:
        path: of the file, as it was opened.
        maps: a file as of `man 5 proc_pid_smaps`.
    """
    if not maps.exists():
        return 0
    found, is_of_file = 0, False
    with maps.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            first, _, rest = line.partition(" ")
            if not first.endswith(":"):  # the head of a mapping, which ends with its file
                is_of_file = line.rstrip("\n").endswith(f" {path}")
            elif is_of_file and first == "Rss:":
                found += 1024 * int(rest.split()[0])
    return found
