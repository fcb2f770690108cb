//! `bottle top`: the processes of a guest, as the guest tells them.

use super::context::Context;
use crate::image::size;
use crate::output::{GuestProcess, Top};
use crate::time::brief;
use bottle_core::helper::HELPER;
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_guest::processes::Process;
use bottle_host::failure::Outcome;
use bottle_host::tools;
use bottle_host::{out, outln};
use std::time::Duration;

/// How many processes are shown. A guest may have, or make up, any number of them.
const MOST: usize = 1000;
/// How many characters of a command line are shown.
const WIDTH: usize = 100;

pub fn top(context: &Context, slug: Option<Slug>, json: bool) -> Outcome {
    let folder = context.running(slug)?;
    let told = tools::smolvm()?.ask(folder.slug(), &[HELPER, "processes"])?;
    let top = read(&told);
    if json {
        return out::json(&top);
    }
    outln!("{:>7} {:>7} {:<8} {:>9}  COMMAND", "PID", "USER", "TIME", "MEMORY")?;
    for process in &top.processes {
        let command: String = Line(&process.command).to_string().chars().take(WIDTH).collect();
        let time = brief(Duration::from_millis(process.cpu_ms));
        outln!(
            "{:>7} {:>7} {time:<8} {:>9}  {command}",
            process.pid,
            process.uid,
            size(process.memory_bytes)
        )?;
    }
    if top.left_out > 0 {
        out::note(format_args!("{} lines of the guest's answer are left out", top.left_out));
    }
    Ok(())
}

/// Reads what a guest told. It may have told anything.
fn read(told: &[u8]) -> Top {
    let (mut processes, mut left_out) = (Vec::new(), 0);
    for line in told.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Process>(line) {
            Ok(Process { pid, uid, cpu_ms, memory_bytes, command }) => {
                processes.push(GuestProcess { pid, uid, cpu_ms, memory_bytes, command });
            }
            Err(_) => left_out += 1,
        }
    }
    processes.sort_by_key(|process| (std::cmp::Reverse(process.cpu_ms), process.pid));
    left_out += processes.len().saturating_sub(MOST);
    processes.truncate(MOST);
    Top { processes, left_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_lies_fills_no_screen_and_breaks_no_line() {
        let line = |pid: u32, cpu: u64| {
            format!("{{\"pid\":{pid},\"uid\":0,\"cpu_ms\":{cpu},\"memory_bytes\":1,\"command\":\"a\\nb\"}}\n")
        };
        let mut told: String = (0..2000).map(|pid| line(pid, u64::from(pid))).collect();
        told.push_str("nonsense\n{\"pid\":-1}\n\u{1b}[2J\n");
        let top = read(told.as_bytes());
        assert_eq!((top.processes.len(), top.left_out), (MOST, 1003));
        assert_eq!(top.processes[0].pid, 1999);
        assert_eq!(read(b"\xff\xfe").left_out, 1);
    }
}
