//! Operations of the PLC directory: building, signing, checking, and what follows from them.
//!
//! A `did:plc` is a chain of signed operations, each naming the one before by its CID. The first gives the DID its name.
//! Signatures and CIDs are over the DAG-CBOR of an operation, where CIDs and signatures are texts as in its JSON.
//!
//! Source: web.plc.directory/spec/v0.1/did-plc.

mod operation;
mod state;

pub use operation::{LegacyCreate, MAX_OPERATION_LEN, Operation, OperationError, UnsignedOperation};
pub use state::{PlcService, State, StateError};
