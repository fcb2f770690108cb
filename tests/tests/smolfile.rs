//! The real smolvm accepts every Smolfile that bottle renders. Nothing is booted.

use bottle_core::doors::Doors;
use bottle_core::egress::Rules;
use bottle_core::plan::{Guest, Plan, Volume};
use bottle_core::sidecar::Sidecar;
use bottle_core::smolfile::Smolfile;
use bottle_core::stack::dialect::Dialect;
use bottle_tests::checkout;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

const VALUES: [&str; 8] =
    ["", "plain", "it's \"so\"", "a\nb", "# no comment", "yes", "\u{1f980} \u{1d4b3}", "C:\\x $HOME `id`"];

fn plan(n: usize, folder: &str) -> Plan {
    let sidecars = Sidecar::ALL.into_iter().take(1 + n % 3);
    let doors = Doors::try_from(sidecars.zip(20_000..).collect::<BTreeMap<_, _>>()).unwrap();
    let value = VALUES[n % VALUES.len()];
    let volume = Volume {
        host: folder.parse().unwrap(),
        guest: "/workspace".parse().unwrap(),
        writable: n.is_multiple_of(2),
    };
    let guest = Guest {
        image: (n % 4 == 1).then(|| "alpine:3.20".parse().unwrap()),
        image_digest: None,
        cpus: u8::try_from(1 + n % 4).unwrap(),
        memory_mib: 256 << (n % 4),
        workdir: (n % 2 == 1).then(|| "/workspace".parse().unwrap()),
        volumes: if n.is_multiple_of(3) { Vec::new() } else { vec![volume] },
        env: BTreeMap::from([("VALUE".parse().unwrap(), value.parse().unwrap())]),
    };
    Plan::new(format!("s{n}").parse().unwrap(), Dialect::Flags, doors, guest, Rules::default()).unwrap()
}

#[test]
fn smolvm_accepts_rendered_files_and_refuses_unknown_keys() {
    let checkout = checkout();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let smolvm = |words: &[&str]| {
        let mut command = Command::new(checkout.smolvm().unwrap());
        command.env("SMOLVM_LIB_DIR", checkout.smolvm_folder());
        command.arg("--state-dir").arg(dir.path().join("state")).args(words).output().unwrap()
    };
    let path = dir.path().join("smolfile.toml");
    let file = path.to_str().unwrap();
    for n in 0..24 {
        let plan = plan(n, folder);
        let text = Smolfile::for_plan(&plan, &folder.parse().unwrap()).render().unwrap();
        fs::write(&path, &text).unwrap();
        let name = plan.slug.machine_name();
        let created = smolvm(&["machine", "create", "--name", &name, "--smolfile", file]);
        assert!(created.status.success(), "{text}\n{}", String::from_utf8_lossy(&created.stderr));
        let deleted = smolvm(&["machine", "delete", "--name", &name, "-f"]);
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    }
    // The witness: smolvm does read the file.
    fs::write(&path, "net = false\nno_such_key = 1\n").unwrap();
    assert!(!smolvm(&["machine", "create", "--name", "bottle-x", "--smolfile", file]).status.success());
}
