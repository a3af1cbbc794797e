//! The Redis of tests.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::config::{RedisConfig, RedisNode};

/// How to reach the server at a URL with user and password, as the launcher of the development stack gives it; without one,
/// that of `TEST_REDIS_URL`. Tests share that server, so each uses names of its own.
///
/// # Panics
/// If there is no such URL.
pub fn redis_config(url: Option<&str>) -> RedisConfig {
    let url = url.map_or_else(server_url, str::to_owned);
    let url: Url = url.parse().expect("the URL of a Redis server");
    let node = RedisNode {
        host: url.host_str().expect("a URL with a host").to_owned(),
        port: url.port().expect("a URL with a port"),
    };
    RedisConfig {
        nodes: vec![node],
        cluster: false,
        tls: false,
        username: Some(url.username().to_owned()).filter(|name| !name.is_empty()),
        password: url.password().map(SecretString::from),
        database: 0,
        // Whatever else the machine has to do meanwhile.
        timeout: Duration::from_secs(30),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads where tests find Redis")]
fn server_url() -> String {
    std::env::var("TEST_REDIS_URL").expect("TEST_REDIS_URL names a Redis server for tests")
}
