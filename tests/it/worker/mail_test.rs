//! `pds-worker mail test`: what is wrong with a set-up, step by step.

use std::path::Path;

use serde_json::Value;
use tests::stack::{Encryption, Fault, MailCatcher, Manners, Mishap, free_ports};

use super::stage::Stage;
use crate::harness::operator::{Ended, Operator};

const TRY: [&str; 4] = ["mail", "test", "--to", "operator@mail.test"];

fn login() -> (String, String) {
    ("me".to_owned(), "pass".to_owned())
}

async fn catcher(folder: &Path, manners: Manners) -> MailCatcher {
    MailCatcher::start_with(folder, manners).await.unwrap()
}

/// Runs the command with this URL, trusting this server's certificate.
async fn attempt(operator: &Operator, url: &str, catcher: Option<&MailCatcher>) -> Ended {
    let operator = operator.with("PDS_EMAIL_SMTP_URL", url);
    let trusted = catcher.and_then(MailCatcher::certificate);
    let operator = trusted.map_or(operator.clone(), |file| operator.with("SSL_CERT_FILE", file.to_str().unwrap()));
    operator.run(&TRY).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_set_up_is_called_good() {
    let stage = Stage::new("").await;
    for (index, (encryption, login, steps)) in [
        (Encryption::None, None, &["DNS", "connect", "greeting", "STARTTLS", "MAIL FROM", "RCPT TO", "DATA"][..]),
        (
            Encryption::StartTls,
            Some(login()),
            &["DNS", "connect", "greeting", "STARTTLS", "AUTH", "MAIL FROM", "RCPT TO", "DATA"],
        ),
        (Encryption::Implicit, Some(login()), &["DNS", "connect", "greeting", "AUTH", "MAIL FROM", "RCPT TO", "DATA"]),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = stage.folder.path().join(index.to_string());
        let catcher = catcher(&folder, Manners { encryption, login, ..Manners::default() }).await;
        let ended = attempt(&stage.operator, &catcher.url(), Some(&catcher)).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let seen: Vec<_> = ended.out.lines().filter_map(|line| line.strip_prefix("ok ")).map(str::trim).collect();
        assert_eq!(seen.len(), steps.len(), "{ended:?}");
        assert!(seen.iter().zip(steps).all(|(line, step)| line.starts_with(step)), "{ended:?}");
        assert!(!ended.out.contains("pass"), "no password is shown: {ended:?}");
        let mails = catcher.until(1).await.unwrap();
        assert_eq!(
            (mails[0].to.as_str(), mails[0].subject.as_str()),
            ("operator@mail.test", "Test mail from localhost PDS")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_at_the_step_where_it_shows() {
    let stage = Stage::new("").await;
    let dir = |name: &str| stage.folder.path().join(name);
    let refusing = Manners {
        faults: vec![
            Fault::new("MAIL", Mishap::Answer("553 5.7.1 not your address"), 1),
            Fault::new("RCPT", Mishap::Answer("554 5.7.1 relay access denied"), 1),
            Fault::new(".", Mishap::Answer("554 5.6.0 this looks like spam"), 1),
            Fault::new("DATA", Mishap::HangUp, 1),
        ],
        ..Manners::default()
    };
    let plain = catcher(&dir("plain"), refusing).await;
    let encryption = Encryption::StartTls;
    let starts_tls =
        catcher(&dir("starttls"), Manners { encryption, login: Some(login()), ..Manners::default() }).await;
    let closed = free_ports(1).unwrap()[0];
    let (plain_port, tls_port) = (plain.port(), starts_tls.port());
    let trusted = Some(&starts_tls);
    for (url, trusted, step, words, hint) in [
        (format!("smtp://localhost:{plain_port}"), None, "MAIL FROM", "553 5.7.1 not your address", "pds@mail.test"),
        (format!("smtp://localhost:{plain_port}"), None, "RCPT TO", "554 5.7.1 relay access denied", "user:password@"),
        (format!("smtp://localhost:{plain_port}"), None, "DATA", "incomplete response", ""),
        (format!("smtp://localhost:{plain_port}"), None, "DATA", "554 5.6.0 this looks like spam", ""),
        (format!("smtp://nowhere.invalid:{plain_port}"), None, "DNS", "", "nowhere.invalid"),
        (format!("smtp://localhost:{closed}"), None, "connect", "refused", "firewall"),
        (format!("smtps://localhost:{plain_port}"), None, "greeting", "", "smtp://"),
        (format!("smtp://localhost:{plain_port}?requireTLS=true"), None, "STARTTLS", "no encryption", "port"),
        (format!("smtp://me:pass@localhost:{plain_port}"), None, "STARTTLS", "password is not sent", "ignoreTLS=true"),
        (format!("smtp://me:wrong@localhost:{tls_port}"), trusted, "AUTH", "535 5.7.8", "5 characters"),
        (format!("smtp://localhost:{tls_port}"), trusted, "MAIL FROM", "530 5.7.0 log in first", ""),
        (format!("smtp://me:pass@localhost:{tls_port}"), None, "STARTTLS", "certificate", "SSL_CERT_FILE"),
        (format!("smtp://me:pass@127.0.0.1:{tls_port}"), trusted, "STARTTLS", "certificate", "tls.servername"),
    ] {
        let ended = attempt(&stage.operator, &url, trusted).await;
        assert_eq!(ended.code, 1, "{url}: {ended:?}");
        let mut lines = ended.out.lines().skip_while(|line| !line.starts_with("FAILED"));
        let failed = lines.next().unwrap_or_else(|| panic!("{url}: {ended:?}"));
        assert!(failed["FAILED".len()..].trim_start().starts_with(step), "{url}: {ended:?}");
        assert!(failed.contains(words), "{url}: {ended:?}");
        assert!(lines.next().unwrap_or_default().contains(hint), "{url}: {ended:?}");
    }
    for harmless in ["?tls.rejectUnauthorized=false", "?ignoreTLS=true"] {
        let url = format!("smtp://me:pass@127.0.0.1:{tls_port}{harmless}");
        let ended = attempt(&stage.operator, &url, None).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.out.contains("! the password went over the wire"), harmless.contains("ignore"), "{ended:?}");
    }
}

/// As where somebody in between takes the offer of STARTTLS away.
#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_sent_in_clear_unless_the_operator_says_so() {
    let stage = Stage::new("").await;
    let manners = Manners { encryption: Encryption::None, login: Some(login()), ..Manners::default() };
    let catcher = catcher(&stage.folder.path().join("mail"), manners).await;
    let ended = attempt(&stage.operator, &catcher.url(), None).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("FAILED  STARTTLS") && !ended.out.contains("AUTH"), "{ended:?}");
    let ended = attempt(&stage.operator, &format!("{}?ignoreTLS=true", catcher.url()), None).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(catcher.until(1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_and_bad_settings() {
    let (stage, catcher) = Stage::with_mail(Manners::default()).await;
    let ended = stage.operator.run(&[&TRY[..], &["--json"]].concat()).await.unwrap();
    let lines = ended.json();
    assert_eq!((ended.code, &lines[0]["from"]), (0, &Value::from("pds@mail.test")), "{ended:?}");
    let last = lines.last().unwrap();
    assert_eq!((&last["step"], &last["ok"], &last["hint"]), (&"data".into(), &true.into(), &Value::Null));

    let moderation = stage.operator.with("PDS_MODERATION_EMAIL_SMTP_URL", &catcher.url());
    let moderation = moderation.with("PDS_MODERATION_EMAIL_ADDRESS", "Moderators <mod@mail.test>");
    let ended = moderation.run(&[&TRY[..], &["--moderation"]].concat()).await.unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(catcher.until(2).await.unwrap()[1].from, "Moderators <mod@mail.test>");

    for (operator, arguments, words) in [
        (
            stage.operator.clone(),
            &[&TRY[..], &["--moderation"]].concat()[..],
            "PDS_MODERATION_EMAIL_SMTP_URL is not set",
        ),
        (stage.operator.clone(), &["mail", "test", "--to", "nobody"], "--to takes an address"),
        (stage.operator.with("PDS_EMAIL_SMTP_URL", "mail.test"), &TRY, "PDS_EMAIL_SMTP_URL is no URL"),
        (stage.operator.with("PDS_EMAIL_FROM_ADDRESS", ""), &TRY, "must be set together"),
    ] {
        let ended = operator.run(arguments).await.unwrap();
        assert!(ended.code == 2 && ended.err.contains(words), "{words}: {ended:?}");
    }
}
