//! The files in which vendors' own programs keep their logins.

use super::credential::Credential;
use crate::keys::found::value;
use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bottle_core::upstream::Login;
use serde_json::Value;
use std::env;
use std::path::PathBuf;

/// A vendor's own program.
pub struct Vendor {
    /// The command that logs a person in.
    pub command: &'static [&'static str],
    /// The variable that names the program's folder.
    folder: &'static str,
    /// That folder below the home folder.
    default: &'static str,
    /// The login's file in it.
    file: &'static str,
    parse: fn(&Value) -> Option<Credential>,
}

/// Returns what is known of the program that a login belongs to.
pub fn vendor(login: Login) -> Vendor {
    match login {
        Login::Claude => Vendor {
            command: &["claude", "auth", "login"],
            folder: "CLAUDE_CONFIG_DIR",
            default: ".claude",
            file: ".credentials.json",
            parse: claude,
        },
        Login::Codex => Vendor {
            command: &["codex", "login"],
            folder: "CODEX_HOME",
            default: ".codex",
            file: "auth.json",
            parse: codex,
        },
    }
}

impl Vendor {
    /// Returns the file in which the program keeps its login.
    ///
    /// # Errors
    /// Returns an error if there is no home folder.
    pub fn place(&self) -> Result<PathBuf> {
        let named = env::var_os(self.folder).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = match named {
            Some(folder) => folder,
            None => env::home_dir().context("there is no home folder")?.join(self.default),
        };
        Ok(folder.join(self.file))
    }

    /// Takes the login out of the text of such a file.
    ///
    /// # Errors
    /// Returns an error that repeats nothing of the text.
    pub fn parse(&self, text: &str) -> Result<Credential> {
        let document: Value = serde_json::from_str(text).ok().context("it is not JSON")?;
        let found = (self.parse)(&document).context("it has no login with a token that can be renewed")?;
        let is_empty = |token: &str| token.trim().is_empty();
        ensure!(!is_empty(&found.access_token) && !is_empty(&found.refresh_token), "its tokens are empty");
        // The access token and the account become headers.
        for header in [Some(found.access_token.as_str()), found.account.as_deref()].into_iter().flatten() {
            value("", header).context("one of its texts cannot be sent in a header")?;
        }
        Ok(found)
    }
}

fn claude(document: &Value) -> Option<Credential> {
    let login = document.get("claudeAiOauth")?;
    Some(Credential {
        access_token: text(login, "accessToken")?,
        refresh_token: text(login, "refreshToken")?,
        // In milliseconds.
        expires_at: login.get("expiresAt").and_then(Value::as_u64).map(|end| end / 1000),
        account: None,
    })
}

fn codex(document: &Value) -> Option<Credential> {
    let tokens = document.get("tokens")?;
    let access_token = text(tokens, "access_token")?;
    Some(Credential {
        expires_at: end_of(&access_token),
        access_token,
        refresh_token: text(tokens, "refresh_token")?,
        account: text(tokens, "account_id"),
    })
}

fn text(of: &Value, key: &str) -> Option<String> {
    of.get(key)?.as_str().map(str::to_owned)
}

/// Returns when a token ends, if it is one that says so: a JSON Web Token.
pub fn end_of(token: &str) -> Option<u64> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vendors_file_is_read_and_anything_else_is_refused_without_its_words() {
        let claude = vendor(Login::Claude);
        let text = r#"{"claudeAiOauth":{"accessToken":"a","refreshToken":"r","expiresAt":1700000000123,"scopes":["x"]},"x":1}"#;
        let found = claude.parse(text).unwrap();
        assert_eq!(
            (&*found.access_token, &*found.refresh_token, found.expires_at),
            ("a", "r", Some(1_700_000_000))
        );
        let codex = vendor(Login::Codex);
        // {"exp":1800000000}
        let text = r#"{"OPENAI_API_KEY":null,"tokens":{"id_token":"i","access_token":"h.eyJleHAiOjE4MDAwMDAwMDB9.s","refresh_token":"r","account_id":"acc"}}"#;
        let found = codex.parse(text).unwrap();
        assert_eq!((found.expires_at, found.account.as_deref()), (Some(1_800_000_000), Some("acc")));
        for (vendor, text) in [
            (&claude, "secret"),
            (&claude, r#"{"claudeAiOauth":{"accessToken":"secret\nb: c","refreshToken":"r"}}"#),
            (&claude, r#"{"claudeAiOauth":{"accessToken":" ","refreshToken":"secret"}}"#),
            (&codex, r#"{"tokens":{"access_token":"h","refresh_token":"secret","account_id":"a\nb"}}"#),
            (&claude, r#"{"claudeAiOauth":{"accessToken":"secret"}}"#),
            (&claude, r#"{"claudeAiOauth":{"accessToken":"secret","refreshToken":""}}"#),
            (&codex, r#"{"OPENAI_API_KEY":"secret","tokens":null}"#),
        ] {
            let error = format!("{:#}", vendor.parse(text).err().unwrap());
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
