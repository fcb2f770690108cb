//! A file in which Docker or Podman stores logins.

use super::login::Login;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What such a file says.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    auths: Option<BTreeMap<String, Auth>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Stored {
    /// Reads a file, if there is one.
    ///
    /// # Errors
    /// Returns an error that names the file if it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        match fs::read(path) {
            Ok(bytes) if bytes.is_empty() => Ok(None),
            // What serde says about it could quote a password.
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| format!("{} is damaged at line {}", path.display(), error.line())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Returns the helper program that has the login of this server.
    pub fn helper(&self, server: &str) -> Option<&str> {
        let helper = self.cred_helpers.as_ref()?.get(server)?;
        Some(helper.as_str()).filter(|helper| !helper.is_empty())
    }

    /// Returns the helper program that has the logins of all servers.
    pub fn helper_of_all(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|helper| !helper.is_empty())
    }

    /// Returns the login in the first of these places that has one. A place without one says that a helper program
    /// has it.
    ///
    /// # Errors
    /// Returns an error if a login cannot be read.
    pub fn login(&self, keys: &[String]) -> Result<Option<Login>, String> {
        let Some(auths) = &self.auths else { return Ok(None) };
        for key in keys {
            let same = |(stored, _): &(&String, &Auth)| server(stored) == key;
            let found = auths.get(key).or_else(|| auths.iter().find(same).map(|(_, auth)| auth));
            if let Some(login) = found.map(|auth| auth.login(key)).transpose()?.flatten() {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

/// Returns the host of a place that is a URL, and any other place as it is.
fn server(place: &str) -> &str {
    match place.strip_prefix("https://").or_else(|| place.strip_prefix("http://")) {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        None => place,
    }
}

impl Auth {
    fn login(&self, place: &str) -> Result<Option<Login>, String> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&self.identitytoken) {
            return Ok(Some(Login::Identity(token)));
        }
        if let Some(packed) = some(&self.auth) {
            let unpacked = unpack(&packed).ok_or_else(|| format!("the login for {place} is damaged"))?;
            return Ok(Some(unpacked));
        }
        Ok(some(&self.username).zip(some(&self.password)).map(|(name, word)| Login::Password(name, word)))
    }
}

/// Unpacks a name and a password.
fn unpack(packed: &str) -> Option<Login> {
    let form = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = GeneralPurpose::new(&STANDARD, form).decode(packed).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (name, word) = text.split_once(':')?;
    Some(Login::Password(name.to_owned(), word.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use serde_json::{Value, json};

    fn found(name: &str, stored: &Value) -> Result<Option<Login>, String> {
        let stored: Stored = serde_json::from_value(stored.clone()).unwrap();
        stored.login(&name.parse::<Name>().unwrap().login_keys())
    }

    fn is(word: &str) -> Result<Option<Login>, String> {
        Ok(Some(Login::Password("me".to_owned(), word.to_owned())))
    }

    fn auth(word: &str) -> Value {
        json!({ "auth": base64::engine::general_purpose::STANDARD.encode(format!("me:{word}")) })
    }

    #[test]
    fn the_longest_place_that_has_a_login_counts() {
        let all = json!({ "auths": { "r.test": auth("host"), "r.test/team": auth("team"),
            "r.test/team/ok": auth("repository"), "r.test/te": auth("no folder") } });
        for (name, word) in [
            ("r.test/team/ok:1", "repository"),
            ("r.test/team/ok/deep:1", "repository"),
            ("r.test/team/okay:1", "team"),
            ("r.test/tea:1", "host"),
        ] {
            assert_eq!(found(name, &all), is(word), "{name}");
        }
        assert_eq!(found("other.test/team/ok:1", &all), Ok(None));
        let empty = json!({ "auths": { "r.test": auth("host"), "r.test/team": { "auth": "" }, "r.test/team/ok": {} } });
        assert_eq!(found("r.test/team/ok:1", &empty), is("host"));
        assert_eq!(found("r.test/a:1", &json!({ "auths": { "r.test": { "auth": "" } } })), Ok(None));
    }

    #[test]
    fn a_host_is_found_by_its_urls_and_dockers_by_each_of_its_names() {
        for place in ["https://r.test", "https://r.test/v1/", "http://r.test/x", "r.test"] {
            assert_eq!(found("r.test/a:1", &json!({ "auths": { place: auth("x") } })), is("x"), "{place}");
        }
        for place in
            ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "docker.io/library/python"]
        {
            assert_eq!(found("python", &json!({ "auths": { place: auth("x") } })), is("x"), "{place}");
        }
    }

    #[test]
    fn each_form_of_a_login_is_read_and_a_damaged_one_is_named() {
        let ask = |auth: Value| found("r.test/a:1", &json!({ "auths": { "r.test": auth } }));
        assert_eq!(ask(json!({ "username": "me", "password": "x" })), is("x"));
        assert_eq!(
            ask(json!({ "auth": "", "identitytoken": "t" })),
            Ok(Some(Login::Identity("t".to_owned())))
        );
        assert_eq!(ask(json!({ "auth": "bWU6eA" })), is("x"), "without padding");
        assert_eq!(ask(json!({ "auth": "?" })), Err("the login for r.test is damaged".to_owned()));
    }

    #[test]
    fn a_damaged_file_is_named_and_a_missing_one_has_no_logins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert!(Stored::read(&path).unwrap().is_none());
        fs::write(&path, r#"{"auths":{"r.test":{"auth":"c2VjcmV0"#).unwrap();
        let why = Stored::read(&path).err().unwrap();
        assert_eq!(why, format!("{} is damaged at line 1", path.display()));
        fs::write(&path, r#"{"auths":null,"credsStore":"","other":[1]}"#).unwrap();
        let stored = Stored::read(&path).unwrap().unwrap();
        assert!(stored.helper_of_all().is_none() && stored.helper("r.test").is_none());
    }
}
