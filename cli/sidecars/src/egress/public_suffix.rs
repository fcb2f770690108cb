//! Refuses rules that would open a whole public suffix: the names in `*.co.uk` or `*.github.io` belong to
//! many different owners.

use bottle_core::egress::HostPattern;
use psl::{List, Psl};

/// Refuses a pattern that covers a public suffix. A single host is never too wide, and neither is `*`: whoever opens
/// every host does not do it by mistake.
///
/// # Errors
/// Returns the suffix that the pattern covers.
pub fn check(pattern: &HostPattern) -> Result<(), TooWide> {
    let HostPattern::Below(domain) = pattern else { return Ok(()) };
    let domain = domain.as_str();
    // Try a made-up name below it: every name one level below `*.kawasaki.jp` is a suffix, too.
    let name = format!("a.{domain}");
    let suffix = List.suffix(name.as_bytes()).filter(psl::Suffix::is_known);
    match suffix {
        Some(suffix) if suffix.as_bytes().len() >= domain.len() => Err(TooWide { domain: domain.to_owned() }),
        _ => Ok(()),
    }
}

/// Returns whether a name is itself a public suffix, so that others can have names below it.
pub fn is_suffix(name: &str) -> bool {
    let suffix = List.suffix(name.as_bytes()).filter(psl::Suffix::is_known);
    suffix.is_some_and(|suffix| suffix.as_bytes().len() == name.len())
}

/// Refuses a pattern that covers a public suffix or every host, for what nobody may be given in general: addresses
/// that are not public, and whatever an agent asks for.
///
/// # Errors
/// Returns what the pattern covers.
pub fn check_named(pattern: &HostPattern) -> Result<(), TooWide> {
    match pattern {
        HostPattern::Any => Err(TooWide { domain: String::new() }),
        narrower => check(narrower),
    }
}

/// A pattern that covers a public suffix, or every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooWide {
    domain: String,
}

impl TooWide {
    /// Returns advice on what to write instead.
    pub fn help(&self) -> String {
        let domain = &self.domain;
        if domain.is_empty() {
            return "name the hosts one by one".to_owned();
        }
        format!("name the hosts one by one, like \"NAME.{domain}\", or below one name: \"*.NAME.{domain}\"")
    }
}

impl std::fmt::Display for TooWide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let domain = &self.domain;
        if domain.is_empty() {
            return f.write_str("\"*\" would open every host");
        }
        write!(
            f,
            "\"*.{domain}\" would open a public suffix: anybody can have a name below {domain}, so whoever \
             wants the guest's data can"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_that_anybody_can_have_a_name_below_is_too_wide() {
        for (pattern, holds) in [
            ("*.co.uk", false),
            ("*.github.io", false),
            ("*.githubusercontent.com", false),
            ("*.s3.amazonaws.com", false),
            ("*.herokuapp.com", false),
            ("*.xn--55qx5d.cn", false),
            ("*.kawasaki.jp", false),
            ("*.CO.UK", false),
            ("*.co.uk.", false),
            ("github.io", true),
            ("co.uk", true),
            ("*.example.co.uk", true),
            ("*.name.github.io", true),
            ("*.example.com", true),
            ("*.name.a.kawasaki.jp", true),
            ("*.corp.local", true),
            ("*.build.test", true),
        ] {
            let pattern = pattern.parse().unwrap();
            assert_eq!([check(&pattern).is_ok(), check_named(&pattern).is_ok()], [holds; 2], "{pattern}");
        }
        let any = "*".parse().unwrap();
        assert_eq!((check(&any), check_named(&any).is_ok()), (Ok(()), false));
    }
}
