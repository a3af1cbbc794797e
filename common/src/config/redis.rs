//! Redis.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::Reader;

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 6379;
const ADDRESS: &str = "PDS_REDIS_SCRATCH_ADDRESS";

/// Redis, for what replicas share and may lose at any time.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The server, or some nodes of the cluster, which know the others. `PDS_REDIS_SCRATCH_ADDRESS`: `host[:port]` or
    /// `redis://[user@]host[:port][/database]`, of a cluster also several between commas; `rediss://` for TLS.
    pub nodes: Vec<RedisNode>,
    /// Whether it is a cluster. `PDS_REDIS_SCRATCH_CLUSTER`, default false.
    pub cluster: bool,
    /// Whether connections are encrypted. The certificate must be signed by somebody the machine knows.
    pub tls: bool,
    /// User name; without one it is Redis' default user.
    pub username: Option<String>,
    /// `PDS_REDIS_SCRATCH_PASSWORD` (or `_FILE`).
    pub password: Option<SecretString>,
    /// Number of the database; a cluster has only 0.
    pub database: u16,
    /// How long a request waits for an answer before it goes on without. `PDS_REDIS_SCRATCH_TIMEOUT_MS`, default 500.
    pub timeout: Duration,
}

/// Where a server of Redis is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisNode {
    /// Host name or address; one of version 6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl RedisConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let password = reader.secret("PDS_REDIS_SCRATCH_PASSWORD");
        let cluster = reader.strict_bool("PDS_REDIS_SCRATCH_CLUSTER").unwrap_or(false);
        let timeout = reader.strict_millis("PDS_REDIS_SCRATCH_TIMEOUT_MS").unwrap_or(Duration::from_millis(500));
        let items = reader.list(ADDRESS);
        let servers: Result<Vec<Server>, _> = items.iter().map(|item| item.parse()).collect();
        let servers = match servers {
            Ok(servers) => servers,
            Err(problem) => {
                reader.problem(ADDRESS, problem);
                return None;
            }
        };
        let Server { tls, username, database, .. } = servers.first()?.clone();
        if servers.iter().any(|other| (other.tls, &other.username, other.database) != (tls, &username, database)) {
            reader.problem(ADDRESS, "has nodes that differ in more than host and port");
        } else if servers.len() > 1 && !cluster {
            reader.problem(ADDRESS, "has several nodes; set PDS_REDIS_SCRATCH_CLUSTER if they are a cluster");
        } else if cluster && database != 0 {
            reader.problem(ADDRESS, "names a database, but a cluster has only one");
        }
        let nodes = servers.into_iter().map(|server| server.node).collect();
        Some(Self { nodes, cluster, tls, username, password, database, timeout })
    }
}

/// One address.
#[derive(Clone, Debug)]
struct Server {
    node: RedisNode,
    tls: bool,
    username: Option<String>,
    database: u16,
}

impl std::str::FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be host, host:port or redis://[user@]host[:port][/database]";
        if !text.contains("://") {
            // As the reference takes it.
            let (host, port) = split_host_port(text).ok_or(FORM)?;
            let node = RedisNode { host, port: port.unwrap_or(DEFAULT_PORT) };
            return Ok(Self { node, tls: false, username: None, database: 0 });
        }
        let url = Url::parse(text).map_err(|_| FORM)?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(FORM),
        };
        if url.password().is_some() {
            return Err("must not hold the password; put it into PDS_REDIS_SCRATCH_PASSWORD");
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| FORM)?,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let username = Some(url.username().to_owned()).filter(|name| !name.is_empty());
        Ok(Self { node: RedisNode { host, port: url.port().unwrap_or(DEFAULT_PORT) }, tls, username, database })
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_host_port(address: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() || host.contains('/') {
        return None;
    }
    Some((host.to_owned(), port.map(str::parse).transpose().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Option<(String, u16)> {
        let server: Server = text.parse().ok()?;
        assert!(!server.tls && server.username.is_none() && server.database == 0, "{text}");
        Some((server.node.host, server.node.port))
    }

    #[test]
    fn addresses_as_the_reference_takes_them() {
        assert_eq!(node("redis"), Some(("redis".to_owned(), 6379)));
        assert_eq!(node("redis:7000"), Some(("redis".to_owned(), 7000)));
        assert_eq!(node("[::1]:7000"), Some(("::1".to_owned(), 7000)));
        assert_eq!(node("[::1]"), Some(("::1".to_owned(), 6379)));
        for bad in ["", ":1", "redis:port", "redis/1", "::1", "[::1]7000", "http://redis", "redis://", "redis://x/y"] {
            assert_eq!(node(bad), None, "{bad}");
        }
    }

    #[test]
    fn urls_say_more() {
        assert_eq!(node("redis://redis"), Some(("redis".to_owned(), 6379)));
        assert_eq!(node("redis://[::1]:7000/"), Some(("::1".to_owned(), 7000)));
        let server: Server = "rediss://pds@redis.example.net:7001/3".parse().unwrap();
        assert_eq!(server.node, RedisNode { host: "redis.example.net".to_owned(), port: 7001 });
        assert_eq!((server.tls, server.username.as_deref(), server.database), (true, Some("pds"), 3));
        let refused = "redis://pds:secret@redis".parse::<Server>().unwrap_err();
        assert!(refused.contains("PDS_REDIS_SCRATCH_PASSWORD") && !refused.contains("secret"));
    }
}
