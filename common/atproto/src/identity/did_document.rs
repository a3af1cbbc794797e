//! DID documents, reduced to what the protocol reads.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

use super::{PDS_SERVICE_ID, PDS_SERVICE_TYPE, SIGNING_KEY_ID};
use crate::crypto::{Curve, PublicKey};
use crate::syntax::{Did, Handle};

/// Longest document in bytes of JSON.
pub const MAX_DOCUMENT_LEN: usize = 64 * 1024;

/// A DID document. What the protocol does not read is dropped; entries of a shape it does not know are skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidDocument {
    /// The JSON-LD context as it was; kept for showing the document.
    #[serde(rename = "@context", default, skip_serializing_if = "Value::is_null")]
    pub context: Value,
    /// Whose document it is.
    pub id: Did,
    /// Other names, as URIs; handles among them as `at://<handle>`.
    #[serde(default, deserialize_with = "known_entries")]
    pub also_known_as: Vec<String>,
    /// Public keys.
    #[serde(default, deserialize_with = "known_entries")]
    pub verification_method: Vec<VerificationMethod>,
    /// Servers.
    #[serde(default, deserialize_with = "known_entries")]
    pub service: Vec<Service>,
}

/// A public key in a DID document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationMethod {
    /// `#<fragment>` or `<did>#<fragment>`.
    pub id: String,
    /// In which form the key is given.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who may use the key; not read here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The key, if it is given in multibase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_multibase: Option<String>,
}

/// A server in a DID document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `#<fragment>` or `<did>#<fragment>`.
    pub id: String,
    /// What the server is for.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address; a text in the protocol, but documents may hold other forms.
    pub service_endpoint: Value,
}

/// Why bytes are not the document of a DID.
#[derive(Debug, thiserror::Error)]
pub enum DidDocumentError {
    /// More than [`MAX_DOCUMENT_LEN`] bytes.
    #[error("DID document is too long ({MAX_DOCUMENT_LEN} bytes max)")]
    TooLong,
    /// Not JSON, or without a DID as `id`.
    #[error("malformed DID document")]
    Malformed(#[source] serde_json::Error),
    /// The document of another DID.
    #[error("DID document has another id: {0}")]
    OtherDid(Did),
    /// A text in it holds a NUL.
    #[error("DID document holds a NUL character")]
    Nul,
}

impl DidDocument {
    /// Reads the document of `did` from JSON.
    pub fn parse(did: &Did, json: &[u8]) -> Result<Self, DidDocumentError> {
        if json.len() > MAX_DOCUMENT_LEN {
            return Err(DidDocumentError::TooLong);
        }
        let document: Self = serde_json::from_slice(json).map_err(DidDocumentError::Malformed)?;
        if document.id != *did {
            return Err(DidDocumentError::OtherDid(document.id));
        }
        if document.has_nul() { Err(DidDocumentError::Nul) } else { Ok(document) }
    }

    /// True if a text in it holds a NUL. No name, key or address has one, and databases cannot store it.
    pub fn has_nul(&self) -> bool {
        let method = |method: &VerificationMethod| {
            let optional = [method.controller.as_deref(), method.public_key_multibase.as_deref()];
            [&*method.id, &*method.kind].into_iter().chain(optional.into_iter().flatten()).any(holds_nul)
        };
        let server = |service: &Service| {
            holds_nul(&service.id) || holds_nul(&service.kind) || json_holds_nul(&service.service_endpoint)
        };
        json_holds_nul(&self.context)
            || self.also_known_as.iter().any(|name| holds_nul(name))
            || self.verification_method.iter().any(method)
            || self.service.iter().any(server)
    }

    /// Roughly the bytes that the document takes in memory, for caches. Parts that are kept as JSON may take eighty times
    /// their text.
    pub fn weight(&self) -> usize {
        let texts = |method: &VerificationMethod| {
            let optional = [&method.controller, &method.public_key_multibase];
            let optional: usize = optional.into_iter().flatten().map(String::len).sum();
            method.id.len() + method.kind.len() + optional + size_of::<VerificationMethod>()
        };
        let server = |service: &Service| {
            service.id.len() + service.kind.len() + weigh_json(&service.service_endpoint) + size_of::<Service>()
        };
        size_of::<Self>()
            + weigh_json(&self.context)
            + self.also_known_as.iter().map(|name| name.len() + size_of::<String>()).sum::<usize>()
            + self.verification_method.iter().map(texts).sum::<usize>()
            + self.service.iter().map(server).sum::<usize>()
    }

    /// The handle the document claims: the first `at://` name. Later ones do not count, even if the first is malformed.
    /// It is the account's only if it resolves back to the DID.
    pub fn handle(&self) -> Option<Handle> {
        let handle = self.also_known_as.iter().find_map(|name| name.strip_prefix("at://"))?;
        handle.parse().ok()
    }

    /// The key that signs the account's commits and service tokens.
    pub fn signing_key(&self) -> Option<PublicKey> {
        self.verification_key(SIGNING_KEY_ID)
    }

    /// The key with this fragment, without the `#`.
    pub fn verification_key(&self, fragment: &str) -> Option<PublicKey> {
        let method = self.verification_method.iter().find(|method| is_fragment(&method.id, &self.id, fragment))?;
        method.public_key()
    }

    /// The address of the account's server.
    pub fn pds_endpoint(&self) -> Option<&str> {
        let service = self.service(PDS_SERVICE_ID)?;
        if service.kind == PDS_SERVICE_TYPE { service.url() } else { None }
    }

    /// The server with this fragment, without the `#`.
    pub fn service(&self, fragment: &str) -> Option<&Service> {
        self.service.iter().find(|service| is_fragment(&service.id, &self.id, fragment))
    }
}

impl VerificationMethod {
    /// The key, from a `Multikey` or from one of the two older forms.
    pub fn public_key(&self) -> Option<PublicKey> {
        let text = self.public_key_multibase.as_deref()?;
        let key = match self.kind.as_str() {
            "Multikey" => PublicKey::from_multikey(text),
            "EcdsaSecp256k1VerificationKey2019" => PublicKey::from_bare_multibase(Curve::K256, text),
            "EcdsaSecp256r1VerificationKey2019" => PublicKey::from_bare_multibase(Curve::P256, text),
            _ => return None,
        };
        key.ok()
    }
}

impl Service {
    /// The address as it is written, if it is an `http` or `https` URL.
    pub fn url(&self) -> Option<&str> {
        let text = self.service_endpoint.as_str()?;
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(text)
    }
}

fn holds_nul(text: &str) -> bool {
    text.contains('\0')
}

fn json_holds_nul(json: &Value) -> bool {
    match json {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => holds_nul(text),
        Value::Array(items) => items.iter().any(json_holds_nul),
        Value::Object(entries) => entries.iter().any(|(key, value)| holds_nul(key) || json_holds_nul(value)),
    }
}

/// Roughly the bytes that JSON takes in memory. Its depth is bounded by the one who read it.
fn weigh_json(json: &Value) -> usize {
    let inside = match json {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weigh_json).sum(),
        Value::Object(entries) => {
            // Maps are made of nodes with room for eleven entries.
            let room = entries.len().next_multiple_of(11) * (size_of::<String>() + size_of::<Value>());
            room + entries.iter().map(|(key, value)| key.len() + weigh_json(value)).sum::<usize>()
        }
    };
    size_of::<Value>() + inside
}

/// True if `id` is `#<fragment>`, alone or after the DID.
fn is_fragment(id: &str, did: &Did, fragment: &str) -> bool {
    let local = id.strip_prefix(did.as_str()).unwrap_or(id);
    local.strip_prefix('#') == Some(fragment)
}

/// Reads a list and leaves out what is not a `T`: an entry of some other protocol must not hide ours.
fn known_entries<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::<Value>::deserialize(deserializer)?;
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DID: &str = "did:plc:yk4dd2qkboz2yv6tpubpc6co";
    const KEY: &str = "did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";
    const UNCOMPRESSED: &str =
        "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";

    fn parse(json: &Value) -> Result<DidDocument, DidDocumentError> {
        DidDocument::parse(&DID.parse().unwrap(), json.to_string().as_bytes())
    }

    fn with_key(id: &str, kind: &str, key: &str) -> DidDocument {
        let method = json!({ "id": id, "type": kind, "controller": DID, "publicKeyMultibase": key });
        parse(&json!({ "id": DID, "verificationMethod": [method] })).unwrap()
    }

    #[test]
    fn a_document_gives_handle_key_and_servers() {
        let document = parse(&json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": DID,
            "alsoKnownAs": ["https://example.com", "at://Dholms.xyz", "at://second.test"],
            "verificationMethod": [
                { "id": "#other", "type": "JsonWebKey2020", "controller": DID, "publicKeyJwk": {} },
                { "id": format!("{DID}#atproto"), "type": "Multikey", "controller": DID, "publicKeyMultibase": &KEY[8..] },
            ],
            "service": [
                { "id": "#hub", "type": ["A", "B"], "serviceEndpoint": "https://hub.example" },
                { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example" },
                { "id": format!("{DID}#bsky_notif"), "type": "N", "serviceEndpoint": { "uri": "https://n.example" } },
            ],
            "authentication": ["#other"],
        }))
        .unwrap();
        assert_eq!(document.handle().unwrap().as_str(), "dholms.xyz");
        assert_eq!(document.signing_key().unwrap().to_string(), KEY);
        assert_eq!(document.pds_endpoint(), Some("https://pds.example"));
        assert_eq!(document.service("bsky_notif").unwrap().url(), None);
        assert_eq!(document.service("hub"), None, "an unknown shape is skipped");
        assert_eq!(document.verification_key("other"), None);
        let again = serde_json::to_value(&document).unwrap();
        assert_eq!(serde_json::from_value::<DidDocument>(again).unwrap(), document);
    }

    #[test]
    fn keys_come_in_three_forms() {
        let key: PublicKey = KEY.parse().unwrap();
        let legacy = "EcdsaSecp256k1VerificationKey2019";
        assert_eq!(with_key("#atproto", "Multikey", &KEY[8..]).signing_key(), Some(key));
        assert_eq!(with_key("#atproto", legacy, UNCOMPRESSED).signing_key(), Some(key));
        for document in [
            with_key("#atproto", "EcdsaSecp256r1VerificationKey2019", UNCOMPRESSED),
            with_key("#atproto", "Multikey", UNCOMPRESSED),
            with_key("#atproto", "Other", &KEY[8..]),
            with_key("#atproto_label", "Multikey", &KEY[8..]),
            with_key("did:plc:other#atproto", "Multikey", &KEY[8..]),
            with_key("atproto", "Multikey", &KEY[8..]),
        ] {
            assert_eq!(document.signing_key(), None, "{document:?}");
        }
    }

    #[test]
    fn only_the_first_handle_counts() {
        let names = |names: &[&str]| parse(&json!({ "id": DID, "alsoKnownAs": names })).unwrap().handle();
        assert_eq!(names(&["at://first.test", "at://second.test"]).unwrap().as_str(), "first.test");
        assert_eq!(names(&["at://not a handle", "at://second.test"]), None);
        assert_eq!(names(&["https://example.com"]), None);
    }

    #[test]
    fn only_web_addresses_are_endpoints() {
        for (endpoint, expected) in [
            ("https://pds.example", Some("https://pds.example")),
            ("http://localhost:2583", Some("http://localhost:2583")),
            ("wss://pds.example", None),
            ("pds.example", None),
            ("https://", None),
        ] {
            let service = json!({ "id": "#atproto_pds", "type": PDS_SERVICE_TYPE, "serviceEndpoint": endpoint });
            let document = parse(&json!({ "id": DID, "service": [service] })).unwrap();
            assert_eq!(document.pds_endpoint(), expected);
        }
        let other = json!({ "id": "#atproto_pds", "type": "Other", "serviceEndpoint": "https://pds.example" });
        assert_eq!(parse(&json!({ "id": DID, "service": [other] })).unwrap().pds_endpoint(), None);
    }

    #[test]
    fn other_documents_are_refused() {
        assert!(matches!(parse(&json!({ "id": "did:plc:other" })), Err(DidDocumentError::OtherDid(_))));
        assert!(matches!(parse(&json!({ "id": "x" })), Err(DidDocumentError::Malformed(_))));
        assert!(matches!(parse(&json!([])), Err(DidDocumentError::Malformed(_))));
        let long = json!({ "id": DID, "alsoKnownAs": ["a".repeat(MAX_DOCUMENT_LEN)] });
        assert!(matches!(parse(&long), Err(DidDocumentError::TooLong)));
    }

    #[test]
    fn a_nul_is_refused_wherever_it_would_be_kept() {
        let with = |name: &str, value: Value| parse(&json!({ "id": DID, name: value }));
        for (name, value) in [
            ("@context", json!([{ "a": ["\0"] }])),
            ("@context", json!({ "\0": 1 })),
            ("alsoKnownAs", json!(["at://a.test", "at://a\0.test"])),
            ("verificationMethod", json!([{ "id": "#\0", "type": "Multikey" }])),
            ("verificationMethod", json!([{ "id": "#a", "type": "Multikey\0" }])),
            ("verificationMethod", json!([{ "id": "#a", "type": "Multikey", "controller": "\0" }])),
            ("verificationMethod", json!([{ "id": "#a", "type": "Multikey", "publicKeyMultibase": "\0" }])),
            ("service", json!([{ "id": "\0", "type": "A", "serviceEndpoint": "https://a.test" }])),
            ("service", json!([{ "id": "#a", "type": "\0", "serviceEndpoint": "https://a.test" }])),
            ("service", json!([{ "id": "#a", "type": "A", "serviceEndpoint": { "uri": "\0" } }])),
        ] {
            let refused = with(name, value.clone());
            assert!(matches!(refused, Err(DidDocumentError::Nul)), "{name} {value}");
        }
        for (name, value) in [("alsoKnownAs", json!(["\\u0000", "a\nb"])), ("other", json!("\0"))] {
            with(name, value).unwrap();
        }
    }

    #[test]
    fn a_document_weighs_what_it_takes_in_memory() {
        let did: Did = "did:web:a.test".parse().unwrap();
        let weigh = |context: Value| {
            let text = json!({ "@context": context, "id": did }).to_string();
            (text.len(), DidDocument::parse(&did, text.as_bytes()).unwrap().weight())
        };
        let (_, empty) = weigh(Value::Null);
        assert!(empty < 300, "{empty}");
        assert_eq!(weigh(json!("a".repeat(1000))).1, empty + 1000);
        let (text, maps) = weigh(json!(vec![json!({ "a": 0 }); 1000]));
        assert!(text < 9000 && maps > 600_000, "{text} {maps}");
    }
}
