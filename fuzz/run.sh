#!/bin/sh
# run.sh SECONDS [TARGET]: replays each target's corpus and fuzzes the target for that long, as many at a time as there are
# processors. Needs nightly and cargo-fuzz.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
nightly=${NIGHTLY:-nightly}

fuzz() {
    log=fuzz/work/$1.log
    mkdir -p "fuzz/work/$1" "fuzz/corpus/$1"
    # New inputs go to the first folder; the committed seeds stay as they are.
    cargo "+$nightly" fuzz run --dev --sanitizer none "$1" "fuzz/work/$1" "fuzz/corpus/$1" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 > "$log" 2>&1 ||
        { tail -n 40 "$log"; echo "fuzz $1: failed"; exit 1; }
    echo "fuzz $1: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
}

if [ $# = 2 ]; then
    fuzz "$2"
    exit
fi
cargo "+$nightly" fuzz --version > /dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz
cargo "+$nightly" fuzz build --dev --sanitizer none > /dev/null
for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done | xargs -n 1 -P "$(nproc)" fuzz/run.sh "$seconds"
