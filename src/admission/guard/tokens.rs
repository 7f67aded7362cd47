//! Tokens by which services know their users, in the shapes that their issuers document, and keys.

use super::place::{Place, has, is_base64, is_base64url, is_word, run, starts_with_any_case};

/// A token: a prefix, and what follows it.
pub(super) struct Shape {
    pub(super) prefix: &'static str,
    pub(super) then: Then,
    /// So many of these at least. No more are looked at.
    pub(super) count: usize,
}

/// What a token consists of behind its prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Hex,
    Upper,
    Alphanumeric,
    /// base64 for URLs.
    Url,
    /// The same, and no words with numbers: the prefix alone could be a word's.
    Mixed,
    /// base64 that is no word: with a digit, or with many capitals.
    Basic,
    /// Whatever stands in tokens: base64 of all kinds, with dots.
    Any,
}

const fn shape(prefix: &'static str, then: Then, count: usize) -> Shape {
    Shape { prefix, then, count }
}

/// The shapes, by the first byte of their prefixes.
#[rustfmt::skip]
pub(super) const SHAPES: [Shape; 123] = [
    shape("1//0", Then::Url, 30),                      // Google's refresh tokens
    shape("ABIA", Then::Upper, 16),                    // AWS: ids of keys
    shape("ACCA", Then::Upper, 16),
    shape("AKIA", Then::Upper, 16),
    shape("ASIA", Then::Upper, 16),
    shape("AC", Then::Hex, 32),                        // Twilio
    shape("AGE-SECRET-KEY-1", Then::Upper, 58),        // age
    shape("AIza", Then::Url, 35),                      // Google's API keys
    shape("AKCp", Then::Alphanumeric, 60),             // Artifactory
    shape("ATATT3", Then::Any, 60),                    // Atlassian
    shape("ATBB", Then::Alphanumeric, 28),             // Bitbucket
    shape("AccountKey=", Then::Any, 40),               // Azure's connection strings
    shape("Basic ", Then::Basic, 16),                  // headers of HTTP
    shape("Bearer ", Then::Mixed, 16),
    shape("CCIPAT_", Then::Url, 40),                   // CircleCI
    shape("CFPAT-", Then::Url, 43),                    // Contentful
    shape("EAAA", Then::Url, 60),                      // Square, Meta
    shape("EZAK", Then::Alphanumeric, 54),             // EasyPost
    shape("EZTK", Then::Alphanumeric, 54),
    shape("FLWSECK-", Then::Alphanumeric, 32),         // Flutterwave
    shape("FlyV1 ", Then::Any, 40),                    // Fly.io
    shape("GOCSPX-", Then::Url, 28),                   // Google's OAuth clients
    shape("HRKU-", Then::Url, 36),                     // Heroku
    shape("LTAI", Then::Mixed, 12),                    // Alibaba Cloud
    shape("NRAK-", Then::Upper, 27),                   // New Relic
    shape("NRII-", Then::Url, 32),
    shape("NRJS-", Then::Hex, 19),
    shape("PMAK-", Then::Url, 59),                     // Postman
    shape("SG.", Then::Any, 40),                       // SendGrid
    shape("SK", Then::Hex, 32),                        // Twilio
    shape("SharedAccessKey=", Then::Any, 40),          // Azure
    shape("api_org_", Then::Alphanumeric, 34),         // Hugging Face
    shape("atlasv1.", Then::Any, 60),                  // Terraform Cloud
    shape("basic ", Then::Basic, 16),                  // headers of HTTP, as some write them
    shape("bearer ", Then::Mixed, 16),
    shape("bkua_", Then::Hex, 40),                     // Buildkite
    shape("cio", Then::Mixed, 32),                     // crates.io
    shape("cmVmd", Then::Alphanumeric, 59),            // Artifactory
    shape("dapi", Then::Hex, 32),                      // Databricks
    shape("dckr_oat_", Then::Url, 27),                 // Docker
    shape("dckr_pat_", Then::Url, 27),
    shape("discord.com/api/webhooks/", Then::Any, 20), // Discord
    shape("doo_v1_", Then::Hex, 64),                   // DigitalOcean
    shape("dop_v1_", Then::Hex, 64),
    shape("dor_v1_", Then::Hex, 64),
    shape("dp.ct.", Then::Alphanumeric, 40),           // Doppler
    shape("dp.pt.", Then::Alphanumeric, 40),
    shape("dp.st.", Then::Any, 40),
    shape("dt0c01.", Then::Any, 80),                   // Dynatrace
    shape("duffel_live_", Then::Url, 43),              // Duffel
    shape("duffel_test_", Then::Url, 43),
    shape("eyJrIjoi", Then::Any, 60),                  // Grafana
    shape("figd_", Then::Url, 40),                     // Figma
    shape("fio-u-", Then::Url, 64),                    // Frame.io
    shape("fm1a_", Then::Any, 40),                     // Fly.io
    shape("fm1r_", Then::Any, 40),
    shape("fm2_", Then::Any, 40),
    shape("fo1_", Then::Url, 43),
    shape("ghp_", Then::Alphanumeric, 36),             // GitHub
    shape("gho_", Then::Alphanumeric, 36),
    shape("ghu_", Then::Alphanumeric, 36),
    shape("ghs_", Then::Alphanumeric, 36),
    shape("ghr_", Then::Alphanumeric, 36),
    shape("github_pat_", Then::Url, 60),
    shape("glpat-", Then::Url, 20),                    // GitLab
    shape("glagent-", Then::Url, 50),
    shape("glcbt-", Then::Url, 20),
    shape("gldt-", Then::Url, 20),
    shape("glffct-", Then::Url, 20),
    shape("glft-", Then::Url, 20),
    shape("glimt-", Then::Url, 20),
    shape("gloas-", Then::Url, 60),
    shape("glptt-", Then::Hex, 40),
    shape("glrt-", Then::Url, 20),
    shape("glsoat-", Then::Url, 20),
    shape("glc_", Then::Any, 32),                      // Grafana
    shape("glsa_", Then::Url, 40),
    shape("gsk_", Then::Alphanumeric, 48),             // Groq
    shape("hf_", Then::Alphanumeric, 34),              // Hugging Face
    shape("hooks.slack.com/", Then::Any, 20),          // Slack
    shape("hvb.", Then::Url, 90),                      // HashiCorp Vault
    shape("hvr.", Then::Url, 90),
    shape("hvs.", Then::Url, 24),
    shape("key-", Then::Hex, 32),                      // Mailgun
    shape("lin_api_", Then::Alphanumeric, 40),         // Linear
    shape("nfp_", Then::Alphanumeric, 36),             // Netlify
    shape("npm_", Then::Alphanumeric, 36),             // npm
    shape("ntn_", Then::Alphanumeric, 40),             // Notion
    shape("nvapi-", Then::Url, 60),                    // NVIDIA
    shape("oy2", Then::Mixed, 43),                     // NuGet
    shape("ops_eyJ", Then::Any, 80),                   // 1Password
    shape("phx_", Then::Alphanumeric, 40),             // PostHog
    shape("pnb_", Then::Alphanumeric, 36),             // Prefect
    shape("pnu_", Then::Alphanumeric, 36),
    shape("pplx-", Then::Alphanumeric, 48),            // Perplexity
    shape("pscale_oauth_", Then::Any, 32),             // PlanetScale
    shape("pscale_pw_", Then::Any, 32),
    shape("pscale_tkn_", Then::Any, 32),
    shape("pul-", Then::Hex, 40),                      // Pulumi
    shape("pypi-AgE", Then::Url, 50),                  // PyPI
    shape("r8_", Then::Alphanumeric, 37),              // Replicate
    shape("rk_live_", Then::Alphanumeric, 10),         // Stripe
    shape("rk_test_", Then::Alphanumeric, 10),
    shape("rubygems_", Then::Hex, 48),                 // RubyGems
    shape("sbp_", Then::Hex, 40),                      // Supabase
    shape("secret_", Then::Mixed, 43),                 // Notion
    shape("sgp_", Then::Any, 40),                      // Sourcegraph
    shape("shpat_", Then::Hex, 32),                    // Shopify
    shape("shpca_", Then::Hex, 32),
    shape("shppa_", Then::Hex, 32),
    shape("shpss_", Then::Hex, 32),
    shape("sk-", Then::Mixed, 20),                     // OpenAI, Anthropic, and whoever does as they do
    shape("sk_live_", Then::Alphanumeric, 10),         // Stripe
    shape("sk_test_", Then::Alphanumeric, 10),
    shape("sntrys_", Then::Any, 40),                   // Sentry
    shape("sntryu_", Then::Hex, 64),
    shape("sq0", Then::Mixed, 22),                     // Square
    shape("tskey-", Then::Mixed, 20),                  // Tailscale
    shape("whsec_", Then::Any, 24),                    // Stripe
    shape("xai-", Then::Alphanumeric, 70),             // xAI
    shape("xapp-", Then::Mixed, 20),                   // Slack
    shape("xox", Then::Mixed, 20),
    shape("ya29.", Then::Any, 20),                     // Google's access tokens
];

/// How far a token is looked at for what is no word: Slack's begin with three numbers.
const MIXED_BYTES_MAX: usize = 96;

/// Bytes of the shortest token.
pub(super) const TOKEN_BYTES_MIN: usize = {
    let (mut at, mut least) = (0, usize::MAX);
    while at < SHAPES.len() {
        let bytes = SHAPES[at].prefix.len() + SHAPES[at].count;
        least = if bytes < least { bytes } else { least };
        at += 1;
    }
    least
};

/// Where the shapes of each first byte begin; they end where the next byte's begin.
const FIRST: [u8; 257] = {
    let (mut first, mut byte) = ([0; 257], 0);
    while byte < 257 {
        let mut at = 0;
        while at < SHAPES.len() && (SHAPES[at].prefix.as_bytes()[0] as usize) < byte {
            at += 1;
        }
        first[byte] = at as u8;
        byte += 1;
    }
    first
};

/// The second bytes of the prefixes that begin with each byte: bit n is byte n. Most words end here.
const SECOND: [u128; 256] = {
    let (mut second, mut at) = ([0; 256], 0);
    while at < SHAPES.len() {
        let prefix = SHAPES[at].prefix.as_bytes();
        second[prefix[0] as usize] |= 1 << prefix[1];
        at += 1;
    }
    second
};

/// Where a word begins, or at `~` or `:`.
pub(super) fn token(place: &Place<'_>) -> bool {
    let rest = place.rest();
    match rest[0] {
        b'~' => azure_client(place),
        b':' => telegram(place),
        first => {
            let first = usize::from(first);
            let is_known = |second: &u8| SECOND[first].checked_shr((*second).into()).unwrap_or(0) & 1 == 1;
            let shapes = &SHAPES[usize::from(FIRST[first])..usize::from(FIRST[first + 1])];
            rest.get(1).is_some_and(is_known) && shapes.iter().any(|shape| shape.begins(rest))
                || aws_secret(place)
        }
    }
}

impl Shape {
    fn begins(&self, text: &[u8]) -> bool {
        let Some(text) = text.strip_prefix(self.prefix.as_bytes()) else { return false };
        text.get(..self.count).is_some_and(|token| token.iter().all(|byte| self.then.has(*byte)))
            && self.then.is_no_word(text)
    }
}

impl Then {
    fn has(self, byte: u8) -> bool {
        match self {
            Then::Hex => byte.is_ascii_hexdigit(),
            Then::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Then::Alphanumeric => byte.is_ascii_alphanumeric(),
            Then::Url => is_base64url(byte),
            Then::Basic => is_base64(byte) || byte == b'=',
            Then::Mixed => is_base64url(byte) || matches!(byte, b'.' | b'+' | b'/' | b'='),
            Then::Any => is_base64url(byte) || matches!(byte, b'.' | b'+' | b'/' | b'=' | b'~' | b':'),
        }
    }

    /// Whether what begins here, in its first bytes, is more than words.
    fn is_no_word(self, text: &[u8]) -> bool {
        let token = &text[..run(text, MIXED_BYTES_MAX, |byte| self.has(byte))];
        let count = |such: fn(&u8) -> bool| token.iter().filter(|byte| such(byte)).count();
        match self {
            Then::Mixed => token.split(|byte| !byte.is_ascii_alphanumeric()).any(is_random),
            Then::Basic => count(u8::is_ascii_digit) > 0 || count(u8::is_ascii_uppercase) >= 5,
            _ => true,
        }
    }
}

/// Whether letters and digits in a row are no word, nor a word with a number behind it: many, or in a mixture that
/// nobody would write.
fn is_random(piece: &[u8]) -> bool {
    let has = |such: fn(&u8) -> bool| piece.iter().any(such);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let is_wild = || {
        let mut pairs = piece.windows(2);
        has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_uppercase)
            && pairs.any(|pair| pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic())
    };
    is_mixed && (piece.len() >= 16 || piece.len() >= 8 && is_wild())
}

/// AWS's secret keys have no prefix: forty characters of base64, which are no hexadecimal sum.
fn aws_secret(place: &Place<'_>) -> bool {
    let rest = place.rest();
    let alone =
        |byte: Option<u8>| !byte.is_some_and(|byte| is_base64(byte) || matches!(byte, b'=' | b'_' | b'-'));
    if rest.len() < 40 || !alone(rest.get(40).copied()) || !begins_behind(place.before(1)) {
        return false;
    }
    let secret = &rest[..40];
    let count = |such: fn(&u8) -> bool| secret.iter().filter(|byte| such(byte)).count();
    secret.iter().all(|byte| is_base64(*byte))
        && count(u8::is_ascii_digit) >= 1
        && count(u8::is_ascii_uppercase) >= 4
        && count(u8::is_ascii_lowercase) >= 4
}

/// Behind `=` and any other byte that is none of base64.
fn begins_behind(before: Option<u8>) -> bool {
    !before.is_some_and(|byte| is_base64(byte) || matches!(byte, b'_' | b'-'))
}

/// Microsoft Entra's client secrets: three characters, a digit, `Q~`, thirty-one more.
fn azure_client(place: &Place<'_>) -> bool {
    let is_part = |byte: u8| is_base64url(byte) || matches!(byte, b'.' | b'~');
    place.before(1) == Some(b'Q')
        && place.before(2).is_some_and(|byte| byte.is_ascii_digit())
        && (3..=5).all(|count| place.before(count).is_some_and(is_part))
        && run(&place.rest()[1..], 31, is_part) == 31
}

/// Telegram's bots: a number, a colon, `AA` and thirty-three more.
fn telegram(place: &Place<'_>) -> bool {
    let rest = place.rest();
    place.before(1).is_some_and(|byte| byte.is_ascii_digit())
        && rest.starts_with(b":AA")
        && run(&rest[3..], 33, is_base64url) == 33
}

/// Where a word begins with `e`: a header in base64, a dot, and what it is about.
pub(super) fn jwt(place: &Place<'_>) -> bool {
    let rest = place.rest();
    if !rest.starts_with(b"eyJ") || place.before(1).is_some_and(is_base64url) {
        return false;
    }
    let header = run(rest, usize::MAX, is_base64url);
    let behind = &rest[header..];
    let encrypted = behind.starts_with(b"..");
    header >= 12 && behind.starts_with(b".") && (encrypted || run(&behind[1..], 10, is_base64url) == 10)
}

/// At `-`, and where a word begins with `P`.
pub(super) fn private_key(place: &Place<'_>) -> bool {
    let rest = place.rest();
    (rest.starts_with(b"-----BEGIN ") || rest.starts_with(b"---- BEGIN ")) && has(rest, 64, b"PRIVATE KEY")
        || starts_with_any_case(rest, b"PuTTY-User-Key-File-") && !place.before(1).is_some_and(is_word)
}
