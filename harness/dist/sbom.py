#!/usr/bin/env python3
"""Says what the programs are built from.

sbom.py SBOM NOTICES: writes a CycloneDX 1.5 bill of materials as JSON, and the licence texts of
every crate that is linked into `bottle` or `bottle-guest`. Both are the same for the same commit.
"""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

# The programs that users get, which are the subject of the bill.
PROGRAM = "bottle"
PROGRAMS = [PROGRAM, "bottle-guest"]
LICENCE_FILE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def linked():
    """Returns the packages in the programs by their id, and the links between them."""
    cargo = os.environ.get("CARGO", "cargo")
    target = re.search(r"^host: (.*)$", run("rustc", "-vV"), re.MULTILINE)[1]
    # `cargo metadata` knows everything except which features each program has, and `cargo tree` knows that.
    inside = set()
    for program in PROGRAMS:
        tree = [cargo, "tree", "--locked", "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none"]
        inside |= {tuple(line.split()[:2]) for line in run(*tree, "--package", program).splitlines() if line}
    metadata = json.loads(run(cargo, "metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    packages = {
        package["id"]: package
        for package in metadata["packages"]
        if (package["name"], f"v{package['version']}") in inside
    }
    links = {
        node["id"]: sorted(
            dependency["pkg"]
            for dependency in node["deps"]
            if dependency["pkg"] in packages and any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        for node in metadata["resolve"]["nodes"]
        if node["id"] in packages
    }
    return packages, links


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums():
    lock = tomllib.loads(Path("Cargo.lock").read_text())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def component(package, kind, checksum):
    entry = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "description": " ".join((package["description"] or "").split()),
        "licenses": [{"expression": licence(package)}],
        "purl": reference(package),
    }
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def licence(package):
    # Older manifests use a slash.
    return re.sub(r"\s*/\s*", " OR ", package["license"])


def bill(packages, links):
    sums = checksums()
    program = next(package for package in packages.values() if package["name"] == PROGRAM)
    commit = run("git", "rev-parse", "HEAD").strip()
    made = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
    libraries = sorted(packages.values(), key=reference)
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(program, "application", None),
            "properties": [
                {"name": "bottle:commit", "value": commit},
                {"name": "bottle:rustc", "value": run("rustc", "--version").strip()},
            ],
        },
        "components": [
            component(
                package,
                "application" if package["name"] in PROGRAMS else "library",
                sums[package["name"], package["version"]],
            )
            for package in libraries
            if package is not program
        ],
        "dependencies": [
            {"ref": reference(packages[package]), "dependsOn": sorted(reference(packages[need]) for need in needs)}
            for package, needs in sorted(links.items(), key=lambda link: reference(packages[link[0]]))
        ],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["serialNumber"] = f"urn:uuid:{uuid.UUID(digest[:32], version=4)}"
    return content


def notices(packages):
    """Returns every licence text once, under the crates that have it."""
    texts, without = {}, []
    for package in sorted(packages.values(), key=reference):
        if package["source"] is None:
            continue
        name = f"{package['name']} {package['version']} ({licence(package)})"
        files = [path for path in Path(package["manifest_path"]).parent.iterdir() if LICENCE_FILE.match(path.name)]
        for path in sorted(files):
            if path.is_file():
                texts.setdefault(path.read_text(errors="replace").strip(), []).append(name)
        if not files:
            without.append(name)
    rule = "-" * 78
    yield "bottle is under Apache-2.0, in LICENSE. It contains these crates, under their own licences.\n"
    for text, names in sorted(texts.items(), key=lambda entry: entry[1]):
        yield "\n".join([rule, *dict.fromkeys(names), rule, "", text, ""])
    if without:
        yield "\n".join([rule, "These crates come without a copy of their licence:", *without, ""])


def main():
    sbom, notice = map(Path, sys.argv[1:])
    packages, links = linked()
    sbom.write_text(json.dumps(bill(packages, links), indent=2, sort_keys=True) + "\n")
    notice.write_text("\n".join(notices(packages)))


main()
