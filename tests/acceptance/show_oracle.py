#!/usr/bin/env python3
"""show_oracle.py SELFSAME DISK NAME: where `selfsame show --json DISK` and sfdisk, sgdisk or blkid disagree.

Prints a line for each disagreement that EXPECTED does not have for NAME, and for what it has and is none.
"""

import json
import re
import subprocess
import sys

# (disk, tool): why the two differ and we are right, by Linux's kernel or by what lies on the disk.
EXPECTED = {
    ("gpt-no-protective", "sfdisk"): "the GPT is intact and read all the same; a finding says that Linux ignores it",
    ("gpt-usable-beyond", "sfdisk"): "as gpt-no-protective; sfdisk shows the protective MBR instead",
    ("gpt-usable-reversed", "sfdisk"): "as gpt-usable-beyond",
    ("gpt-entries-of-256", "sgdisk"): "it cannot read them; sfdisk does, and agrees",
    ("gpt-entries-of-4096", "sgdisk"): "it cannot read them; sfdisk does, and agrees",
    ("gpt-entry-reversed", "sgdisk"): "it gives a partition a negative length",
    ("mbr-300-logicals", "sfdisk"): "Linux has 251 logical partitions, sfdisk at most 56",
    ("mbr-boot-flag-odd", "sfdisk"): "Linux takes a boot flag other than 0 and 0x80 for boot code, not a table",
    ("mbr-ebr-99-empty", "sfdisk"): "Linux follows 100 EBRs without data",
    ("mbr-ebr-four-slots", "sfdisk"): "Linux uses all four slots of an EBR, as OS/2 does",
    ("mbr-ebr-loop", "sfdisk"): "sfdisk and Linux count the same partition until they have no numbers left",
    ("mbr-two-extended", "sfdisk"): "Linux follows every extended partition",
    ("superfloppy", "sfdisk"): "a FAT boot sector with four empty entries; Linux shows no partitions either",
}
ATTRIBUTES = {"RequiredPartition": 0, "NoBlockIOProtocol": 1, "LegacyBIOSBootable": 2}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False)


def sfdisk(disk):
    """What sfdisk says: label, id and partitions by number; None if it sees no table."""
    answer = run("sfdisk", "-J", disk)
    if answer.returncode != 0:
        return None
    # Before the document it may say that it leaves out an empty partition.
    table = json.loads(answer.stdout[answer.stdout.index("{") :])["partitiontable"]
    partitions = {}
    for entry in table.get("partitions", []):
        flags = entry.get("attrs", "").replace("GUID:", "").replace(",", " ").split()
        number = int(re.search(r"\d+$", entry["node"])[0])
        partitions[number] = {
            "first": entry["start"],
            "sectors": entry["size"],
            "type": entry["type"],
            "bootable": entry.get("bootable", False),
            "name": entry.get("name"),
            "uuid": entry.get("uuid"),
            "attributes": sum(1 << ATTRIBUTES[flag] if flag in ATTRIBUTES else 1 << int(flag) for flag in flags),
        }
    return {"label": table["label"], "id": table["id"], "sector": table.get("sectorsize", 512)}, partitions


def sgdisk(disk):
    """The same of a GPT, by number, from sgdisk's list and its page about each partition."""
    listed = re.findall(r"^ +(\d+) +\d+ +\d+ ", run("sgdisk", "-p", disk).stdout, re.M)
    partitions = {}
    for number in map(int, listed):
        page = run("sgdisk", "-i", str(number), disk).stdout
        field = lambda name: re.search(name + r": '?([^ '\n]*)", page)[1]
        first, last = int(field("First sector")), int(field("Last sector"))
        partitions[number] = {
            "first": first,
            "sectors": last - first + 1,
            "type": field("Partition GUID code"),
            "name": re.search(r"Partition name: '(.*)'", page)[1] or None,
            "uuid": field("Partition unique GUID"),
            "attributes": int(field("Attribute flags"), 16),
        }
    return partitions


def blkid(disk, region):
    """What blkid recognises there, in the words of our document; None if nothing."""
    place = ["--offset", str(region["start"]), "--size", str(region["size"]), disk]
    tags = ("type", "label", "uuid", "version")
    values = (run("blkid", "-p", "-o", "value", "-s", tag.upper(), *place).stdout.rstrip("\n") for tag in tags)
    found = {tag: value or None for tag, value in zip(tags, values)}
    return found if found["type"] else None


def ours(document):
    """Our document in the words of `sfdisk`."""
    label = {"mbr": "dos", "gpt": "gpt"}.get(document["table"]["type"])
    partitions = {
        entry["number"]: {
            "first": entry["first_lba"],
            "sectors": entry["sectors"],
            "type": entry["type"],
            # sfdisk says of a GPT that bit only among the attributes.
            "bootable": entry["bootable"] and label == "dos",
            "name": entry["name"],
            "uuid": entry["uuid"].upper() if label == "gpt" else None,
            "attributes": entry["attributes"],
        }
        for entry in document["partitions"]
    }
    return {"label": label, "id": document["table"]["id"], "sector": document["sector_size"]}, partitions


def disagreements(tool, place, mine, theirs):
    """One line for each value of `theirs` that `mine` has not."""
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        if mine != theirs:
            yield f"{place}: selfsame says {mine}, {tool} {theirs}"
        return
    for key in sorted(set(theirs) | (set(mine) if place == "partitions" else set()), key=str):
        yield from disagreements(tool, f"{place} {key}", mine.get(key), theirs.get(key))


def compare(program, disk):
    """(tool, line) for all disagreements about the disk."""
    shown = run(program, "show", "--json", disk)
    if shown.returncode != 0:
        sys.exit(f"{disk}: {shown.stderr}")
    document = json.loads(shown.stdout)
    table, partitions = ours(document)
    seen = sfdisk(disk) or ({"label": None}, {})
    yield from (("sfdisk", line) for line in disagreements("sfdisk", "table", table, seen[0]))
    yield from (("sfdisk", line) for line in disagreements("sfdisk", "partitions", partitions, seen[1]))
    if table["label"] == "gpt":
        lines = disagreements("sgdisk", "partitions", partitions, sgdisk(disk))
        yield from (("sgdisk", line) for line in lines)
    for region in document["regions"]:
        if region["role"] in ("partition", "whole"):
            place = f"content at {region['start']}"
            lines = disagreements("blkid", place, region["content"], blkid(disk, region))
            yield from (("blkid", line) for line in lines)


def main(program, disk, name):
    found = list(compare(program, disk))
    expected = {tool for known, tool in EXPECTED if known == name}
    wrong = [f"{tool}: {line}" for tool, line in found if tool not in expected]
    wrong += [f"{tool}: differs no more" for tool in sorted(expected - {tool for tool, _ in found})]
    for line in wrong:
        print(f"{name}: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
