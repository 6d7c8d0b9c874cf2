#!/bin/bash
# bench: that the benchmark runs and its figures are some. What they are is nothing to fail on.
test=bench
. "$(dirname "$0")/lib.sh"
needs bench openssl zstd b3sum mke2fs sfdisk || exit 0

rows=save-nc,verify,restore
expect 0 env SELFSAME="$SELFSAME" cargo xtask bench --no-setup --dir "$scratch" --size 128 --runs 1 --only "$rows" \
    --json "$scratch/figures"
found=$(json '",".join(r["name"] for r in d["rows"] if min(r["figures"][0]["ours"] + r["figures"][0]["peer"]) > 0)' \
    <"$scratch/figures")
[ "$found" = "$rows" ] || fail "figures of: $found"
[ "$(find "$scratch" -name 'selfsame-xtask-*')" = "" ] || fail "it left something behind"
passed bench
