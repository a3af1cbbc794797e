//! Documents of strangers can be asked for everything.

#![no_main]

use atproto::identity::{DidDocument, did_web_document_url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(document) = serde_json::from_slice::<DidDocument>(json) else {
        return;
    };
    let _ = (document.handle(), document.signing_key(), document.pds_endpoint(), did_web_document_url(&document.id));
    let written = serde_json::to_vec(&document).expect("documents are writable");
    if let Ok(read) = DidDocument::parse(&document.id, &written) {
        assert_eq!(read, document);
    }
});
