#!/usr/bin/env python3
"""Reads onevmdump's bundles, by docs/bundle-format.md alone. Needs Python 3.9, and the program zstd for .tar.zst.

    read-bundle.py list BUNDLE                 the VM and its disks
    read-bundle.py verify BUNDLE               compares every frame, member, region and disk with its checksum
    read-bundle.py disk BUNDLE ID FILE         extracts a disk as a raw file with holes
    read-bundle.py region BUNDLE ID NUMBER     writes one region of a disk to standard output
"""
import bisect, hashlib, itertools, json, os, struct, subprocess, sys, tempfile, zlib

MiB = 1 << 20
TRAILER, HEADER, FRAME, REGION, RUN = map(struct.Struct, ("<8sQQI32sI", "<8s7Q", "<QII", "<32sQII", "<II"))
AROUND = {  # What stands before and after the record of the trailer.
    "gzip": (bytes.fromhex("1f8b080400000000 00ff 4400 4f56 4000"), b"\3" + bytes(9)),
    "zstd": (bytes.fromhex("5e2a4d18 40000000"), b""),
    "none": (b"", bytes(448)),
}


class Damaged(Exception):
    pass


# What a damaged bundle can raise.
FAULTS = (Damaged, OSError, LookupError, TypeError, ValueError, RecursionError, MemoryError, struct.error)


def need(condition, why):
    if not condition:
        raise Damaged(why)


def decompress(method, stored, most):
    """The content of one frame, at most `most` bytes of it."""
    if method == "none":
        return stored
    if method == "gzip":
        stream = zlib.decompressobj(31)
        try:
            data = stream.decompress(stored, most)
        except zlib.error:
            return b""
        return data if stream.eof and not stream.unused_data else b""
    with tempfile.TemporaryFile() as file:
        file.write(stored)
        file.seek(0)
        command = dict(stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with subprocess.Popen(["zstd", "-dcq"], **command) as program:
            data = program.stdout.read(most)
    return data if program.returncode == 0 else b""


def region_hash(region):
    """SHA-256 of the groups of blocks that are not zeros, each with its first block and its length."""
    result, blocks = hashlib.sha256(), [region[at : at + 4096] for at in range(0, len(region), 4096)]
    first = 0
    while first < len(blocks):
        end = first
        while end < len(blocks) and end - first < 262144 and blocks[end].strip(b"\0"):
            end += 1
        group = region[first * 4096 : end * 4096]
        if group:
            result.update(group + RUN.pack(first, len(group)))
        first = max(end, first + 1)
    return result.digest()


class Stream:
    """The tar stream of a member. Frame n begins at `starts[n]`; `place(n)` is its offset, stored bytes and CRC-32."""

    def __init__(self, bundle, starts, place):
        self.bundle, self.starts, self.place, self.kept, self.seen = bundle, starts, place, None, set()

    def read(self, at, size):
        parts = []
        while size > 0:
            need(0 <= at < self.starts[-1], "a place is beyond the end of its member")
            n = bisect.bisect_right(self.starts, at) - 1
            if n != self.kept:
                self.data = self.bundle.frame(*self.place(n), self.starts[n + 1] - self.starts[n])
                self.kept = n
                self.seen.add(n)
            begin = at - self.starts[n]
            parts.append(self.data[begin : begin + size])
            at, size = at + len(parts[-1]), size - len(parts[-1])
        return b"".join(parts)

    def read_rest(self):
        for start in (start for n, start in enumerate(self.starts[:-1]) if n not in self.seen):
            self.read(start, 1)


class Bundle:
    def __init__(self, path):
        self.file = open(path, "rb")
        first = max(0, self.file.seek(0, os.SEEK_END) - 16 * MiB)
        self.file.seek(first)
        tail = self.file.read()
        at = tail.rfind(b"OVMDIDX1")
        need(0 <= at <= len(tail) - 64, "it has no trailer; tar can read what there is")
        _, offset, stored, crc, sha256, check = TRAILER.unpack_from(tail, at)
        need(zlib.crc32(tail[at : at + 60]) == check, "the trailer is damaged")
        fits = (m for m, (before, after) in AROUND.items() if tail[:at].endswith(before) and tail[at + 64 :].startswith(after))
        self.method = next(fits, None)
        need(self.method, "the trailer is damaged")
        before, after = AROUND[self.method]
        need(not tail[at + 64 + len(after) :].strip(b"\0"), "something follows the trailer")
        need(first + at - len(before) == offset + stored, "the trailer is not where it should be")
        frame = self.frame(offset, stored, crc)
        self.manifest = json.loads(self.content(lambda start, size: frame[start : start + size], "./manifest.json", sha256.hex()))
        need(self.manifest["format"] == "onevmdump" and self.manifest["version"] == 1, "its version is not known")
        need(not self.manifest.get("requires"), f"it requires {self.manifest.get('requires')}")
        need(self.manifest["compression"] == self.method, "it has another compression than its manifest says")
        self.members = {member["name"]: member for member in self.manifest["members"]}
        end = 0
        for member in self.manifest["members"]:
            need(member["offset"] == end, "the members do not follow one another")
            end += member["stored"]
        need(end == offset, "the members do not end where the manifest begins")

    def frame(self, offset, stored, crc, length=None):
        """The content of a frame."""
        need(0 < stored <= 64 * MiB, "a frame is too large")
        self.file.seek(offset)
        data = decompress(self.method, self.file.read(stored), (length or 32 * MiB) + 1)
        need(length in (None, len(data)) and zlib.crc32(data) == crc, f"the frame at byte {offset} is damaged")
        return data

    def content(self, read, name, sha256):
        """The file in a member whose tar stream `read` reads."""
        header = read(0, 512)
        need(header[:100].rstrip(b"\0") == name.encode(), f"{name} is not where it should be")
        content = read(512, int(header[124:135], 8))
        need(hashlib.sha256(content).hexdigest() == sha256, f"{name} is damaged")
        return content

    def stream(self, name):
        """The tar stream of a member that is not a disk."""
        frames = self.members[name]["frames"]
        starts = list(itertools.accumulate((length for _, _, length, _ in frames), initial=0))
        return Stream(self, starts, lambda n: (frames[n][0], frames[n][1], frames[n][3]))

    def verify(self):
        for name, member in self.members.items():
            if "frames" in member:
                stream, skip = self.stream(name), 512 if name == "./vm.xml" else 0  # The folder's header.
                self.content(lambda at, size: stream.read(skip + at, size), name, member["sha256"])
                stream.read_rest()
        for disk in self.disks():
            for _ in disk.regions():
                pass
            disk.data.read_rest()

    def disks(self):
        return [Disk(self, disk) for disk in self.manifest["disks"]]

    def disk(self, number):
        found = [disk for disk in self.manifest["disks"] if disk["id"] == int(number)]
        need(found, f"it has no disk {number}")
        return Disk(self, found[0])


class Disk:
    def __init__(self, bundle, facts):
        name = f"./regions.disk.{facts['id']}"
        # One stream for each part of the table, since each remembers its last frame.
        self.facts, (places, self.records, self.runs) = facts, (bundle.stream(name) for _ in range(3))
        magic, size, region, frame, frames, runs, length, zero = HEADER.unpack(places.read(512, 64))
        expected = MiB
        while size > expected * MiB:
            expected *= 2
        sound = magic == b"OVMDREG1" and size == facts["virtualSize"] and region == expected and zero == 0
        need(sound and frame in (MiB << n for n in range(6)) and frames == -(-length // frame) <= 2098176, f"{name} is damaged")
        self.size, self.region_size, self.count, self.run_count = size, region, -(-size // region), runs
        self.zeros = bytes(min(region, size))
        self.first_record = 512 + 64 + 16 * frames
        self.first_run = self.first_record + 48 * self.count
        need(bundle.members[name]["size"] == self.first_run + 8 * runs - 512, f"{name} is damaged")
        starts = [*range(0, length, frame), length]
        self.data = Stream(bundle, starts, lambda n: FRAME.unpack(places.read(512 + 64 + 16 * n, 16)))

    def region(self, number):
        """A region: its hash, its content, and what of it is stored, as pairs of start and end."""
        what = f"region {number} of disk {self.facts['id']}"
        need(0 <= number < self.count, f"there is no {what}")
        expected, at, first, counted = REGION.unpack(self.records.read(self.first_record + 48 * number, 48))
        kind, count = counted >> 24, counted & 0xFFFFFF
        need(kind == (count > 0) and first + count <= self.run_count, f"the record of {what} is wrong")
        length, stored = min(self.region_size, self.size - number * self.region_size), [(0, 0)]
        if count == 0:
            need(expected == hashlib.sha256().digest(), f"the record of {what} is wrong")
            return expected, self.zeros[:length], []
        content = bytearray(length)
        for start, sectors in RUN.iter_unpack(self.runs.read(self.first_run + 8 * first, 8 * count)):
            start, end = start * 512, min((start + sectors) * 512, len(content))
            need(stored[-1][1] <= start < end, f"a run of {what} is wrong")
            content[start:end] = self.data.read(at, end - start)
            at += end - start
            stored.append((start, end))
        need(region_hash(content) == expected, f"{what} is damaged")
        return expected, content, stored[1:]

    def regions(self):
        """All regions. At the end the checksum of the disk is compared."""
        checksum = hashlib.sha256(struct.pack("<QQ", self.size, self.region_size))
        for number in range(self.count):
            expected, content, stored = self.region(number)
            checksum.update(expected)
            yield number * self.region_size, content, stored
        need(checksum.hexdigest() == self.facts["checksum"], f"the checksum of disk {self.facts['id']} is wrong")


def main(command, path, *rest):
    bundle = Bundle(path)
    if command == "list" and not rest:
        vm = bundle.manifest["vm"]
        print(f"{bundle.manifest['id']} {bundle.manifest['created']} VM {vm['id']} {vm['name']}")
        for disk in bundle.manifest["disks"]:
            print(f"disk {disk['id']} {disk['format']} {disk['virtualSize']} {disk['dataBytes']} {disk['checksum']}")
    elif command == "verify" and not rest:
        bundle.verify()
        print("OK: all checksums match")
    elif command == "disk" and len(rest) == 2:
        disk = bundle.disk(rest[0])
        with open(rest[1], "xb") as out:
            try:
                out.truncate(disk.size)
                for offset, content, stored in disk.regions():
                    for start, end in stored:
                        out.seek(offset + start)
                        out.write(content[start:end])
            except BaseException:
                os.unlink(rest[1])
                raise
    elif command == "region" and len(rest) == 2:
        sys.stdout.buffer.write(bundle.disk(rest[0]).region(int(rest[1]))[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (Damaged, OSError) as error:
        sys.exit(f"{sys.argv[2]}: {error}")
    except FAULTS as error:
        sys.exit(f"{sys.argv[2]}: it is damaged: {type(error).__name__}: {error}")
