//! Permission sets: named bundles of OAuth permissions, asked for with an `include:` scope.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a permission-set document grants, and what to call it when the account holder is asked.
///
/// Source: atproto.com/specs/permission, "Permission Sets".
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct PermissionSet {
    /// Short name, in the document's own language.
    pub title: Option<String>,
    /// Short name by language tag.
    #[serde(default, rename = "title:lang")]
    pub title_by_language: BTreeMap<String, String>,
    /// One or two sentences on what it is for.
    pub detail: Option<String>,
    /// The same by language tag.
    #[serde(default, rename = "detail:lang")]
    pub detail_by_language: BTreeMap<String, String>,
    /// What is granted.
    pub permissions: Vec<Permission>,
}

/// One permission of a set: a resource and the parameters that belong to it, as the document gives them.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// Kind of resource: `repo` or `rpc`.
    pub resource: String,
    /// `repo`: the collections, as NSIDs.
    #[serde(default)]
    pub collection: Vec<String>,
    /// `repo`: which of `create`, `update`, `delete`; `None` stands for all.
    pub action: Option<Vec<String>>,
    /// `rpc`: the methods, as NSIDs.
    #[serde(default)]
    pub lxm: Vec<String>,
    /// `rpc`: the service that may be called, `*` for any.
    pub aud: Option<String>,
    /// `rpc`: the service is the one named in the `include:` scope.
    #[serde(default)]
    pub inherit_aud: bool,
}
