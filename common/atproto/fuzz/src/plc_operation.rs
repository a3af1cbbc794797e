//! An operation is kept exactly as it was read.

use atproto::crypto::SigningKey;
use atproto::identity::plc::{Operation, State, UnsignedOperation};
use serde_json::{Value, json};

pub fn run(text: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return };
    let Ok(operation) = Operation::try_from(json.clone()) else { return };
    assert_eq!(serde_json::to_value(&operation).expect("operations are writable"), json);
    let _ = (operation.check_limits(), operation.cid());
    if let (Some(state), Ok(did)) = (operation.state(), operation.did()) {
        let document = state.document(&did);
        let _ = (document.handle(), document.signing_key(), operation.verify_genesis(&did));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let key = SigningKey::from_bytes(&[7; 32]).expect("a key");
    let handle = "alice.test".parse().expect("a handle");
    let state = State::for_account(&[key.public_key()], &key.public_key(), &handle, "https://pds.test");
    let genesis = UnsignedOperation::genesis(state.clone()).sign(&key).expect("an operation");
    let prev = genesis.cid().expect("an operation");
    let did_key = key.public_key().to_string();
    let update = UnsignedOperation::Update { state, prev: Some(prev) }.sign(&key).expect("an operation");
    let tombstone = UnsignedOperation::Tombstone { prev }.sign(&key).expect("an operation");
    let legacy = json!({
        "type": "create", "signingKey": did_key, "recoveryKey": did_key, "handle": "alice.test", "service": "pds.test",
        "prev": null, "sig": "AAAA",
    });
    let operations = [genesis, update, tombstone].map(|operation| serde_json::to_value(operation).expect("JSON"));
    operations.into_iter().chain([legacy]).map(|json| json.to_string().into_bytes()).collect()
}
