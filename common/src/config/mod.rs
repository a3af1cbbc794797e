//! Settings: read once at start, typed, and checked as a whole.
//!
//! The variables are the reference server's, with its names, defaults and value rules (see `reader`), plus ours. Each
//! is documented at its field. Every secret may also be given as `NAME_FILE`, the path of a file that holds it. Bad
//! configuration is one [`ConfigError`] that names every bad variable, not only the first.

mod account;
mod blob;
mod domain_list;
mod limits;
mod log;
mod network;
mod oauth;
mod reader;
mod redis;
mod relay;
mod secret;
mod service;
mod smtp;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use account::{EmailConfig, IdentityConfig, InvitesConfig, MailTransport};
pub use blob::{BlobConfig, BlobDelivery, BlobQuota, CdnPattern, CdnPatternError, MetadataPolicy, MetadataPolicyError};
pub use domain_list::{DomainList, DomainListError};
pub use limits::{RateLimitConfig, SubscriptionConfig};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use network::{EntrywayConfig, FetchConfig, ProxyConfig, UpstreamService, UpstreamsConfig};
pub use oauth::{BrandingConfig, Color, ColorError, HcaptchaConfig, OauthConfig};
pub use redis::{RedisConfig, RedisNode};
pub use relay::{AccountLimits, RelayConfig};
pub use secret::{Key32, PlcRotationKey, SecretsConfig};
pub use service::{DeploymentConfig, ServiceConfig};
pub use smtp::{SmtpSecurity, SmtpServer, SmtpUrlError};
pub use storage::{BlobstoreConfig, DatabaseConfig, DiskConfig, S3Config, S3Credentials};

use reader::Reader;

/// Variables of the reference server that mean nothing here: its databases are files, ours is Postgres.
const WITHOUT_MEANING: [&str; 8] = [
    "PDS_DATA_DIRECTORY",
    "PDS_ACCOUNT_DB_LOCATION",
    "PDS_SEQUENCER_DB_LOCATION",
    "PDS_DID_CACHE_DB_LOCATION",
    "PDS_SQLITE_DISABLE_WAL_AUTO_CHECKPOINT",
    "PDS_ACTOR_STORE_DIRECTORY",
    "PDS_ACTOR_STORE_CACHE_SIZE",
    // In its sample file, though the reference does not read it either.
    "PDS_REPO_SIGNING_KEY_K256_PRIVATE_KEY_HEX",
];

/// Every setting of the server and the worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this server is.
    pub service: ServiceConfig,
    /// How its processes run.
    pub deployment: DeploymentConfig,
    /// Its secrets.
    pub secrets: SecretsConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Blob bytes.
    pub blobstore: BlobstoreConfig,
    /// Which of them are taken and kept.
    pub blob: BlobConfig,
    /// Redis, if there is one.
    pub redis: Option<RedisConfig>,
    /// DIDs and handles.
    pub identity: IdentityConfig,
    /// Invitations.
    pub invites: InvitesConfig,
    /// Mail.
    pub email: EmailConfig,
    /// The account service in front, if there is one.
    pub entryway: Option<EntrywayConfig>,
    /// Services that requests are forwarded to.
    pub upstreams: UpstreamsConfig,
    /// How relays are told and looked after.
    pub relay: RelayConfig,
    /// Forwarded requests.
    pub proxy: ProxyConfig,
    /// Fetches from hosts that users name.
    pub fetch: FetchConfig,
    /// The event stream.
    pub subscription: SubscriptionConfig,
    /// Rate limits.
    pub rate_limit: RateLimitConfig,
    /// The OAuth server.
    pub oauth: OauthConfig,
    /// Logging.
    pub log: LogConfig,
    /// What the operator should know though nothing is wrong; to be logged once.
    pub warnings: Vec<String>,
}

/// The settings of outgoing mail, and of how it looks.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// Who this server is.
    pub service: ServiceConfig,
    /// The way of mails.
    pub email: EmailConfig,
    /// Colours.
    pub branding: BrandingConfig,
}

/// Everything that is wrong with the configuration. Shows names and reasons, never the value of a secret.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration:\n  {}", .problems.join("\n  "))]
pub struct ConfigError {
    /// One line per problem; each begins with the variable's name.
    pub problems: Vec<String>,
}

impl Config {
    /// Reads the environment of this process. Warns about `PDS_` variables that nothing reads.
    pub fn from_env() -> Result<Self, ConfigError> {
        let variables = environment();
        let (mut config, asked) = Self::read(&|name| variables.get(name).cloned())?;
        let unknown: Vec<&str> = variables
            .keys()
            .filter(|name| name.starts_with("PDS_") && !asked.contains(*name))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            config.warnings.push(format!("unknown variables are ignored: {}", unknown.join(", ")));
        }
        Ok(config)
    }

    /// Reads only what it takes to reach Postgres, for commands that need nothing else.
    pub fn database_from_env() -> Result<DatabaseConfig, ConfigError> {
        let variables = environment();
        let lookup = |name: &str| variables.get(name).cloned();
        let mut reader = Reader::new(&lookup);
        let database = DatabaseConfig::read(&mut reader);
        reader.finish(database).map(|(database, _)| database)
    }

    /// Reads only what outgoing mail needs, none of which is required; gives warnings, too.
    pub fn mail_from_env() -> Result<(MailConfig, Vec<String>), ConfigError> {
        let variables = environment();
        let lookup = |name: &str| variables.get(name).cloned();
        let mut reader = Reader::new(&lookup);
        let (email, oauth) = (EmailConfig::read(&mut reader), OauthConfig::read(&mut reader));
        let service = ServiceConfig::read(&mut reader);
        let config = service.map(|service| MailConfig { service, email, branding: oauth.branding });
        reader.finish(config).map(|(config, findings)| (config, findings.warnings))
    }

    /// Reads only where blobs are kept, for whoever needs nothing else.
    pub fn blobstore_from_env() -> Result<BlobstoreConfig, ConfigError> {
        let variables = environment();
        let lookup = |name: &str| variables.get(name).cloned();
        let mut reader = Reader::new(&lookup);
        let blobstore = BlobstoreConfig::read(&mut reader);
        reader.finish(blobstore).map(|(blobstore, _)| blobstore)
    }

    /// Reads only the settings of the event stream, none of which is required.
    pub fn subscription_from_env() -> Result<SubscriptionConfig, ConfigError> {
        let variables = environment();
        let lookup = |name: &str| variables.get(name).cloned();
        let mut reader = Reader::new(&lookup);
        let subscription = SubscriptionConfig::read(&mut reader);
        reader.finish(Some(subscription)).map(|(subscription, _)| subscription)
    }

    /// Reads variables through `lookup`, which gives a variable's value by its name.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::read(&lookup).map(|(config, _)| config)
    }

    /// What outgoing mail needs.
    pub fn mail(&self) -> MailConfig {
        let (service, email) = (self.service.clone(), self.email.clone());
        MailConfig { service, email, branding: self.oauth.branding.clone() }
    }

    /// The port to listen on.
    pub fn listen_port(&self) -> u16 {
        self.deployment.listen_port.unwrap_or(self.service.port)
    }

    /// The origin under which clients reach this server, without a trailing slash.
    pub fn public_url(&self) -> String {
        self.service.public_url()
    }

    fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(Self, BTreeSet<String>), ConfigError> {
        let mut reader = Reader::new(lookup);
        let config = Self::read_all(&mut reader);
        warn_without_meaning(&mut reader);
        let (mut config, findings) = reader.finish(config)?;
        config.warnings = findings.warnings;
        Ok((config, findings.asked))
    }

    /// Reads every part before giving up on one, so that all problems are found at once.
    fn read_all(reader: &mut Reader<'_>) -> Option<Self> {
        let service = ServiceConfig::read(reader);
        let (hostname, dev_mode) =
            service.as_ref().map_or(("localhost", false), |service| (&service.hostname, service.dev_mode));
        let is_https = service.as_ref().is_some_and(|service| service.public_url().starts_with("https:"));
        let secrets = SecretsConfig::read(reader);
        let database = DatabaseConfig::read(reader);
        let blobstore = BlobstoreConfig::read(reader);
        let identity = IdentityConfig::read(reader, hostname);
        let deployment = DeploymentConfig::read(reader);
        let rate_limit = RateLimitConfig::read(reader);
        check_replicas(reader, deployment.replicas, rate_limit.enabled);
        if rate_limit.enabled && deployment.trusted_proxies == Some(0) {
            rate_limit.check_no_proxy_is_exempt(reader);
        }
        let config = Self {
            deployment,
            rate_limit,
            blob: BlobConfig::read(reader, blobstore.as_ref(), is_https),
            redis: RedisConfig::read(reader),
            invites: InvitesConfig::read(reader),
            email: EmailConfig::read(reader),
            entryway: EntrywayConfig::read(reader),
            upstreams: UpstreamsConfig::read(reader),
            relay: RelayConfig::read(reader),
            proxy: ProxyConfig::read(reader),
            fetch: FetchConfig::read(reader, dev_mode),
            subscription: SubscriptionConfig::read(reader),
            oauth: OauthConfig::read(reader),
            log: LogConfig::read(reader),
            warnings: Vec::new(),
            service: service?,
            secrets: secrets?,
            database: database?,
            blobstore: blobstore?,
            identity: identity?,
        };
        Some(config)
    }
}

/// Refuses what only works while there is a single replica.
fn check_replicas(reader: &mut Reader<'_>, replicas: u32, limits_enabled: bool) {
    if replicas <= 1 {
        return;
    }
    if reader.is_set("PDS_BLOBSTORE_DISK_LOCATION") {
        let text = format!("is a directory of one machine, but PDS_REPLICAS is {replicas}");
        reader.problem("PDS_BLOBSTORE_DISK_LOCATION", text);
    }
    if limits_enabled && !reader.is_set("PDS_REDIS_SCRATCH_ADDRESS") {
        let text = format!("needs PDS_REDIS_SCRATCH_ADDRESS when PDS_REPLICAS is {replicas}");
        reader.problem("PDS_RATE_LIMITS_ENABLED", text);
    }
    if !reader.is_set("PDS_DPOP_SECRET") {
        reader.problem("PDS_DPOP_SECRET", format_args!("is required when PDS_REPLICAS is {replicas}"));
    }
}

impl DatabaseConfig {
    /// Reads only the database's variables, for commands that need nothing else.
    pub fn from_env() -> Result<Self, ConfigError> {
        let variables = environment();
        let lookup = |name: &str| variables.get(name).cloned();
        let mut reader = Reader::new(&lookup);
        let database = Self::read(&mut reader);
        reader.finish(database).map(|(database, _)| database)
    }
}

fn warn_without_meaning(reader: &mut Reader<'_>) {
    let set: Vec<&str> = WITHOUT_MEANING.into_iter().filter(|name| reader.string(name).is_some()).collect();
    if !set.is_empty() {
        reader.warn(format!("without meaning for this server, ignored: {}", set.join(", ")));
    }
}

/// The process's variables whose names and values are text.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(any(test, feature = "testing"))]
impl Config {
    /// The variables behind [`Config::for_tests`].
    pub const TEST_VARIABLES: [(&str, &str); 10] = [
        ("PDS_PORT", "0"),
        ("PDS_BIND", "127.0.0.1"),
        ("PDS_DRAIN_DELAY_MS", "0"),
        ("PDS_JWT_SECRET", "test-jwt-secret"),
        ("PDS_ADMIN_PASSWORD", "test-admin-password"),
        (
            "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX",
            "0101010101010101010101010101010101010101010101010101010101010101",
        ),
        ("PDS_KEY_ENCRYPTION_KEY", "0202020202020202020202020202020202020202020202020202020202020202"),
        ("PDS_DATABASE_URL", "postgres://localhost/test"),
        ("PDS_BLOBSTORE_DISK_LOCATION", "blobs"),
        ("PDS_INVITE_REQUIRED", "false"),
    ];

    /// Settings for a test: localhost, any port, fixed keys. Change the fields the test is about.
    ///
    /// Blobs would go to a folder for temporary files that all tests share; a test about them has one of its own.
    ///
    /// # Panics
    /// If [`Config::TEST_VARIABLES`] stop being valid.
    #[expect(clippy::expect_used, reason = "test support")]
    pub fn for_tests() -> Self {
        let mut config = Self::from_lookup(|name| {
            let (_, value) = Self::TEST_VARIABLES.into_iter().find(|(variable, _)| *variable == name)?;
            Some(value.to_owned())
        })
        .expect("the test variables are valid");
        config.blobstore = BlobstoreConfig::on_disk(std::env::temp_dir().join("rookery-tests"));
        config
    }
}
