//! What the benchmarks measure: a plan, and frames of several lengths.

use bottle_core::doors::Doors;
use bottle_core::egress::Rules;
use bottle_core::gvproxy::Config;
use bottle_core::plan::{Guest, Plan};
use bottle_core::ports;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_core::stack::dialect::Dialect;
use std::collections::{BTreeMap, BTreeSet};

/// Does everything from a name to the two rendered files, and returns their length.
///
/// # Panics
/// Panics if a plan of valid parts is refused.
pub fn plan_and_render(slug: &Slug) -> usize {
    let sidecars: BTreeSet<Sidecar> = Sidecar::ALL.into_iter().collect();
    let ports = ports::allocate(slug, &sidecars, &BTreeSet::new()).expect("free ports");
    let doors = Doors::try_from(ports).expect("distinct ports");
    let guest = Guest {
        image_digest: None,
        image: None,
        cpus: 4,
        memory_mib: 8192,
        workdir: None,
        volumes: Vec::new(),
        env: BTreeMap::new(),
    };
    let plan = Plan::new(slug.clone(), Dialect::File, doors, guest, Rules::default()).expect("a plan");
    let helper = "/var/lib/bottle/x/guest".parse().expect("a path");
    let smolfile = Smolfile::for_plan(&plan, &helper).render().expect("a Smolfile");
    let gvproxy = Config::for_plan(&plan, "/run/bottle/link.sock").render().expect("a configuration");
    smolfile.len() + gvproxy.len()
}

/// Makes a frame of `len` bytes with an allowed TCP segment.
///
/// # Panics
/// Panics if `len` cannot hold the headers or is longer than a packet.
pub fn allowed_frame(template: &[u8], len: usize) -> Vec<u8> {
    let mut frame = template.to_vec();
    frame.resize(len, 0x5a);
    let total = u16::try_from(len - 14).expect("a packet");
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    bottle_oracle::frames::Change::Checksum.apply(&mut frame);
    frame
}
