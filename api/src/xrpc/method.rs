//! What a method is to the framework: its name, its verb, its body limit.

/// Body limit of JSON input unless a method says otherwise, in bytes.
pub const DEFAULT_BODY_LIMIT: usize = 150 * 1024;

/// Body limit of the methods that write records, in bytes.
pub const RECORD_BODY_LIMIT: usize = 1_000_000;

/// A method of the tree. Each method's file has one, named `METHOD`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Method {
    nsid: &'static str,
    kind: Kind,
    body_limit: usize,
}

/// How a method is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// GET or HEAD; no body.
    Query,
    /// POST.
    Procedure,
    /// A WebSocket.
    Subscription,
}

impl Method {
    /// A query.
    pub const fn query(nsid: &'static str) -> Self {
        Self { nsid, kind: Kind::Query, body_limit: 0 }
    }

    /// A procedure, with the default limit for JSON input.
    pub const fn procedure(nsid: &'static str) -> Self {
        Self { nsid, kind: Kind::Procedure, body_limit: DEFAULT_BODY_LIMIT }
    }

    /// A subscription.
    pub const fn subscription(nsid: &'static str) -> Self {
        Self { nsid, kind: Kind::Subscription, body_limit: 0 }
    }

    /// The same method with JSON input of at most `bytes`, encoded and decoded.
    #[must_use]
    pub const fn body_limit(self, bytes: usize) -> Self {
        Self { body_limit: bytes, ..self }
    }

    /// The method's name.
    pub const fn nsid(&self) -> &'static str {
        self.nsid
    }

    /// How it is called.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Largest JSON input in bytes.
    pub const fn max_body(&self) -> usize {
        self.body_limit
    }
}

impl Kind {
    /// The verb to name when a caller used another one.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Query | Self::Subscription => "GET",
            Self::Procedure => "POST",
        }
    }
}
