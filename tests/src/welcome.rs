//! What `make run` says once everything is up, and when a mail comes.

use tests::stack::{DataFolder, Endpoints, Received};

/// Where everything is, and what to try first.
pub(crate) fn text(endpoints: &Endpoints, data: &DataFolder) -> String {
    let api = &endpoints.pds[0];
    let json = "-H 'content-type: application/json'";
    format!(
        r#"
Rookery is running.

  api        {apis}
  metrics    {metrics}  (the last one is the worker's)
  PLC        {plc}
  Postgres   {database}
  Redis      {redis}
  mail       {mail}/  (what the server sends; shown here, too)
  logs       {logs}/  (make logs)
  secrets    {secrets}  (admin password: PDS_ADMIN_PASSWORD)

Make an account, sign in, and write a post:

  curl -sS {api}/xrpc/com.atproto.server.createAccount {json} \
    -d '{{"handle":"alice.test","email":"alice@example.com","password":"alice-password"}}'

  TOKEN=$(curl -sS {api}/xrpc/com.atproto.server.createSession {json} \
    -d '{{"identifier":"alice.test","password":"alice-password"}}' | sed 's/.*"accessJwt":"\([^"]*\)".*/\1/')

  curl -sS {api}/xrpc/com.atproto.repo.createRecord {json} -H "authorization: Bearer $TOKEN" \
    -d '{{"repo":"alice.test","collection":"app.bsky.feed.post","record":{{"$type":"app.bsky.feed.post","text":"Hello","createdAt":"2026-01-01T00:00:00Z"}}}}'

From TypeScript, with @atproto/api:  new AtpAgent({{ service: '{api}' }})

The README's "Try it" goes on: confirm the e-mail address, change the handle, reset the password.

Ctrl-C stops everything. The data stays in {root} until `make clean-data`.
"#,
        apis = endpoints.pds.join("  "),
        metrics = endpoints.metrics.join("  "),
        plc = endpoints.plc,
        database = endpoints.database,
        redis = endpoints.redis,
        mail = endpoints.mail.display(),
        logs = data.root().join("log").display(),
        secrets = data.secrets_file().display(),
        root = data.root().display(),
    )
}

/// A mail, marked off from what else is on the screen.
pub(crate) fn mail(mail: &Received) -> String {
    let text = mail.text.trim_end().replace('\n', "\n  | ");
    format!("\n  | mail to {}\n  | {}\n  |\n  | {text}\n", mail.to, mail.subject)
}
