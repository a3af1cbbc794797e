//! Identities without the network: DID documents, where `did:web` keeps them, and the operations of the PLC directory.
//!
//! Source: atproto.com/specs/did; web.plc.directory/spec.

pub mod plc;

mod did_document;
mod did_web;

pub use did_document::{DidDocument, DidDocumentError, MAX_DOCUMENT_LEN, Service, VerificationMethod};
pub use did_web::did_web_document_url;

/// Fragment of the verification method with an account's signing key.
pub const SIGNING_KEY_ID: &str = "atproto";

/// Fragment of the service entry with an account's server.
pub const PDS_SERVICE_ID: &str = "atproto_pds";

/// Type of the service entry with an account's server.
pub const PDS_SERVICE_TYPE: &str = "AtprotoPersonalDataServer";
