//! A method's name is its path, its lexicon is known, and it is served.

use super::source::{self, Source};
use super::{Violation, assert_none};

/// Where the methods are.
const TREE: &str = "api/src/xrpc/";
/// One lexicon a line: the protocol's, and those of our own methods.
const LEXICONS: [&str; 2] = ["common/atproto/lexicons/lexicons.jsonl", "common/atproto/lexicons/rookery.jsonl"];

/// What is wrong with the files of methods among `sources`.
fn wrong(sources: &[Source], lexicons: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        let Some(path) = source.path.strip_prefix(TREE).filter(|path| is_method(path)) else { continue };
        let Some(nsid) = declared_name(source.code()) else {
            violations.push(format!("{}: declares no METHOD", source.path));
            continue;
        };
        if file_of(nsid) != path {
            violations.push(format!("{}: {nsid} belongs in {TREE}{}", source.path, file_of(nsid)));
        }
        if !lexicons.contains(&format!("\"id\":\"{nsid}\"")) {
            violations.push(format!("{}: there is no lexicon {nsid}", source.path));
        }
        if !is_registered(sources, &source.path) {
            violations.push(format!("{}: its mod.rs does not register it", source.path));
        }
    }
    violations
}

/// Whether this file, named from the top of the tree of methods, is a method.
fn is_method(path: &str) -> bool {
    ["app/", "chat/", "com/", "internal/", "tools/"].iter().any(|authority| path.starts_with(authority))
        && !path.ends_with("/mod.rs")
}

/// The NSID in `METHOD: Method = Method::query("…")`.
fn declared_name(code: &str) -> Option<&str> {
    let (_, declaration) = code.split_once("const METHOD: Method")?;
    let (_, name) = declaration.split_once("(\"")?;
    name.split_once('"').map(|(name, _)| name)
}

/// `com.atproto.sync.getRepo` → `com/atproto/sync/get_repo.rs`
fn file_of(nsid: &str) -> String {
    let mut path = String::new();
    for c in nsid.chars() {
        match c {
            '.' => path.push('/'),
            c if c.is_ascii_uppercase() => path.extend(['_', c.to_ascii_lowercase()]),
            c => path.push(c),
        }
    }
    path + ".rs"
}

/// Whether the folder's `mod.rs` has the file compiled and its method served.
fn is_registered(sources: &[Source], path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    let name = file.trim_end_matches(".rs");
    let parent = sources.iter().find(|source| source.path == format!("{folder}/mod.rs"));
    parent.is_some_and(|parent| {
        let declared = parent.code().lines().any(|line| line.ends_with(&format!("mod {name};")));
        declared && parent.code().contains(&format!("({name}::METHOD"))
    })
}

#[test]
fn methods_are_where_their_names_say() {
    let sources = source::below(TREE, "rs");
    assert!(
        sources.iter().any(|source| source.path.contains("/com/atproto/")),
        "no methods below {TREE}: have they moved?"
    );
    let lexicons: String = LEXICONS.iter().map(|path| source::one(path).text).collect();
    assert_none(&wrong(&sources, &lexicons));
}

#[test]
fn the_rules_can_be_broken() {
    let lexicons = "{\"lexicon\":1,\"id\":\"com.atproto.sync.getRepo\"}";
    let registry = "pub mod get_repo;\npub mod other;\nroutes.add(get_repo::METHOD, get_repo::handle);\n\
                    routes.add(other::METHOD, other::handle);\n";
    let parent = Source::planted("api/src/xrpc/com/atproto/sync/mod.rs", registry);
    let check = |file: &str, text: &str| {
        let planted = Source::planted(&format!("api/src/xrpc/com/atproto/sync/{file}"), text);
        wrong(&[parent.clone(), planted], lexicons)
    };
    let get_repo = "pub const METHOD: Method = Method::query(\"com.atproto.sync.getRepo\");";
    assert_none(&check("get_repo.rs", get_repo));
    assert!(check("other.rs", get_repo)[0].contains("belongs in"));
    assert!(check("other.rs", "fn handle() {}")[0].contains("declares no METHOD"));
    let forgotten = check("forgotten.rs", &get_repo.replace("getRepo", "forgotten"));
    assert!(forgotten[0].contains("no lexicon") && forgotten[1].contains("does not register"), "{forgotten:?}");
}
