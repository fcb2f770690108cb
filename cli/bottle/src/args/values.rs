//! Values of arguments, each with the form that it has.

use bottle_core::egress::HostRule;
use bottle_core::slug::Slug;
use bottle_core::text::{EnvName, Word};
use bottle_sidecars::egress::public_suffix;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Parses a host that may be allowed: no whole public suffix.
pub(super) fn narrow(text: &str) -> Result<HostRule, String> {
    let rule: HostRule = text.parse().map_err(|error| format!("{error}"))?;
    public_suffix::check(&rule.pattern).map_err(|wide| format!("{wide}; {}", wide.help()))?;
    Ok(rule)
}

/// Parses a variable of a command: `NAME=VALUE`.
pub(super) fn variable(text: &str) -> Result<(EnvName, Word), String> {
    let (name, value) = text.split_once('=').ok_or("it has the form NAME=VALUE")?;
    let name = name.parse().map_err(|error| format!("a variable's name {error}"))?;
    Ok((name, value.parse().map_err(|error| format!("a variable's value {error}"))?))
}

/// A request of an agent: `my-project.3`.
#[derive(Clone, Debug)]
pub struct RequestId {
    /// The agent's bottle.
    pub slug: Slug,
    /// The request's number in that bottle.
    pub number: u32,
}

impl std::str::FromStr for RequestId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.rsplit_once('.').and_then(|(slug, number)| Some((slug.parse().ok()?, number.parse().ok()?)));
        let (slug, number) = parts.ok_or("it has the form my-project.3; `bottle inbox` lists them")?;
        Ok(Self { slug, number })
    }
}

/// A number of bytes: `500M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "it has the form 500M: a number, and K, M, G or T";
        let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
        let shift = match &text[number.len()..] {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(FORM),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or(FORM)
    }
}

/// A path on this machine, or in a bottle: `my-project:/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Here(PathBuf),
    /// In a bottle's guest.
    Guest(Slug, OsString),
    /// On this command's standard input or output.
    Stream,
}

impl Place {
    /// Parses a path, which may contain any bytes.
    ///
    /// # Errors
    /// Returns what is wrong with it.
    pub(super) fn of(word: &OsStr) -> Result<Self, String> {
        if word == "-" {
            return Ok(Self::Stream);
        }
        // scp's rule: a colon before the first slash names a bottle.
        let bytes = word.as_bytes();
        match bytes.iter().position(|byte| matches!(byte, b':' | b'/')) {
            Some(colon) if bytes[colon] == b':' => {
                let (slug, path) = (String::from_utf8_lossy(&bytes[..colon]), &bytes[colon + 1..]);
                let slug =
                    slug.parse().map_err(|error| format!("{slug:?} is not a bottle's name: {error}"))?;
                match path {
                    b"" => Err("a path belongs after the colon".to_owned()),
                    path => Ok(Self::Guest(slug, OsStr::from_bytes(path).to_owned())),
                }
            }
            _ if word.is_empty() => Err("a path cannot be empty".to_owned()),
            _ => Ok(Self::Here(word.into())),
        }
    }
}
