//! What a server wants before it answers.

use hyper::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a server wants before it answers: the texts of `WWW-Authenticate`. It is had only from
/// [`Answer::demand`](super::Answer::demand), so that nobody acts on the demand of another server than the one that
/// was asked.
#[derive(Clone, Debug)]
pub struct Demand(Vec<String>);

impl Demand {
    /// Takes it out of the headers of a response.
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let texts = texts.map(str::to_owned).collect();
        headers.remove(WWW_AUTHENTICATE);
        Self(texts)
    }

    /// Returns it as one header.
    pub fn text(&self) -> String {
        self.0.join(", ")
    }
}
