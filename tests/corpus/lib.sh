# Words shared by the corpus builders. To be sourced; the caller sets nothing.
# Builders need no root where the tools allow it, write sparse files, and give the same residue each time.

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MTOOLS_SKIP_CHECK=1 MKE2FS_SKIP_PROGRESS=1

# noise SEED BYTES: bytes that do not compress, the same for the same seed.
noise() { openssl enc -aes-128-ctr -nosalt -K "$(printf '%032x' "$1")" -iv 0 -in /dev/zero 2>/dev/null | head -c "$2" || true; }

# put IMAGE SECTOR_SIZE LBA: standard input into the image from this sector on; zeroes stay holes.
put() { dd of="$1" bs="$2" seek="$3" conv=notrunc,sparse iflag=fullblock status=none; }

# keep FILE IMAGE SECTOR_SIZE LBA: the content of a partition into its place.
keep() { put "$2" "$3" "$4" <"$1"; rm -f "$1"; }

# files DIR MIB: what users have: text that compresses, and one file that does not.
files() {
    mkdir -p "$1/letters"
    local n
    for n in 1 2 3 4 5; do seq "$((n * 1000))" "$((n * 3000))" >"$1/letters/letter$n.txt"; done
    noise 77 "$(($2 << 20))" >"$1/photo.jpg"
    printf 'Meet me at the station at noon.\n' >"$1/note.txt"
}
