//! The benchmark measures what it says, and says when something is wrong. How fast anything is, is not looked at.

use std::path::Path;
use std::process::Output;

use anyhow::Result;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::harness::cluster::{Cluster, Replicas};

/// Runs a short benchmark of the server at `url`, which writes its figures to `json`.
async fn bench(url: &str, scenarios: &[&str], json: &Path) -> Result<Output> {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--url", url, "--server-pid", &std::process::id().to_string()])
        .args(scenarios.iter().map(|scenario| format!("--only={scenario}")))
        .arg("--json")
        .arg(json)
        .kill_on_drop(true)
        .output();
    Ok(output.await?)
}

/// The rows that a benchmark has written.
fn rows(json: &Path) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    report["servers"][0]["rows"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_is_measured_and_nothing_fails() {
    let cluster = Cluster::start(Replicas(1)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let scenarios = [
        "create-record",
        "apply-writes",
        "get-record",
        "list-records",
        "get-repo",
        "upload-blob",
        "upload-large",
        "get-blob",
        "firehose",
        "backfill",
    ];
    let output = bench(cluster.api(0).origin(), &scenarios, &json).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = rows(&json);
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let expected = [&scenarios[..9], &["firehose-writes", "firehose-idle", "backfill"]].concat();
    assert_eq!(names, expected);
    for row in &rows {
        assert!(row["count"].as_u64() > Some(0) && row["failures"] == 0, "{row}");
        assert!(row["memory"].as_u64() > Some(0), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_makes_the_benchmark_fail() {
    let account = || async { Json(json!({"did": "did:web:a.test", "handle": "a.test", "accessJwt": "token"})) };
    let server = Router::new()
        .route(
            "/xrpc/com.atproto.server.describeServer",
            get(|| async { Json(json!({"availableUserDomains": [".test"]})) }),
        )
        .route("/xrpc/com.atproto.server.createAccount", post(account))
        .route("/xrpc/com.atproto.server.getSession", get(|| async { (StatusCode::BAD_GATEWAY, "no session today") }));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let output = bench(&url, &["get-session"], &json).await.unwrap();
    serving.abort();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("get-session") && said.contains("no session today"), "{said}");
    assert!(rows(&json)[0]["failures"].as_u64() > Some(0));
}
