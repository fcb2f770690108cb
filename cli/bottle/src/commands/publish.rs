//! `bottle publish`, and the publishers of a bottle with `[[publish]]`.

use super::context::Context;
use crate::publish::{listen, record};
use anyhow::Context as _;
use bottle_core::slug::Slug;
use bottle_core::specification::Published;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::outln;
use bottle_host::state::{Folder, Home};
use rustix::process::setsid;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// The longest answer of a publisher, in bytes.
const LONGEST: u64 = 4096;
/// What a publisher says before the port that it listens on.
const READY: &str = "ready ";

/// Publishes a port for as long as this command runs.
pub fn publish(context: &Context, slug: Slug, wanted: Published) -> Outcome {
    let folder = context.running(Some(slug))?;
    listen::publish(&folder, wanted, |published| {
        outln!("{}", url(&folder, published))?;
        context.say("it ends with this command, or when the bottle stops");
        Ok(())
    })
}

/// Returns the address of a published port. Each bottle has a name of its own, so that a browser mixes no cookies.
pub fn url(folder: &Folder, published: Published) -> String {
    format!("http://{}.localhost:{}/ leads to port {}", folder.slug(), published.host, published.guest)
}

/// Starts the publishers that a bottle lacks of those that its plan wants.
pub fn start_all(context: &Context, folder: &Folder) -> Outcome {
    let wanted = folder.read_plan()?.publish;
    let running = record::published(folder);
    for one in wanted.into_iter().filter(|one| !running.iter().any(|known| known.guest == one.guest)) {
        let host = start(folder, one)?;
        context.say(&url(folder, Published { host, ..one }));
    }
    Ok(())
}

/// Starts a publisher, and returns the port that it listens on.
fn start(folder: &Folder, wanted: Published) -> Outcome<u16> {
    let own = std::env::current_exe().context("this program's own path")?;
    let mut publisher = Command::new(own);
    publisher.args(["publisher", folder.slug().as_str()]);
    publisher.args([wanted.guest.to_string(), wanted.host.to_string()]);
    publisher.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
    let mut child = publisher.spawn().context("cannot start the publisher")?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout.take(LONGEST)).read_line(&mut said).context("the publisher")?;
    }
    let said = said.trim_end();
    said.strip_prefix(READY).and_then(|port| port.parse().ok()).ok_or_else(|| {
        let why = if said.is_empty() { "its publisher ended" } else { said };
        Failure::new(Kind::Busy, format!("{wanted} cannot be published: {why}"))
            .help("the bottle is up; leave `host` out of [[publish]], and any free port is taken")
    })
}

/// Publishes a port until the bottle stops. This is a publisher's whole life.
pub fn publisher(slug: &Slug, wanted: Published) -> Outcome {
    let folder = Home::find()?.bottle(slug);
    // Whoever started it may close the terminal.
    let _ = setsid();
    let say = |what: &str| {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{what}").and_then(|()| out.flush());
    };
    listen::publish(&folder, wanted, |published| {
        say(&format!("{READY}{}", published.host));
        // Nobody reads any more.
        rustix::stdio::dup2_stdout(File::open("/dev/null").context("/dev/null")?)
            .map_err(anyhow::Error::from)?;
        Ok(())
    })
    .inspect_err(|failure| say(failure.what()))
}
