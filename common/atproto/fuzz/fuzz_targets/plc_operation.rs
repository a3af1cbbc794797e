//! An operation is kept exactly as it was read.

#![no_main]

use atproto::identity::plc::Operation;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let Ok(json) = serde_json::from_slice::<Value>(text) else {
        return;
    };
    let Ok(operation) = Operation::try_from(json.clone()) else {
        return;
    };
    assert_eq!(serde_json::to_value(&operation).expect("operations are writable"), json);
    let _ = (operation.check_limits(), operation.cid());
    if let (Some(state), Ok(did)) = (operation.state(), operation.did()) {
        let document = state.document(&did);
        let _ = (document.handle(), document.signing_key(), operation.verify_genesis(&did));
    }
});
