//! A registry's documents and parts, as the OCI distribution specification serves them.

use crate::challenge::{self, Challenge, encode, scope};
use crate::credentials::{self, Login};
use crate::http::{Answer, Ask, Client, Demand, authority};
use crate::limits::{ANSWER, MANIFEST};
use crate::location::is_local;
use crate::manifest::{ACCEPTED, Part};
use crate::name::Name;
use crate::refusal::{Refusal, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;

/// A registry that is asked for one image.
pub struct Registry<'c> {
    client: &'c Client,
    name: &'c Name,
    base: Uri,
    /// The credentials that its requests carry, once it wanted some.
    authorization: Option<HeaderValue>,
    /// Whether they come from a login of the operator's.
    with_login: bool,
}

/// A part that is being sent.
pub struct Sending {
    /// Where in the part the bytes begin: at 0 if the registry sends the whole part again.
    pub from: u64,
    /// The bytes.
    pub body: crate::http::Body,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    /// Returns the token, which has one of two names. Some servers write both, and leave one empty.
    fn take(self) -> Option<String> {
        [self.token, self.access_token].into_iter().flatten().find(|token| !token.is_empty())
    }
}

impl<'c> Registry<'c> {
    /// Finds the registry of an image: over HTTPS, or on loopback over HTTP if it does not speak TLS.
    ///
    /// # Errors
    /// Returns an error if the name makes no address, or if a registry on loopback speaks TLS and this machine does
    /// not trust it.
    pub async fn of(name: &'c Name, client: &'c Client) -> Result<Self> {
        let is_plain = name.is_on_loopback() && !client.speaks_tls(name.host()).await?;
        let scheme = if is_plain { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}", name.host(), name.repository());
        let base =
            base.parse().map_err(|_| Refusal::Name(name.to_string(), "it makes no address".to_owned()))?;
        Ok(Self { client, name, base, authorization: None, with_login: false })
    }

    /// Returns an image's manifest or index, by its digest or its tag.
    ///
    /// # Errors
    /// Returns an error if there is none, or if it is too long.
    pub async fn manifest(&mut self, wanted: &str) -> Result<Vec<u8>> {
        let accept = HeaderValue::from_str(&ACCEPTED.join(", ")).map_err(anyhow::Error::from)?;
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
        let answer = self.get(&format!("/manifests/{wanted}"), headers).await?;
        match answer.status {
            StatusCode::OK => answer.body.whole(MANIFEST).await,
            StatusCode::NOT_FOUND => Err(Refusal::NotFound {
                host: self.name.host().to_owned(),
                what: self.name.described(),
                similar: self.similar(wanted).await,
            }),
            _ => Err(self.refused(answer, &self.base, &self.name.described()).await),
        }
    }

    /// Starts to fetch a part of the image, at an offset if the registry can do that, and otherwise from the
    /// beginning.
    ///
    /// # Errors
    /// Returns an error if the registry does not give it out.
    pub async fn part(&mut self, part: &Part, from: u64) -> Result<Sending> {
        let path = format!("/blobs/{}", part.digest);
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-")).map_err(anyhow::Error::from)?;
            let answer = self.get(&path, HeaderMap::from_iter([(header::RANGE, range)])).await?;
            match answer.status {
                StatusCode::OK => return Ok(Sending { from: 0, body: answer.body }),
                StatusCode::PARTIAL_CONTENT if begins_at(&answer.headers, from) => {
                    return Ok(Sending { from, body: answer.body });
                }
                status if !may_mean_the_range(status) => {
                    return Err(self.refused(answer, &self.base, part.digest.as_str()).await);
                }
                _ => {}
            }
        }
        let answer = self.get(&path, HeaderMap::new()).await?;
        match answer.status {
            StatusCode::OK => Ok(Sending { from: 0, body: answer.body }),
            StatusCode::PARTIAL_CONTENT => {
                Err(Refusal::hostile(self.name.host(), "another part of a layer than was asked for"))
            }
            _ => Err(self.refused(answer, &self.base, part.digest.as_str()).await),
        }
    }

    /// Returns the name with the tag of the repository that is most like one that it does not have.
    async fn similar(&mut self, wanted: &str) -> Option<String> {
        if wanted.contains(':') {
            return None;
        }
        let answer = self.get("/tags/list?n=1000", HeaderMap::new()).await.ok()?;
        let list = answer.body.whole(ANSWER).await.ok().filter(|_| answer.status == StatusCode::OK)?;
        let list: Value = serde_json::from_slice(&list).ok()?;
        let tags = list["tags"].as_array()?.iter().filter_map(Value::as_str);
        let is_tag = |tag: &&str| {
            tag.len() <= 128 && tag.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
        };
        let near = tags.filter(is_tag).max_by(|one, other| {
            strsim::jaro_winkler(wanted, one).total_cmp(&strsim::jaro_winkler(wanted, other))
        });
        near.map(|tag| self.name.with_tag(tag).to_string())
    }

    /// Asks for something of the repository's, with credentials once they are wanted.
    async fn get(&mut self, path: &str, headers: HeaderMap) -> Result<Answer> {
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|_| Refusal::Name(self.name.to_string(), "it makes no address".to_owned()))?;
        let mut has_given = false;
        loop {
            let mut ask = Ask { method: Method::GET, headers: headers.clone(), body: Bytes::new() };
            if let Some(value) = &self.authorization {
                ask.headers.insert(header::AUTHORIZATION, value.clone());
            }
            let answer = self.client.ask(uri.clone(), ask).await?;
            let Some(demand) = answer.demand(&self.base).filter(|_| !has_given) else { return Ok(answer) };
            // A token runs out during a long pull, so every request may need a new one.
            self.meet(&demand).await?;
            has_given = true;
        }
    }

    /// Gets what the registry wants.
    async fn meet(&mut self, demand: &Demand) -> Result<()> {
        let host = self.name.host();
        let wanted = challenge::parse(&demand.text(), is_local(&self.base))
            .map_err(|why| Refusal::hostile(host, why))?;
        let login = credentials::find(self.name).await?;
        self.with_login = login.is_some();
        let value = match (wanted, login) {
            (Challenge::Basic, Some(Login::Password(name, word))) => basic(&name, &word),
            (Challenge::Basic, _) => return Err(self.unauthorized(&self.name.described())),
            (Challenge::Bearer { realm, service }, login) => {
                format!("Bearer {}", self.token(&realm, service.as_deref(), login).await?)
            }
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| Refusal::hostile(host, "a token that no request can carry"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    /// Asks for a token to read the repository.
    async fn token(&self, realm: &Uri, service: Option<&str>, login: Option<Login>) -> Result<String> {
        let (host, repository) = (authority(realm), self.name.repository());
        let mut ask = Ask { method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() };
        let uri = match login {
            Some(Login::Identity(token)) => {
                ask.method = Method::POST;
                ask.headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                );
                ask.body = exchange(&token, service, repository).into();
                realm.clone()
            }
            login => {
                if let Some(Login::Password(name, word)) = login {
                    let mut value =
                        HeaderValue::from_str(&basic(&name, &word)).map_err(anyhow::Error::from)?;
                    value.set_sensitive(true);
                    ask.headers.insert(header::AUTHORIZATION, value);
                }
                challenge::token(realm, service, repository).map_err(|why| Refusal::hostile(&host, why))?
            }
        };
        let answer = self.client.ask(uri, ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(answer, realm, &self.name.described()).await);
        }
        let token: Option<Token> = serde_json::from_slice(&answer.body.whole(ANSWER).await?).ok();
        token.and_then(Token::take).ok_or_else(|| Refusal::hostile(&host, "an answer without a token"))
    }

    /// Makes a refusal of an answer that is none. `asked` is the address that the request went to: another host, to
    /// which that one redirected, says nothing about accounts.
    async fn refused(&self, answer: Answer, asked: &Uri, what: &str) -> Refusal {
        let is_own = answer.is_from(asked);
        let host = if is_own { self.name.host().to_owned() } else { answer.host() };
        match answer.status.as_u16() {
            401 | 403 if is_own => self.unauthorized(what),
            404 => Refusal::NotFound { host, what: what.to_owned(), similar: None },
            429 => Refusal::TooMany(host, answer.retry_after()),
            status => Refusal::Status { host, status, why: said(&answer.body.beginning().await) },
        }
    }

    fn unauthorized(&self, what: &str) -> Refusal {
        let (host, what) = (self.name.host().to_owned(), what.to_owned());
        Refusal::Unauthorized { host, what, with_login: self.with_login }
    }
}

/// Returns whether an answer may refuse nothing but the range that was asked for.
fn may_mean_the_range(status: StatusCode) -> bool {
    matches!(status.as_u16(), 206 | 400 | 403 | 404 | 416 | 501)
}

/// Returns whether the bytes of a partial answer begin where they were asked for.
fn begins_at(headers: &HeaderMap, from: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    range
        .strip_prefix("bytes ")
        .and_then(|range| range.split_once('-'))
        .is_some_and(|(begin, _)| begin.parse() == Ok(from))
}

fn basic(name: &str, word: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{word}")))
}

/// Returns the form that exchanges an identity token for one that reads a repository.
fn exchange(token: &str, service: Option<&str>, repository: &str) -> String {
    let mut form = "grant_type=refresh_token&client_id=bottle&refresh_token=".to_owned();
    encode(&mut form, token);
    form.push_str("&service=");
    encode(&mut form, service.unwrap_or_default());
    form.push_str("&scope=");
    encode(&mut form, &scope(repository));
    form
}

/// Returns what a registry says about an error, as the end of a sentence.
fn said(body: &[u8]) -> String {
    let Ok(errors) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let first = &errors["errors"][0];
    match (first["code"].as_str(), first["message"].as_str()) {
        (Some(code), Some(message)) => format!(" ({code:.40}: {message:.200})"),
        (Some(code), None) => format!(" ({code:.40})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_answer_begins_where_it_was_asked_for() {
        let headers = |range: &'static str| {
            HeaderMap::from_iter([(header::CONTENT_RANGE, HeaderValue::from_static(range))])
        };
        assert!(begins_at(&headers("bytes 5-9/10"), 5));
        for range in ["bytes 0-9/10", "bytes */10", "items 5-9/10", "", "bytes 5"] {
            assert!(!begins_at(&headers(range), 5), "{range}");
        }
    }

    #[test]
    fn what_a_registry_says_about_an_error_is_short() {
        let long = format!(r#"{{"errors":[{{"code":"DENIED","message":"{}"}}]}}"#, "x".repeat(3000));
        assert_eq!(said(long.as_bytes()).len(), 200 + " (DENIED: )".len());
        assert_eq!(said(b"<html>"), "");
        assert_eq!(said(b"[]"), "");
    }

    #[test]
    fn an_empty_token_is_none() {
        let taken = |text: &str| serde_json::from_str::<Token>(text).unwrap().take();
        assert_eq!(taken(r#"{"token":"","access_token":"zzz"}"#).as_deref(), Some("zzz"));
        assert_eq!(taken(r#"{"token":"a","access_token":"b"}"#).as_deref(), Some("a"));
        assert_eq!(taken(r#"{"token":"","access_token":null}"#), None);
    }

    #[test]
    fn an_identity_token_stays_one_value_of_the_form() {
        let form = exchange("a&scope=b", Some("s&t"), "r");
        assert_eq!(form.matches('&').count(), 4);
    }
}
