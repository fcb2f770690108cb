#!/usr/bin/env python3
"""Prints the last benchmark run as ratios: absolute times are not stable on shared machines."""

import json
import pathlib
import sys

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "target" / "criterion"


def nanoseconds(*name: str) -> float:
    path = RESULTS.joinpath(*name, "new", "estimates.json")
    return json.loads(path.read_text())["median"]["point_estimate"]


def main() -> int:
    lengths = [64, 1500, 65000]
    copy = {n: nanoseconds("frame", "copy", str(n)) for n in lengths}
    print(f"{'per frame':<16}{'bytes':>7}{'ns':>10}{'to a copy':>12}")
    for n in lengths:
        for what in ["copy", "allowed", "reset", "decode"]:
            ns = nanoseconds("frame", what, str(n))
            print(f"{what:<16}{n:>7}{ns:>10.1f}{ns / copy[n]:>12.2f}")
    for what in ["arp", "unreachable", "nxdomain", "resolved", "to-guest"]:
        ns = nanoseconds("frame", what)
        print(f"{what:<16}{'':>7}{ns:>10.1f}{'':>12}")
    plan = nanoseconds("plan-and-render")
    allowed = {n: nanoseconds("frame", "allowed", str(n)) for n in lengths}
    print(f"\nallowed at 1500 bytes / two copies of it: {allowed[1500] / copy[1500] / 2:.2f} (goal: at most 1)")
    print(f"allowed at 65000 / at 64 bytes: {allowed[65000] / allowed[64]:.2f} (goal: about 1)")
    print(f"plan and render: {plan / 1000:.1f} microseconds (goal: under 50)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
