//! Trust boundary: strings of bottle.toml that reach smolfile.toml.
//! Property: a Smolfile reads back equal, whatever its strings contain, and reading noise never panics.
#![no_main]

use bottle_core::smolfile::Smolfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (Option<String>, Option<String>, Vec<String>, Vec<String>, u8, u32)| {
    let (image, workdir, volumes, env, cpus, memory) = data;
    for text in env.iter().chain(&volumes) {
        let _ = Smolfile::parse(text);
    }
    let smolfile = Smolfile { image, cpus, memory, net: false, workdir, volumes, env };
    let text = smolfile.render().unwrap();
    assert_eq!(Smolfile::parse(&text).unwrap(), smolfile);
});
