//! Attacks on the egress proxy: a key comes back, a request leaves its upstream's path, a door that was
//! closed stays open.

use crate::secure::Secure;
use crate::ways_back::Attack;
use crate::ways_back::field::{Field, SLUG, Verdict};
use anyhow::{Context, Result, ensure};
use bottle_host::defence::Defence;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    vec![
        Attack::new("proxy-trace-shows-the-key", Defence::Methods, trace),
        Attack::new("proxy-unknown-method-shows-the-key", Defence::Methods, track),
        Attack::new("proxy-path-parameter-climbs", Defence::UpstreamPath, parameter),
        Attack::new("proxy-path-encoded-climbs", Defence::UpstreamPath, encoded),
        Attack::new("proxy-path-look-alikes-climb", Defence::UpstreamPath, look_alikes),
        Attack::new("proxy-header-names-another-path", Defence::UpstreamHeaders, another_path),
        Attack::new("proxy-header-underscore-credential", Defence::UpstreamHeaders, underscore),
        Attack::new("proxy-answer-has-the-key", Defence::KeyEcho, mirror),
        Attack::new("proxy-answers-header-has-the-key", Defence::KeyEcho, mirror_header),
        Attack::new("proxy-answers-reason-has-the-key", Defence::KeyEcho, mirror_reason),
        Attack::new("proxy-own-public-address", Defence::OwnAddresses, own_address),
        Attack::new("proxy-tunnel-outlives-deny", Defence::DenyCloses, tunnel),
        Attack::new("proxy-answer-outlives-deny", Defence::DenyCloses, answer),
    ]
}

const KEY: &str = "sk-never-in-the-guest-0123456789";

/// A bottle with an upstream `/api`, at an origin of its own below `/base`.
fn with_upstream(field: &mut Field, address: Ipv4Addr, base: &str) -> Result<Secure> {
    let server = Secure::serve(address, &["api.test"])?;
    let authority = server.authority().display().to_string();
    field.up_with(
        &format!(
            "[egress]\nhosts = {{ \"api.test\" = \"{address}\" }}\n\
             [[upstream]]\npath = \"/api\"\norigin = \"https://api.test{base}\"\n\
             headers = {{ authorization = {{ from_env = \"TEST_KEY\", prefix = \"Bearer \" }} }}\nenv = {{ API = \"\" }}\n"
        ),
        &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)],
    )?;
    Ok(server)
}

/// What the guest is answered.
fn asks(field: &Field, words: &str) -> Result<String> {
    field.guest(&format!("curl -sS -i -m 20 --path-as-is {words} 2>&1 || true"))
}

/// The key came to the guest, backwards or not.
fn shows_the_key(said: &str) -> bool {
    said.contains(KEY) || said.chars().rev().collect::<String>().contains(KEY)
}

fn trace(field: &mut Field) -> Result<Verdict> {
    let _server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 1), "")?;
    let said = asks(field, "-X TRACE $API/x")?;
    Ok(Verdict::succeeded_if(shows_the_key(&said), "TRACE showed the key to the guest"))
}

/// Microsoft's name for it, and one that a program may have of its own.
fn track(field: &mut Field) -> Result<Verdict> {
    let server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 2), "")?;
    for method in ["TRACK", "DEBUG"] {
        if shows_the_key(&asks(field, &format!("-X {method} $API/x"))?) {
            return Ok(Verdict::Succeeded(format!("{method} showed the key to the guest")));
        }
    }
    Ok(Verdict::succeeded_if(!server.seen().is_empty(), "the origin was asked"))
}

/// None of these paths may come to the origin, of which the guest has only what is below `/base`.
fn none_arrives(field: &mut Field, address: Ipv4Addr, paths: &[&str]) -> Result<Verdict> {
    let server = with_upstream(field, address, "/base")?;
    asks(field, "$API/honest")?;
    ensure!(server.seen().iter().any(|seen| seen["path"] == "/base/honest"), "the origin is not reached");
    for path in paths {
        asks(field, &format!("\"$API{path}\""))?;
    }
    let seen = server.seen();
    let arrived = seen.iter().find(|seen| seen["path"] != "/base/honest");
    Ok(arrived.map_or(Verdict::Held, |seen| {
        Verdict::Succeeded(format!("the origin was asked for {}", seen["path"]))
    }))
}

/// As Java's servers read it, `/..;/` is `/../`.
fn parameter(field: &mut Field) -> Result<Verdict> {
    let paths = [
        "/..;/admin",
        "/x/..;a=b/..;/admin",
        "/.;/..;/admin",
        "/;/..;/admin",
        "/%2e%2e;/admin",
        "/..%3b/admin",
    ];
    none_arrives(field, Ipv4Addr::new(127, 77, 8, 3), &paths)
}

/// Decoded twice, or where no text is, these are dots and slashes.
fn encoded(field: &mut Field) -> Result<Verdict> {
    let paths = [
        "/%252e%252e/admin",
        "/%25%32%65%25%32%65/admin",
        "/..%252fadmin",
        "/%c0%ae%c0%ae/admin",
        "/..%c0%afadmin",
        "/%u002e%u002e/admin",
        "/..%00/admin",
        "/..%5cadmin",
        "//../admin",
    ];
    none_arrives(field, Ipv4Addr::new(127, 77, 8, 4), &paths)
}

/// What Windows takes for a dot or a slash, and names whose end it cuts off.
fn look_alikes(field: &mut Field) -> Result<Verdict> {
    let paths = [
        "/%ef%bc%8e%ef%bc%8e/admin",
        "/..%ef%bc%8fadmin",
        "/..%20/admin",
        "/...../admin",
        "/%e2%80%a5/admin",
    ];
    none_arrives(field, Ipv4Addr::new(127, 77, 8, 5), &paths)
}

/// The path that a request has is honest; the one that a header names is meant.
fn another_path(field: &mut Field) -> Result<Verdict> {
    let server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 6), "/base")?;
    let names =
        ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-forwarded-prefix", "max-forwards"];
    let headers: Vec<String> = names.iter().map(|name| format!("-H '{name}: /admin'")).collect();
    asks(field, &format!("$API/honest {}", headers.join(" ")))?;
    let seen = server.seen();
    let seen = seen.last().context("the origin is not reached")?;
    let arrived: Vec<_> = names.iter().filter(|name| !seen["headers"][name].is_null()).collect();
    Ok(Verdict::succeeded_if(!arrived.is_empty(), format!("the origin got {arrived:?}")))
}

/// CGI and its heirs make one variable of `x-api-key` and `x_api_key`.
fn underscore(field: &mut Field) -> Result<Verdict> {
    let server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 7), "")?;
    asks(field, "$API/honest -H 'x_api_key: mine' -H 'connection: authorization, x-api-key'")?;
    let seen = server.seen();
    let headers = &seen.last().context("the origin is not reached")?["headers"];
    ensure!(headers["authorization"] == format!("Bearer {KEY}"), "the origin did not get the key: {headers}");
    Ok(Verdict::succeeded_if(!headers["x_api_key"].is_null(), "the origin got a credential of the guest's"))
}

fn mirror(field: &mut Field) -> Result<Verdict> {
    let _server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 8), "")?;
    let said = asks(field, "$API/mirror -H 'accept-encoding: gzip'")?;
    Ok(Verdict::succeeded_if(shows_the_key(&said), "the answer showed the key to the guest"))
}

fn mirror_header(field: &mut Field) -> Result<Verdict> {
    let _server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 9), "")?;
    let said = asks(field, "$API/mirror-header")?;
    Ok(Verdict::succeeded_if(shows_the_key(&said), "a header of the answer showed the key to the guest"))
}

fn mirror_reason(field: &mut Field) -> Result<Verdict> {
    let _server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 12), "")?;
    let said = asks(field, "$API/mirror-reason")?;
    ensure!(said.contains("HTTP/1.1 200"), "no answer came: {said}");
    Ok(Verdict::succeeded_if(shows_the_key(&said), "beside the status stood the key"))
}

/// A name that an agent's operator allowed comes to lead to an address that this machine has on its
/// own network card, where its database listens.
fn own_address(field: &mut Field) -> Result<Verdict> {
    const OWN: &str = "51.15.77.1";
    field.put("hosts", format!("127.0.0.1 localhost\n{OWN} rebound.test\n"))?;
    field.put("page/hello", "the operator's own database\n")?;
    let (hosts, page, server) = (field.path("hosts"), field.path("page"), field.path("server"));
    let world = format!(
        "ip link set lo up; ip addr add {OWN}/32 dev lo; mount --bind {} /etc/hosts\n\
         timeout 60 python3 -m http.server --directory {} --bind {OWN} 8077 >/dev/null 2>&1 &\n\
         echo $! > {}\n\
         for i in $(seq 100); do curl -s -o /dev/null http://{OWN}:8077/ && break; sleep 0.1; done",
        hosts.display(),
        page.display(),
        server.display()
    );
    field.up_in(&world, "[egress]\nallow = [\"rebound.test:8077\"]\n")?;
    let said = asks(field, "http://rebound.test:8077/hello")?;
    let server = Pid::from_raw(fs::read_to_string(server)?.trim().parse()?).context("a process")?;
    let _ = kill_process(server, Signal::TERM);
    Ok(Verdict::succeeded_if(
        said.contains("own database"),
        "a service on the host's own address was reached",
    ))
}

/// In the guest: something goes on for half a minute, and what comes of it is in a file.
fn goes_on(field: &Field, command: &str) -> Result<()> {
    let script =
        format!("({command} > /tmp/drops 2>/dev/null; echo > /tmp/over) </dev/null >/dev/null 2>&1 &");
    field.guest(&script)?;
    let end = Instant::now() + Duration::from_secs(15);
    while field.guest("wc -c < /tmp/drops || true")?.trim().parse().unwrap_or(0) < 5 {
        ensure!(Instant::now() < end, "nothing came through the door: {}", field.log()?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The operator closes the host. Nothing more may come after a moment.
fn closed_by_deny(field: &Field, host: &str) -> Result<Verdict> {
    ensure!(field.operator(&["deny", SLUG, host])?.is_well(), "deny");
    thread::sleep(Duration::from_millis(500));
    let count = || -> Result<u64> { Ok(field.guest("wc -c < /tmp/drops")?.trim().parse()?) };
    let before = count()?;
    thread::sleep(Duration::from_millis(1500));
    let after = count()?;
    Ok(Verdict::succeeded_if(
        after > before,
        format!("{} bytes came after the host was closed", after - before),
    ))
}

fn tunnel(field: &mut Field) -> Result<Verdict> {
    let address = Ipv4Addr::new(127, 77, 8, 10);
    let server = Secure::serve(address, &["drip.test"])?;
    fs::copy(server.authority(), field.path("project/ca.pem"))?;
    field.up(&format!("[egress]\nallow = [\"drip.test\"]\nhosts = {{ \"drip.test\" = \"{address}\" }}\n"))?;
    goes_on(field, "curl -sSN --cacert /workspace/ca.pem https://drip.test/drip")?;
    closed_by_deny(field, "drip.test")
}

/// The same for an answer of an upstream's, on a connection that was dialled before.
fn answer(field: &mut Field) -> Result<Verdict> {
    let _server = with_upstream(field, Ipv4Addr::new(127, 77, 8, 11), "")?;
    goes_on(field, "curl -sSN $API/drip")?;
    closed_by_deny(field, "api.test")
}
