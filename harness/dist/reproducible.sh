#!/bin/sh
# Builds the same things as `make dist`, from the same commit in two folders, and compares the bytes.
set -eu
cd "$(dirname "$0")/../.."
work=$PWD/target/reproducible
commit=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || echo "reproducible: what is not committed is left out" >&2
rm -rf "$work"
mkdir -p "$work"
# The second folder has a different name and length, so that no embedded path goes unnoticed.
for checkout in one another/with/more/above/it; do
    git clone --quiet --no-checkout . "$work/$checkout"
    git -C "$work/$checkout" checkout --quiet --detach "$commit"
    (cd "$work/$checkout" && PROFILE=release harness/dist/build.sh)
done
if diff "$work/one/target/dist/SHA256SUMS" "$work/another/with/more/above/it/target/dist/SHA256SUMS"; then
    echo "reproducible: the same bytes, twice, of $commit"
    sed 's/^/  /' "$work/one/target/dist/SHA256SUMS"
else
    echo "reproducible: those above differ" >&2
    exit 1
fi
