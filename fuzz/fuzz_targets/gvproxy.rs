//! Trust boundary: strings that reach gvproxy.yaml.
//! Property: two parsers that share no code read a configuration back equal.
#![no_main]

use bottle_core::egress::Rules;
use bottle_core::gvproxy::{Config, Record};
use bottle_core::stack::dialect::Dialect;
use bottle_core::doors::Doors;
use bottle_core::plan::{Guest, Plan};
use bottle_core::sidecar::Sidecar;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|data: (String, String, Vec<(String, u32)>)| {
    let (link, zone, records) = data;
    let _ = Config::parse(&zone);
    let doors = Doors::try_from(BTreeMap::from([(Sidecar::Pipelock, 20_000)])).unwrap();
    let guest =
        Guest { image: None, image_digest: None, cpus: 1, memory_mib: 512, workdir: None, volumes: vec![], env: BTreeMap::new() };
    let plan = Plan::new("s".parse().unwrap(), Dialect::File, doors, guest, Rules::default()).unwrap();
    let mut config = Config::for_plan(&plan, &link);
    config.stack.dns[0].name = zone;
    config.stack.dns[0].records = records.into_iter().map(|(name, ip)| Record { name, ip: ip.into() }).collect();
    let text = config.render().unwrap();
    assert_eq!(Config::parse(&text).unwrap(), config, "{text}");
    assert_eq!(serde_yaml::from_str::<Config>(&text).unwrap(), config, "{text}");
});
