//! Mails arrive, and arrive once.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use common::jobs::State;
use common::testing::lapse_lease;
use nix::sys::signal::Signal;
use tests::stack::{Fault, MailCatcher, Manners, Mishap, free_ports};

use super::stage::{Stage, until};

const GRACE: Duration = Duration::from_secs(15);

fn faulty(faults: Vec<Fault>) -> Manners {
    Manners { faults, ..Manners::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_send_each_mail_once() {
    let (stage, catcher) = Stage::with_mail(Manners::default()).await;
    let workers = [stage.worker("one").await, stage.worker("two").await];
    for number in 0..30 {
        stage.write(&format!("Number {number}")).await;
    }
    stage.letters(<[_]>::is_empty).await;
    for worker in workers {
        worker.stop(GRACE).await.unwrap();
    }
    let mails = catcher.until(0).await.unwrap();
    assert_eq!(mails.len(), 30);
    let subjects: BTreeSet<_> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.id.as_str()).collect();
    assert_eq!((subjects.len(), ids.len()), (30, 30));
    let mail = &mails[0];
    assert_eq!((mail.to.as_str(), mail.from.as_str()), ("alice@mail.test", "localhost PDS <pds@mail.test>"));
    assert_eq!(mail.html.trim(), format!("<p>{}</p>", mail.subject));
    assert_eq!(mail.text.trim(), mail.subject);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_waits_for_a_mail_server_that_is_down() {
    let port = free_ports(1).unwrap()[0];
    let stage = Stage::new(&format!("smtp://localhost:{port}")).await;
    let worker = stage.worker("one").await;
    stage.write("Late").await;
    let failed =
        |letters: &[common::jobs::Letter]| letters[0].state == State::Waiting && letters[0].last_error.is_some();
    let letter = stage.letters(failed).await.remove(0);
    assert!(letter.last_error.unwrap().starts_with("connect: "));

    let folder = stage.folder.path().join("mail");
    let catcher = MailCatcher::start_with(&folder, Manners { port, ..Manners::default() }).await.unwrap();
    let hastened = stage.operator.run(&["jobs", "retry", &letter.id.to_string()]).await.unwrap();
    assert_eq!((hastened.code, hastened.out.as_str()), (0, "to be tried again: 1\n"), "{hastened:?}");
    assert_eq!(until(&catcher, 1).await[0].subject, "Late");
    stage.letters(<[_]>::is_empty).await;
    worker.stop(GRACE).await.unwrap();
    assert_eq!(catcher.until(0).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_takes_over_from_one_that_was_killed() {
    // It never hears whether its mail was taken.
    let (stage, catcher) = Stage::with_mail(faulty(vec![Fault::new(".", Mishap::Silence, 1)])).await;
    let mut killed = stage.worker("killed").await;
    stage.write("Once").await;
    let letter = stage.letters(|letters| letters[0].state == State::Running).await.remove(0);
    catcher.after_faults().await;
    killed.signal(Signal::SIGKILL);
    killed.ended().await.unwrap();

    let other = stage.worker("other").await;
    lapse_lease(&stage.cluster.db().pool(), &letter.worker.unwrap()).await;
    assert_eq!(until(&catcher, 1).await[0].subject, "Once");
    stage.letters(<[_]>::is_empty).await;
    other.stop(GRACE).await.unwrap();
    assert_eq!(catcher.until(0).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_receipt_got_lost_comes_again_under_the_same_id() {
    let (stage, catcher) = Stage::with_mail(faulty(vec![Fault::new(".", Mishap::LoseAnswer, 1)])).await;
    let worker = stage.worker("one").await;
    stage.write("Twice").await;
    let letter = stage.letters(|letters| letters[0].last_error.is_some()).await.remove(0);
    stage.operator.run(&["jobs", "retry", &letter.id.to_string()]).await.unwrap();
    stage.letters(<[_]>::is_empty).await;
    worker.stop(GRACE).await.unwrap();
    let mails = catcher.until(0).await.unwrap();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].id, mails[1].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_for_good_waits_for_the_operator_and_names_nobody() {
    let refusal = Mishap::Answer("550 5.1.1 <Alice@mail.test>: nobody of that name");
    let (stage, catcher) = Stage::with_mail(faulty(vec![
        Fault::new("MAIL", Mishap::Answer("451 4.7.1 come again"), 1),
        Fault::new("RCPT", refusal, 1),
    ]))
    .await;
    let worker = stage.worker("one").await;
    stage.write("Refused").await;
    let letter = stage.letters(|letters| letters[0].last_error.is_some()).await.remove(0);
    assert_eq!(letter.state, State::Waiting, "a server that asks to come again is asked again");
    assert_eq!(letter.last_error.as_deref(), Some("MAIL FROM: 451 4.7.1 come again"));
    stage.operator.run(&["jobs", "retry", &letter.id.to_string()]).await.unwrap();
    let letter = stage.letters(|letters| letters[0].state == State::Dead).await.remove(0);
    assert_eq!(letter.last_error.as_deref(), Some("RCPT TO: 550 5.1.1 <recipient>: nobody of that name"));
    let retried = stage.operator.run(&["jobs", "retry", "--all-dead", "--json"]).await.unwrap();
    assert_eq!(retried.json(), [serde_json::json!({"retried": 1})]);
    assert_eq!(until(&catcher, 1).await[0].subject, "Refused");
    worker.stop(GRACE).await.unwrap();
    let log = fs::read_to_string(stage.folder.path().join("one.log")).unwrap();
    assert!(log.contains("given up: RCPT TO: 550") && !log.to_lowercase().contains("alice@"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_developers_read_mails_in_the_log() {
    let stage = Stage::new("").await;
    let operator = stage.operator.with("PDS_EMAIL_FROM_ADDRESS", "");
    let worker = operator.start_worker("one", stage.folder.path()).await.unwrap();
    stage.write("In the log").await;
    stage.letters(<[_]>::is_empty).await;
    worker.stop(GRACE).await.unwrap();
    let log = fs::read_to_string(stage.folder.path().join("one.log")).unwrap();
    assert_eq!(log.matches("mails are written to this log").count(), 1, "{log}");
    assert!(log.contains("In the log"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_bad_settings_of_mail_does_not_start() {
    let stage = Stage::new("smtp://localhost:1").await;
    for (name, value, words) in [
        ("PDS_EMAIL_SMTP_URL", "smtp://me:sec/ret@localhost", "PDS_EMAIL_SMTP_URL is no URL"),
        ("PDS_EMAIL_FROM_ADDRESS", "nobody", "PDS_EMAIL_FROM_ADDRESS: is neither an address"),
        ("PDS_EMAIL_TEMPLATES_DIRECTORY", "/nonexistent", "PDS_EMAIL_TEMPLATES_DIRECTORY: cannot read /nonexistent"),
    ] {
        let ended = stage.operator.with(name, value).run(&["run"]).await.unwrap();
        assert!(ended.code == 2 && ended.err.contains(words) && !ended.err.contains("ret@"), "{ended:?}");
    }
}
