//! `[guest] ca`: certificate authorities that a guest trusts beside the usual ones.
//!
//! The guest gets one file, with this machine's authorities and those of the files that were named. Programs look for
//! it in variables of their own ([`VARIABLES`]). Java reads none of them.

use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::read_short;
use std::path::{Path, PathBuf};

/// Where the guest sees the file.
pub const IN_GUEST: &str = "/opt/bottle/ca.pem";
/// The variables that name it: of OpenSSL and whatever is built on it, curl, git, Node, Deno, Python's requests, pip, cargo,
/// gRPC, and AWS's tools.
pub const VARIABLES: [&str; 10] = [
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];
/// Where Linux distributions have this machine's authorities in one file.
const OF_THIS_MACHINE: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The longest file, in bytes.
const LONGEST: u64 = 4 << 20;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Returns the text of the guest's file, if any authority was named.
///
/// # Errors
/// Returns [`Kind::Usage`] if a file cannot be read, or has no certificate in it.
pub fn bundle(named: &[PathBuf]) -> Outcome<Option<String>> {
    if named.is_empty() {
        return Ok(None);
    }
    let own = OF_THIS_MACHINE.iter().find_map(|path| read_short(Path::new(path), LONGEST).ok());
    let mut bundle = own.as_deref().map(certificates).unwrap_or_default();
    for path in named {
        let fail = |what: &str| {
            Failure::new(Kind::Usage, format!("the certificate authority {}: {what}", path.display()))
                .help("`ca` names PEM files with a certificate in each")
        };
        let found = certificates(&read_short(path, LONGEST).map_err(|error| fail(&error.to_string()))?);
        if found.is_empty() {
            return Err(fail("it has no certificate in it"));
        }
        bundle.push_str(&found);
    }
    Ok(Some(bundle))
}

/// Returns the certificates of a PEM file, and nothing else: there may be a private key beside them.
fn certificates(text: &str) -> String {
    let mut found = String::new();
    for part in text.split(BEGIN).skip(1) {
        let Some((body, _)) = part.split_once(END) else { continue };
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "+/=".contains(c);
        if body.chars().all(is_base64) {
            found.push_str(&format!("{BEGIN}{body}{END}\n"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_come_out_of_a_file() {
        let one = format!("{BEGIN}\nMIIB+/=\n{END}\n");
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        assert_eq!(certificates(&format!("note\n{key}{one}{key}{one}")), format!("{one}{one}"));
        assert_eq!(certificates(&format!("{BEGIN}\n{key}{END}")), "");
        assert_eq!(certificates(&format!("{BEGIN}\nMIIB")), "");
    }
}
