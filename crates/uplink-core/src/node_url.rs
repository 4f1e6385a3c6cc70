//! Node URLs: the address and identity of a node.
//!
//! ```text
//! [storj://][<node id>@]<address[:port]>[?debounce=…&f=…&noise_proto=…&noise_pub=…]
//! ```

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::fmt;
use std::str::FromStr;

use crate::base58::{self, Base58Error};
use crate::id::{IdError, NodeId};

/// Address and identity of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeUrl {
    /// The node's id, if the URL contains it.
    pub id: Option<NodeId>,
    /// Host name or IP address (IPv6 in brackets), normally with a port. May be empty.
    pub address: String,
    /// Number of identical first messages that the node can recognize.
    pub debounce: i32,
    /// Feature bits: 1 is TCP fast open.
    pub features: u64,
    /// The Noise protocol that the node supports in addition to TLS; 0 is none.
    pub noise_protocol: i32,
    /// The node's key for that protocol; empty if it has none.
    pub noise_public_key: Vec<u8>,
}

impl NodeUrl {
    /// Splits the address into host name (without brackets) and port. `None` if either is missing or
    /// the port is 0 or not a number.
    #[must_use]
    pub fn host_port(&self) -> Option<(&str, u16)> {
        let (name, port) = self.address.rsplit_once(':')?;
        let name = match name.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if name.contains(':') => return None,
            None => name,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!name.is_empty()).then_some((name, port))
    }

    /// Adds the id of a well-known satellite, if it is missing. Grants for some old satellites lack the
    /// id; for all others it is required.
    pub fn with_known_id(mut self) -> Result<Self, NodeUrlError> {
        if self.id.is_none() {
            self.id = Some(known_satellite(&self.address).ok_or(NodeUrlError::MissingId)?);
        }
        Ok(self)
    }
}

impl FromStr for NodeUrl {
    type Err = NodeUrlError;

    /// Parses a URL. A zero id counts as absent; unknown query keys are ignored.
    fn from_str(text: &str) -> Result<Self, NodeUrlError> {
        if text.len() > MAX_CHARACTERS {
            return Err(NodeUrlError::TooLong(text.len()));
        }
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("storj") => rest,
            Some((scheme, _)) if is_scheme(scheme) => {
                return Err(NodeUrlError::Scheme(scheme.to_owned()));
            }
            _ => text,
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.split_once('/').map_or(authority, |(authority, _)| authority);
        let mut url = Self::default();
        let address = match authority.rsplit_once('@') {
            Some((id, address)) => {
                url.id = Some(id.parse()?).filter(|id: &NodeId| !id.is_zero());
                address
            }
            None => authority,
        };
        if !is_address(address) {
            return Err(NodeUrlError::Address(address.to_owned()));
        }
        address.clone_into(&mut url.address);
        url.read_query(query)?;
        Ok(url)
    }
}

impl NodeUrl {
    fn read_query(&mut self, query: &str) -> Result<(), NodeUrlError> {
        let value = |key: &'static str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|pair| pair.0 == key).map(|pair| pair.1).filter(|value| !value.is_empty())
        };
        let number = |key: &'static str| {
            value(key).map_or(Ok(0), |text| text.parse().map_err(|_| NodeUrlError::Number(key)))
        };
        self.debounce = number("debounce")?;
        self.noise_protocol = number("noise_proto")?;
        if let Some(text) = value("f") {
            if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NodeUrlError::Number("f"));
            }
            let features = u64::from_str_radix(text, 16);
            self.features = features.map_err(|_| NodeUrlError::Number("f"))?;
        }
        if let Some(text) = value("noise_pub") {
            let (_version, key) = base58::decode_check(text, MAX_CHARACTERS)?;
            self.noise_public_key = key;
        }
        Ok(())
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "{id}@")?;
        }
        f.write_str(&self.address)?;
        let mut query = Vec::new();
        if self.debounce > 0 {
            query.push(format!("debounce={}", self.debounce));
        }
        if self.features > 0 {
            query.push(format!("f={:x}", self.features));
        }
        if self.noise_protocol > 0 {
            query.push(format!("noise_proto={}", self.noise_protocol));
        }
        if !self.noise_public_key.is_empty() {
            query.push(format!("noise_pub={}", base58::encode_check(0, &self.noise_public_key)));
        }
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

/// Why a node URL is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeUrlError {
    /// The text exceeds the maximum length.
    #[error("node URL too long: {0} characters, limit {MAX_CHARACTERS}")]
    TooLong(usize),
    /// The scheme is not `storj`.
    #[error("invalid node URL: unknown scheme {0:?}")]
    Scheme(String),
    /// The part before `@` is not a node id.
    #[error("invalid node URL: {0}")]
    Id(#[from] IdError),
    /// The address has invalid characters, or its port is not a number.
    #[error("invalid node URL: invalid address {0:?}")]
    Address(String),
    /// The value of a query key is not a number.
    #[error("invalid node URL: value of {0:?} is not a number")]
    Number(&'static str),
    /// The Noise key is not Base58Check.
    #[error("invalid node URL: malformed noise key: {0}")]
    NoiseKey(#[from] Base58Error),
    /// The id is missing, and the satellite is not a well-known one.
    #[error("node id is required in the satellite's node URL")]
    MissingId,
}

const MAX_CHARACTERS: usize = 2048;
const KNOWN_PORT: &str = ":7777";
const KNOWN_SATELLITES: [(&str, &str); 8] = [
    ("us-central-1.tardigrade.io", "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S"),
    ("mars.tardigrade.io", "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S"),
    ("asia-east-1.tardigrade.io", "121RTSDpyNZVcEU84Ticf2L1ntiuUimbWgfATz21tuvgk3vzoA6"),
    ("saturn.tardigrade.io", "121RTSDpyNZVcEU84Ticf2L1ntiuUimbWgfATz21tuvgk3vzoA6"),
    ("europe-west-1.tardigrade.io", "12L9ZFwhzVpuEKMUNUqkaTLGzwY9G24tbiigLiXpmZWKwmcNDDs"),
    ("jupiter.tardigrade.io", "12L9ZFwhzVpuEKMUNUqkaTLGzwY9G24tbiigLiXpmZWKwmcNDDs"),
    ("satellite.stefan-benten.de", "118UWpMCHzs6CvSgWd9BfFVjw5K9pZbJjkfZJexMtSkmKxvvAW"),
    ("saltlake.tardigrade.io", "1wFTAgs9DP5RSnCqKV1eLf6N9wtk4EAtmN5DpSxcs8EjT69tGE"),
];

fn known_satellite(address: &str) -> Option<NodeId> {
    let name = address.strip_suffix(KNOWN_PORT).unwrap_or(address);
    let (_, id) = KNOWN_SATELLITES.into_iter().find(|(known, _)| *known == name)?;
    id.parse().ok()
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Returns whether a text is a host name, an IPv4 address or an IPv6 address in brackets, optionally
/// followed by a colon and digits.
fn is_address(address: &str) -> bool {
    let (name, port) = match address.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => (name, ""),
            Some((name, port)) => match port.strip_prefix(':') {
                Some(port) => (name, port),
                None => return false,
            },
            None => return false,
        },
        None => address.rsplit_once(':').unwrap_or((address, "")),
    };
    let is_name = |character: char| character.is_alphanumeric() || "-._~:%".contains(character);
    name.chars().all(is_name) && port.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> NodeUrl {
        NodeUrl { address: text.to_owned(), ..NodeUrl::default() }
    }

    #[test]
    fn address_splits_into_name_and_port() {
        assert_eq!(address("example.com:7777").host_port(), Some(("example.com", 7777)));
        assert_eq!(address("[::1]:80").host_port(), Some(("::1", 80)));
        for bad in ["", "example.com", ":80", "a:0", "a:65536", "::1:80", "[::1:80", "[]:80"] {
            assert_eq!(address(bad).host_port(), None, "{bad}");
        }
    }

    #[test]
    fn id_is_required_unless_the_satellite_is_known() {
        let unknown: NodeUrl = "satellite.example:7777".parse().unwrap();
        assert_eq!(unknown.with_known_id(), Err(NodeUrlError::MissingId));
        let zeros: NodeUrl = format!("{}@mars.tardigrade.io", NodeId::ZERO).parse().unwrap();
        assert_eq!(zeros.id, None);
        assert!(zeros.with_known_id().unwrap().id.is_some());
    }

    #[test]
    fn malformed_urls_have_specific_errors() {
        let parse = |text: &str| text.parse::<NodeUrl>().unwrap_err();
        assert_eq!(parse("http://example.com"), NodeUrlError::Scheme("http".to_owned()));
        assert_eq!(parse("a b:1"), NodeUrlError::Address("a b:1".to_owned()));
        assert_eq!(parse("a:x"), NodeUrlError::Address("a:x".to_owned()));
        assert_eq!(parse("[::1"), NodeUrlError::Address("[::1".to_owned()));
        assert_eq!(parse("a?debounce=x"), NodeUrlError::Number("debounce"));
        assert_eq!(parse("a?f=+1"), NodeUrlError::Number("f"));
        assert!(matches!(parse("a?noise_pub=0"), NodeUrlError::NoiseKey(_)));
        assert!(matches!(parse("x@a:1"), NodeUrlError::Id(_)));
        assert_eq!(parse(&"a".repeat(2049)), NodeUrlError::TooLong(2049));
    }

    fn any_url() -> impl Strategy<Value = NodeUrl> {
        let id = any::<[u8; 31]>().prop_map(|bytes| {
            let mut whole = [0; 32];
            whole[..31].copy_from_slice(&bytes);
            NodeId::new(whole)
        });
        let id = proptest::option::of(id.prop_filter("zero is not a node id", |id| !id.is_zero()));
        let address = "([a-z0-9.-]{1,20}|\\[[0-9a-f:]{2,20}\\])(:[0-9]{1,5})?";
        let noise = proptest::collection::vec(any::<u8>(), 0..40);
        (id, address, 0..=i32::MAX, any::<u64>(), 0..=i32::MAX, noise).prop_map(
            |(id, address, debounce, features, noise_protocol, noise_public_key)| NodeUrl {
                id,
                address,
                debounce,
                features,
                noise_protocol,
                noise_public_key,
            },
        )
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn urls_round_trip(url in any_url()) {
            let text = url.to_string();
            prop_assert_eq!(format!("storj://{text}").parse(), Ok(url.clone()));
            prop_assert_eq!(text.parse(), Ok(url));
        }

        #[test]
        fn parsing_any_text_does_not_panic(text in "[a-z0-9@:/?&=#%.\\[\\]-]{0,40}|.{0,40}") {
            if let Ok(url) = text.parse::<NodeUrl>() {
                prop_assert_eq!(url.to_string().parse::<NodeUrl>().map(|url| url.address), Ok(url.address));
            }
        }
    }
}
