//! Attacks on the egress proxy: a key comes back, a request escapes its upstream's path, a closed host stays
//! open.

use crate::https_server::HttpsServer;
use crate::ways_back::attack::Attack;
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Context, Result, ensure};
use bottle_host::defence::Defence;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Returns every attack in this file.
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

/// Brings up a bottle with an upstream `/api`, whose origin is its own server, below `base`.
fn with_upstream(target: &mut Target, base: &str) -> Result<HttpsServer> {
    let server = HttpsServer::serve(&["api.test"])?;
    let address = server.address();
    let authority = server.authority().display().to_string();
    target.up_with(
        &format!(
            "[egress]\nhosts = {{ \"api.test\" = \"{address}\" }}\n\
             [[upstream]]\npath = \"/api\"\norigin = \"https://api.test{base}\"\n\
             headers = {{ authorization = {{ from_env = \"TEST_KEY\", prefix = \"Bearer \" }} }}\nenv = {{ API = \"\" }}\n"
        ),
        &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)],
    )?;
    Ok(server)
}

/// Sends a request from the guest and returns the answer.
fn request(target: &Target, words: &str) -> Result<String> {
    target.guest(&format!("curl -sS -i -m 20 --path-as-is {words} 2>&1 || true"))
}

/// Returns whether an answer contains the key, forwards or backwards.
fn shows_the_key(said: &str) -> bool {
    said.contains(KEY) || said.chars().rev().collect::<String>().contains(KEY)
}

fn trace(target: &mut Target) -> Result<Verdict> {
    let _server = with_upstream(target, "")?;
    let said = request(target, "-X TRACE $API/x")?;
    Ok(Verdict::succeeded_if(shows_the_key(&said), "TRACE showed the key to the guest"))
}

/// Microsoft's name for TRACE, and a method that a program may have invented.
fn track(target: &mut Target) -> Result<Verdict> {
    let server = with_upstream(target, "")?;
    for method in ["TRACK", "DEBUG"] {
        if shows_the_key(&request(target, &format!("-X {method} $API/x"))?) {
            return Ok(Verdict::Succeeded(format!("{method} showed the key to the guest")));
        }
    }
    Ok(Verdict::succeeded_if(!server.requests().is_empty(), "the origin was asked"))
}

/// Requests these paths. The attack succeeds if one of them reaches the origin outside `/base`.
fn none_arrives(target: &mut Target, paths: &[&str]) -> Result<Verdict> {
    let server = with_upstream(target, "/base")?;
    request(target, "$API/honest")?;
    ensure!(server.requests().iter().any(|seen| seen["path"] == "/base/honest"), "the origin is not reached");
    for path in paths {
        request(target, &format!("\"$API{path}\""))?;
    }
    let seen = server.requests();
    let arrived = seen.iter().find(|seen| seen["path"] != "/base/honest");
    Ok(arrived.map_or(Verdict::Held, |seen| {
        Verdict::Succeeded(format!("the origin was asked for {}", seen["path"]))
    }))
}

/// Java's servers read `/..;/` as `/../`.
fn parameter(target: &mut Target) -> Result<Verdict> {
    let paths = [
        "/..;/admin",
        "/x/..;a=b/..;/admin",
        "/.;/..;/admin",
        "/;/..;/admin",
        "/%2e%2e;/admin",
        "/..%3b/admin",
    ];
    none_arrives(target, &paths)
}

/// Paths that become dots and slashes when they are decoded twice, or wrongly.
fn encoded(target: &mut Target) -> Result<Verdict> {
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
    none_arrives(target, &paths)
}

/// Characters that Windows takes for a dot or a slash, and names whose end it cuts off.
fn look_alikes(target: &mut Target) -> Result<Verdict> {
    let paths = [
        "/%ef%bc%8e%ef%bc%8e/admin",
        "/..%ef%bc%8fadmin",
        "/..%20/admin",
        "/...../admin",
        "/%e2%80%a5/admin",
    ];
    none_arrives(target, &paths)
}

/// A request with an honest path, and headers that name the real one.
fn another_path(target: &mut Target) -> Result<Verdict> {
    let server = with_upstream(target, "/base")?;
    let names =
        ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-forwarded-prefix", "max-forwards"];
    let headers: Vec<String> = names.iter().map(|name| format!("-H '{name}: /admin'")).collect();
    request(target, &format!("$API/honest {}", headers.join(" ")))?;
    let seen = server.requests();
    let seen = seen.last().context("the origin is not reached")?;
    let arrived: Vec<_> = names.iter().filter(|name| !seen["headers"][name].is_null()).collect();
    Ok(Verdict::succeeded_if(!arrived.is_empty(), format!("the origin got {arrived:?}")))
}

/// CGI and its successors make one variable of `x-api-key` and `x_api_key`.
fn underscore(target: &mut Target) -> Result<Verdict> {
    let server = with_upstream(target, "")?;
    request(target, "$API/honest -H 'x_api_key: mine' -H 'connection: authorization, x-api-key'")?;
    let seen = server.requests();
    let headers = &seen.last().context("the origin is not reached")?["headers"];
    ensure!(headers["authorization"] == format!("Bearer {KEY}"), "the origin did not get the key: {headers}");
    Ok(Verdict::succeeded_if(!headers["x_api_key"].is_null(), "the origin got a credential of the guest's"))
}

fn mirror(target: &mut Target) -> Result<Verdict> {
    let _server = with_upstream(target, "")?;
    let said = request(target, "$API/mirror -H 'accept-encoding: gzip'")?;
    Ok(Verdict::succeeded_if(shows_the_key(&said), "the answer showed the key to the guest"))
}

fn mirror_header(target: &mut Target) -> Result<Verdict> {
    let _server = with_upstream(target, "")?;
    let said = request(target, "$API/mirror-header")?;
    Ok(Verdict::succeeded_if(shows_the_key(&said), "a header of the answer showed the key to the guest"))
}

fn mirror_reason(target: &mut Target) -> Result<Verdict> {
    let _server = with_upstream(target, "")?;
    let said = request(target, "$API/mirror-reason")?;
    ensure!(said.contains("HTTP/1.1 200"), "no answer came: {said}");
    Ok(Verdict::succeeded_if(shows_the_key(&said), "the reason phrase showed the key to the guest"))
}

/// A name that the operator allowed is made to lead to an address of this machine's own network card, where
/// its database listens.
fn own_address(target: &mut Target) -> Result<Verdict> {
    const OWN: &str = "51.15.77.1";
    target.put("hosts", format!("127.0.0.1 localhost\n{OWN} rebound.test\n"))?;
    target.put("page/hello", "the operator's own database\n")?;
    let (hosts, page, server) = (target.path("hosts"), target.path("page"), target.path("server"));
    let setup = format!(
        "ip link set lo up; ip addr add {OWN}/32 dev lo; mount --bind {} /etc/hosts\n\
         timeout 60 python3 -m http.server --directory {} --bind {OWN} 8077 >/dev/null 2>&1 &\n\
         echo $! > {}\n\
         for i in $(seq 100); do curl -s -o /dev/null http://{OWN}:8077/ && break; sleep 0.1; done",
        hosts.display(),
        page.display(),
        server.display()
    );
    target.up_in(&setup, "[egress]\nallow = [\"rebound.test:8077\"]\n")?;
    let said = request(target, "http://rebound.test:8077/hello")?;
    let server = Pid::from_raw(fs::read_to_string(server)?.trim().parse()?).context("a process")?;
    let _ = kill_process(server, Signal::TERM);
    Ok(Verdict::succeeded_if(
        said.contains("own database"),
        "a service on the host's own address was reached",
    ))
}

/// Starts a download of half a minute in the guest, and waits for its first bytes.
fn start_download(target: &Target, command: &str) -> Result<()> {
    let script =
        format!("({command} > /tmp/drops 2>/dev/null; echo > /tmp/over) </dev/null >/dev/null 2>&1 &");
    target.guest(&script)?;
    let end = Instant::now() + Duration::from_secs(15);
    while target.guest("wc -c < /tmp/drops || true")?.trim().parse().unwrap_or(0) < 5 {
        ensure!(Instant::now() < end, "nothing came through the door: {}", target.log()?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The operator denies the host. After a moment, nothing more may arrive.
fn closed_by_deny(target: &Target, host: &str) -> Result<Verdict> {
    ensure!(target.operator(&["deny", SLUG, host])?.is_success(), "deny");
    thread::sleep(Duration::from_millis(500));
    let count = || -> Result<u64> { Ok(target.guest("wc -c < /tmp/drops")?.trim().parse()?) };
    let before = count()?;
    thread::sleep(Duration::from_millis(1500));
    let after = count()?;
    Ok(Verdict::succeeded_if(
        after > before,
        format!("{} bytes came after the host was denied", after - before),
    ))
}

fn tunnel(target: &mut Target) -> Result<Verdict> {
    let server = HttpsServer::serve(&["drip.test"])?;
    let address = server.address();
    fs::copy(server.authority(), target.path("project/ca.pem"))?;
    target
        .up(&format!("[egress]\nallow = [\"drip.test\"]\nhosts = {{ \"drip.test\" = \"{address}\" }}\n"))?;
    start_download(target, "curl -sSN --cacert /workspace/ca.pem https://drip.test/drip")?;
    closed_by_deny(target, "drip.test")
}

/// The same for an upstream's answer, on a connection that already exists.
fn answer(target: &mut Target) -> Result<Verdict> {
    let _server = with_upstream(target, "")?;
    start_download(target, "curl -sSN $API/drip")?;
    closed_by_deny(target, "api.test")
}
