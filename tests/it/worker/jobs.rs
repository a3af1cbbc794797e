//! `pds-worker jobs …`.

use common::jobs::State;
use serde_json::{Value, json};
use tests::stack::{Fault, Manners, Mishap};

use super::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_change_the_queue() {
    let refusal = Fault::new("RCPT", Mishap::Answer("550 5.1.1 nobody"), 2);
    let (stage, catcher) = Stage::with_mail(Manners { faults: vec![refusal], ..Manners::default() }).await;
    let run = async |arguments: &[&str]| stage.operator.run(&[&["jobs"], arguments].concat()).await.unwrap();
    let empty = run(&["list"]).await;
    assert_eq!((empty.code, empty.out.as_str()), (0, "no such jobs\n"), "{empty:?}");

    let worker = stage.worker("one").await;
    for subject in ["First", "Second"] {
        stage.write(subject).await;
    }
    let dead = stage.letters(|letters| letters.iter().all(|letter| letter.state == State::Dead)).await;
    let (first, second) = (dead[0].id.to_string(), dead[1].id.to_string());
    let listed = run(&["list", "--dead"]).await;
    let lines: Vec<_> = listed.out.lines().collect();
    assert!(lines.len() == 3 && lines[1].trim_start().starts_with(&first), "{listed:?}");
    assert!(
        lines[1].contains("dead")
            && lines[1].contains("send_moderation_mail")
            && lines[1].ends_with("550 5.1.1 nobody")
    );
    assert_eq!(run(&["list", "--json", "--limit", "1"]).await.json().len(), 1);
    assert_eq!(run(&["list", "--json", "--kind", "other"]).await.json(), Vec::<Value>::new());

    let shown = run(&["show", &first]).await;
    assert!(shown.out.contains("last error  RCPT TO: 550 5.1.1 nobody\n"), "{shown:?}");
    let shown = run(&["show", &first, "--json"]).await.json().remove(0);
    assert_eq!(
        (&shown["state"], &shown["attempts"], &shown["payload"]["subject"]),
        (&json!("dead"), &json!(1), &json!("First"))
    );

    let discarded = run(&["discard", &first, "--json"]).await;
    assert_eq!((discarded.code, discarded.json()), (0, vec![json!({"discarded": dead[0].id})]));
    let retried = run(&["retry", "--kind", "send_moderation_mail"]).await;
    assert_eq!((retried.code, retried.out.as_str()), (0, "to be tried again: 1\n"), "{retried:?}");
    assert_eq!(catcher.until(1).await.unwrap()[0].subject, "Second");
    stage.letters(<[_]>::is_empty).await;
    worker.stop(std::time::Duration::from_secs(15)).await.unwrap();

    for (arguments, words) in [
        (&["show", &second][..], "there is no job"),
        (&["retry", &second], "there is no job"),
        (&["discard", &second], "there is no job"),
        (&["retry"], "--kind <KIND>|--all-dead"),
        (&["retry", "1", "--all-dead"], "cannot be used with"),
    ] {
        let ended = run(arguments).await;
        assert!(ended.code == 2 && ended.err.contains(words), "{ended:?}");
    }
    assert_eq!(run(&["retry", "--all-dead"]).await.out, "to be tried again: 0\n");
}
