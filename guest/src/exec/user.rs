//! The user that a command runs as, as the guest's own `/etc/passwd` and `/etc/group` know it.

use crate::report::{Code, Refused};
use anyhow::{Context, Result};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user of the guest.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    name: Option<OsString>,
    /// Its home folder: `/` if nothing says another.
    pub home: PathBuf,
}

impl User {
    /// Finds a user by `NAME`, `UID`, `NAME:GROUP` or `UID:GID`. A number needs no entry in `/etc/passwd`.
    ///
    /// # Errors
    /// Returns an error if the name is not there.
    pub fn find(named: &OsStr) -> Result<Self> {
        // An image without these files has no names, and numbers still work.
        let file = |path| fs::read(path).unwrap_or_default();
        Self::among(named.as_bytes(), &file(PASSWD), &file(GROUP))
    }

    fn among(named: &[u8], passwd: &[u8], group: &[u8]) -> Result<Self> {
        let (user, its_group) = match named.iter().position(|byte| *byte == b':') {
            Some(at) => (&named[..at], Some(&named[at + 1..])),
            None => (named, None),
        };
        let entry = entries(passwd).find(|fields| fields.first() == Some(&user)).or_else(|| {
            entries(passwd).find(|fields| {
                number(user).is_some() && fields.get(2).and_then(|uid| number(uid)) == number(user)
            })
        });
        let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at)).copied();
        let uid = field(2).and_then(number).or_else(|| number(user));
        let uid = uid.ok_or_else(|| no_user(format!("the guest has no user {}", user.escape_ascii())))?;
        let gid = match its_group {
            Some(named) => {
                let entry = entries(group).find(|fields| fields.first() == Some(&named));
                let gid = entry.and_then(|fields| number(fields.get(2)?)).or_else(|| number(named));
                gid.ok_or_else(|| no_user(format!("the guest has no group {}", named.escape_ascii())))?
            }
            None => field(3).and_then(number).unwrap_or(uid),
        };
        let name = field(0);
        let is_member = |fields: &Vec<&[u8]>| {
            let members = fields.get(3).copied().unwrap_or_default();
            name.is_some_and(|name| members.split(|byte| *byte == b',').any(|member| member == name))
        };
        let groups = match its_group {
            // As with Docker, naming a group means that one alone.
            Some(_) => Vec::new(),
            None => entries(group).filter(is_member).filter_map(|fields| number(fields.get(2)?)).collect(),
        };
        let home = field(5).filter(|home| !home.is_empty()).unwrap_or(b"/");
        Ok(Self {
            uid,
            gid,
            groups,
            name: name.map(|name| OsStr::from_bytes(name).to_owned()),
            home: OsStr::from_bytes(home).into(),
        })
    }

    /// Returns the variables that name it.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        let name =
            ["USER", "LOGNAME"].into_iter().filter_map(|variable| Some((variable, self.name.clone()?)));
        name.chain([("HOME", self.home.clone().into_os_string())])
    }

    /// Makes this process run as it. There must be no other thread.
    ///
    /// # Errors
    /// Returns an error if this process may not.
    pub fn become_it(&self) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> =
            std::iter::once(self.gid).chain(self.groups.iter().copied()).map(Gid::from_raw).collect();
        let become_it = || -> rustix::io::Result<()> {
            set_thread_groups(&groups)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)
        };
        become_it().with_context(|| format!("cannot run as user {}", self.uid))
    }
}

fn no_user(what: String) -> Refused {
    Refused(Code::NoUser, what)
}

/// Returns the fields of each line.
fn entries(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b':').collect())
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\nbad\n";
    const GROUPS: &[u8] = b"root:x:0:\nnode:x:1001:\naudio:x:29:node,other\nvideo:x:44:nodes\n";

    fn found(named: &str) -> Option<(u32, u32, Vec<u32>, PathBuf)> {
        let user = User::among(named.as_bytes(), USERS, GROUPS).ok()?;
        Some((user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number_with_its_groups() {
        assert_eq!(found("node"), Some((1000, 1001, vec![29], "/home/node".into())));
        assert_eq!(found("1000"), found("node"));
        assert_eq!(found("node:audio"), Some((1000, 29, vec![], "/home/node".into())));
        assert_eq!(found("1234:5"), Some((1234, 5, vec![], "/".into())));
        assert_eq!(found("1234"), Some((1234, 1234, vec![], "/".into())));
    }

    #[test]
    fn a_name_that_is_not_there_is_no_user() {
        for named in ["", "nobody", "node:nogroup", "-1", "4294967296", "bad", "root\n"] {
            assert_eq!(found(named), None, "{named}");
        }
    }
}
