//! Which proxy a request goes by.
//!
//! As curl and Go have it: the variable of the endpoint's scheme before `ALL_PROXY`; a host of `NO_PROXY`, with all
//! that are below it, without any. A receiver on this machine is reached by one only where somebody named that for it.

use std::net::IpAddr;

use super::endpoint::Endpoint;

/// The URL of the proxy, which may hold a password; `None` where the way is direct.
///
/// `set` is what somebody named for this receiver, `none` included, and `variable` what the environment says.
pub(super) fn proxy(
    endpoint: &Endpoint,
    set: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let either = |name: &str| {
        let found = variable(&name.to_ascii_lowercase()).or_else(|| variable(name));
        found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let url = match set {
        Some(url) if url.eq_ignore_ascii_case("none") => None,
        Some(url) => Some(url.to_owned()),
        None if endpoint.is_loopback() => None,
        None if endpoint.is_https() => either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")),
        None => either("HTTP_PROXY").or_else(|| either("ALL_PROXY")),
    };
    let (host, port) = endpoint.host_and_port();
    url.filter(|_| !either("NO_PROXY").is_some_and(|list| is_exempt(&list, host, port)))
}

/// Whether a list of hosts, such as `localhost, .example.com, 10.0.0.0/8, host:8080`, names this one.
fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let entries = list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.into_iter().any(|entry| entry == "*" || names(entry, host, port))
}

fn names(entry: &str, host: &str, port: u16) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match entry.split_once('/') {
            Some((network, bits)) => is_in(ip, network, bits),
            None => {
                let (address, wanted) = with_port(entry);
                wanted.is_none_or(|wanted| wanted == port) && address.parse() == Ok(ip)
            }
        };
    }
    let (name, wanted) = with_port(entry);
    let name = name.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let is_below = || host.strip_suffix(&name).is_some_and(|above| above.ends_with('.'));
    !name.is_empty() && wanted.is_none_or(|wanted| wanted == port) && (host == name || is_below())
}

/// `host:port`, `[address]:port`, or either alone. An address of IPv6 has more than one colon.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    let bare = |host: &'_ str| host.len() - host.trim_start_matches('[').len();
    if let Some((host, port)) = entry.rsplit_once(':')
        && let Ok(port) = port.parse()
        && (host.ends_with(']') || !host.contains(':'))
    {
        return (host[bare(host)..].trim_end_matches(']'), Some(port));
    }
    (entry[bare(entry)..].trim_end_matches(']'), None)
}

/// Whether an address begins with the first `bits` bits of `network`.
fn is_in(ip: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let left = |ip| match ip {
        // At the left end, so that both are told alike.
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let differs = left(ip) ^ left(network);
    ip.is_ipv4() == network.is_ipv4() && bits <= width && (bits == 0 || differs.leading_zeros() >= bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(url: &str, set: Option<&str>, environment: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        proxy(&Endpoint::parse(url, true).unwrap(), set, variable)
    }

    #[test]
    fn the_scheme_says_which_variable_counts_and_what_is_set_for_a_receiver_counts_more() {
        let all = [("ALL_PROXY", "http://a"), ("https_proxy", "http://s"), ("HTTP_PROXY", "http://p")];
        #[cfg(feature = "tls")]
        assert_eq!(by("https://otel.example.com/", None, &all).as_deref(), Some("http://s"));
        assert_eq!(by("http://otel.example.com/", None, &all).as_deref(), Some("http://p"));
        assert_eq!(by("http://otel.example.com/", None, &all[..2]).as_deref(), Some("http://a"));
        assert_eq!(by("http://otel.example.com/", None, &[]), None);
        assert_eq!(by("http://otel.example.com/", None, &[("HTTP_PROXY", " ")]), None);
        assert_eq!(by("http://otel.example.com/", Some("http://x"), &all).as_deref(), Some("http://x"));
        assert_eq!(by("http://otel.example.com/", Some("none"), &all), None);
        for here in ["http://127.0.0.1:4318/", "http://localhost/", "http://[::1]/"] {
            assert_eq!(by(here, None, &all), None, "{here}");
            assert_eq!(by(here, Some("http://x"), &all).as_deref(), Some("http://x"), "{here}");
        }
    }

    #[test]
    fn a_host_that_is_exempt_is_reached_directly() {
        for (list, url, exempt) in [
            ("*", "http://otel.example.com/", true),
            ("example.com", "http://otel.example.com/", true),
            ("EXAMPLE.com", "http://example.com/", true),
            (".example.com", "http://otel.example.com/", true),
            ("*.example.com", "http://otel.Example.com/", true),
            ("localhost, example.com", "http://otel.example.com/", true),
            ("a.example.com b.example.com", "http://b.example.com/", true),
            ("ample.com", "http://example.com/", false),
            ("otel.example.com", "http://example.com/", false),
            ("example.com:4318", "http://example.com:4318/", true),
            ("example.com:4318", "http://example.com/", false),
            ("example.com:80", "http://example.com/", true),
            ("10.1.2.3", "http://10.1.2.3:4318/", true),
            ("10.1.2.3:4318", "http://10.1.2.3:4318/", true),
            ("10.1.2.3:1", "http://10.1.2.3:4318/", false),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/16", "http://10.1.2.3/", false),
            ("0.0.0.0/0", "http://10.1.2.3/", true),
            ("10.0.0.0/33", "http://10.1.2.3/", false),
            ("::/0", "http://10.1.2.3/", false),
            ("2001:db8::7", "http://[2001:db8::7]:4318/", true),
            ("[2001:db8::7]:4318", "http://[2001:db8::7]:4318/", true),
            ("[2001:db8::7]", "http://[2001:db8::7]:4318/", true),
            ("2001:db8::/32", "http://[2001:db8::7]/", true),
            ("2001:db9::/32", "http://[2001:db8::7]/", false),
            ("", "http://otel.example.com/", false),
            (".,*.", "http://otel.example.com/", false),
            ("/,:,[,]:,[]:1", "http://otel.example.com/", false),
        ] {
            for set in [None, Some("http://x")] {
                let environment = [("HTTP_PROXY", "http://x"), ("no_proxy", list)];
                assert_eq!(by(url, set, &environment).is_none(), exempt, "{list:?} {url}");
            }
        }
    }
}
