//! Turns one row of the table of settings into a flag, a key of the file, and code that fills and
//! shows a field of `Config`.
//!
//! A macro of ours, because clap and serde derive from fields, but neither knows which field of
//! `Config` a setting fills, nor how to show its value.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Value;

use super::addresses::{AdminSocket, UnixAddress};
use super::bounded::{Bounded, Unit};
use super::hook::HookUrl;
use super::log_filter::LogFilter;
use super::modes::{
    AnonymousMode, CertificateUserMode, ClientAuthMode, DurabilityMode, KernelPathMode,
    OutboxFullMode, PublishDeniedMode, Switch, TlsVersionMode,
};
use super::proxies::TrustedProxy;
use super::values::{
    Address, Directory, FilePath, InterfaceName, OptionalAddress, PlainFilter, ServerReference,
    TokenParty, TopicPrefix, WebOrigin,
};
use crate::access::Policy;
use crate::broker::TopicFilter;
use crate::mqtt::OutboxFull;

/// Makes `Settings` from rows `name: type, "VALUE" => field of Config;` below the headings of the
/// help, with all code that names every setting. `, live` at the end of a row: a reload applies it.
macro_rules! settings {
    ($($heading:literal {
        $($(#[$attribute:meta])* $name:ident: $type:ty, $value_name:literal => $($field:ident).+ $(, $live:ident)?;)*
    })*) => {
        /// The settings that flags or a file give; `None`: not given here.
        #[derive(clap::Args, Clone, Debug, Default, serde::Deserialize, PartialEq)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct Settings {
            $($(
                $(#[$attribute])*
                #[arg(long, value_name = $value_name, help_heading = $heading)]
                pub $name: Option<$type>,
            )*)*
        }

        impl Settings {
            /// These settings, with `lower`'s where none is given here.
            #[must_use]
            pub fn over(self, lower: Self) -> Self {
                Self { $($($name: self.$name.or(lower.$name),)*)* }
            }

            /// Whether a value for `key` is given here.
            pub(super) fn says(&self, key: &str) -> bool {
                $($(if key == $crate::config::table::key(stringify!($name)) {
                    return self.$name.is_some();
                })*)*
                false
            }

            /// Puts the settings given here into `config`.
            pub(super) fn fill(self, config: &mut $crate::config::Config) {
                $($(if let Some(said) = self.$name {
                    $crate::config::table::Field::fill(&mut config.$($field).+, said);
                })*)*
            }
        }

        impl $crate::config::Config {
            /// The settings that a reload applies, in the order of `--help`; all others need a restart.
            pub fn live_keys() -> Vec<String> {
                let mut live = Vec::new();
                $($($crate::config::table::if_live!([$($live)?] {
                    live.push($crate::config::table::key(stringify!($name)));
                });)*)*
                live
            }

            /// Takes the value of a setting from `other`, if a reload applies it.
            pub(super) fn take_live(&mut self, key: &str, other: &Self) {
                $($($crate::config::table::if_live!([$($live)?] {
                    if key == $crate::config::table::key(stringify!($name)) {
                        self.$($field).+.clone_from(&other.$($field).+);
                    }
                });)*)*
            }

            /// Every setting as key and value, in the order of `--help`. `None`: not set.
            pub fn entries(&self) -> Vec<(String, Option<toml::Value>)> {
                vec![$($((
                    $crate::config::table::key(stringify!($name)),
                    $crate::config::table::Field::<$type>::show(&self.$($field).+),
                ),)*)*]
            }
        }
    };
}
/// A block of code for settings that a reload applies.
macro_rules! if_live {
    ([live] $code:block) => {
        $code
    };
    ([] $code:block) => {};
}

pub(super) use {if_live, settings};

/// The key of a setting, by the name of its field.
pub(super) fn key(field: &str) -> String {
    field.replace('_', "-")
}

/// A field of `Config` that a setting of type `S` fills.
pub(super) trait Field<S> {
    /// Takes the value that was given.
    fn fill(&mut self, said: S);

    /// The value as a file would give it; `None`: not set.
    fn show(&self) -> Option<Value>;
}

fn number(number: impl TryInto<u64>) -> Option<Value> {
    let number = number.try_into().unwrap_or(u64::MAX);
    Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn text(text: &(impl ToString + ?Sized)) -> Option<Value> {
    Some(Value::String(text.to_string()))
}

fn texts<T: ToString>(texts: &[T]) -> Option<Value> {
    Some(Value::Array(texts.iter().map(|text| Value::String(text.to_string())).collect()))
}

impl<T, const MIN: u64, const MAX: u64, U> Field<Bounded<T, MIN, MAX, U>> for T
where
    T: Copy + TryFrom<u64> + TryInto<u64>,
    U: Unit,
{
    fn fill(&mut self, said: Bounded<T, MIN, MAX, U>) {
        *self = said.value();
    }

    fn show(&self) -> Option<Value> {
        number(*self)
    }
}

impl<T, const MIN: u64, const MAX: u64, U> Field<Bounded<T, MIN, MAX, U>> for Option<T>
where
    T: Copy + TryFrom<u64> + TryInto<u64>,
    U: Unit,
{
    fn fill(&mut self, said: Bounded<T, MIN, MAX, U>) {
        *self = Some(said.value());
    }

    fn show(&self) -> Option<Value> {
        self.and_then(number)
    }
}

/// `impl Field<Setting> for Type`: how a value is filled in, and how it is shown.
macro_rules! field {
    ($type:ty, $setting:ty, |$said:pat_param| $value:expr, |$shown:ident| $show:expr) => {
        impl Field<$setting> for $type {
            fn fill(&mut self, $said: $setting) {
                *self = $value;
            }

            fn show(&self) -> Option<Value> {
                let $shown = self;
                $show
            }
        }
    };
}

field!(
    Vec<SocketAddr>,
    Vec<Address>,
    |said| said.into_iter().map(|Address(address)| address).collect(),
    |addresses| texts(addresses)
);
field!(Vec<UnixAddress>, Vec<UnixAddress>, |said| said, |addresses| texts(addresses));
field!(
    Vec<String>,
    Vec<WebOrigin>,
    |said| said.into_iter().map(|WebOrigin(origin)| origin).collect(),
    |origins| texts(origins)
);
field!(
    Vec<String>,
    Vec<TokenParty>,
    |said| said.into_iter().map(|TokenParty(name)| name).collect(),
    |names| texts(names)
);
field!(Vec<TrustedProxy>, Vec<TrustedProxy>, |said| said, |proxies| texts(proxies));
field!(
    Vec<String>,
    Vec<InterfaceName>,
    |said| said.into_iter().map(|InterfaceName(name)| name).collect(),
    |names| (!names.is_empty()).then(|| texts(names)).flatten()
);
field!(
    Policy,
    Vec<PlainFilter>,
    |said| Policy::denying_filters(said.into_iter().map(|PlainFilter(filter)| filter)),
    |policy| texts(&policy.filters_denied().map(TopicFilter::as_str).collect::<Vec<_>>())
);
field!(AdminSocket, AdminSocket, |said| said, |socket| text(socket));
field!(Option<SocketAddr>, OptionalAddress, |OptionalAddress(address)| address, |address| address
    .map_or_else(|| text("off"), |address| text(&address)));
field!(Option<String>, ServerReference, |ServerReference(server)| Some(server), |server| {
    server.as_ref().and_then(text)
});
field!(Option<Box<str>>, TopicPrefix, |TopicPrefix(prefix)| Some(prefix.into()), |prefix| {
    prefix.as_deref().and_then(text)
});
field!(Option<HookUrl>, HookUrl, |url| Some(url), |url| url.as_ref().and_then(text));
field!(Option<PathBuf>, FilePath, |FilePath(path)| Some(path), |path| {
    path.as_ref().and_then(|path| text(&path.display()))
});
field!(
    Vec<PathBuf>,
    Vec<FilePath>,
    |said| said.into_iter().map(|FilePath(path)| path).collect(),
    |paths| texts(&paths.iter().map(|path| path.display()).collect::<Vec<_>>())
);
field!(PathBuf, Directory, |Directory(path)| path, |path| text(&path.display()));
field!(String, LogFilter, |LogFilter(filter)| filter, |filter| text(filter));
field!(bool, bool, |said| said, |is_on| Some(Value::Boolean(*is_on)));
field!(bool, Switch, |said| said == Switch::On, |is_on| text(&Switch::from(*is_on)));
field!(AnonymousMode, AnonymousMode, |said| said, |mode| text(mode));
field!(CertificateUserMode, CertificateUserMode, |said| said, |mode| text(mode));
field!(ClientAuthMode, ClientAuthMode, |said| said, |mode| text(mode));
field!(TlsVersionMode, TlsVersionMode, |said| said, |version| text(version));
field!(DurabilityMode, DurabilityMode, |said| said, |mode| text(mode));
field!(PublishDeniedMode, PublishDeniedMode, |said| said, |mode| text(mode));
field!(KernelPathMode, KernelPathMode, |said| said, |mode| text(mode));
field!(OutboxFull, OutboxFullMode, |said| said.into(), |policy| text(&OutboxFullMode::from(
    *policy
)));
