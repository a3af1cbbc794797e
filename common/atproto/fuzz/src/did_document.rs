//! Documents of strangers can be asked for everything.

use atproto::identity::{DidDocument, did_web_document_url};
use serde_json::json;

pub fn run(json: &[u8]) {
    let Ok(document) = serde_json::from_slice::<DidDocument>(json) else { return };
    let _ = (document.handle(), document.signing_key(), document.pds_endpoint());
    if let Some(url) = did_web_document_url(&document.id) {
        assert!(document.id.identifier().to_ascii_lowercase().starts_with(url.host_str().expect("a host")));
        assert_eq!(
            (url.path(), url.username(), url.password(), url.query()),
            ("/.well-known/did.json", "", None, None)
        );
    }
    let written = serde_json::to_vec(&document).expect("documents are writable");
    if let Ok(read) = DidDocument::parse(&document.id, &written) {
        assert_eq!(read, document);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    let key = "zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N";
    let documents = [
        json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": did,
            "alsoKnownAs": ["https://a.test", "at://alice.test", 1],
            "verificationMethod": [
                { "id": format!("{did}#atproto"), "type": "Multikey", "controller": did, "publicKeyMultibase": key },
                { "id": "#atproto", "type": "EcdsaSecp256k1VerificationKey2019", "publicKeyMultibase": "z6MkuB" },
            ],
            "service": [
                { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.test" },
                { "id": "#other", "type": "Other", "serviceEndpoint": { "a": ["https://b.test"] } },
            ],
        }),
        json!({ "id": "did:web:localhost%3A2583", "service": null }),
        json!({ "id": "did:web:a.test", "alsoKnownAs": [] }),
    ];
    documents.map(|document| document.to_string().into_bytes()).into()
}
