//! Methods: queries, procedures and subscriptions.

use std::fmt;

use super::schema::SchemaId;

/// A method, compiled: what it takes and gives. Its values are checked by [`super::Catalog::validate_method`].
#[derive(Debug)]
pub struct Method {
    pub(super) kind: MethodKind,
    pub(super) parameters: Option<SchemaId>,
    pub(super) input: Option<Body>,
    pub(super) output: Option<Body>,
    pub(super) message: Option<SchemaId>,
    pub(super) errors: Box<[Box<str>]>,
}

/// How a method is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MethodKind {
    /// HTTP GET.
    Query,
    /// HTTP POST.
    Procedure,
    /// WebSocket.
    Subscription,
}

/// The values that belong to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MethodPart {
    /// The query string.
    Parameters,
    /// The request body of a procedure.
    Input,
    /// The response body.
    Output,
    /// A message of a subscription, with its `$type`.
    Message,
}

/// A request or response body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) encoding: Box<str>,
    pub(super) schema: Option<SchemaId>,
}

impl Method {
    /// How it is called.
    pub fn kind(&self) -> MethodKind {
        self.kind
    }

    /// Media type of the request body, `*/*` for any; `None` if it takes none.
    pub fn input_encoding(&self) -> Option<&str> {
        self.input.as_ref().map(|body| &*body.encoding)
    }

    /// Media type of the response body, `*/*` for any; `None` if it gives none.
    pub fn output_encoding(&self) -> Option<&str> {
        self.output.as_ref().map(|body| &*body.encoding)
    }

    /// Names of the errors it declares. Any method may answer others too.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(|name| &**name)
    }

    pub(super) fn schema(&self, part: MethodPart) -> Option<SchemaId> {
        match part {
            MethodPart::Parameters => self.parameters,
            MethodPart::Input => self.input.as_ref()?.schema,
            MethodPart::Output => self.output.as_ref()?.schema,
            MethodPart::Message => self.message,
        }
    }
}

impl fmt::Display for MethodPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parameters => "parameters",
            Self::Input => "input",
            Self::Output => "output",
            Self::Message => "message",
        })
    }
}
