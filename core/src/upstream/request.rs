//! The parts of a guest's request that go to an upstream besides its path.

/// The methods that are passed on. `TRACE` and its relatives would answer with the request, key and all.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Returns whether a request with this method is passed on. Methods are case-sensitive.
pub fn is_method_passed_on(method: &str) -> bool {
    METHODS.contains(&method)
}

/// Headers with which a client tells a server that believes it where a request came from or goes to, which
/// method or path it really means, or how to transfer it.
const STEERING: [&str; 28] = [
    "base-url",
    "expect",
    "forwarded",
    "front-end-https",
    "if-range",
    "max-forwards",
    "range",
    "request-uri",
    "te",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-custom-ip-authorization",
    "x-forwarded",
    "x-forwarded-path",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-prefix",
    "x-real-ip",
    "x-remote-user",
    "x-request-uri",
    "x-script-name",
    "x-sendfile",
];
/// The beginnings of more such headers.
const STEERING_BEGINS: [&str; 9] = [
    "x-accel-",
    "x-appengine-",
    "x-envoy-",
    "x-forwarded-",
    "x-middleware-",
    "x-original-",
    "x-proxy-",
    "x-rewrite-",
    "x-sendfile-",
];

/// Returns whether a guest's header with this name, in lower case, goes to an upstream. A name with an
/// underscore does not: many servers pass it to the program as the same name with a hyphen, so `x_api_key`
/// would become the key's header. nginx drops such names, too.
pub fn is_header_passed_on(name: &str) -> bool {
    let steers = STEERING.contains(&name) || STEERING_BEGINS.iter().any(|begin| name.starts_with(begin));
    !steers && !name.contains('_')
}
