#!/usr/bin/env python3
"""foreign_reader.py BACKUP PARTITION OUT: takes one partition out of a finished backup and checks it.

Written from docs/FORMAT.md alone, as proof that the page is enough. It needs python3 and the program zstd.
BLAKE3 in Python is slow, so of the partition's frames only the first FRAMES (environment, default 8) of at
most 1 MiB have their digests computed; every length, every record, every page digest that leads there and
the seek table are checked. --self-test checks the BLAKE3 below, also against b3sum if that is installed.
"""
import hashlib, json, os, shutil, struct, subprocess, sys

PAGE, M32 = 65536, 0xFFFFFFFF
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
LANES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def compress(cv, block, counter, length, flags):
    v, m = [*cv, *IV[:4], counter & M32, counter >> 32, length, flags], struct.unpack("<16I", block)
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(LANES):
            for x, r, s in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                v[a] = (v[a] + v[b] + x) & M32
                t = v[d] ^ v[a]
                v[d] = (t >> r | t << 32 - r) & M32
                v[c] = (v[c] + v[d]) & M32
                t = v[b] ^ v[c]
                v[b] = (t >> s | t << 32 - s) & M32
        m = [m[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def subtree(data, offset=0, root=0):
    # The chaining value of these bytes at their offset in the file, or the root hash.
    if len(data) <= 1024:
        cv, last = IV, max(len(data) - 1, 0) // 64
        for i in range(last + 1):
            block = data[64 * i:64 * i + 64]
            flags = (i == 0) * CHUNK_START | (i == last) * (CHUNK_END | root)
            cv = compress(cv, block.ljust(64, b"\0"), offset // 1024, len(block), flags)
        return cv
    left = 1 << (len(data) - 1).bit_length() - 1
    both = subtree(data[:left], offset) + subtree(data[left:], offset + left)
    return compress(IV, struct.pack("<16I", *both), 0, 64, PARENT | root)

def blake3(data, offset=0, root=ROOT):
    return struct.pack("<8I", *subtree(data, offset, root))


def check(good, what):
    if not good:
        sys.exit("foreign_reader: " + what)

def run(command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


class Backup:
    def __init__(self, folder):
        self.folder = folder
        text = self.read("manifest.json")
        line = hashlib.sha256(text).hexdigest() + "  manifest.json"
        check(line in self.read("SHA256SUMS").decode().split("\n"), "the manifest's line in SHA256SUMS")
        self.manifest = json.loads(text)
        check(self.manifest["format"] == 1 and not self.manifest["requires"], "unknown format")
        index = self.manifest["index"]
        directory = self.read(index["name"], index["pages"] * PAGE)
        check(blake3(directory).hex() == index["digest"], "the directory's digest")
        self.pages = []
        for at in range(0, len(directory), PAGE):
            records = self.records(directory[at:at + PAGE], index["pages"] + at // PAGE, 3, M32)
            self.pages += [struct.unpack("<QQIIHH4x32s", record) for record in records]
        check(len(self.pages) == index["pages"], "the directory's records")

    def read(self, name, offset=0, length=-1):
        with open(os.path.join(self.folder, name), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def records(self, page, number, kind, file):
        magic, backup_id, *head = struct.unpack_from("<8s16sIHHI", page)
        check(magic == b"SELFIDX1" and backup_id.hex() == self.manifest["backup_id"], "the head of page %d" % number)
        check((head[0], head[1], head[3]) == (number, kind, file) and 1 <= head[2] <= 1022, "page %d" % number)
        check(blake3(page[:65504]) == page[65504:], "the digest of page %d" % number)
        return [page[96 + 64 * i:160 + 64 * i] for i in range(head[2])]

    def stored(self, file, offset, length):  # of the joined parts
        out, start = b"", 0
        for part in file["parts"]:
            low, high = max(offset, start), min(offset + length, start + part["size"])
            if low < high:
                out += self.read(part["name"], low - start, high - low)
            start += part["size"]
        check(len(out) == length, "%s is too short" % file["name"])
        return out

    def frames(self, number):
        frames, at = [], 0
        for first, end, page, file, kind, count, digest in self.pages:
            if (kind, file) == (1, number):
                data = self.read(self.manifest["index"]["name"], page * PAGE, PAGE)
                check(data[65504:] == digest, "page %d is not the directory's" % page)
                records = self.records(data, page, 1, number)
                frames += [struct.unpack("<QQIIBB6x32s", record) for record in records]
                check(len(records) == count and frames[-count][0] == first, "the records of page %d" % page)
        for frame in frames:
            check(frame[0] == at and frame[2] > 0, "a gap before the frame at %d" % at)
            at += frame[2]
        check(at == self.manifest["files"][number]["length"], "the frames do not fill the file")
        return frames

    def extract(self, partition, path, checked):
        region = next((r for r in self.manifest["regions"] if r.get("partition") == partition), None)
        check(region and region["file"] is not None, "no such partition in this backup")
        file, frames = self.manifest["files"][region["file"]], self.frames(region["file"])
        end = region["offset"] + region["length"]
        if file["encoding"] == "zst":  # the seek table says what the index says
            entries = b"".join(struct.pack("<II", f[3], f[2]) for f in frames)
            table = struct.pack("<II", 0x184D2A5E, len(entries) + 9) + entries + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
            size = sum(part["size"] for part in file["parts"])
            check(self.stored(file, size - len(table), len(table)) == table, "the seek table")
            check(size - len(table) == frames[-1][1] + frames[-1][3], "the stored length")
        wanted = [f for f in frames if f[0] + f[2] > region["offset"] and f[0] < end]
        with open(path, "wb") as out:
            for batch in (wanted[i:i + 64] for i in range(0, len(wanted), 64)):
                plain = b"".join(self.stored(file, f[1], f[3]) for f in batch)
                if file["encoding"] == "zst":
                    plain = run(["zstd", "-dcq"], plain)
                check(len(plain) == sum(f[2] for f in batch), "the lengths from %d on" % batch[0][0])
                for offset, _, length, _, sort, flags, digest in batch:
                    frame = plain[offset - batch[0][0]:offset - batch[0][0] + length]
                    check(not flags & 2, "bad or absent bytes in the frame at %d" % offset)
                    check(sort != 3 or frame.count(0) == length, "a zero frame that is not zero, at %d" % offset)
                    if checked > 0 and flags & 1 and length <= 1 << 20:
                        checked -= 1
                        good = blake3(frame, offset, ROOT * (len(frames) == 1)) == digest
                        check(good, "the digest of the frame at %d" % offset)
                    out.write(frame[max(region["offset"] - offset, 0):end - offset])


if sys.argv[1:] == ["--self-test"]:
    check(blake3(b"").hex().startswith("af1349b9f5f9a1a6a0404dea36dcc949"), "BLAKE3 of nothing")
    for size in (1, 64, 65, 1024, 1025, 3072, 200000) if shutil.which("b3sum") else ():
        data = bytes(i % 251 for i in range(size))
        check(blake3(data).hex() == run(["b3sum", "--no-names"], data).decode().strip(), "BLAKE3 of %d bytes" % size)
else:
    check(len(sys.argv) == 4, "usage: foreign_reader.py BACKUP PARTITION OUT")
    Backup(sys.argv[1]).extract(int(sys.argv[2]), sys.argv[3], int(os.environ.get("FRAMES", "8")))
