#!/bin/sh
# run.sh SECONDS: replays each target's corpus and fuzzes the target for that long. Needs nightly and cargo-fuzz.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
nightly=${NIGHTLY:-nightly}
cargo "+$nightly" fuzz --version > /dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz
for file in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    mkdir -p "fuzz/work/$target" "fuzz/corpus/$target"
    # New inputs go to the first folder; the committed seeds stay as they are.
    cargo "+$nightly" fuzz run --sanitizer none "$target" "fuzz/work/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 > "fuzz/work/$target.log" 2>&1 ||
        { tail -n 40 "fuzz/work/$target.log"; echo "fuzz $target: failed"; exit 1; }
    echo "fuzz $target: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "fuzz/work/$target.log") inputs in $seconds s"
done
