//! By which rule a property was left out.

use std::fmt;

/// Why a property is left out of its event. The event stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Rule {
    /// The product does not declare its key.
    Undeclared,
    PrivateKey,
    Jwt,
    Token,
    Environment,
    StackTrace,
    Url,
    Email,
    Ip,
    Path,
    HostName,
    UserName,
    HomeDirectory,
}

impl Rule {
    /// All rules, in the order in which `privacy` lists them.
    pub(crate) const ALL: [Rule; 13] = [
        Rule::Undeclared,
        Rule::PrivateKey,
        Rule::Jwt,
        Rule::Token,
        Rule::Environment,
        Rule::StackTrace,
        Rule::Url,
        Rule::Email,
        Rule::Ip,
        Rule::Path,
        Rule::HostName,
        Rule::UserName,
        Rule::HomeDirectory,
    ];

    /// The rule's word in `status` and on disk.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Rule::Undeclared => "undeclared",
            Rule::PrivateKey => "private_key",
            Rule::Jwt => "jwt",
            Rule::Token => "token",
            Rule::Environment => "environment",
            Rule::StackTrace => "stack_trace",
            Rule::Url => "url",
            Rule::Email => "email",
            Rule::Ip => "ip",
            Rule::Path => "path",
            Rule::HostName => "host_name",
            Rule::UserName => "user_name",
            Rule::HomeDirectory => "home_directory",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
