//! Whole configurations.

use std::{io::Write, time::Duration};

use ipnet::IpNet;
use secrecy::ExposeSecret;

use super::*;

/// The least that starts.
const MINIMAL: [(&str, &str); 6] = [
    ("PDS_JWT_SECRET", "jwt-secret"),
    ("PDS_ADMIN_PASSWORD", "admin-password"),
    ("PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX", "1111111111111111111111111111111111111111111111111111111111111111"),
    ("PDS_KEY_ENCRYPTION_KEY", "2222222222222222222222222222222222222222222222222222222222222222"),
    ("PDS_DATABASE_URL", "postgres://user:database-password@db/pds"),
    ("PDS_BLOBSTORE_DISK_LOCATION", "/blobs"),
];

/// What an installation of the reference server has in its file, as its installer writes it.
const REFERENCE_SAMPLE: &str = "\
PDS_HOSTNAME=pds.example.net
PDS_JWT_SECRET=5f2a9c
PDS_ADMIN_PASSWORD=hunter2
PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX=1111111111111111111111111111111111111111111111111111111111111111
PDS_DATA_DIRECTORY=/pds
PDS_BLOBSTORE_DISK_LOCATION=/pds/blocks
PDS_BLOB_UPLOAD_LIMIT=104857600
PDS_DID_PLC_URL=https://plc.directory
PDS_BSKY_APP_VIEW_URL=https://api.bsky.app
PDS_BSKY_APP_VIEW_DID=did:web:api.bsky.app
PDS_REPORT_SERVICE_URL=https://mod.bsky.app
PDS_REPORT_SERVICE_DID=did:plc:ar7c4by46qjdydhdevvrndac
PDS_CRAWLERS=https://bsky.network,https://relay.example.com
PDS_EMAIL_SMTP_URL=smtps://resend:key@smtp.example.com:465/
PDS_EMAIL_FROM_ADDRESS=admin@pds.example.net
PDS_RATE_LIMITS_ENABLED=true
PDS_RATE_LIMIT_BYPASS_IPS=10.0.0.0/8,2001:db8::1
PDS_INVITE_REQUIRED=false
PDS_SERVICE_HANDLE_DOMAINS=.pds.example.net,.Other.example
LOG_ENABLED=true
";

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_lookup(|name| {
        // The last one wins, so that a test can override the minimal set.
        variables.iter().rev().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

fn with(more: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    read(&[&MINIMAL, more].concat())
}

fn problems(more: &[(&'static str, &'static str)]) -> Vec<String> {
    with(more).expect_err("a bad configuration").problems
}

#[test]
fn minimal_set_has_the_reference_defaults() {
    let config = with(&[]).unwrap();
    assert_eq!(config.public_url(), "http://localhost:2583");
    assert_eq!(config.service.did.as_str(), "did:web:localhost");
    assert_eq!(config.service.name, "localhost PDS");
    assert_eq!(config.service.blob_upload_limit, 5_242_880);
    assert!(config.service.accepting_repo_imports);
    assert_eq!(config.blob.unreferenced_ttl, Duration::from_hours(24));
    assert_eq!(config.identity.service_handle_domains, [".test"]);
    assert_eq!(config.identity.plc_url.as_str(), "https://plc.directory/");
    assert_eq!(config.identity.cache_max_ttl, Duration::from_hours(24));
    assert!(config.invites.required);
    assert_eq!(config.invites.epoch.timestamp(), 0);
    assert_eq!(config.subscription.max_buffer, 500);
    assert_eq!(config.proxy.max_response_size, 10_485_760);
    assert_eq!(config.fetch.max_response_size, 524_288);
    assert!(!config.fetch.disable_ssrf_protection);
    assert!(!config.rate_limit.enabled);
    assert!(!config.log.enabled);
    assert_eq!(config.deployment.replicas, 1);
    assert!(config.upstreams.appview.is_none() && config.entryway.is_none() && config.redis.is_none());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn reference_sample_needs_only_our_two_variables() {
    let sample: Vec<(&str, &str)> = REFERENCE_SAMPLE.lines().filter_map(|line| line.split_once('=')).collect();
    let error = read(&sample).unwrap_err();
    assert_eq!(error.problems, ["PDS_KEY_ENCRYPTION_KEY is required", "PDS_DATABASE_URL is required"]);

    let config = read(&[&sample[..], &MINIMAL[3..5]].concat()).unwrap();
    assert_eq!(config.public_url(), "https://pds.example.net");
    assert_eq!(config.identity.service_handle_domains, [".pds.example.net", ".other.example"]);
    assert_eq!(config.upstreams.crawlers.len(), 2);
    assert_eq!(config.upstreams.appview.unwrap().did.as_str(), "did:web:api.bsky.app");
    assert_eq!(config.upstreams.report_service.unwrap().url.as_str(), "https://mod.bsky.app/");
    assert_eq!(config.email.transport.unwrap().from_address, "admin@pds.example.net");
    let exempt: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "2001:db8::1/128".parse().unwrap()];
    assert_eq!(config.rate_limit.bypass_ips, exempt);
    assert!(config.log.enabled && !config.invites.required);
    assert_eq!(config.warnings, ["without meaning for this server, ignored: PDS_DATA_DIRECTORY"]);
}

#[test]
fn relays_may_have_limits_of_their_own() {
    const NAME: &str = "PDS_RELAY_ACCOUNT_LIMIT";
    let relay = with(&[]).unwrap().relay;
    assert_eq!((relay.notice_interval, relay.sample), (Duration::from_mins(20), 100));
    assert_eq!(relay.account_limits.of("https://a.example"), None);
    let limits = with(&[(NAME, "500,https://a.example/=100000")]).unwrap().relay.account_limits;
    assert_eq!(limits.of("https://a.example"), Some(100_000));
    assert_eq!(limits.of("https://b.example"), Some(500));
    for bad in ["many", "0", "-1", "a.example=5", "https://a.example=", "https://a.example=x", "5,"] {
        let problems = problems(&[(NAME, bad)]);
        assert!(problems.len() == 1 && problems[0].starts_with(NAME), "{bad}: {problems:?}");
    }
}

#[test]
fn previous_secrets_are_optional_and_may_be_several() {
    const NAME: &str = "PDS_KEY_ENCRYPTION_KEY_PREVIOUS";
    const KEY: &str = "3333333333333333333333333333333333333333333333333333333333333333";
    let count =
        |value: &'static str| with(&[(NAME, value)]).map(|config| config.secrets.key_encryption_keys_previous.len());
    assert_eq!(count("").unwrap(), 0);
    assert_eq!(count(KEY).unwrap(), 1);
    let several = "3333333333333333333333333333333333333333333333333333333333333333,\
                   4444444444444444444444444444444444444444444444444444444444444444";
    assert_eq!(count(several).unwrap(), 2);
    let problem = problems(&[(NAME, "3333,4444")]);
    assert!(problem[0].starts_with(NAME) && !problem[0].contains("3333"), "{problem:?}");
}

#[test]
fn every_bad_variable_is_named_at_once() {
    let error = read(&[
        ("PDS_HOSTNAME", "https://pds.example.net/"),
        ("PDS_ADMIN_PASSWORD", ""),
        ("PDS_PORT", "99999"),
        ("PDS_DPOP_SECRET", "abc"),
        ("PDS_CRAWLERS", "bsky.network"),
        ("PDS_MOD_SERVICE_URL", "https://mod.example.net"),
        ("PDS_REPLICAS", "2"),
        ("PDS_RATE_LIMITS_ENABLED", "1"),
    ])
    .unwrap_err();
    let named: BTreeSet<&str> = error.problems.iter().filter_map(|problem| problem.split(' ').next()).collect();
    let expected = [
        "PDS_ADMIN_PASSWORD",
        "PDS_BLOBSTORE_S3_BUCKET",
        "PDS_CRAWLERS",
        "PDS_DATABASE_URL",
        "PDS_DPOP_SECRET",
        "PDS_HOSTNAME",
        "PDS_JWT_SECRET",
        "PDS_KEY_ENCRYPTION_KEY",
        "PDS_MOD_SERVICE_DID",
        "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX",
        "PDS_PORT",
        "PDS_RATE_LIMITS_ENABLED",
    ];
    assert_eq!(named, BTreeSet::from(expected));
    assert_eq!(error.to_string().lines().count(), error.problems.len() + 1);
}

#[test]
fn pairs_and_choices_are_checked() {
    let cases: [(&[(&str, &str)], &str); 23] = [
        (&[("PDS_SERVICE_DID", "did:bad")], "PDS_SERVICE_DID"),
        (&[("PDS_BSKY_APP_VIEW_URL", "https://a.net")], "PDS_BSKY_APP_VIEW_DID is required"),
        (&[("PDS_EMAIL_SMTP_URL", "smtp://a")], "PDS_EMAIL_SMTP_URL and PDS_EMAIL_FROM_ADDRESS"),
        (&[("PDS_MODERATION_EMAIL_ADDRESS", "a@b.c")], "PDS_MODERATION_EMAIL_SMTP_URL and"),
        (&[("PDS_BLOBSTORE_S3_BUCKET", "b")], "PDS_BLOBSTORE_S3_BUCKET and PDS_BLOBSTORE_DISK_LOCATION"),
        (&[("PDS_BLOBSTORE_DISK_LOCATION", "")], "PDS_BLOBSTORE_S3_BUCKET or PDS_BLOBSTORE_DISK_LOCATION"),
        (&[("PDS_PLC_ROTATION_KEY_KMS_KEY_ID", "k")], "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX and"),
        (
            &[("PDS_SERVICE_HANDLE_DOMAINS", ".a.com, .b.com")],
            "PDS_SERVICE_HANDLE_DOMAINS has an invalid handle domain",
        ),
        (&[("PDS_SERVICE_HANDLE_DOMAINS", ".a.com,")], "PDS_SERVICE_HANDLE_DOMAINS"),
        (&[("PDS_PRIMARY_COLOR", "#11223344")], "PDS_PRIMARY_COLOR"),
        (&[("PDS_DATABASE_URL", "sqlite://x")], "PDS_DATABASE_URL must begin with postgres://"),
        (&[("PDS_LEXICON_AUTHORITY_DID", "x")], "PDS_LEXICON_AUTHORITY_DID"),
        (&[("PDS_BLOB_METADATA_POLICY", "keep")], "PDS_BLOB_METADATA_POLICY has a bad value: must be"),
        (&[("PDS_BLOB_UNREFERENCED_TTL", "86400")], "PDS_BLOB_UNREFERENCED_TTL must be at least an hour"),
        (&[("PDS_BLOB_DEREFERENCED_TTL", "0")], "PDS_BLOB_DEREFERENCED_TTL must be at least an hour"),
        (&[("PDS_REDIS_SCRATCH_ADDRESS", "http://x")], "PDS_REDIS_SCRATCH_ADDRESS must be host, host:port or redis://"),
        (&[("PDS_REDIS_SCRATCH_ADDRESS", "redis://u:p@x")], "PDS_REDIS_SCRATCH_ADDRESS must not hold the password"),
        (&[("PDS_REDIS_SCRATCH_ADDRESS", "a,b")], "PDS_REDIS_SCRATCH_ADDRESS has several nodes"),
        (&[("PDS_REDIS_SCRATCH_ADDRESS", "a,rediss://b")], "PDS_REDIS_SCRATCH_ADDRESS has nodes that differ"),
        (&[("PDS_RATE_LIMIT_POINTS", "global")], "PDS_RATE_LIMIT_POINTS has \"global\""),
        (&[("PDS_RATE_LIMIT_POINTS", "global=-1")], "PDS_RATE_LIMIT_POINTS has \"global=-1\""),
        (&[("PDS_RATE_LIMIT_BYPASS_IPS", "10.0.0.0/33")], "PDS_RATE_LIMIT_BYPASS_IPS"),
        (&[("PDS_TRUSTED_PROXIES", "1000")], "PDS_TRUSTED_PROXIES is out of range"),
    ];
    for (variables, expected) in cases {
        let found = problems(variables);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{variables:?}: {found:?}");
    }
}

#[test]
fn entryway_needs_its_companions() {
    let url = ("PDS_ENTRYWAY_URL", "https://entryway.net");
    assert_eq!(
        problems(&[url]),
        [
            "PDS_ENTRYWAY_DID is required",
            "PDS_ENTRYWAY_JWT_VERIFY_KEY_K256_PUBLIC_KEY_HEX is required",
            "PDS_ENTRYWAY_PLC_ROTATION_KEY is required",
        ]
    );
    let config = with(&[
        url,
        ("PDS_ENTRYWAY_DID", "did:web:entryway.net"),
        (
            "PDS_ENTRYWAY_JWT_VERIFY_KEY_K256_PUBLIC_KEY_HEX",
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
        ("PDS_ENTRYWAY_PLC_ROTATION_KEY", "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"),
    ])
    .unwrap();
    assert_eq!(config.entryway.unwrap().jwt_verify_key.len(), 33);
}

#[test]
fn more_than_one_replica_refuses_what_one_process_keeps() {
    let many = ("PDS_REPLICAS", "3");
    let found = problems(&[many, ("PDS_RATE_LIMITS_ENABLED", "true")]);
    assert_eq!(
        found,
        [
            "PDS_BLOBSTORE_DISK_LOCATION is a directory of one machine, but PDS_REPLICAS is 3",
            "PDS_RATE_LIMITS_ENABLED needs PDS_REDIS_SCRATCH_ADDRESS when PDS_REPLICAS is 3",
            "PDS_DPOP_SECRET is required when PDS_REPLICAS is 3",
        ]
    );
    let shared = with(&[
        many,
        ("PDS_BLOBSTORE_DISK_LOCATION", ""),
        ("PDS_BLOBSTORE_S3_BUCKET", "blobs"),
        ("PDS_RATE_LIMITS_ENABLED", "true"),
        ("PDS_REDIS_SCRATCH_ADDRESS", "redis:6380"),
        ("PDS_DPOP_SECRET", "3333333333333333333333333333333333333333333333333333333333333333"),
    ]);
    assert_eq!(shared.unwrap().redis.unwrap().nodes[0].port, 6380);
}

#[test]
fn limits_bypasses_and_a_cluster() {
    let config = with(&[
        ("PDS_RATE_LIMIT_POINTS", "global=6000, repo-write-hour = 0"),
        ("PDS_RATE_LIMIT_BYPASS_IPS", "10.1.2.3/8,::ffff:192.0.2.1,2001:db8::/32"),
        ("PDS_TRUSTED_PROXIES", "2"),
        ("PDS_REDIS_SCRATCH_ADDRESS", "rediss://pds@a,rediss://pds@b:7000"),
        ("PDS_REDIS_SCRATCH_CLUSTER", "true"),
    ])
    .unwrap();
    let points: Vec<_> = config.rate_limit.points.into_iter().collect();
    assert_eq!(points, [("global".to_owned(), 6000), ("repo-write-hour".to_owned(), 0)]);
    let exempt = ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"].map(|network| network.parse::<IpNet>().unwrap());
    assert_eq!(config.rate_limit.bypass_ips, exempt);
    assert_eq!(config.deployment.trusted_proxies, Some(2));
    let redis = config.redis.unwrap();
    assert!(redis.cluster && redis.tls && redis.username.as_deref() == Some("pds"));
    assert_eq!(redis.nodes.iter().map(|node| node.port).collect::<Vec<_>>(), [6379, 7000]);
}

#[test]
fn a_proxy_that_nobody_told_of_is_not_exempt() {
    let with_networks = |networks: &'static str, proxies: &'static str, enabled: &'static str| {
        let settings = [
            ("PDS_RATE_LIMITS_ENABLED", enabled),
            ("PDS_RATE_LIMIT_BYPASS_IPS", networks),
            ("PDS_TRUSTED_PROXIES", proxies),
        ];
        with(&settings).map_or_else(|error| error.problems, |_| Vec::new())
    };
    for networks in ["10.1.0.0/16", "0.0.0.0/0", "192.0.2.7,127.0.0.1", "::/0", "fd00::1", "172.16.0.0/11"] {
        let found = with_networks(networks, "0", "true");
        assert!(found.len() == 1 && found[0].starts_with("PDS_RATE_LIMIT_BYPASS_IPS has "), "{networks} {found:?}");
        for (proxies, enabled) in [("1", "true"), ("", "true"), ("0", "false")] {
            assert!(with_networks(networks, proxies, enabled).is_empty(), "{networks} {proxies} {enabled}");
        }
    }
    assert!(with_networks("192.0.2.7,2001:db8::/32", "0", "true").is_empty());
}

#[test]
fn a_bucket_needs_only_its_name() {
    let s3 = |more: &[(&'static str, &'static str)]| {
        let bucket = [("PDS_BLOBSTORE_DISK_LOCATION", ""), ("PDS_BLOBSTORE_S3_BUCKET", "blobs")];
        match with(&[&bucket[..], more].concat())?.blobstore {
            BlobstoreConfig::S3(config) => Ok::<_, ConfigError>(config),
            BlobstoreConfig::Disk(config) => panic!("{config:?}"),
        }
    };
    let config = s3(&[]).unwrap();
    assert!(config.endpoint.is_none() && config.region.is_none() && config.credentials.is_none() && !config.checksums);
    assert_eq!((config.upload_timeout, config.request_timeout), (Duration::from_secs(20), Duration::from_secs(15)));
    assert_eq!(config.tmp_location, std::env::temp_dir());

    let config = s3(&[
        ("PDS_BLOBSTORE_S3_ENDPOINT", "http://minio:9000"),
        ("PDS_BLOBSTORE_S3_FORCE_PATH_STYLE", "true"),
        ("PDS_BLOBSTORE_S3_CHECKSUMS", "true"),
        ("PDS_BLOBSTORE_S3_UPLOAD_TIMEOUT_MS", "4000"),
        ("PDS_BLOBSTORE_DISK_TMP_LOCATION", "/uploads"),
    ])
    .unwrap();
    assert_eq!(config.endpoint.as_deref(), Some("http://minio:9000"));
    assert_eq!((config.force_path_style, config.checksums), (Some(true), true));
    assert_eq!(config.request_timeout, Duration::from_secs(6));
    assert_eq!(config.tmp_location.to_str(), Some("/uploads"));

    for (variable, problem) in [
        (("PDS_BLOBSTORE_S3_ENDPOINT", "minio:9000"), "PDS_BLOBSTORE_S3_ENDPOINT must be an http or https URL"),
        (
            ("PDS_BLOBSTORE_S3_ACCESS_KEY_ID", "id"),
            "PDS_BLOBSTORE_S3_ACCESS_KEY_ID and PDS_BLOBSTORE_S3_SECRET_ACCESS_KEY must be set together",
        ),
    ] {
        assert_eq!(s3(&[variable]).unwrap_err().problems, [problem]);
    }
}

#[test]
fn odd_values_fall_back_as_the_reference_does() {
    let config = with(&[
        ("PDS_INVITE_REQUIRED", "no"),
        ("PDS_PORT", "3000 # behind the proxy"),
        ("PDS_PROXY_MAX_RETRIES", "-2"),
        ("PDS_BLOB_UPLOAD_LIMIT", "large"),
        ("PDS_SERVICE_NAME", ""),
    ])
    .unwrap();
    assert!(config.invites.required);
    assert_eq!(config.service.port, 3000);
    assert_eq!(config.proxy.max_retries, 0);
    assert_eq!(config.service.blob_upload_limit, 5_242_880);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
}

#[test]
fn replicas_of_one_machine_share_a_public_url() {
    let second = with(&[("PDS_PORT", "2583"), ("PDS_LISTEN_PORT", "2584")]).unwrap();
    assert_eq!((second.listen_port(), second.public_url().as_str()), (2584, "http://localhost:2583"));
    assert_eq!(with(&[("PDS_PORT", "2583")]).unwrap().listen_port(), 2583);
}

#[test]
fn dev_mode_opens_private_addresses_unless_overridden() {
    assert!(with(&[("PDS_DEV_MODE", "true")]).unwrap().fetch.disable_ssrf_protection);
    let guarded = with(&[("PDS_DEV_MODE", "true"), ("PDS_DISABLE_SSRF_PROTECTION", "false")]).unwrap();
    assert!(!guarded.fetch.disable_ssrf_protection);
}

#[test]
fn secrets_come_from_files_too() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "from the file").unwrap();
    let path = file.path().to_str().unwrap();
    let from_file = read(&[&MINIMAL[1..], &[("PDS_JWT_SECRET_FILE", path), ("PDS_JWT_SECRET", "")]].concat()).unwrap();
    assert_eq!(from_file.secrets.jwt_secret.expose_secret(), "from the file");

    let both = read(&[&MINIMAL[..], &[("PDS_JWT_SECRET_FILE", path)]].concat()).unwrap_err();
    assert_eq!(both.problems, ["PDS_JWT_SECRET and PDS_JWT_SECRET_FILE are both set"]);
    let missing = read(&[&MINIMAL[1..], &[("PDS_JWT_SECRET_FILE", "/nonexistent/secret")]].concat()).unwrap_err();
    assert!(missing.problems[0].starts_with("PDS_JWT_SECRET_FILE cannot be read"), "{missing}");
}

#[test]
fn a_list_of_domains_comes_from_a_file() {
    const NAME: &str = "PDS_EMAIL_DISPOSABLE_DOMAINS_FILE";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# throw-away\nthrow-away.example").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let path = path.as_str();
    let config = read(&[&MINIMAL[..], &[(NAME, path)]].concat()).unwrap();
    assert!(config.email.disposable_domains.covers("throw-away.example"));
    writeln!(file, "not a domain").unwrap();
    let bad = read(&[&MINIMAL[..], &[(NAME, path)]].concat()).unwrap_err();
    assert_eq!(bad.problems, [format!("{NAME} has a bad value: line 3 is not a domain")]);
    let missing = read(&[&MINIMAL[..], &[(NAME, "/nonexistent/list")]].concat()).unwrap_err();
    assert!(missing.problems[0].starts_with(&format!("{NAME} cannot be read")), "{missing}");
}

#[test]
fn debug_shows_no_secret() {
    let text = format!(
        "{:?}",
        with(&[("PDS_EMAIL_SMTP_URL", "smtp://me:mail-password@a.net"), ("PDS_EMAIL_FROM_ADDRESS", "a@b.c")]).unwrap()
    );
    for secret in ["jwt-secret", "admin-password", "1111111111", "2222222222", "database-password", "mail-password"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn test_settings_are_valid() {
    assert_eq!(Config::for_tests().service.port, 0);
}

#[test]
fn blobs_are_given_out_by_one_of_three() {
    const PATTERN: (&str, &str) = ("PDS_BLOB_CDN_URL_PATTERN", "https://cdn.test/{did}/{cid}");
    const PRESIGN: (&str, &str) = ("PDS_BLOB_REDIRECT", "presign");
    const BUCKET: [(&str, &str); 2] = [("PDS_BLOBSTORE_DISK_LOCATION", ""), ("PDS_BLOBSTORE_S3_BUCKET", "blobs")];
    assert_eq!(with(&[]).unwrap().blob.delivery, BlobDelivery::Stream);
    assert_eq!(with(&[("PDS_BLOB_REDIRECT", "none")]).unwrap().blob.delivery, BlobDelivery::Stream);
    assert!(matches!(with(&[PATTERN]).unwrap().blob.delivery, BlobDelivery::Cdn(_)));
    assert_eq!(with(&[BUCKET[0], BUCKET[1], PRESIGN]).unwrap().blob.delivery, BlobDelivery::Presign);
    let public = [BUCKET[0], BUCKET[1], PRESIGN, ("PDS_HOSTNAME", "pds.example.net")];
    let store = ("PDS_BLOBSTORE_S3_ENDPOINT", "http://minio:9000");
    assert_eq!(with(&public).unwrap().blob.delivery, BlobDelivery::Presign, "Amazon's");
    let bad = "PDS_BLOBSTORE_S3_PUBLIC_ENDPOINT must be https, as this server is, when PDS_BLOB_REDIRECT is presign";
    assert_eq!(problems(&[&public[..], &[store]].concat()), [bad]);
    let reached = ("PDS_BLOBSTORE_S3_PUBLIC_ENDPOINT", "https://s3.example.net");
    assert_eq!(with(&[&public[..], &[store, reached]].concat()).unwrap().blob.delivery, BlobDelivery::Presign);
    let insecure = [("PDS_HOSTNAME", "pds.example.net"), ("PDS_BLOB_CDN_URL_PATTERN", "http://cdn.test/{did}/{cid}")];
    assert_eq!(problems(&insecure), ["PDS_BLOB_CDN_URL_PATTERN must be https, as this server is"]);
    assert_eq!(problems(&[PRESIGN]), ["PDS_BLOB_REDIRECT is presign, which only S3 can; blobs are in a folder"]);
    let both = "PDS_BLOB_CDN_URL_PATTERN and PDS_BLOB_REDIRECT=presign are both set; choose one";
    assert_eq!(problems(&[BUCKET[0], BUCKET[1], PATTERN, PRESIGN]), [both]);
    assert_eq!(problems(&[("PDS_BLOB_REDIRECT", "always")]), ["PDS_BLOB_REDIRECT must be presign or none"]);
    let bad = "PDS_BLOB_CDN_URL_PATTERN has a bad value: must be an http or https URL with {did} and {cid} in its path or query";
    assert_eq!(problems(&[("PDS_BLOB_CDN_URL_PATTERN", "https://cdn.test/")]), [bad]);
}

#[test]
fn accounts_have_no_quota_unless_there_is_one() {
    assert!(!with(&[]).unwrap().blob.quota.is_limited());
    let limits = [("PDS_BLOB_QUOTA_BYTES", "1000000000"), ("PDS_BLOB_QUOTA_COUNT", "0")];
    let quota = with(&limits).unwrap().blob.quota;
    assert_eq!((quota.bytes, quota.count), (Some(1_000_000_000), Some(0)));
    let bad = "PDS_BLOB_QUOTA_BYTES must be a whole number, without a unit";
    for text in ["-1", "50GB"] {
        assert_eq!(problems(&[("PDS_BLOB_QUOTA_BYTES", text)]), [bad]);
    }
}
