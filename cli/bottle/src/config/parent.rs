//! `[egress.parent]`: the proxy through which this machine reaches the internet.

use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
use bottle_core::parent::{Parent, ParentLogin, ParentProxy};
use bottle_core::upstream::Secret;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::proxies;
use schemars::JsonSchema;
use serde::Deserialize;

/// The URL that means: no proxy, whatever the environment says.
const NONE: &str = "none";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentTable {
    /// The proxy, `http://HOST:PORT`, or `none` to use no proxy of the environment.
    url: String,
    /// Its login: a secret of this machine of the form `USER:PASSWORD`.
    login: Option<Table<Secret>>,
    /// Hosts that are reached without it. A name stands for what is below it, too.
    #[serde(default)]
    except: Vec<String>,
}

/// Who says which parent proxy there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ParentChoice {
    /// The environment in which a bottle is started.
    #[default]
    Environment,
    /// `bottle.toml`, which names one or none.
    File(Option<Box<Parent>>),
}

impl ParentChoice {
    /// Reads the table.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if the proxy is not one that bottle can use.
    pub fn from_table(
        table: Spanned<Table<ParentTable>>,
        source: &Source,
        whole: impl Fn(&mut Secret) -> Option<()>,
    ) -> Outcome<Self> {
        let span = table.span();
        let fail = |what: &str| source.fail(Some(span.clone()), what);
        let ParentTable { url, login, except } = table.into_inner().0;
        if url == NONE {
            return match (login, except.is_empty()) {
                (None, true) => Ok(Self::File(None)),
                _ => Err(fail("without a proxy there is no login and no exception")),
            };
        }
        let mut proxy = proxies::at(&url).map_err(|why| {
            fail(why)
                .help("`login = { from_env = \"NAME\" }` in [egress.parent] names a login, USER:PASSWORD")
        })?;
        if let Some(Table(mut secret)) = login {
            if !secret.prefix.is_empty() || secret.is_renewed() {
                return Err(fail("the login of a proxy is USER:PASSWORD: it has no prefix and no lifetime"));
            }
            whole(&mut secret).ok_or_else(|| fail("the path of a secret's file is not UTF-8"))?;
            proxy.login = Some(ParentLogin::Secret(secret));
        }
        let (tunnels, plain): (Option<ParentProxy>, _) = (Some(proxy.clone()), Some(proxy));
        Ok(Self::File(Some(Box::new(Parent { tunnels, plain, except }))))
    }

    /// Returns what the file says, if it says anything: a proxy, or that there is none.
    pub fn in_file(&self) -> Option<Option<&Parent>> {
        match self {
            Self::File(parent) => Some(parent.as_deref()),
            Self::Environment => None,
        }
    }

    /// Returns the parent proxy.
    ///
    /// # Errors
    /// Returns [`Kind::Usage`] if the environment names one that bottle cannot use.
    pub fn parent(&self) -> Outcome<Option<Parent>> {
        match self {
            Self::File(parent) => Ok(parent.as_deref().cloned()),
            Self::Environment => proxies::of_environment().map_err(|unusable| {
                Failure::new(Kind::Usage, format!("this machine's environment: {unusable}")).help(
                    "bottle speaks to http://HOST:PORT; `[egress.parent] url = \"none\"` in bottle.toml goes without",
                )
            }),
        }
    }

    /// Returns the secrets that the file names.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let parent = match self {
            Self::File(parent) => parent.as_deref(),
            Self::Environment => None,
        };
        // Both uses have the same one.
        parent
            .and_then(|parent| parent.tunnels.as_ref())
            .and_then(|proxy| match &proxy.login {
                Some(ParentLogin::Secret(secret)) => Some(secret),
                _ => None,
            })
            .into_iter()
    }
}
