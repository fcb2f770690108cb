//! Many clients at once, some of them hostile: others are not affected, and memory is bounded.

use bottle_harness::page::Page;
use bottle_tests::{ProjectExt, RunningBottleExt, allowing, project_with, up};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

/// A program for the guest: 500 clients begin a request and never finish it. Then 1,000 clients request
/// the page at the same time, all of them connected before the first request.
const LOAD: &str = r#"
import asyncio, os, resource, sys, urllib.parse
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
door = urllib.parse.urlparse(os.environ["HTTP_PROXY"])
url, host = sys.argv[1], urllib.parse.urlparse(sys.argv[1]).netloc

async def slow():
    reader, writer = await asyncio.open_connection(door.hostname, door.port)
    writer.write(b"GET http://page.test/ HTTP/1.1\r\nx-slow: ")
    await writer.drain()
    return writer

async def connect(few):
    async with few:
        return await asyncio.open_connection(door.hostname, door.port)

async def ask(reader, writer):
    writer.write(f"GET {url} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.endswith(b"the page")

async def main():
    # gvproxy has ten attempts to connect under way at most.
    few = asyncio.Semaphore(8)
    held = []
    for _ in range(500):
        held.append(await slow())
    open_ones = await asyncio.gather(*(connect(few) for _ in range(1000)))
    answers = await asyncio.wait_for(asyncio.gather(*(ask(*one) for one in open_ones)), 120)
    print(sum(answers), "of", len(answers), "beside", len(held))

asyncio.run(main())
"#;

#[test]
fn a_thousand_clients_are_served_beside_five_hundred_slow_ones() {
    let page = Page::serve("the page").unwrap();
    let project = project_with(&allowing(&page).replace("slug = \"t\"", "slug = \"load\""));
    project.put("load.py", LOAD);
    project.bottle(&["-q", "up"]).assert().success();
    let url = format!("http://page.test:{}/", page.port());
    let load = project
        .bottle(&["-q", "exec", "--", "python3", "load.py", &url])
        .timeout(Duration::from_secs(180))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&load.stdout),
        "1000 of 1000 beside 500\n",
        "{}",
        String::from_utf8_lossy(&load.stderr)
    );

    let keeper = project.json(&["status", "--json"])["pid"].to_string();
    let proc = std::fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = proc.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (peak, now) = (field("VmHWM:"), field("VmRSS:"));
    println!("keeper: {peak} KiB at most, {now} KiB now");
    assert!(peak < 128 << 10, "{peak} KiB");
}

/// A moment without descriptors is not the end of the door.
#[test]
fn a_keeper_that_has_no_descriptors_for_a_while_serves_again_when_it_has_some() {
    let running = up("slug = \"t\"\n");
    // `exec` itself needs descriptors of the keeper, so it begins before they lack.
    let script = "while read -r _; do curl -sS -m 4 -o /dev/null -w '%{http_code}\n' $HTTP_PROXY/; done";
    let mut asking = running.command(&["-q", "exec", "--", "sh", "-c", script]);
    let asking = asking.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asking = asking.spawn().unwrap();
    let (mut into, out) = (asking.stdin.take().unwrap(), asking.stdout.take().unwrap());
    let mut said = BufReader::new(out).lines().map(Result::unwrap);
    let mut ask = || {
        into.write_all(b"ask\n").unwrap();
        said.next().unwrap()
    };
    assert_eq!(ask(), "404");
    let keeper = Pid::from_raw(running.keeper().try_into().unwrap());
    let lack = Rlimit { current: Some(1), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(keeper, Resource::Nofile, lack).unwrap();
    assert_eq!(ask(), "000");
    prlimit(keeper, Resource::Nofile, before).unwrap();
    assert_eq!(ask(), "404");
    drop(into);
    assert!(asking.wait().unwrap().success());
}
