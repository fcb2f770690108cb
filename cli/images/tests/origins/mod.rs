//! Only the registry itself says what it wants, and where a token is had.

use crate::serve::{Image, Registry, Reply};
use crate::{Here, says, text};
use bottle_host::failure::Kind;

/// A host that wants a token from another one before it gives out anything.
fn wants_token_of(realm: String) -> Registry {
    Registry::start(move |_| {
        let wants = format!("Bearer realm=\"http://{realm}/token\",service=\"s\"");
        Reply::Whole(401, vec![("www-authenticate", wants)], Vec::new())
    })
}

fn gives_tokens() -> Registry {
    Registry::start(|_| Reply::Whole(200, Vec::new(), br#"{"token":"","access_token":"secret"}"#.to_vec()))
}

#[test]
fn a_host_to_which_a_registry_redirects_gets_no_token_and_names_no_place_for_one() {
    let image = Image::of(&[text()]);
    let tokens = gives_tokens();
    let elsewhere = wants_token_of(tokens.address.to_string());
    let (address, layer) = (elsewhere.address, image.layer(0));
    let registry = Registry::start(move |request| match request.path.ends_with(&layer) {
        true => Reply::Whole(307, vec![("location", format!("http://{address}/x"))], Vec::new()),
        false => image.reply(request),
    });
    says(&Here::new().refused(&registry), Kind::Unavailable, &format!("{address} answered with 401"));
    assert!(tokens.requests().is_empty(), "{:?}", tokens.requests());
    assert_eq!(elsewhere.requests().len(), 1);
}

#[test]
fn the_registry_itself_names_the_place_for_a_token_also_after_a_redirect_of_its_own() {
    let image = Image::of(&[text()]);
    let tokens = gives_tokens();
    let (realm, layer) = (tokens.address, image.layer(0));
    let registry = Registry::start(move |request| {
        if request.path.ends_with(&layer) && !request.path.contains("/moved/") {
            let location = format!("../moved/{layer}#here");
            return Reply::Whole(307, vec![("location", location)], Vec::new());
        }
        if request.headers.get("authorization").is_none_or(|value| value != "Bearer secret") {
            let wants = format!("Bearer realm=\"http://{realm}/token\"");
            return Reply::Whole(401, vec![("www-authenticate", wants)], Vec::new());
        }
        let mut request = request.clone();
        request.path = request.path.replace("/moved/", "/blobs/");
        image.reply(&request)
    });
    Here::new().pull(&registry.name("a:1"), None).unwrap();
    assert_eq!(tokens.paths(), ["/token?scope=repository%3Aa%3Apull"]);
}

#[test]
fn a_name_of_loopback_is_one_in_any_case() {
    let registry = Registry::of(Image::of(&[text()]));
    let name = format!("LOCALHOST:{}/a:1", registry.address.port());
    Here::new().pull(&name.parse().unwrap(), None).unwrap();
}
