//! Mails with codes: from the request to what the code is good for.

use std::time::Duration;

use common::account::{Accounts, CodePurpose, SendCode};
use serde_json::json;
use tests::stack::{MailCatcher, Manners, free_ports};

use super::stage::{Stage, until};

const GRACE: Duration = Duration::from_secs(15);

impl Stage {
    /// Has a code mailed, as a method of the api does.
    async fn request(&self, purpose: CodePurpose, locale: Option<&str>) {
        let request = SendCode { did: self.alice.did.clone(), purpose, locale: locale.map(str::to_owned) };
        Accounts::new(self.cluster.db().pool()).request_code(&request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_asked_for_at_one_replica_arrive_once_and_are_good_at_another() {
    let (stage, catcher) = Stage::with_mail(Manners::default()).await;
    let workers = [stage.worker("one").await, stage.worker("two").await];
    let (first, second, token) = (stage.cluster.api(0), stage.cluster.api(1), Some(stage.alice.token.as_str()));
    first.post_empty("com.atproto.server.requestEmailConfirmation", token).await.unwrap();
    let mail = until(&catcher, 1).await.remove(0);
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("alice@mail.test", "Email Confirmation"));
    let code = mail.code().unwrap();
    assert!(mail.text.contains("alice.test") && mail.html.contains(code), "{mail:?}");
    assert!(mail.text.contains(&format!("https://bsky.app/intent/verify-email?code={code}")), "{mail:?}");
    let input = json!({"email": "alice@mail.test", "token": code});
    second.post("com.atproto.server.confirmEmail", token, &input).await.unwrap();

    first.post("com.atproto.server.requestPasswordReset", None, &json!({"email": "alice@mail.test"})).await.unwrap();
    let mail = until(&catcher, 2).await.remove(1);
    assert_eq!(mail.subject, "Password Reset Requested");
    let input = json!({"token": mail.code().unwrap(), "password": "another one"});
    second.post("com.atproto.server.resetPassword", None, &input).await.unwrap();
    let input = json!({"identifier": "alice.test", "password": "another one"});
    first.post("com.atproto.server.createSession", None, &input).await.unwrap();

    stage.letters(<[_]>::is_empty).await;
    for worker in workers {
        worker.stop(GRACE).await.unwrap();
    }
    assert_eq!(catcher.until(0).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_asked_for_again_and_again_while_the_mail_server_is_down_is_mailed_once() {
    let port = free_ports(1).unwrap()[0];
    let stage = Stage::new(&format!("smtp://localhost:{port}")).await;
    let worker = stage.worker("one").await;
    for _ in 0..3 {
        stage.request(CodePurpose::ResetPassword, None).await;
        stage.letters(|letters| letters.len() == 1 && letters[0].last_error.is_some()).await;
    }
    let folder = stage.folder.path().join("mail");
    let catcher = MailCatcher::start_with(&folder, Manners { port, ..Manners::default() }).await.unwrap();
    // Whoever asks once more need not wait for the next try.
    stage.request(CodePurpose::ResetPassword, None).await;
    let mail = until(&catcher, 1).await.remove(0);
    let accounts = Accounts::new(stage.cluster.db().pool());
    let newest = accounts.find_code(&stage.alice.did, CodePurpose::ResetPassword).await.unwrap().unwrap();
    assert_eq!(mail.code(), Some(newest.code.as_str()));
    stage.letters(<[_]>::is_empty).await;
    worker.stop(GRACE).await.unwrap();
    assert_eq!(catcher.until(0).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_used_is_not_mailed_and_others_are_in_the_language_that_was_wished() {
    let (stage, catcher) = Stage::with_mail(Manners::default()).await;
    let accounts = Accounts::new(stage.cluster.db().pool());
    stage.request(CodePurpose::ConfirmEmail, None).await;
    let code = accounts.find_code(&stage.alice.did, CodePurpose::ConfirmEmail).await.unwrap().unwrap().code;
    accounts.consume_code(&stage.alice.did, CodePurpose::ConfirmEmail, code.as_str()).await.unwrap();
    for (purpose, locale) in [
        (CodePurpose::DeleteAccount, "de-AT"),
        (CodePurpose::PlcOperation, "tlh, ja, de"),
        (CodePurpose::UpdateEmail, "pt"),
        (CodePurpose::ResetPassword, "tlh, x-elvish"),
    ] {
        stage.request(purpose, Some(locale)).await;
    }
    let worker = stage.worker("one").await;
    stage.letters(<[_]>::is_empty).await;
    worker.stop(GRACE).await.unwrap();
    let mails = catcher.until(0).await.unwrap();
    let mut subjects: Vec<_> = mails.iter().map(|mail| mail.subject.as_str()).collect();
    subjects.sort_unstable();
    let wished = [
        "Löschung deines Kontos angefordert",
        "Password Reset Requested",
        "Solicitação de troca de e-mail",
        "アカウントの識別情報 (PLC) 変更のご依頼",
    ];
    assert_eq!(subjects, wished);
}
